#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay behind a proxy: examples/behind/, what each README tells people to type, with
# the real ports and addresses, in networks of the suite's own. nlb's units are in
# systemd.bats.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2154 # set by run
# shellcheck disable=SC2317 # functions for wait_for

load helper
load backend

CHAINS=(haproxy nginx tls)

export no_proxy='*' # for curl

setup_file() {
    local chain number
    need_root 'a network'
    chmod go+x "$BATS_RUN_TMPDIR" # for tls's socat, which becomes nobody
    mkdir "$BATS_FILE_TMPDIR"/bin{,6}
    install "$RELAY" "$BATS_FILE_TMPDIR/bin"
    install "$TCPSERVER6" "$BATS_FILE_TMPDIR/bin6"
    for chain in "${CHAINS[@]}"; do
        network "$chain"
        cp -r "$ROOT/examples" "$BATS_FILE_TMPDIR/$chain.d"
        types "$chain" "$chain" "$chain"
    done
    several_networks
    cp -r "$ROOT/examples" "$BATS_FILE_TMPDIR/several.d"
    # More checks, but no more haste for their answers.
    sed -i 's/ inter 2s/ inter 500ms/; s/^defaults$/&\n    timeout check 10s/' "$(chain_dir several)/haproxy.cfg"
    types backend several backend 1
    types relay1 several relay1 2
    types relay2 several relay2 2
    types balancer several balancer 3
    for chain in "${CHAINS[@]}"; do
        for number in 80 8080 8081; do
            [[ $chain != tls || $number != 80 ]] || number=443
            wait_inside "$chain" "$number"
        done
    done
    wait_inside backend 8080
    wait_inside relay1 80
    wait_inside relay2 80
    wait_inside balancer 80
}

teardown_file() { stop_all; }

teardown() { stop_all; }

# --- networks ---

# network NAME: one of its own, known as NAME.
network() {
    start "$1" unshare --net sleep infinity
    wait_for elsewhere "$(suite_pid "$1")"
    inside "$1" ip link set lo up
}

elsewhere() {
    [[ $(readlink "/proc/$1/ns/net") != "$(readlink /proc/self/ns/net)" ]]
}

suite_pid() {
    cat "$BATS_FILE_TMPDIR/$1.pid"
}

# inside NETWORK COMMAND...
inside() {
    nsenter --target "$(suite_pid "$1")" --net "${@:2}"
}

# cable NETWORK DEVICE NETWORK DEVICE: between the two.
cable() {
    inside "$1" ip link add "$2" type veth peer name "$4" netns "$(suite_pid "$3")"
    inside "$1" ip link set "$2" up
    inside "$3" ip link set "$4" up
}

# switch NETWORK DEVICE DEVICE...: the first, made of the others.
switch() {
    local device
    inside "$1" ip link add "$2" type bridge
    for device in "${@:3}"; do
        inside "$1" ip link set "$device" master "$2"
    done
    inside "$1" ip link set "$2" up
}

# addresses NETWORK DEVICE ADDRESS...
addresses() {
    local address options
    for address in "${@:3}"; do
        options=()
        [[ $address != *:* ]] || options=(nodad)
        inside "$1" ip address add "$address" dev "$2" "${options[@]}"
    done
}

# What several/README.md draws; and the balancer's machine is the clients' router, so
# that they can reach a relay host, too.
several_networks() {
    local host
    for host in clients balancer relay1 relay2 backend; do
        network "$host"
    done
    cable clients eth0 balancer outer
    cable balancer port1 relay1 front
    cable balancer port2 relay2 front
    cable relay1 back backend port1
    cable relay2 back backend port2
    switch balancer inner port1 port2
    switch backend eth0 port1 port2
    addresses clients eth0 203.0.113.{7,8}/24 2001:db8:a::{7,8}/64
    addresses balancer outer 203.0.113.1/24 2001:db8:a::1/64
    addresses balancer inner 192.0.2.1/24 2001:db8:b::1/64
    for host in 1 2; do
        addresses "relay$host" front "192.0.2.1$host/24" "2001:db8:b::1$host/64"
        addresses "relay$host" back "198.51.100.1$host/24" "2001:db8:c::1$host/64"
        inside "relay$host" ip route add 203.0.113.0/24 via 192.0.2.1
        inside "relay$host" ip route add 2001:db8:a::/64 via 2001:db8:b::1
    done
    addresses backend eth0 198.51.100.80/24 2001:db8:c::80/64
    inside clients ip route add 192.0.2.0/24 via 203.0.113.1
    inside clients ip route add 2001:db8:b::/64 via 2001:db8:a::1
    inside balancer sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}

# wait_inside NETWORK PORT: until somebody listens there.
wait_inside() {
    wait_for inside "$1" bash -c "$(declare -f listening); listening $2"
}

# unheard NETWORK PORT: nobody listens there.
unheard() {
    ! inside "$1" bash -c "$(declare -f listening); listening $2"
}

# --- chains ---

chain_dir() {
    echo "$BATS_FILE_TMPDIR/$1.d/behind/$1"
}

# types NETWORK CHAIN NAME [N]: there, the Nth block of its README, and lets it run,
# known as NAME-commands.
types() {
    local path=$BATS_FILE_TMPDIR/bin:$PATH
    [[ $2 != several ]] || path=$BATS_FILE_TMPDIR/bin6:$path
    readme_commands "$(chain_dir "$2")/README.md" "${4:-1}" >"$(work_dir)/$3.sh"
    grep -q . "$(work_dir)/$3.sh"
    start "$3-commands" nsenter --target "$(suite_pid "$1")" --net env PATH="$path" \
        sh -ec "cd '$(chain_dir "$2")' && . '$(work_dir)/$3.sh' && wait"
}

# runs NETWORK NAME COMMAND...: known as NAME.
runs() {
    start "$2" nsenter --target "$(suite_pid "$1")" --net "${@:3}"
}

# launches NETWORK PORT RELAY-ARGUMENT...: one more relay there, under tcpserver on
# 127.0.0.1, known as tcpserver.
launches() {
    runs "$1" tcpserver tcpserver -v -H -R -l 0 127.0.0.1 "$2" "$RELAY" "${@:3}"
    wait_inside "$1" "$2"
}

# logged FILE CLIENT PORT [TEXT]: a line of it names that client, with this text.
logged() {
    local client
    case $1 in
    *access.log) client="$2 $3 " ;;
    *haproxy.log) client="$2:$3 " ;;
    *) client=" client=$(bracket "$2"):$3 " ;;
    esac
    grep -F -e "$client" "$1" | grep -F -e "${4:-}"
}

# fetch NETWORK URL [CURL-ARGUMENT...]
fetch() {
    inside "$1" curl -sS -m 30 "${@:3}" "$2"
}

# asks_with_header NETWORK FROM TO PORT [HEADER]: as who is no balancer, with a
# header of its own.
asks_with_header() {
    local header=${5:-PROXY TCP4 6.6.6.6 6.6.6.6 666 666}
    printf '%s\r\nGET /client HTTP/1.0\r\n\r\n' "$header" |
        inside "$1" socat -t 30 - "TCP:$(bracket "$3"):$4,bind=$(bracket "$2"),shut-none"
}

# lines_of FILE: how many.
lines_of() {
    wc -l <"$1"
}

# --- a proxy in front, on the same machine ---

# shows_clients CHAIN LOG...: what its README says of two clients.
shows_clients() {
    local chain=$1 asks answers client port log
    asks=$(readme_commands "$(chain_dir "$chain")/README.md" 2)
    answers=$(inside "$chain" sh -ec "$asks")
    assert_equal "$(cut -d' ' -f1 <<<"$answers")" $'127.0.0.2\n::1'
    while read -r client port; do
        for log in "${@:2}"; do
            wait_for logged "$(chain_dir "$chain")/$log" "$client" "$port"
        done
        wait_for logged "$(chain_dir "$chain")/relay.log" "$client" "$port" ' via=127.0.0.1:'
    done <<<"$answers"
}

@test "behind HAProxy, its README's clients are known to the backend and in all logs" {
    shows_clients haproxy access.log haproxy.log
}

@test "behind nginx, its README's clients are known to the backend and in relay's log" {
    shows_clients nginx access.log
}

@test "who is not the proxy is refused and logged, and the backend hears nothing" {
    local chain log before
    for chain in haproxy nginx; do
        log=$(chain_dir "$chain")/access.log before=$(lines_of "$log")
        run asks_with_header "$chain" 127.0.0.3 127.0.0.1 8081
        refute_output --partial HTTP/
        wait_for grep -F 'error msg="refused: not in --accept-from" client=127.0.0.3:' \
            "$(chain_dir "$chain")/relay.log"
        # The same that the proxy might say: from its address it is heard.
        run asks_with_header "$chain" 127.0.0.1 127.0.0.1 8081
        assert_line --partial '6.6.6.6 666'
        assert_equal "$(lines_of "$log")" $((before + 1))
    done
}

@test "with -a any, whoever reaches the port is believed whatever he claims" {
    launches haproxy 8082 -a any 127.0.0.1:8080
    run asks_with_header haproxy 127.0.0.3 127.0.0.1 8082
    assert_line --partial '6.6.6.6 666'
    wait_for logged "$(chain_dir haproxy)/access.log" 6.6.6.6 666
}

@test "a client that sends a header of its own through the proxy does not become another" {
    local chain
    for chain in haproxy nginx; do
        run asks_with_header "$chain" 127.0.0.3 127.0.0.1 80
        assert_output --partial ' 400 '
        refute_output --partial 6.6.6.6
    done
}

# second CHAIN [SED-SCRIPT]: another proxy with this change, which listens on port 90,
# for 127.0.0.1:8082; known as second.
second() {
    local dir
    dir=$(chain_dir "$1")
    case $1 in
    haproxy)
        sed -e 's/8081/8082/; s/:80$/:90/; s/:80 v6/:90 v6/' -e "${2:-}" "$dir/haproxy.cfg" >"$dir/second.cfg"
        runs haproxy second haproxy -f "$dir/second.cfg"
        ;;
    nginx)
        sed -e 's/8081/8082/; s/:80;/:90;/; s/ 80;/ 90;/; s/front\.pid/second.pid/' -e "${2:-}" \
            "$dir/front.conf" >"$dir/second.conf"
        runs nginx second nginx -p "$dir" -c "$dir/second.conf" -g 'daemon off;'
        ;;
    esac
    wait_inside "$1" 90
}

@test "a proxy that sends no header: relay refuses its clients, and says why" {
    local chain
    for chain in haproxy nginx; do
        launches "$chain" 8082 -a 127.0.0.1 127.0.0.1:8080
        second "$chain" 's/ send-proxy-v2 check//; s/proxy_protocol on;//'
        run fetch "$chain" http://127.0.0.1:90/client
        assert_failure
        wait_log tcpserver 'error msg="refused: no valid PROXY header'
        stop tcpserver
        stop second
    done
}

@test "relay without -a behind a proxy: the backend answers 400" {
    local chain
    for chain in haproxy nginx; do
        launches "$chain" 8082 127.0.0.1:8080
        second "$chain"
        run fetch "$chain" http://127.0.0.1:90/client -i
        assert_output --partial ' 400 '
        stop tcpserver
        stop second
    done
}

@test "HAProxy's header is version 2, nginx's version 1" {
    local chain
    # Whoever connects gets back what he has sent first.
    for chain in haproxy nginx; do
        runs "$chain" tcpserver tcpserver -H -R -l 0 127.0.0.1 8082 head -c 14
        wait_inside "$chain" 8082
        second "$chain" 's/ check$//'
        fetch "$chain" http://127.0.0.1:90/ --http0.9 --interface 127.0.0.2 >"$BATS_TEST_TMPDIR/$chain" || true
        stop tcpserver
        stop second
    done
    assert_equal "$(hexdump_of "$BATS_TEST_TMPDIR/haproxy")" 0d0a0d0a000d0a515549540a2111
    assert_equal "$(<"$BATS_TEST_TMPDIR/nginx")" 'PROXY TCP4 127'
}

@test "behind HAProxy, relay may have a UNIX socket that only HAProxy may open" {
    local dir=$BATS_FILE_TMPDIR/run words
    install -d -o haproxy "$dir"
    # What README says, with this directory, and port 90.
    words=$(grep -o 's6-ipcserver -a[^`]*' "$(chain_dir haproxy)/README.md" |
        sed "s|/run/haproxy/|$dir/|; s| relay -v| $BATS_FILE_TMPDIR/bin/relay -v|")
    # shellcheck disable=SC2086 # words
    runs haproxy ipcserver setpriv --reuid=haproxy --regid=haproxy --clear-groups $words
    wait_for inside haproxy bash -c "$(declare -f socket_open); socket_open $dir/relay.sock"
    words=$(grep -o 'server relay /[^`]*' "$(chain_dir haproxy)/README.md" | sed "s|/run/haproxy/|$dir/|")
    second haproxy "s|server relay .*|$words|"
    run fetch haproxy 'http://[::1]:90/client' --interface ::1
    assert_output --regexp '^::1 [0-9]+$'
    wait_log ipcserver " client=[::1]:${output#* } "
    run setpriv --reuid=nobody --clear-groups socat -u /dev/null "UNIX-CONNECT:$dir/relay.sock"
    assert_output --partial 'Permission denied'
}

# --- health checks ---

# checked SED-SCRIPT RELAY-ARGUMENT...: relay, and a HAProxy with that change which
# checks it five times a second; until it has done so five times.
checked() {
    launches haproxy 8082 "${@:2}" 127.0.0.1:8080
    second haproxy "s/ check\$/ check inter 200ms/; s/^defaults\$/&\n    timeout check 10s/; $1"
    wait_for five_ended
    stop second
    wait_for no_child tcpserver
    # HAProxy was content.
    run ! grep DOWN "$(log_file second)"
    run ! grep -E '^tcpserver: end [0-9]+ status [^0]' "$(log_file tcpserver)"
}

five_ended() {
    (($(grep -c '^tcpserver: end .* status 0$' "$(log_file tcpserver)") >= 5))
}

@test "HAProxy's checks leave nothing in relay's log, nor in the backend's" {
    local log before send
    log=$(chain_dir haproxy)/access.log before=$(lines_of "$log")
    for send in send-proxy-v2 send-proxy; do
        checked "s/send-proxy-v2/$send/" -a 127.0.0.1
        run relay_lines
        assert_output ''
        stop tcpserver
    done
    assert_equal "$(lines_of "$log")" "$before"
}

@test "with -v each of HAProxy's checks is a line without a client, and no error" {
    checked '' -v -a 127.0.0.1
    run relay_lines
    refute_line --partial error
    assert [ "${#lines[@]}" -ge 5 ]
    # Reset before relay has asked who it is, or after.
    run ! grep -vE '^relay: closed (client=127\.0\.0\.1:([0-9]+) server=127\.0\.0\.1:8082 (via=127\.0\.0\.1:\2 )?)?backend=.* end=(client-reset|done)$' \
        <(relay_lines)
}

@test "HAProxy's HTTP checks ask the backend, through relay, as HAProxy" {
    local log asked='^127\.0\.0\.1 .*"GET /client HTTP/1.0" 200 ' before
    log=$(chain_dir haproxy)/access.log before=$(grep -c "$asked" "$log" || true)
    checked '/^backend/a option httpchk GET /client' -v -a 127.0.0.1
    run ! grep -vE '^relay: closed client=127\.0\.0\.1:([0-9]+) server=127\.0\.0\.1:8082 via=127\.0\.0\.1:\1 backend=.* up=[1-9][0-9]* down=[1-9]' \
        <(relay_lines)
    assert [ "$(grep -c "$asked" "$log")" -ge $((before + 5)) ]
}

# --- a cloud's balancer ---

# nlb_header ARGUMENT...: what its header.py writes.
nlb_header() {
    python3 "$ROOT/examples/behind/nlb/header.py" "$@"
}

@test "a cloud balancer's header is as one that was seen on the wire" {
    assert_equal "$(nlb_header | hexdump_of /dev/stdin)" \
        "0d0a0d0a000d0a515549540a20110054030004bce5951f04004a$(printf '%0148d' 0)"
}

# endpoint_through NETS: to relay -2, a header with a VPC endpoint from 127.0.1.9, and
# one from 127.0.3.9. Prints what reaches the backend, a line for each connection.
endpoint_through() {
    local port backend from file
    port=$(free_port) backend=$(free_port)
    backend_record "$backend"
    tcpserver_relay "$port" -2 -a "$1" "127.0.0.1:$backend"
    for from in 127.0.1.9 127.0.3.9; do
        nlb_header 203.0.113.7 51234 198.51.100.2 80 vpce-08d2bf15fac5001c9 |
            ask "$port" '' "$from" 2>/dev/null || true
    done
    wait_for no_child tcpserver
    for file in "$(work_dir)"/backend/*.all; do
        hexdump_of "$file" && echo
    done
    stop tcpserver
    stop backend
    rm -r "$(work_dir)/backend"
}

@test "a cloud balancer's VPC endpoint travels on in version 2, with -a any from anybody" {
    # Without checksum and padding: 12 bytes of addresses, 26 of the TLV.
    local header=0d0a0d0a000d0a515549540a21110026cb007107c6336402c8220050
    header+=ea001701$(printf vpce-08d2bf15fac5001c9 | hexdump_of /dev/stdin)
    run endpoint_through 127.0.1.0/24,127.0.2.0/24
    assert_output "$header"
    run endpoint_through any
    assert_output "$header"$'\n'"$header"
}

# --- TLS ---

# asks_tls PORT CLIENT [CURL-ARGUMENT...]: for the name in the certificate.
asks_tls() {
    local to=127.0.0.1
    [[ $2 != *:* ]] || to=::1
    (cd "$(chain_dir tls)" && fetch tls "https://relay.example:$1/" --cacert server.crt \
        --interface "$2" --resolve "relay.example:$1:$(bracket "$to")" "${@:3}")
}

ALICE=(--cert alice.crt --key alice.key)

@test "the application is told of TLS, and of the client's certificate" {
    local asks shown
    asks=$(readme_commands "$(chain_dir tls)/README.md" 2)
    shown=$(awk '/^```/ { text = $0 == "```text"; next } text' "$(chain_dir tls)/README.md")
    run --separate-stderr inside tls sh -ec "cd '$(chain_dir tls)' && $asks"
    assert_equal "$(sed '1s/ [0-9]*$//' <<<"$output")" "$(sed '1s/ [0-9]*$//' <<<"$shown")"
    wait_for logged "$(chain_dir tls)/relay.log" ::1 "${lines[0]##* }" ' via=127.0.0.1:'
    wait_for logged "$(chain_dir tls)/haproxy.log" ::1 "${lines[0]##* }"
    run varnishncsa -d -n "$(chain_dir tls)/varnish"
    assert_line --regexp '^::1 .*"GET http://relay.example/ HTTP/1.1" 200 '

    run asks_tls 443 127.0.0.2
    assert_line --index 0 --regexp '^client 127\.0\.0\.2 [0-9]+$'
    assert_line 'asked for relay.example'
    assert_line --regexp '^TLS TLSv1\.3 TLS_AES_'
    assert_line 'certificate '
    assert_line 'verified '
}

@test "a name that a client gives itself in HTTP is not believed" {
    run asks_tls 443 127.0.0.2 -H 'X-Client-Name: alice'
    assert_line 'verified '
}

# Relay itself writes the header that names alice, as if sslserver had verified her.
claims_to_be_alice() {
    printf 'GET / HTTP/1.0\r\n\r\n' |
        inside tls env PROTO=TCP TCPREMOTEIP=6.6.6.6 TCPREMOTEPORT=666 TCPLOCALIP=6.6.6.6 TCPLOCALPORT=666 \
            SSL_PROTOCOL=TLSv1.3 SSL_CLIENT_S_DN_CN=alice "$RELAY" -2 -s -b 127.0.0.3 "127.0.0.1:$1"
}

@test "with -a any, whoever reaches the port has any certificate; with HAProxy's address, nobody" {
    run claims_to_be_alice 8081
    refute_output --partial alice
    wait_for grep -F 'error msg="refused: not in --accept-from" client=127.0.0.3:' "$(chain_dir tls)/relay.log"
    launches tls 8082 -2 -a any 127.0.0.1:8080
    run claims_to_be_alice 8082
    assert_line 'client 6.6.6.6 666'
    assert_line 'verified alice'
}

@test "version 1 has no room for TLS: the address is all that travels on" {
    sed 's/:443 /:444 /; s/8081/8082/' "$(chain_dir tls)/front.cfg" >"$(chain_dir tls)/front1.cfg"
    launches tls 8082 -1 -a 127.0.0.1 127.0.0.1:8080
    runs tls haproxy sh -c "cd '$(chain_dir tls)' && exec haproxy -f front1.cfg"
    wait_inside tls 444
    run asks_tls 444 ::1 "${ALICE[@]}"
    assert_line --index 0 --regexp '^client ::1 [0-9]+$'
    assert_line 'asked for '
    assert_line 'certificate '
}

@test "socat in the launcher's place tells the certificate's name, and relay the rest" {
    local client
    types tls tls socat 3
    wait_inside tls 8443
    for client in 127.0.0.2 ::1; do
        run asks_tls 8443 "$client" "${ALICE[@]}"
        assert_line --index 0 --regexp "^client $client [0-9]+\$"
        assert_line 'asked for relay.example'
        assert_line 'certificate alice'
        assert_line 'verified '
        wait_for logged "$(chain_dir tls)/socat.log" "$client" "${lines[0]##* }" ' end=done'
    done
    run asks_tls 8443 127.0.0.2
    assert_failure
}

# --- several relay hosts ---

# balanced URL CLIENT COUNT [SED-SCRIPT]: so many connections of that client; each one's
# answer is its address, and nginx has it. Prints by which relay host each came.
balanced() {
    local log i answer
    log=$(chain_dir several)/access.log
    for ((i = 0; i < $3; i++)); do
        answer=$(fetch clients "$1/client" --interface "$2") || return
        [[ $answer == "$2 "* ]] || { echo "not $2: $answer" && return 1; }
        wait_for logged "$log" "${answer% *}" "${answer#* }" ' via ' || return
        grep -F "$answer via " "$log" | sed 's/.* via \([^ ]*\) .*/\1/' | tail -n 1
    done
}

# of_the_suite COMMAND...: with what setup_file has started, or as if it did.
of_the_suite() {
    (unset BATS_TEST_TMPDIR && "$@")
}

relays_log() {
    echo "$BATS_FILE_TMPDIR/$1-commands.log"
}

# wait_both_up: until the balancer sends connections to both relay hosts.
wait_both_up() {
    both_up() {
        run balanced http://203.0.113.1 203.0.113.7 4
        [[ $output == *.11* && $output == *.12* ]]
    }
    wait_for both_up
}

@test "several relay hosts: the backend knows IPv4 and IPv6 clients, whichever host they come by" {
    local to client
    wait_both_up
    for to in '203.0.113.1 203.0.113.7' '203.0.113.1 203.0.113.8' '[2001:db8:a::1] 2001:db8:a::7'; do
        client=${to#* } to=${to% *}
        run balanced "http://$to" "$client" 4
        assert_success
        assert_equal "$(sort -u <<<"$output")" $'198.51.100.11\n198.51.100.12'
        wait_for grep -F "client=$(bracket "$client"):" "$(relays_log relay1)"
        wait_for grep -F "client=$(bracket "$client"):" "$(relays_log relay2)"
    done
    run ! grep -F 'error msg' "$(relays_log relay1)" "$(relays_log relay2)"
    # The balancer's checks are its own.
    wait_for grep '^192\.0\.2\.1 .* "GET /client HTTP/1.0" 200 ' "$(chain_dir several)/access.log"
}

@test "several relay hosts: all the way over IPv6" {
    local host
    sed 's/192\.0\.2\.\(1[12]\):80/[2001:db8:b::\1]:90/; s/:80$/:90/; s/:80 v6/:90 v6/' \
        "$(chain_dir several)/haproxy.cfg" >"$BATS_TEST_TMPDIR/haproxy.cfg"
    for host in relay1 relay2; do
        runs "$host" "$host" "$TCPSERVER6" -H -R -l 0 0 90 \
            "$RELAY" -v -a 192.0.2.1,2001:db8:b::1 '[2001:db8:c::80]:8080'
        wait_inside "$host" 90
    done
    runs balancer haproxy haproxy -f "$BATS_TEST_TMPDIR/haproxy.cfg"
    wait_inside balancer 90
    run balanced 'http://[2001:db8:a::1]:90' 2001:db8:a::7 4
    assert_success
    assert_equal "$(sort -u <<<"$output")" $'2001:db8:c::11\n2001:db8:c::12'
    wait_log relay1 ' via=[2001:db8:b::1]:'
}

@test "a client that comes to a relay host directly is refused and logged, whatever it claims" {
    local from to log before
    log=$(chain_dir several)/access.log
    for from in 203.0.113.7 2001:db8:a::7; do
        to=192.0.2.11
        [[ $from != *:* ]] || to=2001:db8:b::11
        run fetch clients "http://$(bracket "$to")/client" --interface "$from"
        assert_failure
        run asks_with_header clients "$from" "$to" 80 'PROXY TCP4 6.6.6.6 203.0.113.1 666 80'
        refute_output --partial HTTP/
        wait_for eval "(( \$(grep -cE 'error msg=\"refused: not in --accept-from\" client=\[?$from\]?:[0-9]+ server=\[?$to\]?:80' '$(relays_log relay1)') == 2 ))"
    done
    run grep -F '6.6.6.6' "$log"
    assert_output ''
}

@test "with -a any on a relay host, a client that comes there directly is whom it claims to be" {
    runs relay1 relay1 "$TCPSERVER6" -H -R -l 0 0 81 "$RELAY" -v -a any 198.51.100.80:8080
    wait_inside relay1 81
    run asks_with_header clients 203.0.113.7 192.0.2.11 81 'PROXY TCP4 6.6.6.6 203.0.113.1 666 80'
    assert_line --partial '6.6.6.6 666'
    wait_for grep '^6\.6\.6\.6 666 via 198\.51\.100\.11 ' "$(chain_dir several)/access.log"
}

# held NAME: a client that is connected through the balancer, and silent so far;
# asks NAME: it asks, and its answer is its log.
held() {
    mkfifo "$BATS_TEST_TMPDIR/$1.in"
    runs clients "$1" socat -t 30 - TCP:203.0.113.1:80,bind=203.0.113.8,shut-none <>"$BATS_TEST_TMPDIR/$1.in"
}

asks() {
    printf 'GET /client HTTP/1.0\r\n\r\n' >"$BATS_TEST_TMPDIR/$1.in"
}

# one_by_each: nginx has a connection from each relay host that has lasted: longer
# than a check.
one_by_each() {
    local before
    before=$(connections) && sleep 0.1 && [[ $(sort -u <(echo "$before") <(connections)) == "$before" ]] &&
        [[ $before == *198.51.100.11:* && $before == *198.51.100.12:* ]]
}

connections() {
    inside backend ss -Htn state established 'sport = :8080' | awk '{ print $4 }' | sort
}

@test "a relay host is emptied by ending its tcpserver: new clients go to the other, and it comes back" {
    wait_both_up
    held one
    held two
    wait_for one_by_each
    kill "$(of_the_suite children_of relay1-commands)"
    wait_for unheard relay1 80
    run balanced http://203.0.113.1 203.0.113.7 12
    assert_success
    assert_equal "$(sort -u <<<"$output")" 198.51.100.12
    asks one
    asks two
    wait_log one '203.0.113.8 '
    wait_log two '203.0.113.8 '
    of_the_suite stop relay1-commands
    of_the_suite types relay1 several relay1 2
    wait_inside relay1 80
    wait_both_up
}

# left_out COMMAND...: relay2, after this, which costs no new client anything.
left_out() {
    local downs
    wait_both_up
    downs=$(grep -cF 'relays/relay2 is DOWN' "$(relays_log balancer)" || true)
    "$@"
    more_downs() { (($(grep -cF 'relays/relay2 is DOWN' "$(relays_log balancer)") > downs)); }
    wait_for more_downs
    run balanced http://203.0.113.1 203.0.113.8 6
    assert_success
    assert_equal "$(sort -u <<<"$output")" 198.51.100.11
}

@test "a relay host that is gone, or does not reach the backend, is left out" {
    left_out inside relay2 ip route add unreachable 198.51.100.80/32
    inside relay2 ip route del unreachable 198.51.100.80/32
    left_out inside balancer ip link set port2 down
    inside balancer ip link set port2 up
    wait_both_up
}
