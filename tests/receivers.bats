#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# TLVs: what --ssl makes of what TLS programs tell, those that Debian has, with the
# programs themselves (variables.bats has the rest); and who understands what relay
# sends: HAProxy, nginx, Varnish, lighttpd, Dovecot, Apache, and tshark.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2034,SC2153,SC2154 # set by backend and connection, or for them
# shellcheck disable=SC2317 # functions for wait_for

load helper
load backend
load readme
load connection
load variables

export no_proxy='*' # for curl

# One of each for all tests.
setup_file() {
    local name servers=(haproxy nginx stream varnish lighttpd dovecot apache)
    choose_ports "${servers[@]}"
    certificates "$BATS_FILE_TMPDIR"
    start_each "${servers[@]}"
    for name in "${servers[@]}"; do
        wait_listening "$(port_of "$name")"
    done
}

teardown_file() { stop_all; }

setup() { connection; }

teardown() { stop_all; }

# --- TLS programs ---

# ask_certified PORT FROM-PORT FROM-ADDRESS TO-ADDRESS: over TLS, with $certificate.
ask_certified() {
    socat -t 30 - "OPENSSL:$(bracket "$4"):$1,bind=$(bracket "$3"):$2,verify=0,cert=${certificate:-$BATS_FILE_TMPDIR/client.pem}"
}

# received [N]: the header that connection N brought to the backend, in words.
received() {
    python3 "$TESTS/header.py" show "$(all_bytes "${1:-1}")"
}

client_line() {
    echo "PROXY INET STREAM 127.0.0.2 127.0.0.1 $from $port"
}

# socat_runs OPTION: with that option to its TLS.
socat_runs() {
    start socat socat "OPENSSL-LISTEN:$port,fork,reuseaddr,cert=$BATS_FILE_TMPDIR/server.pem,$1" \
        EXEC:"$RELAY -2 -s 127.0.0.1\:$backend"
    wait_listening "$port"
    connect_waiting ask_certified
    assert_answered
}

@test "socat tells of TLS and of the client's certificate" {
    record
    socat_runs "cafile=$BATS_FILE_TMPDIR/ca.crt"
    assert_equal "$(received)" "$(client_line)
SSL client=7 verify=1 VERSION=TLSv1.3 CN=client.example CIPHER=TLS_AES_256_GCM_SHA384"
}

@test "socat tells of TLS where it asks for no certificate" {
    record
    socat_runs verify=0
    assert_equal "$(received)" "$(client_line)
SSL client=1 verify=1 VERSION=TLSv1.3 CIPHER=TLS_AES_256_GCM_SHA384"
}

# stunnel_runs: it starts relay, and tells whose its connection is by a header.
stunnel_runs() {
    cat >"$BATS_TEST_TMPDIR/stunnel.conf" <<END
pid =
syslog = no
output = /dev/stderr
cert = $BATS_FILE_TMPDIR/server.pem
CAfile = $BATS_FILE_TMPDIR/ca.pem
requireCert = yes
protocol = proxy
exec = $RELAY
execArgs = relay -2 -s -a 127.0.0.1 127.0.0.1:$backend
END
    tcpserver_run "$port" stunnel "$BATS_TEST_TMPDIR/stunnel.conf"
}

@test "stunnel as inetd starts it tells of the client's address and certificate" {
    record
    stunnel_runs
    connect_waiting ask_certified
    assert_answered
    assert_equal "$(received)" "$(client_line)
SSL client=7 verify=1 CN=client.example"
}

@test "no part of a real certificate's subject forges a name behind stunnel" {
    local subject n=0
    record
    stunnel_runs
    cd "$BATS_TEST_TMPDIR"
    for subject in '/O=a, CN=root/CN=me' '/O=a", CN=root, "b/CN=me' '/O=x\\\\/CN=me' '/O= CN=root /CN=me' \
        '/O=x\/CN=root/CN=me' '/O=x+CN=me' '/CN=me+emailAddress=root@example.org'; do
        n=$((n + 1))
        from=$(free_port)
        certificate hostile "$subject" -multivalue-rdn -CA "$BATS_FILE_TMPDIR/ca.crt" -CAkey "$BATS_FILE_TMPDIR/ca.key"
        certificate=hostile.pem connect_waiting ask_certified
        assert_equal "$subject: $(received "$n" | tail -n 1)" "$subject: SSL client=7 verify=1 CN=me"
    done
}

@test "tlswrapper tells the client's address, and nothing of TLS" {
    need_root
    record
    tcpserver_run "$port" tlswrapper -f "$BATS_FILE_TMPDIR/server.pem" -a "$BATS_FILE_TMPDIR/ca.pem" \
        "$RELAY" -2 -s "127.0.0.1:$backend"
    connect_waiting ask_certified
    assert_answered
    assert_equal "$(received)" "$(client_line)"
}

@test "sslserver's own names for the addresses are known" {
    record
    env -i PROTO=SSL SSLREMOTEIP=203.0.113.7 SSLREMOTEPORT=51234 SSLLOCALIP=198.51.100.2 SSLLOCALPORT=443 \
        "${SSLSERVER[@]}" "$RELAY" -2 -s "127.0.0.1:$backend" < <(printf %s "$QUESTION") >"$answer"
    assert_answered
    assert_equal "$(received)" "PROXY INET STREAM 203.0.113.7 198.51.100.2 51234 443
SSL client=7 verify=0 VERSION=TLSv1.3 CN=client.example CIPHER=TLS_AES_256_GCM_SHA384"
}

# --- receivers: each is started in a directory of its own ---

start_haproxy() {
    cat >haproxy.cfg <<END
global
    log stdout format raw daemon
$(haproxy_defaults http)
frontend relay
    bind 127.0.0.1:$HAPROXY_PORT accept-proxy
    log global
    log-format "%ci:%cp authority=%[fc_pp_authority] id=%[fc_pp_unique_id]"
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] authority=%[fc_pp_authority] id=%[fc_pp_unique_id]\n"
END
    start haproxy "${as_user[@]}" haproxy -f haproxy.cfg
}

start_nginx() {
    sed "s/8080/$NGINX_PORT/" "$ROOT/examples/nginx.conf" >nginx.conf
    start nginx "${as_user[@]}" nginx -p "$PWD" -c "$PWD/nginx.conf" -g 'daemon off;'
}

start_stream() {
    sed "s/8080/$(free_port)/; s/8081/$STREAM_PORT/; s/8000/$(free_port)/" "$ROOT/examples/nginx-stream.conf" >nginx-stream.conf
    start stream "${as_user[@]}" nginx -p "$PWD" -c "$PWD/nginx-stream.conf" -g 'daemon off;'
}

start_varnish() {
    cat >relay.vcl <<'END'
vcl 4.1;
import proxy;
backend none none;
sub vcl_recv {
    return (synth(200));
}
sub vcl_synth {
    set resp.body = "" + client.ip + " alpn=" + proxy.alpn() + " authority=" + proxy.authority() +
        " ssl=" + proxy.is_ssl() + " sess=" + proxy.client_has_cert_sess() +
        " conn=" + proxy.client_has_cert_conn() + " verify=" + proxy.ssl_verify_result() +
        " version=" + proxy.ssl_version() + " name=" + proxy.client_cert_cn() +
        " cipher=" + proxy.ssl_cipher();
    return (deliver);
}
END
    start varnish "${as_user[@]}" varnishd -F -n "$PWD/varnish" -a "127.0.0.1:$VARNISH_PORT,PROXY" \
        -f "$PWD/relay.vcl" -s malloc,16m
}

start_lighttpd() {
    {
        sed "s/8080/$LIGHTTPD_PORT/" "$ROOT/examples/lighttpd.conf"
        echo 'extforward.hap-PROXY-ssl-client-verify = "enable"'
    } >lighttpd.conf
    echo '<!--#echo var="REMOTE_ADDR"--> <!--#echo var="REMOTE_PORT"--> <!--#echo var="SSL_PROTOCOL"--> <!--#echo var="SSL_CIPHER"--> <!--#echo var="SSL_CLIENT_S_DN_CN"-->' >html/client.shtml
    start lighttpd "${as_user[@]}" lighttpd -D -f lighttpd.conf
}

start_dovecot() {
    local group
    group=$(id -gn "$me")
    mkdir run state
    [[ $(id -u) != 0 ]] || chown "$me" run state
    cat >dovecot.conf <<END
protocols = imap
ssl = no
auth_failure_delay = 0
haproxy_trusted_networks = 127.0.0.1
login_log_format_elements = client=%r secured=%c asked=%{local_name}
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = $DOVECOT_PORT
    haproxy = yes
  }
  inet_listener imaps {
    port = 0
  }
}
service anvil {
  chroot =
}
passdb {
  driver = static
  args = password=secret
}
default_internal_user = $me
default_internal_group = $group
default_login_user = $me
base_dir = $PWD/run
state_dir = $PWD/state
log_path = /dev/stderr
END
    start dovecot dovecot -F -c "$PWD/dovecot.conf"
}

start_apache() {
    sed "s/8080/$APACHE_PORT/g" "$ROOT/examples/apache.conf" >apache.conf
    start apache "${as_user[@]}" apache2 -d "$PWD" -f apache.conf -DFOREGROUND
}

# launched NAME RELAY-ARGUMENT...: relay in front of it, as if s6-tlsd had started it;
# with all TLVs.
launched() {
    local relay=(env -i "${S6_TLSD[@]}" "$RELAY")
    launch 127.0.0.2 -2 -s -v "${@:2}" "127.0.0.1:$(port_of "$1")"
}

# fetch [CURL-ARGUMENT...]: of what was launched.
fetch() {
    curl -sS -m 60 --interface 127.0.0.2 --local-port "$from" "$@" "http://127.0.0.1:$port/client"
}

# logged_id: what relay's own log says.
logged_id() {
    wait_for no_child tcpserver
    relay_lines | sed -nE 's/.* id=([0-9a-f]{32}) .*/\1/p'
}

@test "HAProxy answers and logs the name asked for and the unique id" {
    local id
    launched haproxy -c -u -x alpn=http/1.1 -x 0xE0=abc
    run fetch
    id=$(logged_id)
    [[ $id ]]
    assert_output "127.0.0.2 $from authority=relay.example id=$id"
    WAIT_SECONDS=10 wait_for grep -F "127.0.0.2:$from authority=relay.example id=$id" "$BATS_FILE_TMPDIR/haproxy.log"
}

@test "HAProxy refuses relay's header when a bit of it was changed on the way" {
    record
    launch 127.0.0.2 -2 -c -x authority=relay.example "127.0.0.1:$backend"
    connect
    printf 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >"$BATS_TEST_TMPDIR/request"
    head -c -${#QUESTION} "$(all_bytes)" | cat - "$BATS_TEST_TMPDIR/request" >"$BATS_TEST_TMPDIR/sent"
    run ask "$HAPROXY_PORT" <"$BATS_TEST_TMPDIR/sent"
    assert_line "127.0.0.2 $from authority=relay.example id="
    sed 's/relay\.example/relay.examplf/' "$BATS_TEST_TMPDIR/sent" | ask "$HAPROXY_PORT" >"$answer" || true # reset
    assert_nothing_sent
    # The same without a checksum is believed.
    stop tcpserver
    record_anew
    launch 127.0.0.2 -2 -x authority=relay.examplf "127.0.0.1:$backend"
    connect
    head -c -${#QUESTION} "$(all_bytes)" | cat - "$BATS_TEST_TMPDIR/request" >"$BATS_TEST_TMPDIR/sent"
    run ask "$HAPROXY_PORT" <"$BATS_TEST_TMPDIR/sent"
    assert_line "127.0.0.2 $from authority=relay.examplf id="
}

@test "nginx answers and logs the client of a header with all TLVs" {
    launched nginx -c -u -x alpn=http/1.1 -x netns=blue -x 0xE0=abc
    run fetch
    assert_output "127.0.0.2 $from"
    wait_for grep "^127\.0\.0\.2 $from via 127\.0\.0\.1 " "$BATS_FILE_TMPDIR/nginx/access.log"
}

@test "Varnish's vmod_proxy reads every TLV that it knows" {
    launched varnish -c -u -x alpn=http/1.1
    run fetch
    assert_output "127.0.0.2 alpn=http/1.1 authority=relay.example ssl=true sess=true conn=true verify=0 \
version=TLSv1.2 name=client.example cipher=ECDHE-ECDSA-AES128-GCM-SHA256"
}

@test "Varnish's vmod_proxy tells a certificate that was not verified from none" {
    local relay=(env -i SSL_CLIENT_DN=CN=client.example "$RELAY")
    launch 127.0.0.2 -2 -s "127.0.0.1:$VARNISH_PORT"
    run fetch
    assert_output '127.0.0.2 alpn= authority= ssl=true sess=true conn=true verify=1 version= name=client.example cipher='
    stop tcpserver
    relay=(env -i SSL_PROTOCOL=TLSv1.3 "$RELAY")
    launch 127.0.0.2 -2 -s "127.0.0.1:$VARNISH_PORT"
    run fetch
    assert_output '127.0.0.2 alpn= authority= ssl=true sess=false conn=false verify=1 version=TLSv1.3 name= cipher='
    stop tcpserver
    relay=(env -i "$RELAY")
    launch 127.0.0.2 -2 -s "127.0.0.1:$VARNISH_PORT"
    run fetch
    assert_output '127.0.0.2 alpn= authority= ssl=false sess=false conn=false verify=0 version= name= cipher='
}

@test "lighttpd sets TLS variables for its pages" {
    launched lighttpd -c -u
    run curl -sS -m 60 --interface 127.0.0.2 --local-port "$from" "http://127.0.0.1:$port/client.shtml"
    assert_output "127.0.0.2 $from TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256 client.example"
}

# login TEXT: with a wrong password; prints the answer, and waits for a line of
# Dovecot's log with this text.
login() {
    said_no() { grep '^a NO' "$answer"; }
    : >"$answer"
    { printf 'a LOGIN user wrong\r\n' && wait_for said_no; } |
        ask "$port" "$from" 127.0.0.2 >"$answer"
    cat "$answer"
    wait_for grep "imap-login: .*$1" "$BATS_FILE_TMPDIR/dovecot.log"
}

@test "Dovecot takes a login over TLS for one, and logs the name asked for" {
    launched dovecot -c -u -x alpn=imap
    run login 'client=127\.0\.0\.2, secured=secured, asked=relay\.example$'
    assert_line --partial AUTHENTICATIONFAILED
    stop tcpserver
    launch 127.0.0.2 -2 -s "127.0.0.1:$DOVECOT_PORT"
    run login 'client=127\.0\.0\.2$'
    assert_line --partial PRIVACYREQUIRED
}

@test "Apache answers and logs the client of a header with TLVs" {
    launched apache -c -u -x alpn=http/1.1
    run fetch -I
    assert_line --partial "X-Client: 127.0.0.2 $from"
    wait_for grep "^127\.0\.0\.2 $from via 127\.0\.0\.1 " "$BATS_FILE_TMPDIR/apache/access.log"
}

# with_header NAME BYTES: sends NAME a header of so many, and succeeds if it answers.
with_header() {
    local text
    greeted() { [[ -s $answer ]]; }
    printf -v text %*s "$(($2 - 16 - 12 - 3))" ''
    launch 127.0.0.2 -2 -x "0xE0=$text" "127.0.0.1:$(port_of "$1")"
    case $1 in
    stream) ask "$port" "$from" 127.0.0.2 </dev/null >"$answer" || true ;; # reset
    dovecot) { wait_for greeted || true; } | ask "$port" "$from" 127.0.0.2 >"$answer" || true ;;
    *) curl -sS -m 60 -o /dev/null -D "$answer" "http://127.0.0.1:$port/" || true ;;
    esac
    stop tcpserver
    grep -q -e '^HTTP/1.1 [2-4]' -e "^127\.0\.0\.2 $from" -e '^\* OK' "$answer"
}

# takes NAME BYTES: a header of so many, and not one more.
takes() {
    local WAIT_SECONDS=3
    echo "$1:"
    : >"$answer"
    with_header "$1" "$2"
    : >"$answer"
    run ! with_header "$1" "$(($2 + 1))"
}

@test "each receiver takes a header up to a length of its own" {
    takes stream 107
    takes apache 232
    takes lighttpd 256
    takes nginx 1024 # client_header_buffer_size
    takes dovecot 1500
    takes haproxy 16384 # tune.bufsize
    run cat "$BATS_FILE_TMPDIR/stream.log"
    assert_output --regexp "$(quoted 'header is too large while reading PROXY protocol')"
    run cat "$BATS_FILE_TMPDIR/dovecot.log"
    assert_output --partial 'haproxy: Client disconnected: Too long header'
}

@test "tshark knows every TLV that relay sends" {
    local relay=(env -i "${S6_TLSD[@]}" "$RELAY") fields=() field header id
    record
    launch 127.0.0.2 -2 -c -u -s -v -x alpn=h2 -x netns=blue -x 0xE0=abc "127.0.0.1:$backend"
    connect
    assert_answered
    id=$(logged_id)
    header=$(hexdump_of "$(all_bytes)")
    header=${header%"$(hex_text "$QUESTION")"}
    # It does not look at a header's last 16 bytes: there is padding, then.
    header=${header:0:28}$(printf %04x $((16#${header:28:4} + 16)))${header:32}04000d$(printf '00%.0s' {1..13})
    unhex "$header" | od -Ax -v -tx1 | text2pcap -q -T 1000,2000 - "$BATS_TEST_TMPDIR/header.pcap"
    for field in ssl.client ssl.verify ssl.version ssl.cn ssl.cipher type value; do
        fields+=(-e "proxy.v2.tlv.$field")
    done
    run tshark -r "$BATS_TEST_TMPDIR/header.pcap" -o tcp.try_heuristic_first:TRUE -T fields -E separator='|' "${fields[@]}"
    assert_line --regexp "^0x07\|0x00000000\|TLSv1\.2\|client\.example\|ECDHE-ECDSA-AES128-GCM-SHA256\|\
0x01,0x30,0xe0,0x05,0x02,0x20,0x21,0x22,0x23,0x03\|$(hex_text h2),$(hex_text blue),$(hex_text abc),$(hex_text "$id"),\
$(hex_text relay.example),0700000000[0-9a-f]+,.*,[0-9a-f]{8}$"
}
