#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay --bind=client, with the files of examples/transparent, between three
# machines that are network namespaces:
#
#   client  192.0.2.2       near  192.0.2.1     198.51.100.1      far  198.51.100.2
#           2001:db8:1::2         2001:db8:1::1 2001:db8:2::1          2001:db8:2::2
#
# near is relay's, far has its default route elsewhere, and both check where packets
# come from (rp_filter). Backends know nothing of the PROXY protocol.
#
# shellcheck disable=SC2153,SC2154 # set by helper and backend
# shellcheck disable=SC2317 # functions for wait_for

load helper
load backend

EXAMPLE=$ROOT/examples/transparent

setup_file() {
    [[ $(id -u) == 0 ]] || return 0
    chmod 711 "$BATS_RUN_TMPDIR"
    install -m 755 "$RELAY" "$BATS_FILE_TMPDIR/relay"
    printf '%s localhost\n' 127.0.0.1 ::1 >"$BATS_FILE_TMPDIR/hosts"
    head -c $((20 << 20)) /dev/urandom >"$BATS_FILE_TMPDIR/big"
    machines
    start_nginx
    start_sshd
    wait_for at far listening 8080 198.51.100.2
    wait_for at far listening 8081 2001:db8:2::2
    wait_for at far listening 2222
}

setup() {
    need_root 'a network namespace'
}

teardown_file() { stop_all; }

teardown() {
    stop_all
    [[ $(id -u) != 0 ]] || for name in near far; do no_routes "$name"; done
}

# --- the machines ---

# at MACHINE COMMAND...: run it there; a function of ours too.
at() {
    local pid
    pid=$(<"$BATS_FILE_TMPDIR/$1.pid")
    if declare -F "$2" >/dev/null; then
        nsenter -n -m --wd=. -t "$pid" -- bash -c "$(declare -f "$2" bracket); \"\$@\"" bash "${@:2}"
    else
        nsenter -n -m --wd=. -t "$pid" -- "${@:2}"
    fi
}

# start_at MACHINE NAME COMMAND...
start_at() {
    start "$2" nsenter -n -m --wd=. -t "$(<"$BATS_FILE_TMPDIR/$1.pid")" -- "${@:3}"
}

machines() {
    local name
    for name in client near far; do
        # shellcheck disable=SC2016 # for the inner shell
        start "$name" unshare -nm sh -c 'mount --bind "$1" /etc/hosts && ip link set lo up &&
            echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter && echo ready && exec sleep 10000' \
            sh "$BATS_FILE_TMPDIR/hosts"
        wait_log "$name" ready
    done
    link client net0 192.0.2.2/24 2001:db8:1::2/64 near net0 192.0.2.1/24 2001:db8:1::1/64
    link near net1 198.51.100.1/24 2001:db8:2::1/64 far net0 198.51.100.2/24 2001:db8:2::2/64
    link far else0 203.0.113.1/24 2001:db8:3::1/64 far else1 203.0.113.2/24 2001:db8:3::2/64
    at far ip route add default via 203.0.113.9 dev else0
    at far ip -6 route add default via 2001:db8:3::9 dev else0
}

# link MACHINE INTERFACE ADDRESS4 ADDRESS6 MACHINE INTERFACE ADDRESS4 ADDRESS6
link() {
    ip link add "$2" netns "$(<"$BATS_FILE_TMPDIR/$1.pid")" type veth \
        peer name "$6" netns "$(<"$BATS_FILE_TMPDIR/$5.pid")"
    while (($# > 0)); do
        at "$1" ip address add "$3" dev "$2"
        at "$1" ip address add "$4" dev "$2" nodad
        at "$1" ip link set "$2" up
        shift 4
    done
}

# routes add|del [PORT]: those of the README for the other machine.
routes() {
    readme_commands "$EXAMPLE/README.md" 2 | sed "s/ add / $1 /; s/8080/${2:-8080}/" | (cd "$EXAMPLE" && at near sh -e)
    readme_commands "$EXAMPLE/README.md" 3 | sed "s/ add / $1 /; s/8080/${2:-8080}/" | (cd "$EXAMPLE" && at far sh -e)
}

# no_routes MACHINE: whatever a test has left.
no_routes() {
    # shellcheck disable=SC2016 # for the inner shell
    at "$1" sh -c 'for family in -4 -6; do
        while ip "$family" rule del priority 100 2>/dev/null; do :; done
    done'
}

# --- far's backends: nginx, 8080; nginx with the protocol, 8081; sshd, 2222 ---

start_nginx() {
    local dir
    dir=$(user_dir nginx)
    mkdir "$dir/html"
    ln "$BATS_FILE_TMPDIR/big" "$dir/html/big"
    sed "s/127.0.0.1:8080/198.51.100.2:8080/; s/::1\]:8080/2001:db8:2::2]:8080/; s/ proxy_protocol;/;/
        s/^ *log_format relay .*/log_format both '\$remote_addr \$proxy_protocol_addr';\n&/
        /set_real_ip_from/d; /real_ip_header/d
        \$i server { listen 198.51.100.2:8081 proxy_protocol; listen [2001:db8:2::2]:8081 proxy_protocol; access_log both.log both; location / { return 204; } }" \
        "$ROOT/examples/nginx.conf" >"$dir/nginx.conf"
    start_at far nginx "${as_user[@]}" nginx -p "$dir" -c "$dir/nginx.conf" -g 'daemon off;'
}

start_sshd() {
    local dir
    dir=$(user_dir sshd)
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$dir/key" 2>/dev/null
    chown nobody "$dir/key"
    start_at far sshd "${as_user[@]}" "$TESTS/build/openssh-server/usr/sbin/sshd" -D -e -f /dev/null \
        -h "$dir/key" -o PidFile=none -o LogLevel=VERBOSE -o Port=2222
}

# --- relay, on near ---

CAPS=-all,+net_raw,+net_bind_service

# transparent RELAY-ARGUMENT...: under tcpserver, port 80, as the README has it.
transparent() {
    relay_as nobody "$CAPS" "$@"
}

# relay_as USER CAPABILITIES RELAY-ARGUMENT...
relay_as() {
    start_at near tcpserver setpriv --reuid "$1" --regid nogroup --clear-groups --inh-caps "$2" --ambient-caps "$2" \
        "$TCPSERVER6" -6 -v -H -R -l 0 0 80 "${relay:-$BATS_FILE_TMPDIR/relay}" -v "${@:3}"
    wait_for at near listening 80
}

# get ADDRESS-FAMILY PATH [CURL-ARGUMENT...]: from client, through near.
get() {
    local host=192.0.2.1
    [[ $1 == 4 ]] || host='[2001:db8:1::1]'
    at client curl -gsS -m 20 "${@:3}" "http://$host$2"
}

address_of() {
    if [[ $1 == 4 ]]; then echo 192.0.2.2; else echo 2001:db8:1::2; fi
}

# said: relay's lines, without ports and times.
said() {
    wait_for no_child_of_tcpserver
    relay_lines | sed -E 's/^relay: //; s/(client=[^ ]*):[0-9]+ /\1:PORT /; s/ up=.*//'
}

# tcpserver took the place of nsenter and setpriv.
no_child_of_tcpserver() { no_child tcpserver; }

# --- what is promised ---

@test "the README's commands: a backend on relay's machine logs the client" {
    local family
    (cd "$EXAMPLE" && start_at near readme sh -c "PATH=$BATS_FILE_TMPDIR:\$PATH
        cd '$EXAMPLE'
        $(readme_commands README.md | sed "s|tcpserver |$TCPSERVER6 -6 |")
        wait")
    wait_for at near listening 80
    wait_for at near listening 8080 127.0.0.1
    wait_for at near listening 8080 ::1
    for family in 4 6; do
        run get "$family" /
        assert_output --partial README.md
        wait_for grep -E "^$(address_of "$family") - - \[.*\] \"GET / HTTP/1.1\" 200 -" "$(log_file readme)"
    done
    # From the machine itself, too.
    at near curl -sS -m 10 -o /dev/null http://127.0.0.1/
    wait_for grep '^127\.0\.0\.1 - - ' "$(log_file readme)"
}

@test "a backend on another machine knows the client, by the README's routes" {
    local family
    routes add
    transparent -0 -b client 198.51.100.2:8080
    run get 4 /client
    assert_output --regexp '^192\.0\.2\.2 [0-9]+$'
    stop tcpserver
    transparent -0 -b client '[2001:db8:2::2]:8080'
    run get 6 /client
    assert_output --regexp '^2001:db8:1::2 [0-9]+$'
    for family in 4 6; do
        wait_for grep -E "^$(address_of "$family") [0-9]+ via $(address_of "$family") .* \"GET /client" "$BATS_FILE_TMPDIR/nginx/access.log"
    done
    routes del
    run ! grep 100: <(at near ip rule; at near ip -6 rule; at far ip rule; at far ip -6 rule)
}

@test "sshd knows the client, and speaks first" {
    routes add 2222
    transparent -0 -b client 198.51.100.2:2222
    run at client socat -u -T 5 TCP:192.0.2.1:80 STDOUT,end-close < <(sleep 1)
    assert_line --regexp '^SSH-2\.0-OpenSSH'
    wait_for grep -E '^Connection from 192\.0\.2\.2 port [0-9]+ on 198\.51\.100\.2 port 2222' "$BATS_FILE_TMPDIR/sshd.log"
}

@test "with a header the packets and the header agree" {
    local family backend=198.51.100.2
    routes add 8081
    for family in 4 6; do
        transparent -2 -b client "$(bracket "$backend"):8081"
        run get "$family" / -o /dev/null -w '%{http_code}'
        assert_output 204
        wait_for grep -xF "$(address_of "$family") $(address_of "$family")" "$BATS_FILE_TMPDIR/nginx/both.log"
        stop tcpserver
        backend=2001:db8:2::2
    done
}

@test "many bytes arrive" {
    routes add
    transparent -0 -b client 198.51.100.2:8080 '[2001:db8:2::2]:8080'
    get 4 /big | cmp - "$BATS_FILE_TMPDIR/big"
    get 6 /big | cmp - "$BATS_FILE_TMPDIR/big"
}

@test "the client that a header names is the one, with --accept-from" {
    local header
    routes add
    transparent -0 -b client -a 192.0.2.2 198.51.100.2:8080
    # An IPv4 address inside IPv6 is one, too.
    for header in 'TCP4 203.0.113.77 192.0.2.1' 'TCP6 ::ffff:203.0.113.77 2001:db8::1'; do
        run at client socat -t 10 - TCP:192.0.2.1:80 \
            < <(printf 'PROXY %s 1234 80\r\nGET /client HTTP/1.0\r\n\r\n' "$header")
        assert_line --regexp '^203\.0\.113\.77 [0-9]+'
    done
}

# --- several backends ---

@test "the next backend is tried from the client's address, too" {
    routes add
    transparent -0 -b client 198.51.100.2:8079 198.51.100.2:8080
    # Nobody listens at the first, and its refusal needs a way back as well.
    routes add 8079
    run get 4 /client
    assert_output --regexp '^192\.0\.2\.2 '
    run said
    assert_line --index 0 'skipped msg="cannot connect: Connection refused: does the backend listen there?" client=192.0.2.2:PORT server=192.0.2.1:80 backend=198.51.100.2:8079'
}

@test "a backend of the other address family is passed over" {
    routes add
    transparent -0 -b client 198.51.100.2:8080 '[2001:db8:2::2]:8080'
    run get 6 /client
    assert_output --regexp '^2001:db8:1::2 '
    run said
    assert_line --index 0 'skipped msg="the backend has no IPv6 address: --bind needs one" client=[2001:db8:1::2]:PORT server=[2001:db8:1::1]:80 backend=198.51.100.2:8080'
}

# --- when it cannot be ---

# assert_cut FAMILY: the client gets a reset, and no byte; curl may not even have
# seen that it was connected.
assert_cut() {
    run get "$1" /client
    assert_failure
    assert_output --regexp "^curl: \((56\) .*Connection reset by peer|7\) .*Couldn't connect to server)\$"
}

@test "an IPv6 client with an IPv4 backend is told in one line" {
    transparent -0 -b client 198.51.100.2:8080
    assert_cut 6
    run said
    assert_output 'error msg="the backend has no IPv6 address: --bind needs one" client=[2001:db8:1::2]:PORT server=[2001:db8:1::1]:80 backend=198.51.100.2:8080'
}

@test "without the routes relay asks for them" {
    transparent -0 -t 1 -b client 198.51.100.2:8080
    assert_cut 4
    run said
    # musl calls it an operation, glibc a connection.
    assert_equal "${output/Connection timed/Operation timed}" "error msg=\"cannot connect: Operation timed out: do its answers to the client's address come here?\" client=192.0.2.2:PORT server=192.0.2.1:80 backend=198.51.100.2:8080"
}

@test "without the right to it relay says which it needs" {
    relay_as nobody -all,+net_bind_service -0 -b client 198.51.100.2:8080
    assert_cut 4
    run said
    assert_output 'error msg="--bind=client: Operation not permitted: relay needs the capability CAP_NET_RAW" client=192.0.2.2:PORT server=192.0.2.1:80 backend=198.51.100.2:8080'
    wait_log tcpserver ' status 28416' # 111
}

@test "setcap gives a user the right" {
    local relay=$BATS_TEST_TMPDIR/relay
    routes add
    chmod go+x "$BATS_TEST_TMPDIR"
    install -m 755 "$RELAY" "$relay"
    "$(readme_setcap)" cap_net_raw+ep "$relay"
    relay_as nobody -all,+net_bind_service -0 -b client 198.51.100.2:8080
    run get 4 /client
    assert_output --regexp '^192\.0\.2\.2 '
}

# The command, which the README names.
readme_setcap() {
    grep -oE '`setcap cap_net_raw\+ep ' "$EXAMPLE/README.md" | tr -d '`' | cut -d ' ' -f 1
}

@test "a client without an IP address is told in one line" {
    local status=0
    "$RELAY" -0 -b client 192.0.2.9:80 < <(:) 2>"$BATS_TEST_TMPDIR/err" | cat || status=${PIPESTATUS[0]}
    run cat "$BATS_TEST_TMPDIR/err"
    assert_output 'relay: error msg="--bind=client: this client has no IP address" backend=192.0.2.9:80'
    start unix socat "UNIX-LISTEN:$BATS_TEST_TMPDIR/socket" "EXEC:$RELAY -0 -b client 192.0.2.9\\:80,nofork"
    wait_socket "$BATS_TEST_TMPDIR/socket"
    run socat - "UNIX:$BATS_TEST_TMPDIR/socket" </dev/null
    exit_status unix || status=$?
    assert_equal "$status" 100
    run grep -c '' "$(log_file unix)"
    assert_output 1
    run cat "$(log_file unix)"
    assert_output --regexp '^relay: error msg="--bind=client: this client has no IP address" client=unix server=.*/socket backend=192\.0\.2\.9:80$'
}
