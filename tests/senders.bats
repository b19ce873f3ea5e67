#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# --accept-from with programs that send PROXY headers: HAProxy, nginx's stream
# module, stunnel, hitch, curl and varnishtest, each in front of relay. What they
# have sent is looked at in relay's socket, what relay made of it at the backend.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2034,SC2153,SC2154 # set by choose_ports and by connection, or for it
# shellcheck disable=SC2317 # functions for wait_for

load helper
load backend
load connection

# One of each for all tests; all but stunnel's exec send to relay, at $RELAY_PORT.
setup_file() {
    local dir=$BATS_FILE_TMPDIR
    choose_ports relay backend haproxy haproxy-v2 haproxy-tls haproxy-unix stream \
        stunnel stunnel-exec hitch hitch-through inner
    certificates "$dir"
    chmod go+x "$BATS_RUN_TMPDIR"
    start_haproxy
    start_stream
    start_stunnel
    start_hitch hitch "$HITCH_PORT" 'write-proxy-v2 = on
client-verify = optional
client-verify-ca = "ca.pem"
alpn-protos = "h2, http/1.1"'
    start_hitch hitch-through "$HITCH_THROUGH_PORT" 'proxy-proxy = on'
    for port in $HAPROXY_TLS_PORT $STREAM_PORT $STUNNEL_PORT $STUNNEL_EXEC_PORT \
        $HITCH_PORT $HITCH_THROUGH_PORT; do
        wait_listening "$port"
    done
}

teardown_file() { stop_all; }

setup() {
    connection
    backend=$BACKEND_PORT
}

teardown() { stop_all; }

# --- the senders ---

start_haproxy() {
    cat >"$BATS_FILE_TMPDIR/haproxy.cfg" <<END
$(haproxy_defaults tcp)

listen v1
    bind 127.0.0.1:$HAPROXY_PORT
    bind [::1]:$HAPROXY_PORT
    server relay 127.0.0.1:$RELAY_PORT send-proxy

listen v2
    bind 127.0.0.1:$HAPROXY_V2_PORT
    bind [::1]:$HAPROXY_V2_PORT
    server relay 127.0.0.1:$RELAY_PORT send-proxy-v2

listen tls
    bind 127.0.0.1:$HAPROXY_TLS_PORT ssl crt server.pem ca-file ca.pem verify optional alpn h2,http/1.1
    unique-id-format %{+X}o%ci:%cp_%rt
    server relay 127.0.0.1:$RELAY_PORT send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority

listen unix
    bind 127.0.0.1:$HAPROXY_UNIX_PORT
    server relay unix@$BATS_FILE_TMPDIR/relay.sock send-proxy-v2
END
    (cd "$BATS_FILE_TMPDIR" && start haproxy haproxy -f haproxy.cfg)
}

start_stream() {
    mkdir "$BATS_FILE_TMPDIR/stream"
    cat >"$BATS_FILE_TMPDIR/stream.conf" <<END
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid stream/pid;
error_log stderr;
events {}
stream {
    server {
        listen 127.0.0.1:$STREAM_PORT;
        listen [::1]:$STREAM_PORT;
        proxy_pass 127.0.0.1:$RELAY_PORT;
        proxy_protocol on;
    }
}
END
    start stream nginx -p "$BATS_FILE_TMPDIR" -c "$BATS_FILE_TMPDIR/stream.conf"
}

# Its exec hands relay a connection of its own, from 127.0.0.1; the header tells
# whose it is.
start_stunnel() {
    cat >"$BATS_FILE_TMPDIR/stunnel.conf" <<END
foreground = yes
pid =
syslog = no
cert = $BATS_FILE_TMPDIR/server.pem
CAfile = $BATS_FILE_TMPDIR/ca.pem
protocol = proxy

[ip4]
accept = 127.0.0.1:$STUNNEL_PORT
connect = 127.0.0.1:$RELAY_PORT

[ip6]
accept = ::1:$STUNNEL_PORT
connect = 127.0.0.1:$RELAY_PORT

[exec4]
accept = 127.0.0.1:$STUNNEL_EXEC_PORT
exec = $RELAY
execArgs = relay -v -2 -s -a 127.0.0.1 127.0.0.1:$BACKEND_PORT
requireCert = yes

[exec6]
accept = ::1:$STUNNEL_EXEC_PORT
exec = $RELAY
execArgs = relay -v -2 -s -a 127.0.0.1 127.0.0.1:$BACKEND_PORT
requireCert = yes
END
    start stunnel stunnel "$BATS_FILE_TMPDIR/stunnel.conf"
}

# start_hitch NAME PORT LINES
start_hitch() {
    cat >"$BATS_FILE_TMPDIR/$1.conf" <<END
frontend = "[127.0.0.1]:$2"
frontend = "[::1]:$2"
backend = "[127.0.0.1]:$RELAY_PORT"
pem-file = "server.pem"
user = "$me"
workers = 1
daemon = off
$3
END
    (cd "$BATS_FILE_TMPDIR" && start "$1" hitch --config="$1.conf")
}

# --- relay between them and the backend ---

# relays RELAY-ARGUMENT...: relay behind a sender. Each header is kept as it comes.
relays() {
    tcpserver_run "$RELAY_PORT" python3 "$TESTS/header.py" peek "$BATS_TEST_TMPDIR/sent" \
        "$RELAY" -v -a 127.0.0.1 "$@" "127.0.0.1:$BACKEND_PORT"
}

# sent [N]: the header that connection N brought to relay, in words.
sent() {
    python3 "$TESTS/header.py" show "$BATS_TEST_TMPDIR/sent/${1:-1}"
}

# received [N]: the one that the backend got.
received() {
    python3 "$TESTS/header.py" show "$(all_bytes "${1:-1}")"
}

# without_checksum: what relay passes on of a header.
without_checksum() {
    grep -v -e ^CRC32C -e ^NOOP
}

# line VERSION CLIENT SERVER: the line of a header from this client to $port.
line() {
    local ip6=''
    [[ $2 != *:* ]] || ip6=6
    if [[ $1 == 1 ]]; then
        echo "PROXY TCP${ip6:-4} $2 $3 $from $port"
    else
        echo "PROXY INET$ip6 STREAM $2 $3 $from $port"
    fi
}

# closed CLIENT SERVER: relay has logged this connection, and that a proxy was between.
closed() {
    relay_lines |
        grep -F " client=$(bracket "$1"):$from server=$(bracket "$2"):$port via=127.0.0.1:" |
        grep -F " up=${#QUESTION} down=${#ANSWER} "
}

# names_client ASK PORT VERSION: an IPv4 and an IPv6 client of a sender there that
# speaks this version; the backend hears of them in each version.
names_client() {
    local version client server n=0
    port=$2
    record
    for version in 1 2 0; do
        relays "-$version"
        for client in 127.0.0.2 ::1; do
            server=${client/127.0.0.2/127.0.0.1}
            n=$((n + 1))
            from=$(free_port)
            connect_waiting "$1" "$client" "$server"
            assert_answered
            assert_equal "$(sent "$n")" "$(line "$3" "$client" "$server")"
            if [[ $version == 0 ]]; then
                assert_equal "$(cat "$(all_bytes "$n")")" "$QUESTION"
            else
                assert_equal "$(received "$n")" "$(line "$version" "$client" "$server")"
                assert_equal "$(tail -c ${#QUESTION} "$(all_bytes "$n")")" "$QUESTION"
            fi
            wait_for closed "$client" "$server"
        done
        stop tcpserver
    done
}

# ask_certified PORT FROM-PORT FROM-ADDRESS TO-ADDRESS: over TLS, with a certificate,
# a name that is asked for, and a protocol.
ask_certified() {
    openssl s_client -quiet -no_ign_eof -connect "$(bracket "$4"):$1" -bind "$(bracket "$3"):$2" \
        -servername relay.example -CAfile "$BATS_FILE_TMPDIR/ca.pem" \
        -cert "$BATS_FILE_TMPDIR/client.pem" -alpn h2 2>"$BATS_TEST_TMPDIR/s_client.log"
}

@test "HAProxy's send-proxy names the client" {
    names_client ask "$HAPROXY_PORT" 1
}

@test "HAProxy's send-proxy-v2 names the client" {
    names_client ask "$HAPROXY_V2_PORT" 2
}

@test "nginx's stream module names the client" {
    names_client ask "$STREAM_PORT" 1
}

@test "stunnel names the client" {
    names_client ask_tls "$STUNNEL_PORT" 1
}

@test "hitch names the client" {
    record
    relays -1
    port=$HITCH_PORT
    connect_waiting ask_tls
    assert_answered
    assert_equal "$(received)" "$(line 1 127.0.0.2 127.0.0.1)"
}

# --- TLVs ---

# asks_certified PORT: a client with a certificate, of what listens there.
asks_certified() {
    port=$1
    connect_waiting ask_certified
    assert_answered
    assert_equal "$(tail -c ${#QUESTION} "$(all_bytes)")" "$QUESTION"
    wait_for closed 127.0.0.2 127.0.0.1
}

@test "what HAProxy tells of TLS travels on, but for the checksum" {
    record
    relays -2
    asks_certified "$HAPROXY_TLS_PORT"
    run sent
    assert_line --index 0 "$(line 2 127.0.0.2 127.0.0.1)"
    assert_line 'CRC32C right'
    assert_line 'ALPN h2'
    assert_line 'AUTHORITY relay.example'
    assert_line --regexp '^UNIQUE_ID 7F000002:[0-9A-F]{4}_[0-9A-F]+$'
    assert_line 'SSL client=7 verify=0 VERSION=TLSv1.3 CN=client.example KEY_ALG=EC256 SIG_ALG=ecdsa-with-SHA256 CIPHER=TLS_AES_256_GCM_SHA384'
    assert_equal "${#lines[@]}" 6
    assert_equal "$(received)" "$(sent | without_checksum)"
}

@test "what HAProxy tells of TLS travels on with a checksum of relay's own" {
    record
    relays -2 -c
    asks_certified "$HAPROXY_TLS_PORT"
    assert_equal "$(received)" "$(sent | without_checksum)
CRC32C right"
}

@test "what HAProxy tells of a client without a certificate travels on" {
    record
    relays -2 -c
    port=$HAPROXY_TLS_PORT
    connect_waiting ask_tls
    assert_answered
    run sent
    assert_line --regexp '^SSL client=1 verify=[0-9]+ VERSION=TLSv1.3 KEY_ALG='
    assert_equal "$(received)" "$(sent | without_checksum)
CRC32C right"
}

@test "HAProxy's unique id is the connection's, in the header and in the log" {
    local id
    record
    relays -2 -u
    asks_certified "$HAPROXY_TLS_PORT"
    id=$(sent | sed -n 's/^UNIQUE_ID //p')
    # It is one of relay's own then, behind the others.
    assert_equal "$(received)" "$(sent | without_checksum | grep -v ^UNIQUE_ID)"$'\n'"UNIQUE_ID $id"
    run relay_lines
    assert_output --partial " id=$id "
}

@test "what relay says itself replaces what HAProxy says" {
    record
    relays -2 -x authority=other.example -x 0xE0=front
    asks_certified "$HAPROXY_TLS_PORT"
    assert_equal "$(received)" "$(sent | without_checksum | grep -v ^AUTHORITY)
AUTHORITY other.example
0xE0 front"
}

@test "what hitch tells of TLS travels on" {
    record
    relays -2 -c
    asks_certified "$HITCH_PORT"
    assert_equal "$(sent)" "$(line 2 127.0.0.2 127.0.0.1)
ALPN h2
AUTHORITY relay.example
SSL client=7 verify=0 VERSION=TLSv1.3 CIPHER=TLS_AES_256_GCM_SHA384"
    assert_equal "$(received)" "$(sent)
CRC32C right"
}

@test "hitch between two relays passes the first one's header on" {
    local version
    record
    relays -2
    for version in 1 2; do
        port=$(free_port)
        from=$(free_port)
        start "outer$version" tcpserver -HRl0 127.0.0.1 "$port" \
            "$RELAY" "-$version" "127.0.0.1:$HITCH_THROUGH_PORT"
        wait_listening "$port"
        connect_waiting ask_tls
        assert_answered
        assert_equal "$(sent "$version")" "$(line "$version" 127.0.0.2 127.0.0.1)"
        assert_equal "$(received "$version")" "$(line 2 127.0.0.2 127.0.0.1)"
    done
}

# AWS's own example of what its Network Load Balancer sends for a client that comes
# through an endpoint: a checksum, the endpoint's name (0xEA, sub-type 1), padding.
NLB_HEADER=0d0a0d0a000d0a515549540a21110054ac1f0771ac1f0a1fc8f20050030004e8d6892dea0017017670\
63652d3038643262663135666163353030316339040024$(printf '00%.0s' {1..36})

@test "the endpoint that an AWS load balancer names travels on" {
    record
    relays -2
    { unhex "$NLB_HEADER" && printf %s "$QUESTION"; } | ask "$RELAY_PORT" >"$answer"
    # Without checksum and padding.
    assert_relayed "${NLB_HEADER:0:28}0026${NLB_HEADER:32:24}ea0017017670\
63652d3038643262663135666163353030316339"
    assert_equal "$(received)" "PROXY INET STREAM 172.31.7.113 172.31.10.31 51442 80
0xEA 0x01$(hex_text vpce-08d2bf15fac5001c9)"
    assert_equal "$(sent)" "PROXY INET STREAM 172.31.7.113 172.31.10.31 51442 80
CRC32C right
0xEA 0x01$(hex_text vpce-08d2bf15fac5001c9)
NOOP 36"
}

@test "a load balancer's header of which one bit was changed is refused" {
    record
    relays -2
    unhex "$NLB_HEADER" | sed 's/vpce-08d2bf15/vpce-08d2bf14/' | ask "$RELAY_PORT" >"$answer" || true # reset
    assert_nothing_sent
    wait_for no_child tcpserver
    run relay_lines
    assert_output --partial 'refused: no valid PROXY header: '
    assert_equal "$(ls "$BATS_TEST_TMPDIR/backend")" ''
}

# --- other ways to relay ---

@test "stunnel's exec names the client and its certificate to a relay that it starts" {
    local client
    record
    port=$STUNNEL_EXEC_PORT
    connect_waiting ask_certified
    assert_answered
    assert_equal "$(received)" "$(line 2 127.0.0.2 127.0.0.1)
SSL client=7 verify=1 CN=client.example"
    from=$(free_port)
    connect_waiting ask_certified ::1 ::1
    assert_equal "$(received 2 | head -n 1)" "$(line 2 ::1 ::1)"
}

@test "HAProxy names the client over a UNIX socket" {
    record
    start ipcserver s6-ipcserver "$BATS_FILE_TMPDIR/relay.sock" \
        "$RELAY" -v -2 -a unix "127.0.0.1:$BACKEND_PORT"
    wait_socket "$BATS_FILE_TMPDIR/relay.sock"
    port=$HAPROXY_UNIX_PORT
    connect_waiting ask
    assert_answered
    assert_equal "$(received)" "$(line 2 127.0.0.2 127.0.0.1)"
}

@test "relay behind relay under tcpserver makes version 2 of version 1" {
    record
    relays -2 -u
    port=$INNER_PORT
    start outer tcpserver -HRl0 127.0.0.1 "$port" "$RELAY" -1 "127.0.0.1:$RELAY_PORT"
    wait_listening "$port"
    connect
    assert_answered
    assert_equal "$(sent)" "$(line 1 127.0.0.2 127.0.0.1)"
    run received
    assert_line --index 0 "$(line 2 127.0.0.2 127.0.0.1)"
    assert_line --index 1 --regexp '^UNIQUE_ID [0-9a-f]{32}$'
    wait_for closed 127.0.0.2 127.0.0.1
}

# --- HTTP ---

export no_proxy='*' # for curl

# record_http: a backend that says yes to everything.
record_http() {
    backend_record "$BACKEND_PORT" --say $'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
}

@test "curl's --haproxy-protocol names curl" {
    record_http
    relays -2
    run curl -sS -m 30 --haproxy-protocol --local-port "$from" -w '%{http_code}' "http://127.0.0.1:$RELAY_PORT/"
    assert_output 200
    port=$RELAY_PORT
    assert_equal "$(sent)" "$(line 1 127.0.0.1 127.0.0.1)"
    assert_equal "$(received)" "$(line 2 127.0.0.1 127.0.0.1)"
}

@test "curl without a header, or from another address, is refused" {
    record_http
    relays -2
    run curl -sS -m 30 "http://127.0.0.1:$RELAY_PORT/"
    [[ $status == 56 ]] # curl(1): reset
    run curl -sS -m 30 --haproxy-protocol --interface 127.0.0.2 "http://127.0.0.1:$RELAY_PORT/"
    [[ $status == 56 ]]
    wait_for no_child tcpserver
    run relay_lines
    assert_line --index 0 --regexp '^relay: error msg="refused: no valid PROXY header: .* client=127\.0\.0\.1:'
    assert_line --index 1 --regexp '^relay: error msg="refused: not in --accept-from" client=127\.0\.0\.2:'
    assert_equal "$(ls "$BATS_TEST_TMPDIR/backend")" ''
}

@test "varnishtest's clients are who they say in version 1 and 2" {
    local version n=0 client server
    record_http
    relays -2
    port=443
    from=51234
    for version in 1 2; do
        for client in 203.0.113.7 2001:db8::7; do
            server=${client/7/2}
            n=$((n + 1))
            cat >"$BATS_TEST_TMPDIR/client.vtc" <<END
varnishtest "a client with a header"
client c1 -connect 127.0.0.1:$RELAY_PORT -proxy$version "$(bracket "$client"):$from $(bracket "$server"):$port" {
    txreq
    rxresp
    expect resp.status == 200
} -run
END
            varnishtest -q "$BATS_TEST_TMPDIR/client.vtc"
            assert_equal "$(sent "$n")" "$(line "$version" "$client" "$server")"
            assert_equal "$(received "$n")" "$(line 2 "$client" "$server")"
        done
    done
}

@test "nginx behind relay behind HAProxy answers and logs the client" {
    local version
    mkdir "$BATS_TEST_TMPDIR/html"
    sed "s/8080/$BACKEND_PORT/" "$ROOT/examples/nginx.conf" >"$BATS_TEST_TMPDIR/nginx.conf"
    start nginx nginx -p "$BATS_TEST_TMPDIR" -c "$BATS_TEST_TMPDIR/nginx.conf" -g 'daemon off;'
    wait_listening "$BACKEND_PORT"
    for version in 1 2; do
        relays "-$version" -a 127.0.0.1
        from=$(free_port)
        run curl -sS -m 30 --interface 127.0.0.2 --local-port "$from" "http://127.0.0.1:$HAPROXY_V2_PORT/client"
        assert_output "127.0.0.2 $from"
        wait_for grep "^127\.0\.0\.2 $from via 127\.0\.0\.1 " "$BATS_TEST_TMPDIR/access.log"
        stop tcpserver
    done
}

# checks OPTION HEADER: HAProxy looks after relay's backend, and tells relay of no
# client (LOCAL), or that it is the client; the backend hears the latter.
checks() {
    record_http
    relays -2
    cat >"$BATS_TEST_TMPDIR/checks.cfg" <<END
global
    log stdout format raw daemon
$(haproxy_defaults http)
    log global
listen checked
    bind 127.0.0.1:$port
    option httpchk
    option log-health-checks
    timeout check 10s
    server relay 127.0.0.1:$RELAY_PORT $1 check check-send-proxy inter 200ms fall 2
END
    start checks haproxy -f "$BATS_TEST_TMPDIR/checks.cfg"
    wait_log checks 'Health check for server checked/relay succeeded, reason: Layer7 check passed, code: 200'
    assert_regex "$(sent)" "^$2$"
    assert_regex "$(received)" "^PROXY INET STREAM 127\.0\.0\.1 127\.0\.0\.1 [0-9]+ $RELAY_PORT$"
    stop backend
    wait_log checks 'Server checked/relay is DOWN'
    run relay_lines
    assert_output --partial 'cannot connect: Connection refused: '
    refute_output --partial 'refused: n'
}

@test "HAProxy's health checks pass through relay to its backend: version 2's LOCAL" {
    checks send-proxy-v2 'LOCAL UNSPEC UNSPEC'
}

@test "HAProxy's health checks pass through relay to its backend: version 1" {
    checks send-proxy "PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 [0-9]+ $RELAY_PORT"
}
