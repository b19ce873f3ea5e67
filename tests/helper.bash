# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Loaded by every suite, with a first line `load helper`.
#
# A test starts its programs with `start` and the like, on ports from free_port,
# waits for them with wait_*, and ends with `teardown() { stop_all; }`. What is
# started in setup_file lives until `teardown_file() { stop_all; }`.

BATS_LIB_PATH=${BATS_LIB_PATH:-/usr/lib/bats}
bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
TESTS=$(cd "$BATS_TEST_DIRNAME" && pwd)
ROOT=$(dirname "$TESTS")
PEER=$TESTS/peer.py

# SUITE-BUILD.bats is a link to SUITE.bats: its tests, of relay built otherwise. See the
# Makefile.
BUILD=''
if [[ -L $BATS_TEST_FILENAME ]]; then BUILD=${BATS_TEST_FILENAME##*-} BUILD=${BUILD%.bats}; fi
RELAY=$ROOT/${BUILD:+tests/build/$BUILD/}relay

# A package of its own, which conflicts with ucspi-tcp: tests/run.sh unpacks it.
TCPSERVER6=$TESTS/build/ucspi-tcp-ipv6/usr/bin/tcpserver
export ROOT RELAY TCPSERVER6

# Where this test, or this file's setup_file, keeps its files.
work_dir() {
    echo "${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}"
}

# What AddressSanitizer and UBSan find goes to files, for descriptor 2 may be the
# client's: see no_reports. And so does what gcov complains of.
reports=${BATS_TEST_TMPDIR:-${BATS_FILE_TMPDIR:-}}/report
if [[ $BUILD == asan ]]; then
    export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:log_path=$reports
    export LSAN_OPTIONS=print_suppressions=0
    export UBSAN_OPTIONS=print_stacktrace=1:log_path=$reports
    export GCOV_ERROR_FILE=$reports.gcov
fi

# need_root [WHAT]: skips the test where others run it.
need_root() {
    [[ $(id -u) == 0 ]] || skip "${1:-it} needs root"
}

# --- ports and waiting ---

# free_port: a TCP port on which nothing listens or is bound, whatever the
# address. Below the ephemeral range, and never the same one twice in a run.
free_port() {
    (
        flock 9
        local last=$BATS_RUN_TMPDIR/last_port port
        port=$(cat "$last" 2>/dev/null || echo $((12000 + RANDOM % 20000)))
        while :; do
            port=$((port < 32000 ? port + 1 : 12000))
            [[ -z $(ss -Hatn "( sport = :$port or dport = :$port )") ]] && break
        done
        echo "$port" | tee "$last"
    ) 9>>"$BATS_RUN_TMPDIR/last_port.lock"
}

# wait_for COMMAND...: until it succeeds. Fails after 10 s (or $WAIT_SECONDS).
wait_for() {
    local deadline=$((SECONDS + ${WAIT_SECONDS:-10}))
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > deadline)); then
            echo "wait_for: not within ${WAIT_SECONDS:-10} s: $*" >&2
            return 1
        fi
        sleep 0.02
    done
}

# wait_listening PORT [ADDRESS]: until somebody listens there, on that very
# address where one is given. Looks at the kernel's table: it does not connect.
wait_listening() {
    wait_for listening "$@"
}

listening() {
    if (($# > 1)); then
        [[ -n $(ss -Hltn "src $(bracket "$2") and sport = :$1") ]]
    else
        [[ -n $(ss -Hltn "sport = :$1") ]]
    fi
}

# wait_socket PATH: until somebody listens there (@name: an abstract socket), or
# receives datagrams.
wait_socket() {
    wait_for socket_open "$1"
}

socket_open() {
    ss -Hax | awk -v path="$1" '
        $5 == path && ($2 == "LISTEN" || $1 == "u_dgr") { found = 1 }
        END { exit !found }'
}

# wait_log NAME TEXT: until what NAME has written contains TEXT.
wait_log() {
    wait_for grep -F -e "$2" -- "$(log_file "$1")"
}

# --- processes ---

# start NAME COMMAND...: run it in the background, in a session of its own, its
# output in NAME.log. Its input is /dev/null, or what `start` is redirected to.
# The descriptors closed are bats's, which waits until nobody holds them, and ours.
start() {
    local name=$1 dir
    dir=$(work_dir)
    shift
    RELAY_TEST="$dir/$name" setsid "$@" <&0 >"$dir/$name.log" 2>&1 \
        3>&- 4>&- 8>&- 10>&- 11>&- 12>&- 13>&- &
    echo $! >"$dir/$name.pid"
    echo "$name" >>"$dir/started"
}

# log_file NAME: the file with what it wrote.
log_file() {
    echo "$(work_dir)/$1.log"
}

# comment NAME: what it writes are this test's comments. Returns when it has ended.
comment() {
    tail --pid="$(pid_of "$1")" -s 0.2 -n +1 -f -- "$(log_file "$1")" 2>/dev/null | sed -u 's/^/# /' >&3
}

# pid_of NAME: its process id, and that of its session.
pid_of() {
    local pid
    pid=$(<"$(work_dir)/$1.pid") && echo "$pid"
}

# children_of NAME: the process ids of its children, one a line.
children_of() {
    ps -o pid= --ppid "$(pid_of "$1")" | tr -d ' '
}

# no_child NAME: it has none. With wait_for: its connections are over.
no_child() {
    [[ -z $(children_of "$1") ]]
}

# is_running NAME
is_running() {
    [[ -d /proc/$(pid_of "$1") ]]
}

# exit_status NAME: waits until it has ended, returns its exit status. Not from a
# subshell (so not after `run`): only the shell that started it can know.
exit_status() {
    local pid
    pid=$(pid_of "$1")
    wait_for test ! -d "/proc/$pid" || return 255
    wait "$pid"
}

# stop NAME: ends what start started, and all that it started itself. Fails
# where something had to be killed because SIGTERM did not end it in 10 s.
stop() {
    local name=$1 dir pid left
    dir=$(work_dir)
    pid=$(pid_of "$name") || return
    kill -TERM -- "-$pid" 2>/dev/null || true
    # Most end at once, and to look for what is left takes longer.
    WAIT_SECONDS=0 wait_for test ! -d "/proc/$pid" 2>/dev/null || true
    # What has made a session of its own, but carries our mark.
    left_of "$name" | while read -r left; do
        [[ $(ps -o sid= -p "$left" | tr -d ' ') =~ ^("$pid")?$ ]] || kill -TERM "$left" 2>/dev/null || true
    done
    if wait_for eval "[[ -z \$(left_of $name) ]]"; then
        wait "$pid" 2>/dev/null || true
        rm "$dir/$name.pid"
        return 0
    fi
    left=$(left_of "$name")
    echo "stop: $name left processes behind:" >&2
    ps -o pid,ppid,stat,args -p "${left//$'\n'/,}" >&2 || true
    # shellcheck disable=SC2086 # process ids
    kill -KILL $left 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    rm "$dir/$name.pid"
    return 1
}

# left_of NAME: process ids in its session, or that have inherited its mark.
left_of() {
    local mark
    mark=$(work_dir)/$1
    {
        ps -o pid=,stat= -s "$(pid_of "$1")" | awk '$2 !~ /^Z/ { print $1 }'
        # The environment of a process that is just ending cannot be read: fine.
        { grep -lszxF -e "RELAY_TEST=$mark" /proc/[0-9]*/environ || true; } | cut -d/ -f3
    } | sort -nu
}

# stop_all: for teardown and teardown_file. Stops what this test, or this file,
# started, the last one first, and shows what they wrote (bats prints it only
# when the test fails). Fails where something was left behind, or reported.
stop_all() {
    local failed=0
    stop_started || failed=1
    no_reports || failed=1
    return "$failed"
}

# no_reports: no sanitizer has found anything.
no_reports() {
    local files
    # Some only say which suppressions were of use.
    files=$(grep -lsE 'ERROR: |runtime error: |profiling:' "$reports".* "$TESTS"/build/asan/report.* || true)
    [[ $files ]] || return 0
    # shellcheck disable=SC2086 # process ids and gcov end the names
    tail -n +1 $files
    # shellcheck disable=SC2086
    rm -f $files
    return 1
}

stop_started() {
    local dir name failed=0
    dir=$(work_dir)
    [[ -e $dir/started ]] || return 0
    while read -r name; do
        [[ -e $dir/$name.pid ]] || continue
        stop "$name" || failed=1
    done < <(tac "$dir/started")
    if [[ -e $dir/syslog.owner ]]; then
        rm -f /dev/log "$dir/syslog.owner"
        exec 8>&-
    fi
    while read -r name; do
        [[ ! -s $dir/$name.log ]] || { echo "--- $name.log"; tail -n 50 "$dir/$name.log"; }
    done < <(awk '!seen[$0]++' "$dir/started")
    rm "$dir/started"
    return "$failed"
}

# --- scenarios that a file's setup has started: python3 SCRIPT --results $BATS_FILE_TMPDIR ---

# held SCENARIO: waits until it is over; as it should be.
held() {
    WAIT_SECONDS=60 wait_for is_over "$1"
    cat "$BATS_FILE_TMPDIR/$1".*
    [[ -e $BATS_FILE_TMPDIR/$1.ok ]]
}

is_over() {
    [[ -e $BATS_FILE_TMPDIR/$1.ok || -e $BATS_FILE_TMPDIR/$1.failed ]]
}

# --- launchers, clients, backends ---

# tcpserver_relay PORT RELAY-ARGUMENT...: relay under tcpserver on 127.0.0.1,
# known as "tcpserver". $LISTEN: another address, IPv6 ones too; ::, every one.
tcpserver_relay() {
    local port=$1
    shift
    tcpserver_run "$port" "$RELAY" "$@"
}

# tcpserver_run PORT COMMAND...: the same with another program than relay.
tcpserver_run() {
    local port=$1 address=${LISTEN:-127.0.0.1} tcpserver=(tcpserver)
    shift
    [[ $address != *:* ]] || tcpserver=("$TCPSERVER6" -6)
    [[ $address != :: ]] || address=0 # how this one spells "every address, IPv4's too"
    start tcpserver "${tcpserver[@]}" -v -H -R -l0 -c 200 "$address" "$port" "$@"
    wait_listening "$port"
}

# backend_record TO [PEER-OPTION...]: a backend that records what it is sent,
# known as "backend"; see tests/peer.py. TO: PORT, HOST:PORT, [V6]:PORT, a path.
backend_record() {
    local to=$1
    shift
    [[ $to == *[!0-9]* ]] || to=127.0.0.1:$to
    mkdir -p "$(work_dir)/backend"
    start backend python3 "$PEER" record "$to" "$(work_dir)/backend" "$@"
    case $to in
    /* | @*) wait_socket "$to" ;;
    *) wait_listening "${to##*:}" ;;
    esac
}

# haproxy_defaults MODE: a section for its configuration; it warns of each of these lines
# that is not there.
haproxy_defaults() {
    printf '%s\n' defaults "    mode $1" '    timeout connect 10s' '    timeout client 1m' '    timeout server 1m'
}

# first_segment [N]: the file with what the first read of connection N (1) gave
# the recording backend; waits for it.
first_segment() {
    local file
    file=$(work_dir)/backend/${1:-1}.first
    wait_for test -e "$file" && echo "$file"
}

# all_bytes [N]: the file with all that connection N brought; waits for its end.
all_bytes() {
    local file
    file=$(work_dir)/backend/${1:-1}
    wait_for test -e "$file.end" && echo "$file.all"
}

# ask PORT [FROM-PORT [FROM-ADDRESS [TO-ADDRESS]]]: connects, from that port and
# address, sends its input, half-closes, and prints what comes until the end.
ask() {
    local port=$1 from=${3:-} to=${4:-127.0.0.1} options=''
    [[ -z $from ]] || options=,bind=$(bracket "$from")${2:+:$2}
    [[ -z ${2:-} || -n $from ]] || options=,sourceport=$2
    socat -t 30 - "TCP:$(bracket "$to"):$port$options"
}

bracket() {
    if [[ $1 == *:* ]]; then echo "[$1]"; else echo "$1"; fi
}

# hexdump_of FILE: its bytes, two hex digits each, nothing between.
hexdump_of() {
    od -An -v -tx1 "$1" | tr -d ' \n'
}

# relay_lines [NAME]: relay's own lines among what NAME (tcpserver) wrote.
relay_lines() {
    grep '^\(<[0-7]>\)\?relay: ' "$(log_file "${1:-tcpserver}")"
}

# --- a network of the test's own ---

# Before a command: run it in that network. See private_network.
under=()

# private_network: network and mount namespaces of the test's own, or of setup_file's,
# known as "net": loopback alone, and this test's hosts and resolv.conf under /etc.
private_network() {
    need_root 'a network namespace'
    cd "$(work_dir)" || return
    [[ -e hosts ]] || echo '127.0.0.1 localhost' >hosts
    [[ -e resolv.conf ]] || echo 'nameserver 127.0.0.53' >resolv.conf
    start net unshare -nm sh -c '
        ip link set lo up && mount --bind hosts /etc/hosts &&
        mount --bind resolv.conf /etc/resolv.conf && echo ready && exec sleep 1000'
    wait_log net ready
    under=(nsenter -n -m -t "$(pid_of net)" --)
}

# inside COMMAND...: any other command there.
inside() {
    "${under[@]}" "$@"
}

# start_inside NAME COMMAND...
start_inside() {
    local name=$1
    shift
    start "$name" "${under[@]}" "$@"
}

# record_inside HOST:PORT [PEER-OPTION...]: a recording backend there, which begins to
# count anew.
record_inside() {
    rm -rf "$BATS_TEST_TMPDIR/backend"
    mkdir "$BATS_TEST_TMPDIR/backend"
    start_inside backend python3 "$PEER" record "$1" "$BATS_TEST_TMPDIR/backend" "${@:2}"
    wait_for inside sh -c "ss -Hltn 'src ${1%:*} and sport = :${1##*:}' | grep ."
}

# drop_inside RULE...: packets to there vanish.
drop_inside() {
    inside nft "add table inet t
        add chain inet t input { type filter hook input priority 0; }
        add rule inet t input $* drop"
}

# resolver_without_names: in the private_network, a name server, known as "resolver", that
# knows no name: each question comes back with the status NXDOMAIN (RFC 1035, 4.1.1).
resolver_without_names() {
    start_inside resolver python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.53", 53))
print("ready", flush=True)
while True:
    question, peer = s.recvfrom(512)
    s.sendto(question[:2] + b"\x81\x83" + question[4:], peer)'
    wait_log resolver ready
}

# --- syslog ---

# private_dev: in the private_network, a /dev without the system's log.
private_dev() {
    mkdir dev
    # shellcheck disable=SC2016 # for the inner shell
    inside sh -c 'mount -t tmpfs dev "$1" && cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom "$1" &&
        chmod 755 "$1" && mount --bind "$1" /dev' sh "$PWD/dev"
}

# private_syslog: in a private_network, a log that nobody else writes to, known as
# "syslog"; each message a line of it.
private_syslog() {
    private_network
    private_dev
    start_inside syslog python3 "$PEER" syslog /dev/log
    wait_for inside test -S /dev/log
}

# syslog_start: a socket at /dev/log, known as "syslog"; each message a line of
# its log, soon after it was sent: wait_log. The whole machine's messages come:
# look for your own. Skips the test where /dev/log is somebody else's; another
# run of these tests is waited for (descriptor 8: the directory is their lock).
syslog_start() {
    need_root 'a socket at /dev/log'
    exec 8</dev
    flock -w 60 8 || skip "/dev/log is another run's"
    if [[ -L /dev/log ]] || socket_open /dev/log; then
        exec 8>&-
        skip "/dev/log is somebody else's"
    fi
    rm -f /dev/log
    touch "$(work_dir)/syslog.owner"
    start syslog python3 "$PEER" syslog /dev/log
    wait_socket /dev/log
}
