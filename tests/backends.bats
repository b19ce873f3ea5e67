#!/usr/bin/env bats
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# tcpserver, relay, and a real backend: nginx, Apache and HAProxy, each with its
# file from examples/, in which only ports and paths are replaced.
#
# shellcheck disable=SC2153,SC2154 # set by backend

load helper
load backend

# One of each for all tests, on 127.0.0.1 and ::1.
setup_file() {
    local name
    choose_ports nginx apache haproxy application
    head -c $((20 << 20)) /dev/urandom >"$BATS_FILE_TMPDIR/big"
    for name in application nginx apache; do
        mkdir "$(user_dir "$name")/html"
        ln "$BATS_FILE_TMPDIR/big" "$BATS_FILE_TMPDIR/$name/html/big"
    done

    start_nginx nginx "s/8080/$NGINX_PORT/"
    sed "s/8080/$APACHE_PORT/g" "$ROOT/examples/apache.conf" >"$BATS_FILE_TMPDIR/apache/apache.conf"
    start apache "${as_user[@]}" apache2 -d "$BATS_FILE_TMPDIR/apache" -f apache.conf -DFOREGROUND
    start application python3 -m http.server --bind 127.0.0.1 \
        --directory "$BATS_FILE_TMPDIR/application/html" "$APPLICATION_PORT"
    start_haproxy haproxy "$HAPROXY_PORT" "$APPLICATION_PORT"

    wait_listening "$APPLICATION_PORT"
    for name in nginx apache haproxy; do
        wait_listening "$(port_of "$name")" 127.0.0.1
        wait_listening "$(port_of "$name")" ::1
    done
}

teardown_file() { stop_all; }

teardown() { stop_all; }

# --- the backends ---

# start_nginx NAME SED-SCRIPT: its files are in $BATS_FILE_TMPDIR/NAME.
start_nginx() {
    sed "$2" "$ROOT/examples/nginx.conf" >"$BATS_FILE_TMPDIR/$1/nginx.conf"
    start "$1" "${as_user[@]}" nginx -p "$BATS_FILE_TMPDIR/$1" -c "$BATS_FILE_TMPDIR/$1/nginx.conf" -g 'daemon off;'
}

# start_haproxy NAME PORT APPLICATION-PORT
start_haproxy() {
    sed "s/8080/$2/; s/8000/$3/" "$ROOT/examples/haproxy.cfg" >"$BATS_FILE_TMPDIR/$1.cfg"
    start "$1" "${as_user[@]}" haproxy -f "$BATS_FILE_TMPDIR/$1.cfg"
}

access_log() {
    case $1 in
    haproxy*) echo "$BATS_FILE_TMPDIR/$1.log" ;;
    *) echo "$BATS_FILE_TMPDIR/$1/access.log" ;;
    esac
}

# log_lines BACKEND ADDRESS PORT [TEXT]: those of its access log that begin with
# this client, all of them without a PORT, and that contain TEXT.
log_lines() {
    local prefix="$2 ${3:+$3 via }"
    [[ $1 != haproxy* ]] || prefix="$2:${3:+$3 [}"
    awk -v prefix="$prefix" -v text="${4:-}" \
        'index($0, prefix) == 1 && (text == "" || index($0, text))' "$(access_log "$1")"
}

# logged_times COUNT BACKEND ADDRESS PORT [TEXT]: so many of them.
logged_times() {
    local count=$1
    shift
    [[ $(log_lines "$@" | wc -l) == "$count" ]]
}

# --- asking them ---

export no_proxy='*' # for curl

# url PATH: at tcpserver, which listens on $to and $port.
url() {
    echo "http://$(bracket "${to:-127.0.0.1}"):$port$1"
}

url_of() {
    url "/client?$from"
}

fetch() {
    local asks=(curl -sS -m 60 --interface "$2" --local-port "$from" "${@:3}" "$(url_of)")
    if [[ $1 == apache ]]; then
        "${asks[@]}" -I | tr -d '\r' | sed -n 's/^X-Client: //p'
    else
        "${asks[@]}"
    fi
}

# in_log BACKEND CLIENT-ADDRESS [TIMES]
in_log() {
    logged_times "${3:-1}" "$1" "$2" "$from" "/client?$from"
}

@test "nginx sees and logs IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client nginx '-1 -2' sees_client nginx
}

@test "Apache sees and logs IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client apache '-1 -2' sees_client apache
}

@test "HAProxy sees and logs IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client haproxy '-1 -2' sees_client haproxy
}

@test "an IPv4 client is seen by a backend that relay reaches over IPv6" {
    local name version
    for name in nginx apache haproxy; do
        for version in -1 -2; do
            sees_client "$name" 127.0.0.2 "$version" "[::1]:$(port_of "$name")"
        done
    done
}

@test "an IPv6 client is seen by a backend that relay reaches over IPv4" {
    local name version
    for name in nginx apache haproxy; do
        for version in -1 -2; do
            sees_client "$name" ::1 "$version" "127.0.0.1:$(port_of "$name")"
        done
    done
}

@test "nginx sees the clients of its UNIX socket" {
    local dir
    dir=$(user_dir nginx-unix)
    start_nginx nginx-unix "s|listen 127.0.0.1:8080 |listen unix:$dir/socket |; s/8080/$(free_port)/"
    wait_socket "$dir/socket"
    with_each_client "$dir/socket" '-1 -2' sees_client nginx-unix
    run cat "$(access_log nginx-unix)"
    assert_line --index 0 --partial ' via unix: '
    stop nginx-unix
}

@test "an application behind HAProxy has the client in X-Forwarded-For" {
    local haproxy_port application_port port local_port
    haproxy_port=$(free_port)
    application_port=$(free_port)
    port=$(free_port)
    local_port=$(free_port)
    backend_record "$application_port"
    start_haproxy haproxy-recorded "$haproxy_port" "$application_port"
    wait_listening "$haproxy_port"
    tcpserver_relay "$port" "127.0.0.1:$haproxy_port"
    start client curl -sS -m 10 --interface 127.0.0.2 --local-port "$local_port" "$(url /)"
    run cat "$(first_segment)"
    assert_line --regexp $'^x-forwarded-for: 127\.0\.0\.2\r$'
}

# --- longer connections ---

@test "nginx sees the client in each request of a kept connection" {
    keeps_alive nginx
}

@test "Apache sees the client in each request of a kept connection" {
    keeps_alive apache
}

@test "HAProxy sees the client in each request of a kept connection" {
    keeps_alive haproxy
}

# downloads BACKEND: 20 MiB through relay are what they were.
downloads() {
    local port version
    for version in -1 -2; do
        port=$(free_port)
        tcpserver_relay "$port" "$version" "127.0.0.1:$(port_of "$1")"
        run --separate-stderr curl -sS -m 60 --interface 127.0.0.2 -o "$BATS_TEST_TMPDIR/big" "$(url /big)"
        assert_success
        cmp "$BATS_TEST_TMPDIR/big" "$BATS_FILE_TMPDIR/big"
        rm "$BATS_TEST_TMPDIR/big"
        stop tcpserver
    done
}

@test "20 MiB from nginx arrive unchanged" {
    downloads nginx
}

@test "20 MiB from Apache arrive unchanged" {
    downloads apache
}

@test "20 MiB from an application behind HAProxy arrive unchanged" {
    downloads haproxy
}

# nginx says so after the first kilobyte, while 5 MiB are still coming.
@test "an upload too large for nginx gets its answer, 413" {
    local port local_port
    port=$(free_port)
    head -c $((5 << 20)) /dev/zero >"$BATS_TEST_TMPDIR/upload"
    tcpserver_relay "$port" "127.0.0.1:$NGINX_PORT"
    for _ in {1..20}; do
        local_port=$(free_port)
        run curl -sS -m 60 -o /dev/null -w '%{http_code}' --interface 127.0.0.2 --local-port "$local_port" \
            -H Expect: --data-binary "@$BATS_TEST_TMPDIR/upload" "$(url /client)"
        assert_output 413
        wait_for logged_times 1 nginx 127.0.0.2 "$local_port" '" 413 '
    done
    # A client that sends all of it, whatever the answer.
    {
        printf 'POST /client HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n' $((5 << 20))
        cat "$BATS_TEST_TMPDIR/upload"
    } >"$BATS_TEST_TMPDIR/request"
    run ask "$port" <"$BATS_TEST_TMPDIR/request"
    assert_success
    assert_line --index 0 --partial 'HTTP/1.1 413 '
}

# HAProxy answers at once and closes on bytes that it has not read: its answer has
# a reset behind it. Without relay, too, a client that is just sending loses one
# answer in 30. Passing on the reset before the answer would lose most of them.
@test "an answer that HAProxy resets behind gets through" {
    local port answers=0 code
    port=$(free_port)
    head -c $((5 << 20)) /dev/zero >"$BATS_TEST_TMPDIR/upload"
    tcpserver_relay "$port" "127.0.0.1:$HAPROXY_PORT"
    for _ in {1..20}; do
        code=$(curl -s -m 60 -o /dev/null -w '%{http_code}' \
            -H Expect: --data-binary "@$BATS_TEST_TMPDIR/upload" "$(url /client)") || true
        [[ $code != 200 ]] || answers=$((answers + 1))
    done
    echo "$answers answers of 20"
    [[ $answers -ge 15 ]]
}

# --- what they do not believe ---

# refuses BACKEND: to talk to a client that comes without a header, be it
# directly or through a relay that sends none. Then it talks to one with.
refuses() {
    local name=$1 port local_port answer
    port=$(free_port)
    tcpserver_relay "$port" -0 "127.0.0.1:$(port_of "$name")"
    for port in "$port" "$(port_of "$name")"; do
        local_port=$(free_port)
        local failure=0
        answer=$(curl -sS -m 60 -i --local-port "$local_port" "$(url "/client?$local_port")") || failure=$?
        # curl(1): closed without an answer, or reset
        [[ $failure == 52 || $failure == 56 ]]
        [[ -z $answer ]]
        run grep -F "/client?$local_port" "$(access_log "$name")"
        assert_output ''
    done
    stop tcpserver
    sees_client "$name" 127.0.0.2 -1 "127.0.0.1:$(port_of "$name")"
}

@test "nginx refuses a connection without a header" {
    refuses nginx
    run cat "$BATS_FILE_TMPDIR/nginx.log"
    assert_line --partial 'broken header: "GET /client?'
}

@test "Apache refuses a connection without a header" {
    refuses apache
}

@test "HAProxy refuses a connection without a header" {
    refuses haproxy
    run cat "$BATS_FILE_TMPDIR/haproxy.log"
    assert_line --partial 'Received something which does not look like a PROXY protocol header'
}

# A header, as somebody who is not relay writes it.
readonly FORGED_V1='PROXY TCP4 6.6.6.6 6.6.6.6 666 666\r\n'
readonly FORGED_V2='\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x06\x06\x06\x06\x06\x06\x06\x06\x02\x9a\x02\x9a'

@test "nginx believes no header that another address than relay's sends" {
    from=$(free_port)
    run forge nginx 127.0.0.3
    assert_line "127.0.0.3 $from"
    refute_output --partial 6.6.6.6
    wait_for logged_times 1 nginx 127.0.0.3 "$from"
    # From relay's own, it does.
    run forge nginx 127.0.0.1
    assert_line '6.6.6.6 666'
}

@test "Apache answers nobody who sends a header from another address than relay's" {
    run forge apache 127.0.0.3
    assert_line --index 0 'HTTP/1.1 403 Forbidden'
    # Its log takes the header's word, but says who connected.
    wait_for logged_times 1 apache 6.6.6.6 666 ' via 127.0.0.3 '
    run forge apache 127.0.0.1
    assert_line --index 0 'HTTP/1.1 404 Not Found'
    assert_line 'X-Client: 6.6.6.6 666'
}

@test "HAProxy takes no connection from another address than relay's" {
    run --separate-stderr forge haproxy 127.0.0.3
    assert_output ''
    logged_times 0 haproxy 6.6.6.6 666
    run forge haproxy 127.0.0.1
    assert_line '6.6.6.6 666'
    wait_for logged_times 1 haproxy 6.6.6.6 666
}

# disbelieves BACKEND [LOGGED-ADDRESS]: a header that the client itself sends,
# behind relay's, is no request. Its log has the client, or LOGGED-ADDRESS.
disbelieves() {
    local name=$1 logged=${2:-127.0.0.2} port version forged believed bad
    believed=$(log_lines "$name" 6.6.6.6 '' | wc -l)
    bad=$(log_lines "$name" "$logged" '' ' 400 ' | wc -l)
    for version in -1 -2; do
        port=$(free_port)
        tcpserver_relay "$port" "$version" "127.0.0.1:$(port_of "$name")"
        for forged in "$FORGED_V1" "$FORGED_V2"; do
            # shellcheck disable=SC2059 # it is a format
            printf "${forged}GET /client HTTP/1.0\r\n\r\n" >"$BATS_TEST_TMPDIR/request"
            run ask "$port" "$(free_port)" 127.0.0.2 <"$BATS_TEST_TMPDIR/request"
            assert_line --index 0 --regexp '^HTTP/1\.[01] 400 '
            refute_output --partial 6.6.6.6
            wait_for logged_times $((++bad)) "$name" "$logged" '' ' 400 '
            logged_times "$believed" "$name" 6.6.6.6 ''
        done
        stop tcpserver
    done
}

# What is no request is logged by nginx and Apache before they look at the
# header's address: under relay's.
@test "nginx does not believe a second header, the client's own" {
    disbelieves nginx 127.0.0.1
}

@test "Apache does not believe a second header, the client's own" {
    disbelieves apache 127.0.0.1
}

@test "HAProxy does not believe a second header, the client's own" {
    disbelieves haproxy
}

# --- the demonstration ---

# demo NAME COMMAND...: runs it as a person at a terminal does, with a directory
# of its own for temporary files.
demo() {
    mkdir -p "$BATS_TEST_TMPDIR/tmp"
    local name=$1
    shift
    start "$name" env --default-signal=INT TMPDIR="$BATS_TEST_TMPDIR/tmp" "$@" sh "$ROOT/examples/demo.sh"
}

# assert_nothing_left NAME: no process, no file.
assert_nothing_left() {
    run left_of "$1"
    assert_output ''
    run ls -A "$BATS_TEST_TMPDIR/tmp"
    assert_output ''
}

@test "the demonstration shows both clients in nginx's log, and leaves nothing" {
    demo demo
    exit_status demo
    assert_nothing_left demo
    run cat "$(log_file demo)"
    assert_line --regexp '^127\.0\.0\.2 [0-9]+ via 127\.0\.0\.1 .* "GET /client HTTP/1\.1" 200 '
    assert_line --regexp '^::1 [0-9]+ via 127\.0\.0\.1 .* "GET /client HTTP/1\.1" 200 '
    # nginx's answer and nginx's log say the same.
    assert_line --regexp '^127\.0\.0\.2 [0-9]+$'
    assert_line --regexp '^::1 [0-9]+$'
}

@test "two demonstrations at once do not disturb each other" {
    local name
    demo one
    demo two
    for name in one two; do
        exit_status "$name"
        run cat "$(log_file "$name")"
        assert_line --regexp '^127\.0\.0\.2 [0-9]+ via '
        assert_line --regexp '^::1 [0-9]+ via '
    done
    assert_nothing_left one
    assert_nothing_left two
}

@test "the demonstration goes on where there is no IPv6" {
    need_root 'a network namespace'
    # shellcheck disable=SC2016 # for the inner shell
    demo demo unshare -n sh -c 'ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && exec "$@"' sh
    exit_status demo
    assert_nothing_left demo
    run cat "$(log_file demo)"
    assert_line 'IPv6 is left out: this machine has no IPv6 loopback address.'
    assert_line --regexp '^== Start tcpserver on 127\.0\.0\.1:[0-9]+$'
    assert_line --regexp '^127\.0\.0\.2 [0-9]+ via 127\.0\.0\.1 '
    refute_line --regexp '^::1 '
}

@test "Ctrl-C in the middle of the demonstration leaves nothing" {
    local status=0
    # A curl that connects, asks, and hangs.
    mkdir "$BATS_TEST_TMPDIR/bin"
    cat >"$BATS_TEST_TMPDIR/bin/curl" <<'END'
#!/bin/bash
for url; do :; done
port=${url##*:}
exec 3<>"/dev/tcp/127.0.0.1/${port%%/*}"
printf 'GET /client HTTP/1.1\r\nHost: demo\r\n\r\n' >&3
read -r line <&3
echo "hanging: $line"
exec sleep 100
END
    chmod +x "$BATS_TEST_TMPDIR/bin/curl"
    demo demo PATH="$BATS_TEST_TMPDIR/bin:$PATH"
    wait_log demo 'hanging: HTTP/1.1 200 OK'
    kill -INT -- "-$(pid_of demo)"
    exit_status demo || status=$?
    assert_equal "$status" 130
    assert_nothing_left demo
}

@test "the demonstration names in one line what is missing where there is no apt-get" {
    local command status=0
    mkdir "$BATS_TEST_TMPDIR/bin"
    for command in sh dirname cat grep id mktemp rm sleep; do
        ln -s "$(type -P "$command")" "$BATS_TEST_TMPDIR/bin/$command"
    done
    demo demo PATH="$BATS_TEST_TMPDIR/bin"
    exit_status demo || status=$?
    assert_equal "$status" 1
    assert_nothing_left demo
    run grep '^demo.sh: ' "$(log_file demo)"
    assert_output --regexp '^demo\.sh: missing: gcc make .*tcpserver .*curl: install them first '
    assert_equal "${#lines[@]}" 1
}
