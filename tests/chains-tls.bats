#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Chains with TLS: the commands of each README in examples/chains/tls-*, typed as they
# stand there; only ports, /etc/relay, where relay is and the kind of key (an EC key is
# made sooner) are replaced.
#
# shellcheck disable=SC2154 # set by chain
# shellcheck disable=SC2317 # functions for wait_for
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own

load helper
load backend
load connection

setup() {
    need_root 'the start of these chains'
}

teardown() { stop_all; }

# What a chain runs inside of: nothing, or a network namespace. Ports are asked there.
inside=()

ss() {
    command "${inside[@]}" ss "$@"
}

# namespace NAME: a network of its own, with a loopback interface.
namespace() {
    start "$1" unshare -n sleep infinity
    wait_for eval "[[ \$(readlink /proc/$(pid_of "$1")/ns/net) != $(readlink /proc/self/ns/net) ]]"
    within "$1" ip link set lo up
}

# within NAME COMMAND...: in that namespace.
within() {
    nsenter -t "$(pid_of "$1")" -n "${@:2}"
}

# two_machines: namespaces "here", for the chain, and "there", for a client. Here is
# 10.1.1.1 and fd01::1, there 10.1.1.2 and fd01::2.
two_machines() {
    local name number=0
    namespace here
    namespace there
    ip link add wire netns "$(pid_of here)" type veth peer name wire netns "$(pid_of there)"
    for name in here there; do
        number=$((number + 1))
        within "$name" ip address add "10.1.1.$number/24" dev wire
        within "$name" ip address add "fd01::$number/64" dev wire nodad
        within "$name" ip link set wire up
    done
    inside=(nsenter -t "$(pid_of here)" -n)
}

# no_machines: ends the chain and its network.
no_machines() {
    stop chain
    stop there
    stop here
    inside=()
}

# chain NAME [SED-SCRIPT]: the first commands of that README, in a copy of examples/
# in which the chain's files are changed so. They are known as "chain". $port is the
# chain's, $from its client's; $next, $near, $server stand for 8443, 8444, 8080.
chain() {
    local dir listener
    dir=$(work_dir)/examples
    port=$(free_port) next=$(free_port) near=$(free_port) server=$(free_port) from=$(free_port)
    chmod go+x "$BATS_RUN_TMPDIR"
    rm -rf "$dir"
    cp -r "$ROOT/examples" "$dir"
    install -m 755 "$RELAY" "$dir/relay"
    sed -i "s/\<8443\>/$next/g; s/\<8444\>/$near/g; s/\<8080\>/$server/g; s/\<443\>/$port/g; s/ 80 / $port /
        s/rsa:2048/ec -pkeyopt ec_paramgen_curve:P-256/; s|/etc/relay\>|$dir/etc|g; s|/usr/local/bin/|$dir/|g
        s#//\(relay\.example\|127\.0\.0\.1\|\[::1\]\)/#//\1:$port/#
        ${2:-}" "$dir"/{*.conf,pipelines/tls-socat.sh,chains/tls-*/*}
    cd "$dir/chains/$1" || return
    { readme_commands README.md | sed '/^openssl/s|$| 2>/dev/null|' && echo wait; } >commands
    PATH=$dir:${TCPSERVER6%/*}:$PATH start chain "${inside[@]}" sh -e commands
    for listener in $(listeners "$1"); do
        wait_listening "$listener"
    done
}

# listeners NAME: the ports that the chain's commands listen on.
listeners() {
    echo "$port"
    [[ $1 == tls-front-socat ]] || echo "$next"
    [[ $1 != tls-behind-stunnel ]] || echo "$near"
    [[ $1 == tls-passthrough ]] || ! grep -q '^nginx' commands || echo "$server"
}

# curl_once: the README's first curl.
curl_once() {
    run bash -c "$(readme_commands README.md 2 | sed -n '1p') -sS -m 20 --noproxy '*'"
}

# got_nothing: curl_once was cut, before TLS began (7, 35) or as it asked (52, 55, 56).
got_nothing() {
    assert_output --regexp '^curl: \((7|35|52|55|56)\) [^'$'\n'']*$'
}

# names_clients NAME: the README's curls, from the port $from, get what it says; and
# who they are is in nginx's log and in relay's.
names_clients() {
    local client
    chain "$@"
    readme_commands README.md 2 | sed "s/^curl/& -sS -m 20 --noproxy '*' --local-port $from/" >curls
    run sh curls
    assert_output "127.0.0.2 $from
::1 $from"
    for client in 127.0.0.2 ::1; do
        wait_for grep "^$client $from via 127\.0\.0\.1 .* \"GET /client HTTP/1.1\" 200 " access.log
        wait_log chain " client=$(bracket "$client"):$from "
    done
}

# both_versions NAME: with the command's header, version 1, and with version 2.
both_versions() {
    names_clients "$1"
    stop chain
    names_clients "$1" 's/\<relay -v/relay -2 -v/'
    grep -qs '^[^#]*relay -2' commands ../../pipelines/tls-socat.sh ./*.sh
}

# forge SOCAT-ADDRESS: a request, after a header of the client's own. Does not
# half-close: hitch would take it for the end.
forge() {
    printf '%s\r\n' 'PROXY TCP4 6.6.6.6 6.6.6.6 666 666' 'GET /client HTTP/1.0' '' |
        "${inside[@]}" socat -t 0.1 -,ignoreeof "$1"
}

# not_believed: what forge got and left behind has nothing of its header.
not_believed() {
    refute_output --partial '6.6.6.6'
    [[ ! -e access.log ]] || run ! grep '^6\.6\.6\.6' access.log
}

# ends NAME [--tls]: what the chain carries of ends and resets. The server is ours.
ends() {
    chain "$1" '/^nginx/d'
    run python3 "$TESTS/chain.py" "${@:2}" "$port" "$server"
}

# --- who the client is ---

@test "TLS through relay to nginx: it names each client, v1 and v2" {
    both_versions tls-passthrough
}

@test "TLS ended by HAProxy behind relay: nginx names each client, v1 and v2" {
    both_versions tls-front-haproxy
    grep "^127\.0\.0\.2:$from \[" "$(log_file chain)"
    grep "^::1:$from \[" "$(log_file chain)"
}

@test "TLS ended by hitch behind relay: nginx names each client, v1 and v2" {
    both_versions tls-front-hitch
}

@test "TLS ended by socat before relay: nginx names each client, v1 and v2" {
    both_versions tls-front-socat
}

@test "relay's header inside TLS, by stunnel: nginx names each client, v1 and v2" {
    both_versions tls-behind-stunnel
}

@test "relay's header inside TLS, by socat: nginx names each client, v1 and v2" {
    both_versions tls-behind-socat
}

# from_there [SECONDS]: the README's curls, from the other machine.
from_there() {
    readme_commands README.md 2 | sed "s/^curl/& -sS -m ${1:-20} --noproxy '*' --local-port $from/
        s/127\.0\.0\.2/10.1.1.2/; s/:127\.0\.0\.1/:10.1.1.1/; s/ ::1/ fd01::2/; s/\[::1\]/[fd01::1]/" >curls
    run within there sh curls
}

@test "TLS ended by stunnel before a launcher: nginx names each client, v1 and v2" {
    local change client
    for change in '' 's/\<relay -v/relay -2 -v/'; do
        two_machines
        chain tls-front-stunnel "$change"
        from_there
        assert_output "10.1.1.2 $from
fd01::2 $from"
        for client in 10.1.1.2 fd01::2; do
            wait_log chain " client=$(bracket "$client"):$from "
            grep "^$client $from via 127\.0\.0\.1 " access.log
        done
        run "${inside[@]}" sh <(readme_commands README.md 2 | sed "s/^curl/& -sS -m 20 --noproxy '*'/")
        assert_output --regexp '^127\.0\.0\.2 [0-9]+'$'\n''::1 [0-9]+$'
        no_machines
    done
    grep -q '^[^#]*relay -2' commands
}

@test "stunnel before a launcher: without transparent it is the client, without the ip lines nobody is" {
    two_machines
    chain tls-front-stunnel '/^transparent/d'
    from_there
    assert_output --regexp '^127\.0\.0\.1 [0-9]+'$'\n''::1 [0-9]+$'
    no_machines
    two_machines
    chain tls-front-stunnel '/^ *ip /s/ip/true/'
    from_there 1
    assert_output --regexp '^curl: \(28\) .*'$'\n''curl: \(28\) .*$'
    run cat access.log
    assert_output ''
}

# --- ends ---

@test "HAProxy carries ends and resets as its README says" {
    ends tls-front-haproxy --tls
    assert_output "\
late-answer: backend question eof, client answer eof
late-words: backend words eof, client greeting eof
client-reset: backend question reset, client -
backend-reset: backend -, client greeting eof"
}

@test "hitch ends both directions with the first, as its README says" {
    ends tls-front-hitch --tls
    assert_output "\
late-answer: backend question eof, client eof
late-words: backend eof, client greeting eof
client-reset: backend question eof, client -
backend-reset: backend -, client greeting eof"
}

@test "a TLS tunnel carries half-closes, and no reset, as its READMEs say" {
    local name
    for name in tls-behind-stunnel tls-behind-socat; do
        ends "$name"
        assert_output "\
late-answer: backend question eof, client answer eof
late-words: backend words eof, client greeting eof
client-reset: backend question eof, client -
backend-reset: backend -, client greeting eof"
        stop chain
    done
}

@test "socat's TLS tunnel does not end relay before the client has the answer" {
    chain tls-behind-socat '/^nginx/d'
    start backend socat "TCP-LISTEN:$server,bind=127.0.0.1,reuseaddr" \
        SYSTEM:'cat >/dev/null; head -c 200000 /dev/zero'
    wait_listening "$server"
    # The client is a pipe, of which nobody reads for a second: less room than a socket.
    run sh -c 'printf question | sh "$1" | { sleep 1; wc -c; }' sh <(sed -n '/^ *socat /,$p' near.sh)
    assert_line 200000
}

# over COUNT: tcpserver has seen so many connections end, and nothing of them is left.
over() {
    [[ $(grep -c '^tcpserver: end ' "$(log_file chain)") == "$1" ]] &&
        ! left_of chain | xargs ps -o comm= -p | grep -E '^(socat|relay)$'
}

@test "clients that leave at once leave no socat behind that has a TLS connection" {
    chain tls-behind-socat
    leave close 5
    leave reset 5
    wait_for over 10
}

# --- what is not believed ---

@test "a header that the client itself sends is not believed in any chain" {
    local name to
    for name in tls-{passthrough,front-{haproxy,hitch,socat},behind-{stunnel,socat},front-stunnel}; do
        [[ $name != tls-front-stunnel ]] || two_machines
        chain "$name"
        to=TCP:127.0.0.1:$port,bind=127.0.0.2
        [[ $name == tls-behind-* ]] || to=OPENSSL:127.0.0.1:$port,bind=127.0.0.2,verify=0
        run forge "$to"
        assert_output --partial '400 Bad Request'
        not_believed
        stop chain
    done
}

# beside COMMAND...: another entrance than the chain's, known as "tcpserver"; curl_once
# goes there.
beside() {
    local port
    port=$(free_port)
    tcpserver_run "$port" "$@"
    sed -i "s#:[0-9]*:127#:$port:127#; s#//relay\.example:[0-9]*#//relay.example:$port#" README.md
}

@test "nginx that ends TLS believes no header from another address than relay's" {
    chain tls-passthrough
    beside "$RELAY" -b 127.0.0.3 "127.0.0.1:$next"
    curl_once
    assert_output --regexp '^127\.0\.0\.3 [0-9]+$'
    wait_for grep '^127\.0\.0\.3 [0-9]* via 127\.0\.0\.3 ' access.log
}

@test "HAProxy that ends TLS hangs up on a header from another address than relay's" {
    chain tls-front-haproxy
    beside "$RELAY" -b 127.0.0.3 "127.0.0.1:$next"
    curl_once
    got_nothing
    stop tcpserver
    beside "$RELAY" "127.0.0.1:$next"
    curl_once
    assert_output --regexp '^127\.0\.0\.2 [0-9]+$'
}

@test "nginx and HAProxy that end TLS refuse a connection without a header" {
    local name
    for name in tls-passthrough tls-front-haproxy; do
        chain "$name" 's/ relay -v/ relay -0/'
        curl_once
        got_nothing
        stop chain
    done
}

@test "nginx that ends TLS finds the version 2 header of a UNIX client too large, as its README says" {
    chain tls-passthrough
    start ipc s6-ipcserver "$(work_dir)/socket" "$RELAY" -2 "127.0.0.1:$next"
    wait_socket "$(work_dir)/socket"
    run curl -sS -m 20 -k --unix-socket "$(work_dir)/socket" https://relay.example/client
    got_nothing
    wait_log chain 'header is too large while reading PROXY protocol'
}

# --- certificates ---

@test "the far end of a TLS tunnel takes headers from the near end only" {
    local far
    chain tls-behind-stunnel
    far=OPENSSL:127.0.0.1:$next,verify=0
    run forge "$far"
    not_believed
    wait_log chain 'peer did not return a certificate'
    run forge "$far,cert=far.pem"
    not_believed
    wait_log chain 'certificate verify failed'
    run cat access.log
    assert_output ''
    run forge "$far,cert=near.pem"
    assert_output --partial '6.6.6.6 666'
}

# gets_nothing SED-SCRIPT NAME: with that change, nothing goes to the backend.
gets_nothing() {
    chain "$2" "$1"
    curl_once
    got_nothing
    wait_log chain 'certificate verify failed'
    run cat access.log
    assert_output ''
}

@test "nothing goes to a far end with another certificate, and the client gets nothing" {
    gets_nothing '/^CAfile/s/far/near/' tls-behind-stunnel
    stop chain
    gets_nothing 's/cafile=far/cafile=near/' tls-behind-socat
    run ! grep 'relay: ' "$(log_file chain)"
}

# --- what the READMEs warn of ---

@test "stunnel's exec under tcpserver: relay takes stunnel for the client" {
    chain tls-front-socat
    cat >stunnel.conf <<END
cert = $PWD/../../etc/tls.pem
exec = $PWD/../../relay
execArgs = relay 127.0.0.1:$server
END
    beside stunnel "$PWD/stunnel.conf"
    curl_once
    assert_output --regexp '^127\.0\.0\.1 [0-9]+$'
}
