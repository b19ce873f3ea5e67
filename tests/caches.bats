#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# tcpserver, relay, and what else stands in front of applications: Varnish,
# lighttpd, Squid, nginx's stream module, hitch and gunicorn, each with its file
# from examples/, in which only ports, files and users are replaced.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2153,SC2154 # set by backend

load helper
load backend
load readme

# One of each for all tests. Two applications: one reads X-Forwarded-For only, the
# other (examples/nginx.conf) a PROXY header.
setup_file() {
    local name servers=(varnish lighttpd squid stream stream-on hitch gunicorn application nginx)
    choose_ports "${servers[@]}" stream-client {varnish,lighttpd,squid,hitch,gunicorn}-plain
    start_each "${servers[@]}"
    for name in "${servers[@]}"; do
        wait_listening "$(port_of "$name")"
    done
    # It reads the log that Varnish keeps in memory.
    cd "$BATS_FILE_TMPDIR/varnish" || return
    start varnishncsa "${as_user[@]}" varnishncsa -n "$PWD/varnish" -t 10 -w access.log \
        -F '%h %{VSL:ReqStart[2]}x "%r" %s %{Varnish:handling}x'
    wait_for test -e access.log
}

teardown_file() { stop_all; }

teardown() { stop_all; }

# --- the backends: each is started in a directory of its own; where it can, it
# has another listener, "plain", which expects no header ---

# example FILE SED-SCRIPT: a copy of it, changed, where it is to run.
example() {
    sed "$2" "$ROOT/examples/$1" >"$(basename "$1")"
}

start_varnish() {
    example varnish/varnish.sh "s/8080/$VARNISH_PORT/; s/^exec varnishd /&-a 127.0.0.1:$VARNISH_PLAIN_PORT /"
    example varnish/relay.vcl "s/8000/$APPLICATION_PORT/"
    start varnish "${as_user[@]}" sh varnish.sh
}

start_lighttpd() {
    example lighttpd.conf "s/8080/$LIGHTTPD_PORT/"
    echo "\$SERVER[\"socket\"] == \"127.0.0.1:$LIGHTTPD_PLAIN_PORT\" { }" >>lighttpd.conf
    echo '<!--#echo var="REMOTE_ADDR"--> <!--#echo var="REMOTE_PORT"-->' >html/client.shtml
    start lighttpd "${as_user[@]}" lighttpd -D -f lighttpd.conf
}

start_squid() {
    example squid.conf "s/3129/$SQUID_PORT/"
    echo "http_port 127.0.0.1:$SQUID_PLAIN_PORT" >>squid.conf
    start squid "${as_user[@]}" squid -N -f "$PWD/squid.conf"
}

start_stream() {
    example nginx-stream.conf "s/8080/$STREAM_PORT/; s/8081/$STREAM_CLIENT_PORT/; s/8000/$APPLICATION_PORT/"
    start stream "${as_user[@]}" nginx -p "$PWD" -c "$PWD/nginx-stream.conf" -g 'daemon off;'
}

# Its application reads the header, too; and one client is not let in.
start_stream-on() {
    example nginx-stream.conf "s/8080/$STREAM_ON_PORT/; s/8081/$(free_port)/; s/8000/$NGINX_PORT/
        s/#proxy_protocol on;/proxy_protocol on; deny 127.0.0.66;/"
    start stream-on "${as_user[@]}" nginx -p "$PWD" -c "$PWD/nginx-stream.conf" -g 'daemon off;'
}

start_hitch() {
    example hitch.conf "s/8443/$HITCH_PORT/; s/8080/$NGINX_PORT/; s/_hitch/$me/"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=localhost -keyout key.pem -out certificate.pem 2>/dev/null
    cat key.pem certificate.pem >hitch.pem
    start hitch "${as_user[@]}" hitch --config=hitch.conf
}

start_gunicorn() {
    example gunicorn.conf.py "s/8080/$GUNICORN_PORT/g"
    cat >client.py <<'END'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['REMOTE_ADDR']} {environ['REMOTE_PORT']}\n".encode()]
END
    start gunicorn "${as_user[@]}" gunicorn -c gunicorn.conf.py client:application
}

start_nginx() {
    example nginx.conf "s/8080/$NGINX_PORT/"
    start nginx "${as_user[@]}" nginx -p "$PWD" -c "$PWD/nginx.conf" -g 'daemon off;'
}

access_log() {
    case $1 in
    stream*) echo "$BATS_FILE_TMPDIR/${1%-client}/stream.log" ;;
    hitch) echo "$BATS_FILE_TMPDIR/nginx/access.log" ;;
    gunicorn) echo "$BATS_FILE_TMPDIR/gunicorn.log" ;;
    *) echo "$BATS_FILE_TMPDIR/$1/access.log" ;;
    esac
}

# logged NAME CLIENT-ADDRESS CLIENT-PORT TEXT: a line of its log begins with this
# client, and contains TEXT. gunicorn knows no ports in its log.
logged() {
    local prefix="$2 $3 "
    [[ $1 != gunicorn ]] || prefix="$2 - - "
    awk -v prefix="$prefix" -v text="$4" \
        'index($0, prefix) == 1 && index($0, text) { found = 1 } END { exit !found }' "$(access_log "$1")"
}

# --- asking them ---

# fetch NAME CLIENT-ADDRESS [CURL-ARGUMENT...]: what the server says about its
# client. The question has the client's port in it, so the log's line is known.
fetch() {
    local name=$1 url
    if [[ $name == stream-client ]]; then
        ask "$port" "$from" "$2" "$to" </dev/null
        return
    fi
    url=$(url_of "$name")
    set -- curl -sS -m 60 --interface "$2" --local-port "$from" "${@:3}"
    if [[ $name == squid ]]; then
        "$@" --noproxy '' --proxy "http://$(bracket "$to"):$port" "$url"
    else
        "$@" -k --noproxy '*' "$url"
    fi
}

url_of() {
    case $1 in
    lighttpd) echo "http://$(bracket "$to"):$port/client.shtml?$from" ;;
    # Its log leaves out what follows a question mark.
    squid) echo "http://127.0.0.1:$APPLICATION_PORT/client/$from" ;;
    hitch) echo "https://$(bracket "$to"):$port/client?$from" ;;
    *) echo "http://$(bracket "$to"):$port/client?$from" ;;
    esac
}

# logged_path NAME: the end of this URL, by which the log's line is known.
logged_path() {
    local url
    url=$(url_of "$1")
    echo "/${url#*//*/}"
}

in_log() {
    local text=' 200 '
    [[ $1 == stream-client ]] || text="$(logged_path "$1") "
    logged "$1" "$2" "$from" "$text"
}

@test "Varnish sees and logs IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client varnish '-1 -2' sees_client varnish
}

@test "lighttpd sees and logs IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client lighttpd '-1 -2' sees_client lighttpd
}

@test "Squid sees and logs IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client squid '-1 -2' sees_client squid
}

@test "nginx's stream module sees and logs IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client stream-client '-1 -2' sees_client stream-client
}

@test "the server behind hitch sees and logs IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client "127.0.0.1:$HITCH_PORT" '-1 -2' sees_client hitch
}

@test "gunicorn sees and logs IPv4 and IPv6 clients, in v1" {
    with_each_client gunicorn -1 sees_client gunicorn
}

@test "gunicorn does not read v2" {
    launch 127.0.0.2 -2 "127.0.0.1:$GUNICORN_PORT"
    run fetch gunicorn 127.0.0.2 -w '%{http_code}'
    assert_output --regexp '400$'
    refute_output --partial "127.0.0.2 "
}

# --- longer connections ---

@test "Varnish sees the client in each request of a kept connection" {
    keeps_alive varnish
}

@test "lighttpd sees the client in each request of a kept connection" {
    keeps_alive lighttpd
}

@test "Squid sees the client in each request of a kept connection" {
    keeps_alive squid
}

@test "the server behind hitch sees the client in each request of a kept connection" {
    keeps_alive hitch
}

@test "gunicorn keeps no connection" {
    launch 127.0.0.2 "127.0.0.1:$GUNICORN_PORT"
    run fetch gunicorn 127.0.0.2 -i
    assert_line $'Connection: close\r'
}

# --- what they do with the address ---

# application CLIENT-ADDRESS [CURL-ARGUMENT...]: the X-Forwarded-For that the
# application behind Varnish or nginx's stream module gets.
application() {
    curl -sS -m 60 --noproxy '*' --interface "$1" --local-port "$from" "${@:2}" \
        "http://$(bracket "$to"):$port/application"
}

@test "an application behind Varnish has the client in X-Forwarded-For, and nobody else" {
    launch 127.0.0.2 "127.0.0.1:$VARNISH_PORT"
    run application 127.0.0.2 -H 'X-Forwarded-For: 6.6.6.6' -H 'Cache-Control: no-cache'
    assert_output 127.0.0.2
}

@test "Varnish logs the client of an answer from its cache" {
    launch 127.0.0.7 "127.0.0.1:$VARNISH_PORT"
    run curl -sS -m 60 --noproxy '*' --interface 127.0.0.7 "http://127.0.0.1:$port/cached?$from"
    assert_output 127.0.0.7
    run curl -sS -m 60 --noproxy '*' --interface 127.0.0.8 --local-port "$from" "http://127.0.0.1:$port/cached?$from"
    # The first one's answer, but in the log they are two.
    assert_output 127.0.0.7
    wait_for logged varnish 127.0.0.8 "$from" "/cached?$from HTTP/1.1\" 200 hit"
    grep -E "^127\.0\.0\.7 .*/cached\?$from HTTP/1.1\" 200 miss" "$(access_log varnish)"
}

@test "Squid's rules judge the client" {
    launch 127.0.0.2 "127.0.0.1:$SQUID_PORT"
    run fetch squid 127.0.0.2 -w '%{http_code}'
    assert_output --regexp '200$'
    # From relay's address, a header that names a client who is not allowed.
    run forge squid 127.0.0.1 "http://127.0.0.1:$APPLICATION_PORT/"
    assert_line --index 0 --partial ' 403 '
    wait_for logged squid 6.6.6.6 666 ' 403 '
}

@test "a connection through nginx's stream module reaches the application, and is logged" {
    launch 127.0.0.2 -v "127.0.0.1:$STREAM_PORT"
    run application 127.0.0.2 -H "X-Forwarded-For: $from"
    assert_output "$from"
    wait_for logged stream 127.0.0.2 "$from" ' via 127.0.0.1 '
}

@test "nginx's stream module passes the client on in a header of its own" {
    local client
    for client in 127.0.0.2 ::1; do
        launch "$client" -2 "127.0.0.1:$STREAM_ON_PORT"
        run fetch stream-on "$client"
        assert_output "$client $from"
        stop tcpserver
    done
}

@test "nginx's stream module judges the client with allow and deny" {
    launch 127.0.0.66 "127.0.0.1:$STREAM_ON_PORT"
    run fetch stream-on 127.0.0.66
    assert_failure
    wait_for logged stream-on 127.0.0.66 "$from" ' 403 '
}

# --- what they do not believe ---

# refuses NAME: to talk to a client that comes without a header. Then it talks to
# one with.
refuses() {
    local name=$1
    launch 127.0.0.2 -0 "127.0.0.1:$(port_of "$name")"
    run fetch "$name" 127.0.0.2 -i
    # curl(1): TLS failed, closed without an answer, or reset
    [[ $status == 35 || $status == 52 || $status == 56 ]]
    refute_output --partial HTTP/
    run grep -F "$(logged_path "$name")" "$(access_log "$name")"
    assert_output ''
    stop tcpserver
    sees_client "$name" 127.0.0.2 -1 "127.0.0.1:$(port_of "$name")"
}

# varnishlog_start: as README.md has it.
varnishlog_start() {
    start varnishlog "${as_user[@]}" varnishlog -g raw -n "$BATS_FILE_TMPDIR/varnish/varnish"
    # It says nothing when it is ready; but health checks of the process are there.
    wait_log varnishlog ' CLI '
}

@test "Varnish refuses a connection without a header" {
    varnishlog_start
    refuses varnish
    says 'SessClose      c RX_JUNK' "$(log_file varnishlog)"
}

@test "lighttpd refuses a connection without a header" {
    refuses lighttpd
    says 'hap-PROXY proto received' "$BATS_FILE_TMPDIR/lighttpd/error.log"
}

@test "Squid refuses a connection without a header" {
    refuses squid
    says 'PROXY protocol error: invalid magic' "$BATS_FILE_TMPDIR/squid/cache.log"
}

@test "hitch refuses a connection without a header" {
    refuses hitch
}

@test "nginx's stream module refuses a connection without a header" {
    launch 127.0.0.2 -0 "127.0.0.1:$STREAM_CLIENT_PORT"
    run ask "$port" "$from" 127.0.0.2 < <(printf 'who am I\n')
    assert_output ''
    run cat "$BATS_FILE_TMPDIR/stream.log"
    assert_line --partial 'broken header: "who am I'
}

@test "gunicorn takes a connection without a header for one of relay's own" {
    launch 127.0.0.2 -0 "127.0.0.1:$GUNICORN_PORT"
    run fetch gunicorn 127.0.0.2
    assert_output --regexp '^127\.0\.0\.1 '
}

@test "Varnish takes a client of whom nothing is known for relay in v2, and hangs up in v1" {
    run nobody -2 "127.0.0.1:$VARNISH_PORT"
    assert_line --regexp '^127\.0\.0\.1 [0-9]+$'
    run nobody -1 "127.0.0.1:$VARNISH_PORT"
    assert_output ''
}

@test "Varnish answers nobody who sends a header from another address than relay's" {
    run forge varnish 127.0.0.3
    assert_line --index 0 'HTTP/1.1 403 Forbidden'
    refute_output --partial 6.6.6.6
    run forge varnish 127.0.0.1
    assert_line '6.6.6.6 666'
}

@test "lighttpd believes no header that another address than relay's sends" {
    run forge lighttpd 127.0.0.3
    assert_line --index 0 --partial ' 400 Bad Request'
    refute_output --partial 6.6.6.6
    run forge lighttpd 127.0.0.1
    assert_line '6.6.6.6 666'
}

@test "Squid hangs up on whoever sends a header from another address than relay's" {
    run forge squid 127.0.0.3
    assert_output ''
    says 'PROXY client not permitted by ACLs' "$BATS_FILE_TMPDIR/squid/cache.log"
}

@test "nginx's stream module believes no header that another address than relay's sends" {
    from=$(free_port)
    run ask "$STREAM_CLIENT_PORT" "$from" 127.0.0.3 < <(printf 'PROXY TCP4 6.6.6.6 6.6.6.6 666 666\r\n')
    assert_output "127.0.0.3 $from"
    wait_for logged stream 127.0.0.3 "$from" ' via 127.0.0.3 '
    run ask "$STREAM_CLIENT_PORT" "$(free_port)" 127.0.0.1 < <(printf 'PROXY TCP4 6.6.6.6 6.6.6.6 666 666\r\n')
    assert_output '6.6.6.6 666'
}

@test "gunicorn refuses whoever sends a header from another address than relay's" {
    run forge gunicorn 127.0.0.3
    assert_line --index 0 'HTTP/1.1 403 Forbidden'
    run forge gunicorn 127.0.0.1
    assert_line --partial '6.6.6.6 666'
}

# --- where they expect none ---

# takes_header_for_request NAME: 400, of either version.
takes_header_for_request() {
    local version
    for version in -1 -2; do
        launch 127.0.0.2 "$version" "127.0.0.1:$(port_of "$1-plain")"
        run curl -sS -i -m 60 --noproxy '*' "http://127.0.0.1:$port/"
        assert_output --regexp "$(quoted '400 Bad Request')"
        stop tcpserver
    done
}

@test "Varnish, lighttpd, Squid and gunicorn take a header for a bad request where they expect none" {
    varnishlog_start
    takes_header_for_request varnish
    says 'HttpGarbage' "$(log_file varnishlog)"
    takes_header_for_request lighttpd
    says 'invalid request-line' "$BATS_FILE_TMPDIR/lighttpd/error.log"
    takes_header_for_request squid
    says 'PROXY error:invalid-request' "$BATS_FILE_TMPDIR/squid/access.log"
    cd "$BATS_FILE_TMPDIR/gunicorn" || return
    example gunicorn.conf.py "s/8080/$GUNICORN_PLAIN_PORT/g; /^proxy_/d"
    start plain "${as_user[@]}" gunicorn -c gunicorn.conf.py client:application
    wait_listening "$GUNICORN_PLAIN_PORT"
    takes_header_for_request gunicorn
}

@test "hitch takes a header for a broken TLS where it expects none" {
    cd "$BATS_FILE_TMPDIR/hitch" || return
    sed "s/$HITCH_PORT/$HITCH_PLAIN_PORT/; /^proxy-proxy/d" hitch.conf >plain.conf
    start plain "${as_user[@]}" hitch --config=plain.conf
    wait_listening "$HITCH_PLAIN_PORT"
    launch 127.0.0.2 "127.0.0.1:$HITCH_PLAIN_PORT"
    run curl -sS -k -m 60 --noproxy '*' "https://127.0.0.1:$port/"
    assert_failure
    says 'wrong version number' "$(log_file plain)"
}
