#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# tcpserver, relay, and OpenSMTPD, MariaDB, h2o, uWSGI or Apache Traffic Server,
# each with its file from examples/, in which only ports and names of files are
# replaced, inside the smallest configuration that it can run with.
#
# shellcheck disable=SC2034,SC2153,SC2154 # set by backend, or for it

load helper
load backend
load mailservers
load readme

# One of each for all tests. UNAWARE: with the same program, expecting no header.
setup_file() {
    local name servers=(mariadb h2o uwsgi trafficserver application)
    choose_ports "${servers[@]}" opensmtpd opensmtpd-unaware trafficserver-unaware
    [[ $(id -u) != 0 ]] || servers+=(opensmtpd)
    start_each "${servers[@]}"
    install -m 755 "$RELAY" "$BATS_FILE_TMPDIR/relay" # where other users reach it
    for name in "${servers[@]}"; do
        wait_listening "$(port_of "$name")" 127.0.0.1
        [[ $name == application ]] || wait_listening "$(port_of "$name")" ::1
    done
}

teardown_file() { stop_all; }

teardown() { stop_all; }

# --- the servers: each is started in a directory of its own ---

# It insists on root, on users of its own and on files in /usr, /var and /run: it
# gets them in a mount namespace.
start_opensmtpd() {
    mkdir etc mail
    chown nobody mail
    cp /etc/passwd /etc/group etc
    echo 'opensmtpd:x:64999:64999::/nonexistent:/bin/false
opensmtpq:x:64998:64998::/nonexistent:/bin/false' >>etc/passwd
    echo 'opensmtpd:x:64999:
opensmtpq:x:64998:' >>etc/group
    echo mx.example >etc/mailname
    # It looks up the names of clients that a header names. There is none to find;
    # Debian's own file has one of ::1.
    echo 'nameserver 127.0.0.1' >etc/resolv.conf
    echo '127.0.0.1 localhost' >etc/hosts
    {
        sed "s/2525/$OPENSMTPD_PORT/" "$ROOT/examples/opensmtpd.conf"
        cat <<END
listen on 127.0.0.1 port $OPENSMTPD_UNAWARE_PORT
table users { "@" = nobody }
action inbox maildir "$PWD/mail/inbox" virtual <users>
action outbound relay
match from any for domain "example.org" action inbox
match from local for any action outbound
END
    } >smtpd.conf
    # shellcheck disable=SC2016 # for the inner shell
    start opensmtpd unshare -m sh -ec '
        mount -t overlay -o "lowerdir=$1/usr:/usr" overlay /usr
        mount -t overlay -o "lowerdir=$PWD/etc:/etc" overlay /etc
        for directory in /run /var/lib /var/spool; do mount -t tmpfs tmpfs "$directory"; done
        mkdir -p -m 755 /var/lib/opensmtpd/empty
        mkdir -m 711 /var/spool/smtpd
        exec smtpd -d -f "$PWD/smtpd.conf"' sh "$TESTS/build/opensmtpd"
}

start_mariadb() {
    sed "s/3307/$MARIADB_PORT/" "$ROOT/examples/mariadb.cnf" >relay.cnf
    cat >my.cnf <<END
[mariadbd]
datadir = $PWD/data
socket = $PWD/mariadb.sock
pid-file = $PWD/mariadb.pid
init-file = $PWD/accounts.sql
general-log = on
general-log-file = $PWD/general.log
skip-name-resolve
innodb-log-file-size = 4M
!include $PWD/relay.cnf
END
    cat >accounts.sql <<END
CREATE USER somebody@127.0.0.2 IDENTIFIED BY 'secret';
CREATE USER somebody@'::1' IDENTIFIED BY 'secret';
CREATE USER somebody@127.0.0.4;
END
    # shellcheck disable=SC2016 # for the inner shell
    start mariadb "${as_user[@]}" sh -ec '
        mariadb-install-db --defaults-file="$PWD/my.cnf" --skip-name-resolve --skip-test-db
        exec mariadbd --defaults-file="$PWD/my.cnf"'
}

start_h2o() {
    sed "s/8080/$H2O_PORT/" "$ROOT/examples/h2o.conf" >h2o.conf
    start h2o "${as_user[@]}" h2o -c h2o.conf
}

start_uwsgi() {
    sed "s/8080/$UWSGI_PORT/" "$ROOT/examples/uwsgi.ini" >uwsgi.ini
    cat >client.py <<'END'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['REMOTE_ADDR']} {environ.get('REMOTE_PORT')}\n".encode()]
END
    start uwsgi "${as_user[@]}" uwsgi-core --ini uwsgi.ini --plugin python3 --module client
}

start_trafficserver() {
    local package=/etc/trafficserver
    mkdir etc
    cp "$package"/*.yaml etc
    {
        cat "$package/records.config"
        sed "s/8080/$TRAFFICSERVER_PORT/g; s/^CONFIG .*server_ports .*/& $TRAFFICSERVER_UNAWARE_PORT:ip-in=127.0.0.1/" \
            "$ROOT/examples/trafficserver.config"
        echo "CONFIG proxy.config.log.max_secs_per_buffer INT 1
CONFIG proxy.config.log.periodic_tasks_interval INT 1"
    } >etc/records.config
    echo "map / http://127.0.0.1:$APPLICATION_PORT/" >etc/remap.config
    echo "$PWD/cache 16M" >etc/storage.config
    cat >root.yaml <<END
prefix: /usr
bindir: /usr/bin
sysconfdir: $PWD/etc
libexecdir: /usr/lib/trafficserver/modules
localstatedir: $PWD
runtimedir: $PWD
logdir: $PWD
cachedir: $PWD/cache
END
    mkdir -m 777 cache
    start trafficserver "${as_user[@]}" env TS_RUNROOT="$PWD/root.yaml" traffic_server
}

# wait_logged NAME REGEX: until a line of what it has written matches.
wait_logged() {
    wait_for grep -E -e "$2" -- "$BATS_FILE_TMPDIR/$1.log"
}

# --- asking them ---

export no_proxy='*' # for curl

fetch() {
    curl -sS -m 60 --interface "$2" --local-port "$from" "${@:3}" "$(url_of)"
}

# The question has the client's port in it, so the log's line is known.
url_of() {
    echo "http://$(bracket "$to"):$port/client?$from"
}

# log_lines NAME CLIENT-ADDRESS [CLIENT-PORT]: those of its log about this client's
# question. Traffic Server knows no ports in its log.
log_lines() {
    case $1 in
    trafficserver)
        traffic_logcat "$BATS_FILE_TMPDIR/trafficserver/squid.blog" 2>/dev/null |
            grep -E "^[0-9.]+ [0-9]+ $2 [A-Z_]+/200 .*/client\?$from "
        ;;
    h2o) grep -E "^$2 ${3:-[0-9]+} .* \"GET /client\?$from HTTP/1\.[01]\" 200 " "$BATS_FILE_TMPDIR/h2o/access.log" ;;
    uwsgi) grep -E "^$2 ${3:-[-0-9]+} .* \"GET /client\?$from HTTP/1\.[01]\" 200 " "$BATS_FILE_TMPDIR/uwsgi.log" ;;
    esac
}

in_log() { log_lines "$1" "$2" "$from"; }

# private_socket NAME: it knows its client over its UNIX socket, too, which others
# of this machine cannot reach.
private_socket() {
    local path=$BATS_FILE_TMPDIR/$1/$1.sock
    with_each_client "$path" -1 sees_client "$1"
    need_root "another user"
    relay=(setpriv --reuid=list --regid=list --clear-groups "$BATS_FILE_TMPDIR/relay")
    launch 127.0.0.2 "$path"
    run fetch "$1" 127.0.0.2
    assert_failure
    wait_for no_child tcpserver
    run relay_lines
    assert_output --partial 'error msg="cannot connect: Permission denied'
}

# --- OpenSMTPD ---

# takes_mail CLIENT-ADDRESS RELAY-ARGUMENT...: the whole dialogue, and the client
# in the delivered mail and in the log.
takes_mail() {
    local client=$1 id mail
    need_root OpenSMTPD
    delivers "$@"
    assert_line "< 250-mx.example Hello client.example [$client], pleased to meet you"
    wait_for inbox "Subject: $from"
    mail=$(inbox "Subject: $from")
    run grep -A1 -m1 '^Received:' "$mail"
    assert_line --index 0 "Received: from client.example (<unknown> [$client])"
    assert_line --index 1 --partial "by mx.example (OpenSMTPD) with ESMTP id $id"
    wait_for opensmtpd_logged " smtp message msgid=$id " "connected address=\[?$client\]? host="
    quiet_end
}

inbox() {
    grep -lxF "$1" "$BATS_FILE_TMPDIR"/opensmtpd/mail/inbox/new/*
}

# opensmtpd_logged TEXT REGEX: of the session whose line contains TEXT, one matches.
opensmtpd_logged() {
    local session
    session=$(grep -F -m1 "$1" "$BATS_FILE_TMPDIR/opensmtpd.log") || return
    grep -E "^${session%% *} smtp $2" "$BATS_FILE_TMPDIR/opensmtpd.log"
}

@test "OpenSMTPD takes mails and knows its IPv4 and IPv6 clients, in v2" {
    with_each_client opensmtpd -2 takes_mail
}

@test "OpenSMTPD greets a client that says nothing" {
    need_root OpenSMTPD
    greets '^220 mx\.example ESMTP OpenSMTPD$' -2 "127.0.0.1:$OPENSMTPD_PORT"
}

@test "OpenSMTPD does not read v1" {
    need_root OpenSMTPD
    launch 127.0.0.2 -1 "127.0.0.1:$OPENSMTPD_PORT"
    run greeting
    assert_output ''
    wait_logged opensmtpd ' event=closed address=127\.0\.0\.1 reason="protocol error \(invalid signature\)"$'
    says 'protocol error (invalid signature)' "$BATS_FILE_TMPDIR/opensmtpd.log"
}

@test "OpenSMTPD does not relay for relay's clients" {
    need_root OpenSMTPD
    launch 127.0.0.2 -2 "127.0.0.1:$OPENSMTPD_PORT"
    run send_mail 127.0.0.2 somebody@elsewhere.example
    assert_failure
    assert_line '< 550 Invalid recipient: <somebody@elsewhere.example>'
    # It would for this machine: so with no header it does, for everybody.
    stop tcpserver
    launch 127.0.0.2 -0 "127.0.0.1:$OPENSMTPD_UNAWARE_PORT"
    run send_mail 127.0.0.2 somebody@elsewhere.example
    assert_line --regexp '^< 250 2\.1\.5 '
}

@test "OpenSMTPD refuses a connection without a header" {
    need_root OpenSMTPD
    launch 127.0.0.2 -0 -b 127.0.0.6 "127.0.0.1:$OPENSMTPD_PORT"
    run ask "$port" "$from" 127.0.0.2 < <(printf 'EHLO client.example\r\n')
    assert_output ''
    wait_logged opensmtpd ' event=closed address=127\.0\.0\.6 reason="protocol error \(invalid signature\)"$'
}

# What it says of v1 depends on whether the header or its greeting is earlier.
@test "OpenSMTPD takes relay's header for a client's commands where it expects none" {
    need_root OpenSMTPD
    launch 127.0.0.2 -1 "127.0.0.1:$OPENSMTPD_UNAWARE_PORT"
    run send_mail 127.0.0.2 user@example.org
    assert_line --regexp '^< 500 5\.5\.1 Invalid command: (Command unrecognized|Pipelining not supported)$'
    assert_line --regexp "^< $(quoted '500 5.5.1 Invalid command')"
    stop tcpserver
    launch 127.0.0.2 -2 "127.0.0.1:$OPENSMTPD_UNAWARE_PORT"
    run send_mail 127.0.0.2 user@example.org
    assert_failure
    assert_line '< 500 5.5.1 Invalid command: Pipelining not supported'
    # And hangs up.
    refute_line --regexp '^< 250'
    run timeout 30 cat <"/dev/tcp/$to/$port"
    refute [ "$status" == 124 ]
}

@test "OpenSMTPD believes the header of whoever reaches it" {
    need_root OpenSMTPD
    run ask "$OPENSMTPD_PORT" "$(free_port)" 127.0.0.3 \
        < <(printf '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\6\6\6\6\6\6\6\6\0\1\0\1')
    assert_output --partial '220 '
    wait_logged opensmtpd ' smtp connected address=6\.6\.6\.6 '
}

# --- MariaDB ---

# query CLIENT-ADDRESS PASSWORD: who the server takes this client for, in the
# words of a USER() and of the process list. mariadb cannot choose its address.
query() {
    local socket=$BATS_TEST_TMPDIR/client.sock
    start client socat "UNIX-LISTEN:$socket" "TCP:$(bracket "$to"):$port,bind=$(bracket "$1"):$from"
    wait_socket "$socket"
    mariadb --no-defaults -N -S "$socket" -u somebody -p"$2" \
        -e 'SELECT USER(), host FROM information_schema.processlist WHERE id = CONNECTION_ID()' 2>&1
}

mariadb_logged() {
    wait_for grep -E -e "$2" -- "$BATS_FILE_TMPDIR/mariadb/$1"
}

# lets_in CLIENT-ADDRESS RELAY-ARGUMENT...: a client that has an account.
lets_in() {
    local client=$1
    shift
    launch "$client" "$@"
    run query "$client" secret
    assert_success
    assert_output "somebody@$client	$client:$from"
    mariadb_logged general.log " Connect	somebody@$client on "
    quiet_end
}

@test "MariaDB lets in IPv4 and IPv6 clients that have an account, in v1 and v2" {
    with_each_client mariadb '-1 -2' lets_in
}

@test "MariaDB knows the client that it does not let in" {
    launch 127.0.0.2 "127.0.0.1:$MARIADB_PORT"
    run query 127.0.0.2 wrong
    assert_failure
    assert_output --partial "Access denied for user 'somebody'@'127.0.0.2' (using password: YES)"
    wait_logged mariadb "Access denied for user 'somebody'@'127\.0\.0\.2' \(using password: YES\)"
    stop tcpserver
    launch 127.0.0.3 "127.0.0.1:$MARIADB_PORT"
    run query 127.0.0.3 secret
    assert_failure
    assert_output --partial "Host '127.0.0.3' is not allowed to connect to this MariaDB server"
}

@test "MariaDB takes a connection without a header for one of relay's own" {
    launch 127.0.0.2 -0 "127.0.0.1:$MARIADB_PORT"
    run query 127.0.0.2 secret
    assert_output --partial "Access denied for user 'somebody'@'127.0.0.1' (using password: YES)"
}

@test "MariaDB hangs up on whoever sends a header from another address than relay's" {
    run ask "$MARIADB_PORT" "$(free_port)" 127.0.0.4 < <(printf 'PROXY TCP4 6.6.6.6 6.6.6.6 666 666\r\n')
    assert_output --regexp "$(quoted 'Proxy header is not accepted')"
    assert_output --partial 'from 127.0.0.4'
    run ask "$MARIADB_PORT" "$(free_port)" 127.0.0.1 < <(printf 'PROXY TCP4 6.6.6.6 6.6.6.6 666 666\r\n')
    refute_output --partial 'Proxy header'
    wait_logged mariadb "user: 'unauthenticated' host: '6\.6\.6\.6' real ip: '127\.0\.0\.1'"
}

# --- h2o ---

@test "h2o sees and logs IPv4 and IPv6 clients, in v1" {
    with_each_client h2o -1 sees_client h2o
}

@test "h2o sees the client in each request of a kept connection" {
    keeps_alive h2o
}

@test "h2o sees its client over a UNIX socket that others cannot reach" {
    private_socket h2o
}

@test "h2o does not read v2" {
    launch 127.0.0.2 -2 "127.0.0.1:$H2O_PORT"
    run fetch h2o 127.0.0.2 -i
    assert_output --regexp "^HTTP/1\.1 $(quoted '400 Bad Request').*Bad Request$"
}

@test "h2o takes a connection without a header for one of relay's own" {
    launch 127.0.0.2 -0 "127.0.0.1:$H2O_PORT"
    run fetch h2o 127.0.0.2
    assert_output --regexp '^127\.0\.0\.1 '
    wait_for log_lines h2o 127.0.0.1
}

@test "h2o believes the header of whoever reaches it" {
    run forge h2o 127.0.0.3
    assert_line '6.6.6.6 666'
}

# --- uWSGI ---

@test "uWSGI sees and logs IPv4 and IPv6 clients, in v1" {
    with_each_client uwsgi -1 sees_client uwsgi
}

@test "uWSGI sees its client over a UNIX socket that others cannot reach" {
    private_socket uwsgi
}

@test "uWSGI takes v2 for an empty request of relay's own" {
    launch 127.0.0.2 -2 "127.0.0.1:$UWSGI_PORT"
    run fetch uwsgi 127.0.0.2 --http0.9
    assert_output --regexp '127\.0\.0\.1 None$'
    says '"- - -" 200' "$BATS_FILE_TMPDIR/uwsgi.log"
}

@test "uWSGI, where it expects no header, takes it for a broken request" {
    local dir=$BATS_TEST_TMPDIR/unaware
    cp -r "$BATS_FILE_TMPDIR/uwsgi" "$dir"
    cd "$dir"
    sed -i "/^enable-proxy-protocol/d; s/:$UWSGI_PORT/:$(free_port)/" uwsgi.ini
    port=$(sed -n 's/^http-socket = 127.0.0.1://p' uwsgi.ini)
    start unaware uwsgi-core --ini uwsgi.ini --plugin python3 --module client
    wait_listening "$port"
    launch 127.0.0.2 -1 "127.0.0.1:$port"
    run fetch uwsgi 127.0.0.2
    assert_output --partial "$(quoted 'Empty reply from server')"
    says 'invalid HTTP request' "$(log_file unaware)"
}

@test "uWSGI takes a connection without a header for one of relay's own" {
    launch 127.0.0.2 -0 "127.0.0.1:$UWSGI_PORT"
    run fetch uwsgi 127.0.0.2
    assert_output '127.0.0.1 None'
    wait_for log_lines uwsgi 127.0.0.1
}

@test "uWSGI believes the header of whoever reaches it" {
    run forge uwsgi 127.0.0.3
    assert_line '6.6.6.6 666'
}

# --- Apache Traffic Server ---

@test "Traffic Server, where it expects no header, takes it for a broken request" {
    local version
    for version in -1 -2; do
        launch 127.0.0.2 "$version" "127.0.0.1:$TRAFFICSERVER_UNAWARE_PORT"
        run fetch trafficserver 127.0.0.2 -i
        assert_line --index 0 --regexp "^HTTP/1\.0 $(quoted '400 Invalid HTTP Request')"
        stop tcpserver
    done
    trafficserver_logs() {
        traffic_logcat "$BATS_FILE_TMPDIR/trafficserver/squid.blog" >"$BATS_TEST_TMPDIR/logs" 2>/dev/null
        WAIT_SECONDS=0 says 'ERR_INVALID_REQ/400' "$BATS_TEST_TMPDIR/logs"
    }
    wait_for trafficserver_logs
}

@test "Traffic Server and its application know IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client trafficserver '-1 -2' sees_client trafficserver
}

@test "Traffic Server knows the client in each request of a kept connection" {
    keeps_alive trafficserver
}

@test "Traffic Server names its client last in X-Forwarded-For" {
    launch 127.0.0.2 "127.0.0.1:$TRAFFICSERVER_PORT"
    run fetch trafficserver 127.0.0.2 -H 'X-Forwarded-For: 6.6.6.6'
    assert_output '6.6.6.6, 127.0.0.2'
}

# In the ip_allow.yaml that comes with it, 127.0.0.1 may do everything: so may relay.
@test "Traffic Server's rules judge the client" {
    launch 127.0.0.2 "127.0.0.1:$TRAFFICSERVER_PORT"
    run fetch trafficserver 127.0.0.2 -X PURGE -o /dev/null -w '%{http_code}'
    assert_output 403
    stop tcpserver
    launch 127.0.0.1 "127.0.0.1:$TRAFFICSERVER_PORT"
    run fetch trafficserver 127.0.0.1 -X PURGE -o /dev/null -w '%{http_code}'
    assert_output 404
}

@test "Traffic Server refuses a connection without a header" {
    launch 127.0.0.2 -0 "127.0.0.1:$TRAFFICSERVER_PORT"
    run fetch trafficserver 127.0.0.2 -i
    # curl(1): closed without an answer
    assert_failure 52
}

@test "Traffic Server hangs up on a client of whom nothing is known" {
    local version
    for version in -1 -2; do
        run nobody "$version" "127.0.0.1:$TRAFFICSERVER_PORT"
        assert_output ''
    done
}

@test "Traffic Server hangs up on whoever sends a header from another address than relay's" {
    run forge trafficserver 127.0.0.3
    assert_output ''
    run forge trafficserver 127.0.0.1
    assert_line 6.6.6.6
}
