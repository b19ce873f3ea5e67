#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# More launchers: tcpsvd, inetutils-inetd, xinetd, s6, socat and ncat, each with
# its file from examples/, in which only ports, paths and addresses are replaced;
# and limits. tcpserver, openbsd-inetd, systemd-socket-activate and s6-ipcserver by
# hand are in launchers.bats, systemd in systemd.bats.
#
# shellcheck disable=SC2154 # set by connection
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2317 # functions for wait_for

load helper
load connection
load readme

# Packages that conflict with openbsd-inetd: tests/run.sh unpacks them.
INETUTILS_INETD=$TESTS/build/inetutils-inetd/usr/sbin/inetutils-inetd
XINETD=$TESTS/build/xinetd/usr/sbin/xinetd

setup_file() { connection_file; }

setup() { connection; }

teardown() { stop_all; }

# two_ports FILE: sed's script for an example with the ports 80 and 443.
two_ports() {
    port_v2=$(free_port)
    ports="s/127.0.0.1:8080/127.0.0.1:$backend/; s/127.0.0.1:8443/127.0.0.1:$backend/"
    ports+="; s/^80\>/$port/; s/^443\>/$port_v2/"
    ports+="; s/\(port *= \)80$/\1$port/; s/\(port *= \)443$/\1$port_v2/"
}

# --- tcpsvd ---

# tcpsvd_example [SED-SCRIPT]
tcpsvd_example() {
    need_root
    start tcpsvd sh "$(example tcpsvd.sh "s/ 0 80 / 0 $port /; s/:8080/:$backend/; ${1:-}")"
    wait_listening "$port"
}

@test "tcpsvd: the example names an IPv4 client, and its line is on stderr" {
    record
    tcpsvd_example
    assert_equal "$(ps -o user= -p "$(pid_of tcpsvd)")" nobody
    connect
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    wait_for alone tcpsvd
    assert_equal "$(said tcpsvd)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
}

@test "tcpsvd: a backend that refuses is told on stderr, the client gets nothing, the status is 111" {
    tcpsvd_example
    run connect
    assert_nothing_sent
    wait_for alone tcpsvd
    assert_refused_line "$(said tcpsvd)" "127.0.0.2:$from"
    wait_log tcpsvd "exit 111"
}

@test "tcpsvd: clients that leave at once leave no process behind, and no failure" {
    record
    tcpsvd_example
    leave close 10
    leave reset 10
    wait_for alone tcpsvd
    wait_for no_connection
    run sed -nE 's/^tcpsvd: info: end [0-9]+ exit //p' "$(log_file tcpsvd)"
    assert_equal "$(sort <<<"$output" | uniq -c | xargs)" "20 0"
}

@test "tcpsvd: the example closes the 51st connection of one address, and serves another" {
    record
    tcpsvd_example
    run crowd 50 127.0.0.2 127.0.0.2 127.0.0.3
    assert_output $'50\nclosed\nanswered'
    wait_log tcpsvd "51/50"
}

@test "tcpsvd: over -c clients wait, and none is refused" {
    record
    tcpsvd_example 's/-c 1000/-c 3/'
    run crowd 3 127.0.0.2 127.0.0.3 127.0.0.4
    assert_output $'3\nwaits\nwaits\nthen answered'
}

# --- inetutils-inetd: descriptor 2 is the client, too ---

# inetutils_inetd CONFIGURATION [OPTION...]: known as "inetd". It goes to the
# background by itself; its process id is what inetd.pid then holds.
inetutils_inetd() {
    local pidfile=$BATS_TEST_TMPDIR/pidfile
    start inetd "$INETUTILS_INETD" --pidfile="$pidfile" "${@:2}" "$1"
    wait_for test -s "$pidfile"
    cp "$pidfile" "$BATS_TEST_TMPDIR/inetd.pid"
    wait_listening "$port"
}

# inetutils_example [OPTION...]
inetutils_example() {
    need_root
    two_ports
    inetutils_inetd "$(example inetutils-inetd.conf "$ports")" "$@"
    wait_listening "$port_v2"
}

@test "inetutils-inetd: the example's v1 header names an IPv4 client, the log line is in syslog" {
    syslog_start
    record
    inetutils_example
    connect
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    assert_equal "$(said_to_syslog "127.0.0.2:$from")" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
}

@test "inetutils-inetd: the example's v1 header names an IPv6 client, with and without --environment" {
    local option
    for option in '' --environment; do
        record
        # shellcheck disable=SC2086 # one word, or none
        inetutils_example $option
        connect ::1 ::1
        assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
        stop inetd
        stop backend
        rm -r "$BATS_TEST_TMPDIR"/{backend,pidfile}
        connection
    done
}

@test "inetutils-inetd: the example's v2 header names an IPv4 client, with and without --environment" {
    local option
    for option in '' --environment; do
        record
        # shellcheck disable=SC2086 # one word, or none
        inetutils_example $option
        port=$port_v2
        connect
        assert_relayed_v2 "$(hex_tcp4 127.0.0.2 "$from" 127.0.0.1 "$port")"
        stop inetd
        stop backend
        rm -r "$BATS_TEST_TMPDIR"/{backend,pidfile}
        connection
    done
}

# behind_fixcrio [OPTION...]: inetd, with the line that is in the example's comment.
behind_fixcrio() {
    need_root
    sed -nE "s|^#  +80 |$port |p" "$(example inetutils-inetd.conf "s/:8080/:$backend/")" >"$BATS_TEST_TMPDIR/fixcrio.conf"
    inetutils_inetd "$BATS_TEST_TMPDIR/fixcrio.conf" "$@"
}

@test "inetutils-inetd: with --environment relay behind fixcrio names the client" {
    record
    behind_fixcrio --environment
    connect
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
}

@test "inetutils-inetd: without --environment relay behind fixcrio says UNKNOWN" {
    record
    behind_fixcrio
    connect
    assert_relayed_v1 "PROXY UNKNOWN"
}

@test "inetutils-inetd: with --environment an IPv4 client of tcp6 is plain IPv4 behind fixcrio, too" {
    need_root
    record
    echo "$port stream tcp6 nowait.60000 nobody /usr/bin/fixcrio fixcrio $BATS_FILE_TMPDIR/relay -q 127.0.0.1:$backend" \
        >"$BATS_TEST_TMPDIR/inetd.conf"
    inetutils_inetd "$BATS_TEST_TMPDIR/inetd.conf" --environment
    connect
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
}

@test "inetutils-inetd: a backend that refuses is told in syslog, and the client gets nothing" {
    syslog_start
    inetutils_example
    run connect
    assert_nothing_sent
    assert_refused_line "$(said_to_syslog "127.0.0.2:$from")" "127.0.0.2:$from"
}

@test "inetutils-inetd: behind fixcrio, too, a refusal is told in syslog, and the client gets nothing" {
    need_root
    syslog_start
    echo "$port stream tcp4 nowait.60000 nobody /usr/bin/fixcrio fixcrio $BATS_FILE_TMPDIR/relay 127.0.0.1:$backend" \
        >"$BATS_TEST_TMPDIR/inetd.conf"
    inetutils_inetd "$BATS_TEST_TMPDIR/inetd.conf" --environment
    run connect
    assert_nothing_sent
    assert_refused_line "$(said_to_syslog "127.0.0.2:$from")" "127.0.0.2:$from"
}

@test "inetutils-inetd: clients that leave at once leave no process behind" {
    record
    inetutils_example
    leave close 10
    leave reset 10
    wait_for alone inetd
    wait_for no_connection
}

@test "inetutils-inetd: after nowait's number of connections the port is closed" {
    need_root
    syslog_start
    record
    two_ports
    inetutils_inetd "$(example inetutils-inetd.conf "$ports; s/nowait\.60000/nowait.5/")"
    run crowd 5 127.0.0.2 127.0.0.3
    assert_output $'5\nclosed'
    wait_for eval "! listening $port"
    listening "$port_v2"
    says 'server failing (looping), service terminated' "$(log_file syslog)"
}

# --- xinetd: descriptor 2 is the client, too ---

# xinetd_example [SED-SCRIPT]
xinetd_example() {
    need_root
    two_ports
    start xinetd "$XINETD" -dontfork -f "$(example xinetd.conf "$ports; ${1:-}")" \
        -pidfile "$BATS_TEST_TMPDIR/xinetd.pidfile"
    wait_listening "$port"
    wait_listening "$port_v2"
}

@test "xinetd: the example's v1 header names an IPv4 client, the log line is in syslog" {
    syslog_start
    record
    xinetd_example
    connect
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    assert_equal "$(said_to_syslog "client=127.0.0.2:$from")" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
}

@test "xinetd: the example's v1 header names an IPv6 client" {
    record
    xinetd_example
    connect ::1 ::1
    assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
}

@test "xinetd: the example's v2 header names an IPv4 client" {
    record
    xinetd_example
    port=$port_v2
    connect
    assert_relayed_v2 "$(hex_tcp4 127.0.0.2 "$from" 127.0.0.1 "$port")"
}

@test "xinetd: a backend that refuses is told in syslog, and the client gets nothing" {
    syslog_start
    xinetd_example
    run connect
    assert_nothing_sent
    assert_refused_line "$(said_to_syslog "client=127.0.0.2:$from")" "127.0.0.2:$from"
}

@test "xinetd: clients that leave at once leave no process behind" {
    record
    xinetd_example
    leave close 10
    leave reset 10
    wait_for alone xinetd
    wait_for no_connection
}

@test "xinetd: the example closes the 51st connection of one address, and serves another" {
    syslog_start
    record
    xinetd_example
    run crowd 50 127.0.0.2 127.0.0.2 127.0.0.3
    assert_output $'50\nclosed\nanswered'
    says 'FAIL: relay per_source_limit from=' "$(log_file syslog)"
}

@test "xinetd: one connection over instances is closed, whoever it is" {
    record
    xinetd_example 's/\(instances *= \)1000/\13/'
    run crowd 3 127.0.0.2 127.0.0.3
    assert_output $'3\nclosed'
}

@test "xinetd: over cps the port is closed, and open again after its second" {
    syslog_start
    record
    xinetd_example 's/\(cps *= \)1000 1/\15 1/'
    # More than 5 in one of two seconds; the last ones may find it closed.
    run leave close 11
    wait_for eval "! listening $port"
    says 'Deactivating service relay' "$(log_file syslog)"
    # xinetd may count what was in the same second: the port is closed again then
    answered() { connect && [[ -s $answer ]]; }
    wait_for answered
    assert_answered
}

# --- s6 ---

# s6_example [SED-SCRIPT]: s6-svscan with the services of examples/s6, known as "s6".
s6_example() {
    local dir=$BATS_TEST_TMPDIR/s6
    command -v s6-svscan >/dev/null || skip "s6 is not installed"
    need_root
    chmod 711 "$BATS_TEST_TMPDIR"
    cp -r "$ROOT/examples/s6" "$dir"
    sed -i -e "s|/usr/local/bin/relay|$BATS_FILE_TMPDIR/relay|" \
        -e "s/ 80 / $port /; s/:8080/:$backend/; s|/run/relay.sock|$BATS_TEST_TMPDIR/relay.sock|" \
        -e "s|/var/log/relay|$BATS_TEST_TMPDIR/log-relay|g; ${1:-}" "$dir"/*/run "$dir"/*/log/run
    start s6 s6-svscan "$dir"
    wait_listening "$port"
    wait_socket "$BATS_TEST_TMPDIR/relay.sock"
    wait_for test -e "$BATS_TEST_TMPDIR/log-relay/current" -a -e "$BATS_TEST_TMPDIR/log-relay-unix/current"
}

# s6_log SERVICE: what s6-log has written of it.
s6_log() {
    echo "$BATS_TEST_TMPDIR/log-$1/current"
}

# s6_said SERVICE: what relay has said there. Waits for a line.
s6_said() {
    wait_for grep 'relay: ' "$(s6_log "$1")" && said '' "$(s6_log "$1")"
}

# s6_pid SERVICE: what s6-supervise runs.
s6_pid() {
    s6-svstat -o pid "$BATS_TEST_TMPDIR/s6/$1"
}

s6_no_child() {
    [[ -z $(ps -o pid= --ppid "$(s6_pid "$1")") ]]
}

@test "s6: the service names an IPv4 client, and s6-log has its line" {
    record
    s6_example
    assert_equal "$(ps -o user= -p "$(s6_pid relay)")" nobody
    connect
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    assert_equal "$(s6_said relay)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
    assert_equal "$(stat -c %U "$(s6_log relay)")" nobody
}

@test "s6: the UNIX service names its path in v2, and s6-log has its line" {
    record
    s6_example
    connect_unix "$BATS_TEST_TMPDIR/relay.sock"
    assert_relayed_v2 "$(hex_unix "" "$BATS_TEST_TMPDIR/relay.sock")"
    assert_equal "$(s6_said relay-unix)" "$(closed_line unix "$BATS_TEST_TMPDIR/relay.sock")"
}

@test "s6: every user may connect to the UNIX service" {
    record
    s6_example
    printf %s "$QUESTION" | setpriv --reuid=nobody --regid=nogroup --clear-groups \
        socat -t 30 - "UNIX-CONNECT:$BATS_TEST_TMPDIR/relay.sock" >"$answer"
    assert_answered
}

@test "s6: a backend that refuses is told in s6-log's file, and the client gets nothing" {
    s6_example
    run connect
    assert_nothing_sent
    assert_refused_line "$(s6_said relay)" "127.0.0.2:$from"
    run connect_unix "$BATS_TEST_TMPDIR/relay.sock"
    assert_nothing_sent
    assert_refused_line "$(s6_said relay-unix)" unix
}

@test "s6: clients that leave at once leave no process behind, and no failure" {
    local i
    record
    s6_example
    leave close 10
    leave reset 10
    for ((i = 0; i < 10; i++)); do
        socat -u /dev/null "UNIX-CONNECT:$BATS_TEST_TMPDIR/relay.sock"
    done
    wait_for s6_no_child relay
    wait_for s6_no_child relay-unix
    wait_for no_connection
    ended() { sed -nE "s/.* $1 ([0-9]+)\$/\1/p" "$(s6_log "$2")" | sort | uniq -c | xargs; }
    assert_equal "$(ended 'end [0-9]+ status' relay)" "20 0"
    assert_equal "$(ended exitcode relay-unix)" "10 0"
}

@test "s6: the UNIX service closes a user's 51st connection" {
    record
    s6_example
    CONNECT=$BATS_TEST_TMPDIR/relay.sock run crowd 50 '' ''
    assert_output $'50\nclosed'
    wait_for grep 'deny 0:0 count 50/50' "$(s6_log relay-unix)"
}

@test "s6: the log may have a user of its own, as its run script says" {
    record
    s6_example '/^mkdir\|s6-log /s/nobody/daemon/'
    connect
    assert_answered
    assert_equal "$(s6_said relay)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
    assert_equal "$(stat -c %U "$(s6_log relay)") $(ps -o user= -p "$(s6_pid relay/log)")" 'daemon daemon'
    assert_equal "$(ps -o user= -p "$(s6_pid relay)")" nobody
}

@test "s6: after s6-svc -d connections go on, and none is new" {
    record
    s6_example
    answered() { [[ -s $answer ]]; }
    { wait_for answered && s6-svc -wd -d "$BATS_TEST_TMPDIR/s6/relay" && printf %s "$QUESTION"; } |
        ask "$port" "$from" 127.0.0.2 >"$answer"
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    run ! listening "$port"
}

@test "s6: after s6-svc -r connections go on, and the port is open again" {
    local before
    record
    s6_example
    before=$(s6_pid relay)
    answered() { [[ -s $answer ]]; }
    restarted() { [[ $(s6_pid relay) != "$before" ]] && listening "$port"; }
    { wait_for answered && s6-svc -r "$BATS_TEST_TMPDIR/s6/relay" && wait_for restarted && printf %s "$QUESTION"; } |
        ask "$port" "$from" 127.0.0.2 >"$answer"
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    record_anew
    from=$(free_port)
    connect
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
}

@test "s6: a run script without exec leaves its tcpserver the port" {
    local shell
    record
    s6_example 's/^exec tcpserver/tcpserver/'
    shell=$(s6_pid relay)
    # shellcheck disable=SC2016 # for eval
    wait_for eval '[[ $(ps -o comm= --ppid '"$shell"') == tcpserver ]]'
    s6-svc -r "$BATS_TEST_TMPDIR/s6/relay"
    says 'address already used' "$(s6_log relay)"
    connect
    assert_answered
}

# --- socat ---

# socat_example ARGUMENTS [SED-SCRIPT]
socat_example() {
    need_root
    # shellcheck disable=SC2086 # a list of words
    start socat sh "$(example socat.sh "s/:80\>/:$port/; s/:8080/:$backend/; ${2:-}")" $1
    wait_listening "$port"
}

# socat_names_both ARGUMENTS: an IPv4 and an IPv6 client, in the header and on stderr.
socat_names_both() {
    record
    socat_example "$1"
    connect
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    record_anew
    connect ::1 ::1
    assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
    wait_for alone socat
    assert_equal "$(said socat)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")
$(closed_line "[::1]:$from" "[::1]:$port")"
}

@test "socat: the example names IPv4 and IPv6 clients of one port, and its lines are on stderr" {
    socat_names_both ''
}

@test "socat: without nofork it names them just so" {
    socat_names_both 'both pair'
}

@test "socat: the example's 4 and 6 listen on one family each" {
    local family
    for family in 4 6; do
        for mode in nofork pair; do
            record
            socat_example "$family $mode"
            if [[ $family == 4 ]]; then
                connect
                assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
                run ! connect ::1 ::1
            else
                connect ::1 ::1
                assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
                run ! connect
            fi
            stop socat
            stop backend
            rm -r "$BATS_TEST_TMPDIR/backend"
            connection
        done
    done
}

@test "socat: relay is nobody" {
    local mode
    for mode in nofork pair; do
        record
        socat_example "4 $mode"
        user() { ps -o user=,comm= -s "$(pid_of socat)" | sed -n 's/ *relay$//p' | grep .; }
        { wait_for user && user; } | ask "$port" >"$answer"
        assert_equal "$(tail -n +2 "$(all_bytes)")" nobody
        stop socat
        stop backend
        rm -r "$BATS_TEST_TMPDIR/backend"
        connection
    done
}

@test "socat: a backend that refuses is told on stderr, and the client gets nothing" {
    local mode
    for mode in nofork pair; do
        socat_example "both $mode"
        run connect
        assert_nothing_sent
        wait_for alone socat
        assert_refused_line "$(said socat)" "127.0.0.2:$from"
        stop socat
        connection
    done
}

@test "socat: clients that leave at once leave no process behind" {
    local mode
    for mode in nofork pair; do
        record
        socat_example "both $mode"
        leave close 10
        leave reset 10
        wait_for alone socat
        wait_for no_connection
        stop socat
        stop backend
        rm -r "$BATS_TEST_TMPDIR/backend"
        connection
    done
}

@test "socat: with nofork ends and resets pass as they are, without they are lost as the example says" {
    socat_example 4
    run python3 "$TESTS/chain.py" "$port" "$backend"
    assert_output "\
late-answer: backend question eof, client answer eof
late-words: backend words eof, client greeting eof
client-reset: backend question reset, client -
backend-reset: backend -, client greeting reset"
    stop socat
    connection

    socat_example '4 pair'
    run python3 "$TESTS/chain.py" "$port" "$backend"
    assert_output --regexp "\
^late-answer: backend question eof, client answer eof
late-words: backend words eof, client greeting eof
client-reset: backend question eof, client -
backend-reset: backend -, client greeting eof\$"
}

@test "socat: over max-children clients wait, and none is refused" {
    record
    socat_example 4 's/max-children=1000/max-children=3/'
    run crowd 3 127.0.0.2 127.0.0.3
    assert_output $'3\nwaits\nthen answered'
}

@test "socat: a colon without its backslash is told when the first client has come" {
    socat_example 4 's/\\:/:/g'
    assert_equal "$(cat "$(log_file socat)")" ''
    run connect
    assert_nothing_sent
    wait_log socat "wrong number of parameters (2 instead of 1)"
}

# --- ncat: pipes ---

# ncat_example [SED-SCRIPT]
ncat_example() {
    start ncat sh "$(example ncat.sh "s/ 80\$/ $port/; s/:8080/:$backend/; ${1:-}")"
    wait_listening "$port" 0.0.0.0
    wait_listening "$port" ::
}

@test "ncat: the example names IPv4 and IPv6 clients, and its lines are on stderr" {
    record
    ncat_example
    connect_waiting ask
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    record_anew
    connect_waiting ask ::1 ::1
    assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
    wait_for alone ncat
    assert_equal "$(said ncat)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")
$(closed_line "[::1]:$from" "[::1]:$port")"
}

@test "ncat: a backend that refuses is told on stderr, and the client gets nothing" {
    ncat_example
    run connect
    assert_nothing_sent
    wait_for alone ncat
    assert_refused_line "$(said ncat)" "127.0.0.2:$from"
}

@test "ncat: clients that leave at once leave no process behind, and the next is served" {
    record
    ncat_example
    leave close 10
    leave reset 10
    wait_for alone ncat
    wait_for no_connection
    connect_waiting ask
    assert_answered
}

@test "ncat: ends and resets are lost as the example says" {
    ncat_example
    run python3 "$TESTS/chain.py" "$port" "$backend"
    assert_output "\
late-answer: backend question eof, client eof
late-words: backend words eof, client greeting open
client-reset: backend question eof, client -
backend-reset: backend -, client greeting eof"
}

@test "ncat: one connection over -m is closed" {
    record
    ncat_example 's/-m 1000/-m 3/'
    run crowd 3 127.0.0.2 127.0.0.3
    assert_output $'3\nclosed'
}

# --- tcpserver's limit ---

@test "tcpserver: over the example's -c clients wait, and none is refused" {
    need_root
    record
    start tcpserver sh "$(example tcpserver.sh "s/ 80 / $port /; s/:8080/:$backend/; s/-c 1000/-c 3/")"
    wait_listening "$port"
    run crowd 3 127.0.0.2 127.0.0.3 127.0.0.4
    assert_output $'3\nwaits\nwaits\nthen answered'
}
