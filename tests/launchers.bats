#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay under real launchers: whom its header names, what its client gets, and
# where its messages go. systemd itself has a suite of its own.
#
# shellcheck disable=SC2154 # set by connection
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own

load helper
load connection
load backend

setup_file() { connection_file; }

setup() { connection; }

teardown() { stop_all; }

# --- what is started ---

# activate ADDRESS MODE RELAY-ARGUMENT...: relay under systemd-socket-activate,
# known as "activate". MODE: --inetd, or --fdname=connection (descriptor 3).
activate() {
    start activate systemd-socket-activate --listen="$1" --accept "$2" "$RELAY" "${@:3}"
    if [[ $1 == /* ]]; then wait_socket "$1"; else wait_listening "$port"; fi
}

# start_inetd FILE: with a /run of its own, where it writes inetd.pid, and removes it.
start_inetd() {
    # shellcheck disable=SC2016 # for the inner shell
    start inetd unshare -m sh -c 'mount -t tmpfs none /run && exec inetd -i "$0"' "$1"
}

# inetd_example: inetd with examples/inetd.conf, only ports and paths changed.
inetd_example() {
    need_root
    port_v2=$(free_port)
    start_inetd "$(example inetd.conf "\
        s/^80\>/$port/; s/127.0.0.1:8080/127.0.0.1:$backend/
        s/^443\>/$port_v2/; s/127.0.0.1:8443/127.0.0.1:$backend/")"
    wait_listening "$port"
    wait_listening "$port_v2"
}

# --- tcpserver ---

@test "tcpserver: the v1 header names an IPv4 client" {
    record
    tcpserver_relay "$port" -v "127.0.0.1:$backend"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    wait_for no_child tcpserver
    assert_equal "$(said tcpserver)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
}

@test "tcpserver: the v2 header names an IPv4 client" {
    record
    tcpserver_relay "$port" -2 "127.0.0.1:$backend"
    connect 127.0.0.2
    assert_relayed_v2 "$(hex_tcp4 127.0.0.2 "$from" 127.0.0.1 "$port")"
    wait_for no_child tcpserver
    assert_equal "$(said tcpserver)" ""
}

@test "tcpserver: the v1 header names an IPv6 client" {
    record
    LISTEN=::1 tcpserver_relay "$port" -v "127.0.0.1:$backend"
    connect ::1 ::1
    assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
    wait_for no_child tcpserver
    assert_equal "$(said tcpserver)" "$(closed_line "[::1]:$from" "[::1]:$port")"
}

@test "tcpserver: the v2 header names an IPv6 client" {
    record
    LISTEN=::1 tcpserver_relay "$port" -2 "127.0.0.1:$backend"
    connect ::1 ::1
    assert_relayed_v2 "$(hex_loopback6 "$from" "$port")"
}

@test "tcpserver: an IPv4 client of a listener for both families is plain IPv4" {
    record
    LISTEN=:: tcpserver_relay "$port" -v "127.0.0.1:$backend"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    wait_for no_child tcpserver
    assert_equal "$(said tcpserver)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
}

@test "tcpserver: the environment cannot belie the client's socket" {
    record
    tcpserver_run "$port" env TCPREMOTEIP=203.0.113.66 TCPREMOTEPORT=666 \
        "$RELAY" "127.0.0.1:$backend"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
}

@test "tcpserver: with -0 the backend gets the client's bytes only" {
    record
    tcpserver_relay "$port" -0 "127.0.0.1:$backend"
    connect
    assert_equal "$(cat -A "$(all_bytes)")" "$QUESTION"
    assert_answered
}

@test "tcpserver: a backend that refuses is told on stderr, the client gets nothing, the status is 111" {
    tcpserver_relay "$port" "127.0.0.1:$backend"
    run connect 127.0.0.2
    assert_nothing_sent
    wait_for no_child tcpserver
    assert_refused_line "$(said tcpserver)" "127.0.0.2:$from"
    wait_log tcpserver "status $((111 << 8))"
}

@test "tcpserver: clients that leave at once leave no process behind, and no failure" {
    record
    tcpserver_relay "$port" "127.0.0.1:$backend"
    leave close 10
    leave reset 10
    wait_for no_child tcpserver
    wait_for no_connection
    run sed -nE 's/^tcpserver: end [0-9]+ status //p' "$(log_file tcpserver)"
    assert_equal "$(sort <<<"$output" | uniq -c | xargs)" "20 0"
}

@test "tcpserver: the run script in examples" {
    need_root
    record
    start tcpserver sh "$(example tcpserver.sh "s/ 80 / $port /; s/:8080/:$backend/")"
    wait_listening "$port"
    assert_equal "$(ps -o user= -p "$(pid_of tcpserver)")" nobody
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    wait_for no_child tcpserver
    assert_equal "$(said tcpserver)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
}

@test "1 MB of address space is enough for relay with one backend, 2 MB with four names" {
    local name
    backend_record "$backend"
    tcpserver_run "$port" prlimit --as=1000000 "$RELAY" -v -2 -c -u "localhost:$backend"
    head -c 10000000 /dev/zero | ask "$port" "$from" 127.0.0.2 >"$answer"
    assert_equal "$(stat -c %s "$(all_bytes)")" $((10000000 + 28 + 7 + 35))
    wait_log tcpserver ' end=done'
    private_network
    start_inside resolver socat -u UDP4-RECV:53,bind=127.0.0.53 OPEN:/dev/null
    wait_for eval "inside ss -Hlun 'sport = :53' | grep ."
    run inside prlimit --as=2000000 "$RELAY" -t 2 {a,b,c,d}.example:80 </dev/null
    for name in {a,b,c,d}.example; do
        assert_line --partial "skipped msg=\"looking up $name: no answer within 2 s\""
    done
}

# --- inetd: descriptor 2 is the client, too ---

@test "inetd: the example's v1 header names an IPv4 client, the log line is in syslog" {
    syslog_start
    record
    inetd_example
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    assert_equal "$(said_to_syslog "127.0.0.2:$from")" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
}

@test "inetd: the example's v2 header names an IPv4 client" {
    record
    inetd_example
    port=$port_v2
    connect 127.0.0.2
    assert_relayed_v2 "$(hex_tcp4 127.0.0.2 "$from" 127.0.0.1 "$port")"
}

@test "inetd: the example's v1 header names an IPv6 client" {
    record
    inetd_example
    connect ::1 ::1
    assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
}

@test "inetd: the example serves more than 256 clients a minute" {
    record
    inetd_example
    run python3 - "$port" "$ANSWER" <<'PYTHON'
import socket, sys
answers = 0
for i in range(300):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as client:
        client.shutdown(socket.SHUT_WR)
        answers += client.makefile().read() == sys.argv[2]
print(answers)
PYTHON
    assert_output 300
    wait_for no_child inetd
}

@test "inetd: a backend that refuses is told in syslog, and the client gets nothing" {
    syslog_start
    inetd_example
    run connect 127.0.0.2
    assert_nothing_sent
    assert_refused_line "$(said_to_syslog "127.0.0.2:$from")" "127.0.0.2:$from"
    assert_equal "$(cat "$(log_file inetd)")" ""
}

@test "inetd: the client gets nothing where there is no syslog either" {
    [[ ! -e /dev/log ]] || skip "there is a syslog"
    inetd_example
    run connect 127.0.0.2
    assert_nothing_sent
    wait_for no_child inetd
}

@test "inetd: a wrong option is told in syslog, and the client gets nothing" {
    syslog_start
    echo "$port stream tcp nowait root $RELAY relay --nonsense-$port 127.0.0.1:$backend" \
        >"$BATS_TEST_TMPDIR/inetd.conf"
    start_inetd "$BATS_TEST_TMPDIR/inetd.conf"
    wait_listening "$port"
    run connect 127.0.0.2
    assert_nothing_sent
    assert_regex "$(said_to_syslog "nonsense-$port")" '^error msg="'
}

@test "inetd: clients that leave at once leave no process behind" {
    record
    inetd_example
    leave close 10
    leave reset 10
    wait_for no_child inetd
    wait_for no_connection
}

# --- systemd-socket-activate ---

@test "systemd-socket-activate: the example names IPv4 and IPv6 clients of one port, its lines are on stderr" {
    record
    start activate sh "$(example socket-activate.sh "s/ 80 / $port /; s/:8080/:$backend/")"
    wait_listening "$port"
    connect
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    record_anew
    connect ::1 ::1
    assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
    wait_for no_child activate
    assert_equal "$(said activate)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")
$(closed_line "[::1]:$from" "[::1]:$port")"
}

@test "systemd-socket-activate --inetd: the v1 header names an IPv4 client" {
    record
    activate "127.0.0.1:$port" --inetd -v "127.0.0.1:$backend"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    wait_for no_child activate
    assert_equal "$(said activate)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
}

@test "systemd-socket-activate --inetd: the v2 header names an IPv6 client" {
    record
    activate "[::1]:$port" --inetd -2 "127.0.0.1:$backend"
    connect ::1 ::1
    assert_relayed_v2 "$(hex_loopback6 "$from" "$port")"
}

@test "systemd-socket-activate --inetd: an IPv4 client of [::] is plain IPv4" {
    record
    activate "[::]:$port" --inetd -2 "127.0.0.1:$backend"
    connect 127.0.0.2
    assert_relayed_v2 "$(hex_tcp4 127.0.0.2 "$from" 127.0.0.1 "$port")"
}

@test "systemd-socket-activate, descriptor 3: the v1 header names an IPv4 client" {
    record
    activate "127.0.0.1:$port" --fdname=connection -v "127.0.0.1:$backend"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    wait_for no_child activate
    assert_equal "$(said activate)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
}

@test "systemd-socket-activate, descriptor 3: the v1 header names an IPv6 client" {
    record
    activate "[::1]:$port" --fdname=connection "127.0.0.1:$backend"
    connect ::1 ::1
    assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
}

@test "systemd-socket-activate, descriptor 3: an IPv4 client of [::] is plain IPv4" {
    record
    activate "[::]:$port" --fdname=connection "127.0.0.1:$backend"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
}

@test "systemd-socket-activate, descriptor 3: a UNIX-socket client is AF_UNIX in v2" {
    local path=$BATS_TEST_TMPDIR/listen
    record
    activate "$path" --fdname=connection -2 "127.0.0.1:$backend"
    connect_unix "$path"
    assert_relayed_v2 "$(hex_unix "" "$path")"
}

@test "systemd-socket-activate: a backend that refuses is told on stderr, the client gets nothing" {
    local mode
    for mode in --inetd --fdname=connection; do
        activate "127.0.0.1:$port" "$mode" "127.0.0.1:$backend"
        run connect 127.0.0.2
        assert_nothing_sent
        wait_for no_child activate
        assert_refused_line "$(said activate)" "127.0.0.2:$from"
        wait_log activate "died with code 111"
        stop activate
        port=$(free_port) from=$(free_port)
    done
}

@test "systemd-socket-activate: clients that leave at once leave no process behind, and no failure" {
    local mode
    record
    for mode in --inetd --fdname=connection; do
        activate "127.0.0.1:$port" "$mode" "127.0.0.1:$backend"
        leave close 10
        leave reset 10
        wait_for no_child activate
        wait_for no_connection
        run sed -nE 's/^Child [0-9]+ died with code //p' "$(log_file activate)"
        assert_equal "$(sort <<<"$output" | uniq -c | xargs)" "20 0"
        stop activate
        port=$(free_port)
    done
}

@test "systemd-socket-activate: a listening socket (Accept=no) is a wrong hand-over, and the cure is told" {
    local mode status
    for mode in --inetd --fdname=listen; do
        start activate systemd-socket-activate --listen="127.0.0.1:$port" "$mode" \
            "$RELAY" "127.0.0.1:$backend"
        wait_listening "$port"
        run connect 127.0.0.2
        assert_nothing_sent
        status=0
        exit_status activate || status=$?
        assert_equal "$status" 100
        assert_regex "$(said activate)" '^error msg="[^"]*Accept=yes'
        port=$(free_port) from=$(free_port)
    done
}

# --- pipes: the environment tells who the client is ---

# through_pipes [VARIABLE=VALUE...] -- RELAY-ARGUMENT...
through_pipes() {
    local environment=()
    while [[ $1 != -- ]]; do
        environment+=("$1")
        shift
    done
    printf %s "$QUESTION" | env "${environment[@]}" "$RELAY" "${@:2}" "127.0.0.1:$backend" \
        2>"$BATS_TEST_TMPDIR/pipes.log" | cat >"$answer"
}

@test "pipes: TCPREMOTEIP and its kin tell an IPv4 client" {
    record
    through_pipes PROTO=TCP TCPREMOTEIP=203.0.113.7 TCPREMOTEPORT=51234 \
        TCPLOCALIP=198.51.100.2 TCPLOCALPORT=443 -- -v
    assert_relayed_v1 "PROXY TCP4 203.0.113.7 198.51.100.2 51234 443"
    assert_equal "$(said pipes)" "$(closed_line 203.0.113.7:51234 198.51.100.2:443)"
}

@test "pipes: TCPREMOTEIP and its kin tell an IPv6 client" {
    record
    through_pipes PROTO=TCP TCPREMOTEIP=2001:db8::7 TCPREMOTEPORT=51234 \
        TCPLOCALIP=2001:db8::2 TCPLOCALPORT=443 -- -v
    assert_relayed_v1 "PROXY TCP6 2001:db8::7 2001:db8::2 51234 443"
    assert_equal "$(said pipes)" "$(closed_line '[2001:db8::7]:51234' '[2001:db8::2]:443')"
}

@test "pipes: without PROTO TCPREMOTEIP does not count" {
    record
    through_pipes TCPREMOTEIP=203.0.113.7 TCPREMOTEPORT=51234 -- -1
    assert_relayed_v1 "PROXY UNKNOWN"
}

@test "pipes: PROTO says whose variables count" {
    record
    through_pipes PROTO=SSL SSLREMOTEIP=203.0.113.7 SSLREMOTEPORT=51234 \
        SSLLOCALIP=198.51.100.2 SSLLOCALPORT=443 \
        TCPREMOTEIP=203.0.113.66 TCPREMOTEPORT=666 TCPLOCALIP=203.0.113.67 TCPLOCALPORT=667 -- -2
    assert_relayed_v2 "$(hex_tcp4 203.0.113.7 51234 198.51.100.2 443)"
}

@test "pipes: a client of whom nothing is known is UNKNOWN, in v2 UNSPEC" {
    record
    through_pipes -- -1
    assert_relayed_v1 "PROXY UNKNOWN"
    stop backend
    rm -r "$BATS_TEST_TMPDIR/backend"
    record
    through_pipes -- -2
    assert_relayed_v2 000000
}

@test "pipes: cat | relay | cat under tcpserver, the header names the client" {
    record
    # shellcheck disable=SC2016 # expanded by the inner shell
    tcpserver_run "$port" sh -c 'cat | "$0" -v "$1" | cat' "$RELAY" "127.0.0.1:$backend"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    wait_for no_child tcpserver
    assert_equal "$(said tcpserver)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
}

@test "pipes: cat | relay | cat under tcpserver for both families, an IPv4 client is plain IPv4" {
    record
    # shellcheck disable=SC2016 # expanded by the inner shell
    LISTEN=:: tcpserver_run "$port" sh -c 'cat | "$0" "$1" | cat' "$RELAY" "127.0.0.1:$backend"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
}

@test "pipes: cat | relay | cat under tcpserver, the v2 header names an IPv6 client" {
    record
    # shellcheck disable=SC2016 # expanded by the inner shell
    LISTEN=::1 tcpserver_run "$port" sh -c 'cat | "$0" -2 "$1" | cat' "$RELAY" "127.0.0.1:$backend"
    connect ::1 ::1
    assert_relayed_v2 "$(hex_loopback6 "$from" "$port")"
}

@test "socat EXEC (a socketpair): the header names IPv4 and IPv6 clients" {
    record
    start socat socat "TCP6-LISTEN:$port,ipv6only=0,fork" EXEC:"$RELAY 127.0.0.1\\:$backend"
    wait_listening "$port"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    stop backend
    rm -r "$BATS_TEST_TMPDIR/backend"
    record
    connect ::1 ::1
    assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
}

@test "socat EXEC,nofork: the header names the client" {
    record
    start socat socat "TCP-LISTEN:$port,fork" EXEC:"$RELAY 127.0.0.1\\:$backend",nofork
    wait_listening "$port"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
}

@test "ncat -e (pipes): the header names the client" {
    record
    start ncat ncat -l -k -e "$RELAY -v 127.0.0.1:$backend" 127.0.0.1 "$port"
    wait_listening "$port"
    # It closes both pipes when its client half-closes: this one waits.
    answered() { [[ -s $answer ]]; }
    { printf %s "$QUESTION"; wait_for answered; } |
        ask "$port" "$from" 127.0.0.2 >"$answer"
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
}

@test "clients of socat and ncat on a UNIX socket have no address, and are served" {
    local door=$BATS_TEST_TMPDIR/door n=0 client
    backend_record "$backend"
    start socat socat "UNIX-LISTEN:$door,fork" "EXEC:$RELAY 127.0.0.1\:$backend"
    start ncat ncat -lkU "$door.ncat" -e "$RELAY 127.0.0.1:$backend"
    for client in "$door" "$door,bind=$BATS_TEST_TMPDIR/client" "$door.ncat"; do
        wait_socket "${client%,*}"
        n=$((n + 1))
        socat -u - "UNIX-CONNECT:$client" <<<hello
        assert_equal "$(cat "$(all_bytes "$n")")" $'PROXY UNKNOWN\r\nhello'
    done
    assert_equal "$(cat "$(log_file socat)" "$(log_file ncat)")" ''
}

# --- tcpclient: the backend on descriptors 6 and 7 ---

@test "tcpclient: fd:6,7 is the backend, the header names the client" {
    record
    tcpserver_run "$port" tcpclient -H -R -l0 127.0.0.1 "$backend" "$RELAY" -v fd:6,7
    connect 127.0.0.2
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    wait_for no_child tcpserver
    assert_regex "$(said tcpserver)" "^closed client=127\.0\.0\.2:$from .*end=done\$"
}

@test "tcpclient: fd:6 alone will do, and v2" {
    record
    tcpserver_run "$port" tcpclient -H -R -l0 127.0.0.1 "$backend" "$RELAY" -2 fd:6
    connect 127.0.0.2
    assert_relayed_v2 "$(hex_tcp4 127.0.0.2 "$from" 127.0.0.1 "$port")"
}

@test "tcpclient: a late answer survives the client's half-close over fd:6,7" {
    printf %s "cat >'$BATS_TEST_TMPDIR/got'; sleep 1; printf '$ANSWER'" >"$BATS_TEST_TMPDIR/late"
    start backend socat -t 30 "TCP-LISTEN:$backend,bind=127.0.0.1" EXEC:"sh $BATS_TEST_TMPDIR/late"
    wait_listening "$backend"
    tcpserver_run "$port" tcpclient -H -R -l0 127.0.0.1 "$backend" "$RELAY" fd:6,7
    connect 127.0.0.2
    assert_answered
    assert_equal "$(tail -n 1 "$BATS_TEST_TMPDIR/got")" "$QUESTION"
}

@test "tcpclient: behind pipes its variables tell the backend, which is not taken for the client" {
    record
    # shellcheck disable=SC2016 # expanded by the inner shell
    tcpserver_run "$port" sh -c 'cat | tcpclient -H -R -l0 127.0.0.1 "$1" "$0" fd:6,7 | cat' \
        "$RELAY" "$backend"
    connect 127.0.0.2
    assert_relayed_v1 "PROXY UNKNOWN"
}

@test "tcpclient: clients that leave at once leave no process behind" {
    record
    tcpserver_run "$port" tcpclient -H -R -l0 127.0.0.1 "$backend" "$RELAY" fd:6,7
    leave close 10
    leave reset 10
    wait_for no_child tcpserver
    wait_for no_connection
}

# --- s6-ipcserver: the client's socket is a UNIX one ---

# ipcserver RELAY-ARGUMENT...
ipcserver() {
    path=$BATS_TEST_TMPDIR/listen
    start ipcserver s6-ipcserver -v "$path" "$RELAY" "$@"
    wait_socket "$path"
}

@test "s6-ipcserver: a UNIX-socket client is UNKNOWN in v1" {
    record
    ipcserver -v "127.0.0.1:$backend"
    connect_unix "$path"
    assert_relayed_v1 "PROXY UNKNOWN"
    wait_for no_child ipcserver
    assert_regex "$(said ipcserver)" "^closed .*backend=127\.0\.0\.1:$backend up=.*end=done\$"
}

@test "s6-ipcserver: a UNIX-socket client is AF_UNIX in v2, with the listener's path" {
    record
    ipcserver -2 "127.0.0.1:$backend"
    connect_unix "$path"
    assert_relayed_v2 "$(hex_unix "" "$path")"
}

@test "s6-ipcserver: a client bound to a path is in the v2 header with it" {
    record
    ipcserver -v -2 "127.0.0.1:$backend"
    connect_unix "$path" "bind=$BATS_TEST_TMPDIR/client"
    assert_relayed_v2 "$(hex_unix "$BATS_TEST_TMPDIR/client" "$path")"
    wait_for no_child ipcserver
    assert_equal "$(said ipcserver)" "$(closed_line "$BATS_TEST_TMPDIR/client" "$path")"
}

@test "s6-ipcserver: behind a filter nobody knows the client" {
    path=$BATS_TEST_TMPDIR/listen
    record
    # shellcheck disable=SC2016 # expanded by the inner shell
    start ipcserver s6-ipcserver "$path" sh -c 'cat | "$0" -2 "$1" | cat' "$RELAY" "127.0.0.1:$backend"
    wait_socket "$path"
    connect_unix "$path" "bind=$BATS_TEST_TMPDIR/client"
    assert_relayed_v2 000000
}

@test "s6-ipcserver: nginx logs relay's own address" {
    local dir version
    dir=$(user_dir nginx)
    sed "s|listen 127.0.0.1:8080 |listen unix:$dir/socket proxy_protocol; &|; s/8080/$backend/g" \
        "$ROOT/examples/nginx.conf" >"$dir/nginx.conf"
    start nginx "${as_user[@]}" nginx -p "$dir" -c "$dir/nginx.conf" -g 'daemon off;'
    wait_listening "$backend" 127.0.0.1
    for version in -1 -2; do
        ipcserver "$version" "127.0.0.1:$backend"
        run curl -sS -m 30 --noproxy '*' --unix-socket "$path" http://localhost/client
        assert_output --regexp '^127\.0\.0\.1 '
        stop ipcserver
        ipcserver "$version" "$dir/socket"
        run curl -sS -m 30 --noproxy '*' --unix-socket "$path" http://localhost/client
        assert_output --regexp '^unix: '
        stop ipcserver
    done
}

@test "s6-ipcserver: a backend that refuses is told on stderr, the client gets nothing" {
    ipcserver "127.0.0.1:$backend"
    run connect_unix "$path"
    assert_nothing_sent
    wait_for no_child ipcserver
    assert_regex "$(said ipcserver)" "^error msg=\"[^\"]*refused.* backend=127\.0\.0\.1:$backend"
    wait_log ipcserver "exitcode 111"
}

@test "s6-ipcserver: clients that leave at once leave no process behind, and no failure" {
    local i
    record
    ipcserver "127.0.0.1:$backend"
    for ((i = 0; i < 10; i++)); do
        socat -u /dev/null "UNIX-CONNECT:$path"
    done
    wait_for no_child ipcserver
    wait_for no_connection
    run grep -c 'exitcode 0$' "$(log_file ipcserver)"
    assert_output 10
}
