#!/usr/bin/env bats
# shellcheck shell=bash disable=SC2016,SC2030,SC2031
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# What people get who use relay wrongly, or whose network fails: one line that
# names cause and cure, the right exit status, and nothing at the backend.
# And what they asked for: --help, -V, -q, -v.

load helper

setup() {
    port=$(free_port)
    backend=$(free_port)
    to=127.0.0.1:$backend
    problems=''
    connections=0
    under=()
}

teardown() {
    stop_all
}

# --- what the tests have in common ---

MSG='"([^"\\]|\\["\\]|\\x[0-9a-f]{2})+"'
VALUE='([^ ="\\]+|"([^"\\]|\\["\\]|\\x[0-9a-f]{2})*")'
ERROR_LINE="^relay: error msg=$MSG( (client|server|backend)=$VALUE)*"$'\n$'

# expect STATUS PATTERN COMMAND...: it ends with that status and one line on
# stderr, an error whose msg matches the glob PATTERN. stdout stays empty.
# It runs "${under[@]}", if that is set: see private_network.
expect() {
    local status=$1 pattern=$2 ended=0 out err
    shift 2
    current=("$@")
    timeout -k 1 15 "${under[@]}" "$@" </dev/null >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || ended=$?
    IFS= read -rd '' out <"$BATS_TEST_TMPDIR/out" || true
    IFS= read -rd '' err <"$BATS_TEST_TMPDIR/err" || true
    [[ $ended == "$status" ]] || problem "exit status $ended, not $status"
    [[ -z $out ]] || problem "writes on stdout: $(cat -v <<<"$out")"
    if ! is_error_line "$err"; then
        problem "not one clean error line: $(cat -v <<<"$err")"
    elif [[ ${err#relay: error } != msg=\"$pattern$'\n' ]]; then
        problem "not $pattern: ${err%$'\n'}"
    fi
}

# is_error_line TEXT: one whole line in the log's format, without a control
# character (those of 0x80 to 0x9F included; no test writes UTF-8).
is_error_line() {
    local LC_ALL=C control=$'[\x01-\x1f\x7f-\x9f]'
    # shellcheck disable=SC2053 # a pattern
    [[ $1 =~ $ERROR_LINE && ${1%$'\n'} != *$control* ]]
}

# problem WHAT: notes what is wrong with the current case; the test goes on with
# its other cases.
problem() {
    local word text='  '
    for word in "${current[@]}"; do
        word=${word/#"$RELAY"/relay}
        ((${#word} <= 120)) || word="${word:0:40}...(${#word} bytes)"
        printf -v word %q "$word"
        text+=" $word"
    done
    problems+="$text"$'\n'"        ${1:0:1000}"$'\n'
}

# no_problems: ends a table. Names every case that failed.
no_problems() {
    [[ -z $problems ]] || fail "$problems"
}

# nothing_reached_backend: no connection has come to it. For proof one comes now,
# and is its first.
nothing_reached_backend() {
    local first
    "$RELAY" "$to" </dev/null || fail "the backend takes no connection: status $?"
    first=$(first_segment 1)
    assert_equal "$(cat -A "$first")" 'PROXY UNKNOWN^M$'
    assert_equal "$(cd "$BATS_TEST_TMPDIR/backend" && echo [!1]*)" '[!1]*'
}

# sends HEADER COMMAND...: it connects to the backend, whose first segment is that
# line and nothing else; no message, status 0. Its client is two pipes.
sends() {
    local header=$1 ended first
    shift
    current=("$@")
    connections=$((connections + 1))
    : | timeout -k 1 15 "${under[@]}" "$@" 2>"$BATS_TEST_TMPDIR/err" | cat >"$BATS_TEST_TMPDIR/out"
    ended=${PIPESTATUS[1]}
    [[ $ended == 0 ]] || problem "exit status $ended, not 0"
    [[ ! -s $BATS_TEST_TMPDIR/err ]] || problem "says: $(cat -v "$BATS_TEST_TMPDIR/err")"
    if ! first=$(WAIT_SECONDS=2 first_segment "$connections" 2>&1); then
        problem "no connection at the backend"
        connections=$((connections - 1))
    elif [[ $(cat -A "$first") != "$header^M\$" ]]; then
        problem "the backend got $(cat -A "$first"), not $header"
    fi
}

# repeat TEXT COUNT
repeat() {
    local text
    printf -v text %"$2"s ''
    echo "${text// /$1}"
}

# within MIN MAX CHECK...: expect or sends, and that it took that many milliseconds.
within() {
    local min=$1 max=$2 begin=${EPOCHREALTIME/./} ms
    shift 2
    "$@"
    ms=$(((${EPOCHREALTIME/./} - begin) / 1000))
    ((ms >= min && ms <= max)) || problem "took $ms ms, not $min to $max"
}

# --- the command line ---

@test "a wrong option is named, and --help with it" {
    backend_record "$backend"
    expect 100 '*-Z*--help*' "$RELAY" -Z "$to"
    expect 100 '*-5*--help*' "$RELAY" -5 "$to"
    expect 100 '*-Z*--help*' "$RELAY" -vZ "$to"
    expect 100 '*-Z*--help*' "$RELAY" "$to" -Z
    expect 100 '*-?*--help*' "$RELAY" '-?' "$to"
    expect 100 '*-:*--help*' "$RELAY" '-:' "$to"
    expect 100 '*--nonsense*--help*' "$RELAY" --nonsense "$to"
    expect 100 '*--nonsense*--help*' "$RELAY" --nonsense=1 "$to"
    expect 100 '*--ver*--help*' "$RELAY" --ver "$to" # --verbose or --version?
    expect 100 '*--%s%n*--help*' "$RELAY" --%s%n "$to"
    expect 100 '*--non\\x0asense\\x1b*--help*' "$RELAY" $'--non\nsense\e' "$to"
    expect 100 '*-\\x01*--help*' "$RELAY" $'-\x01' "$to"
    expect 100 '*--aaaa*' "$RELAY" "--$(repeat a 5000)" "$to"
    no_problems
    nothing_reached_backend
}

@test "an option without its value is named" {
    local option
    backend_record "$backend"
    for option in -a -b -l -t -i -x --accept-from --balance --bind --timeout --idle --tlv; do
        expect 100 "*${option}[, ]*value*" "$RELAY" "$to" "$option"
    done
    expect 100 '*-t[, ]*value*' "$RELAY" "$to" -vt
    no_problems
    nothing_reached_backend
}

@test "a value for an option that takes none is named" {
    local option
    backend_record "$backend"
    for option in v1 v2 no-header crc32c unique-id ssl check verbose quiet help version; do
        expect 100 "*--$option*--help*" "$RELAY" "--$option=yes" "$to"
    done
    no_problems
    nothing_reached_backend
}

@test "no backend, or a wrong one among others, is told" {
    backend_record "$backend"
    expect 100 '*no backend*--help*' "$RELAY"
    expect 100 '*no backend*--help*' "$RELAY" --
    expect 100 '*no backend*--help*' "$RELAY" -v -2
    expect 100 '*no port*" backend=-v' "$RELAY" -- "$to" -v
    expect 100 '*port*1 to 65535*" backend=127.0.0.1:x' "$RELAY" "$to" 127.0.0.1:x "$to"
    expect 100 '*HOST:PORT*' "$RELAY" ''
    no_problems
    nothing_reached_backend
}

@test "a port is a number from 1 to 65535" {
    local p
    backend_record "$backend"
    for p in '' 0 00 65536 "$((65536 + backend))" "$((4294967296 + backend))" \
        99999999999999999999999 http "+$backend" "-$backend" " $backend" "$backend " \
        "${backend}x" "x$backend" 0x50 1e3 80.0 $'80\n' "$backend,$backend" '%d'; do
        expect 100 '*port*1 to 65535*' "$RELAY" "127.0.0.1:$p"
        expect 100 '*port*1 to 65535*' "$RELAY" "[::1]:$p"
        expect 100 '*port*1 to 65535*' "$RELAY" "localhost:$p"
    done
    for p in 127.0.0.1 localhost "$backend" '[::1]' "[::1]$backend" ./socket -; do
        expect 100 '*no port*HOST:PORT*' "$RELAY" "$p"
    done
    no_problems
    nothing_reached_backend
}

@test "leading zeros of a port are taken as they are meant" {
    backend_record "$backend"
    sends 'PROXY UNKNOWN' "$RELAY" "127.0.0.1:000$backend"
    no_problems
}

@test "a host that is none is told from one that is not written right" {
    local p=$backend h
    backend_record "$p"
    for h in '[' '[::1' '[127.0.0.1' '[]'; do
        expect 100 '*' "$RELAY" "$h"
    done
    expect 100 '*\[*\]*' "$RELAY" "[::1:$p"
    expect 100 '*\[*\]*' "$RELAY" "[127.0.0.1:$p"
    expect 100 '*host*empty*' "$RELAY" ":$p"
    expect 100 '*empty*' "$RELAY" "[]:$p"
    expect 100 "*IPv6*brackets*\[::1\]:$p*" "$RELAY" "::1:$p"
    expect 100 '*IPv6*brackets*' "$RELAY" "fe80::1:$p"
    expect 100 '*IPv6*brackets*' "$RELAY" "localhost:80:$p"
    for h in bogus 127.0.0.1 ::g 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 ::1::2 12345:: ' ::1' '::1 ' \
        '::1]' '[::1' ::ffff:127.0.0.256 $'::1\r\n'; do
        expect 100 '*no IPv6 address*' "$RELAY" "[$h]:$p"
    done
    expect 100 '*over 255 bytes*' "$RELAY" "$(repeat a 256):$p"
    expect 100 '*over 255 bytes*' "$RELAY" "$(repeat a. 5000):$p"
    expect 100 '*over 255 bytes*' "$RELAY" "$(repeat 'a b' 2000):$p"
    expect 100 '*over 255 bytes*' "$RELAY" "$(repeat $'\r' 2000):$p"
    expect 100 '*' "$RELAY" "[$(repeat : 256)]:$p"
    no_problems
    nothing_reached_backend
}

@test "a backend that is written as other programs want it is told how relay does" {
    local p=$backend
    backend_record "$p"
    expect 100 '*HOST:PORT, not a URL*' "$RELAY" "http://127.0.0.1:$p"
    expect 100 '*HOST:PORT, not a URL*' "$RELAY" "http://127.0.0.1:$p/"
    expect 100 '*HOST:PORT, not a URL*' "$RELAY" "tcp://[::1]:$p"
    expect 100 '*by its path alone, as in /run/backend.sock*' "$RELAY" unix:/run/backend.sock
    expect 100 '*by its path alone*' "$RELAY" "unix:/run/backend.sock:$p"
    no_problems
    nothing_reached_backend
}

@test "a UNIX path has one byte or more, and fits its address" {
    local first
    for first in / @; do
        expect 100 '*needs a name*' "$RELAY" "$first"
        for length in 108 109 200 5000; do
            expect 100 "*$length bytes*107*" "$RELAY" "$first$(repeat a $((length - 1)))"
        done
    done
    no_problems
}

@test "a UNIX path of 107 bytes is used to its last byte" {
    local path=$BATS_TEST_TMPDIR/socket
    path+=$(repeat x $((107 - ${#path})))
    [[ ${#path} == 107 ]] || skip "the directory for tests has too long a name: $BATS_TEST_TMPDIR"
    backend_record "$path"
    sends 'PROXY UNKNOWN' "$RELAY" "$path"
    expect 111 '*No such file*' "$RELAY" "${path%x}"
    no_problems
}

@test "an abstract name of 106 bytes is used to its last byte" {
    local name=@$BATS_RUN_TMPDIR
    name+=$(repeat x $((107 - ${#name})))
    backend_record "$name"
    sends 'PROXY UNKNOWN' "$RELAY" "$name"
    expect 111 '*refused*' "$RELAY" "${name%x}"
    expect 100 '*108 bytes*107*' "$RELAY" "${name}x"
    no_problems
}

@test "fd: takes one or two descriptors from 3 up, which are open" {
    local fds
    # 3 to 7 are open, and no other.
    under=(bash -c 'exec "$@" 3<>/dev/null 4<&3 5<&3 6<&3 7<&3 8>&- 9>&- 31>&- 99>&-' bash)
    for fds in '' x 0 1 2 0,1 2,3 3,2 3,0 -3 +3 ' 3' '3 ' 3x '3,' ,3 ',' 3,x x,3 3,4,5 3:4 3.5 0x3 \
        2147483648 4294967299 99999999999999999999 \
        3,4294967299 "3,$(repeat 0 20)3x" "$(repeat 0 14)3x" $'3\n'; do
        expect 100 '*fd:*from 3 up*fd:6,7*' "$RELAY" "fd:$fds"
    done
    # a long number is not cut short: 31, not 3
    expect 100 '*descriptor*' "$RELAY" "fd:3,$(repeat 0 10)31"
    for fds in 99 3,99 99,3 8,9 2147483647; do
        expect 100 '*descriptor*not open*' "$RELAY" "fd:$fds"
    done
    no_problems
}

@test "fd: takes what is connected, and open for what relay is to do with it" {
    # 3 is a socket that listens, 4 one of datagrams; 5 can be read only, 6 written only.
    under=(python3 -c 'import os, socket, sys
for fd, kind in (3, socket.SOCK_STREAM), (4, socket.SOCK_DGRAM):
    ours = socket.socket(type=kind)
    ours.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        ours.listen()
    os.dup2(ours.fileno(), fd + 100)
for fd in 5, 6, 7:
    os.dup2(os.open("/dev/null", (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)[fd - 5]), fd + 100)
for fd in range(3, 8):
    os.dup2(fd + 100, fd)
os.execv(sys.argv[1], sys.argv[1:])')
    expect 100 'descriptor 3 is no connected stream socket" backend=fd:3' "$RELAY" fd:3
    expect 100 'descriptor 4 is no connected stream socket*' "$RELAY" fd:4
    expect 100 'descriptor 3 is no connected stream socket*' "$RELAY" fd:5,3
    expect 100 'descriptor 5 is not open for writing: *reads R and writes W*' "$RELAY" fd:5,5
    expect 100 'descriptor 5 is not open for writing: *' "$RELAY" fd:7,5
    expect 100 'descriptor 6 is not open for reading: *' "$RELAY" fd:6,7
    expect 100 'descriptor 7 is no socket: other things need two*fd:6,7*' "$RELAY" fd:7
    expect 100 "--ssl: *fd:*the backend's TLS, not the client's*" "$RELAY" -2 -s fd:3
    under=(python3 -c 'import os, socket, sys
near, far = socket.socketpair()
os.dup2(near.fileno(), 3)
os.dup2(far.fileno(), 4)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])')
    expect 100 'descriptor 3 is the client*' "$RELAY" fd:3
    expect 100 'descriptor 3 is the client*' "$RELAY" fd:4,3
    no_problems
}

@test "a time is a number of seconds, with or without a fraction" {
    local option t
    backend_record "$backend"
    for option in t i; do
        for t in x '' ' ' ' 1' '1 ' 1s 1e3 1E3 0x10 -1 -0 +1 nan NaN inf infinity 1,5 . .. 1..5 1.2.3 \
            .x 1.x $'1\n' 2147483 2147483.5 2147484 4294968 99999999999999999999 \
            "$(repeat 9 1000)" 99999999999999999999.5 %s; do
            expect 100 '*seconds*' "$RELAY" "-$option" "$t" "$to"
        done
    done
    for t in 0 0. .0 0.0 00000.00000; do
        expect 100 '*--timeout*more than 0*' "$RELAY" -t "$t" "$to"
    done
    no_problems
    nothing_reached_backend
}

@test "a time may have a fraction, or be as small or as large as an int of milliseconds" {
    local t
    backend_record "$backend"
    for t in .5 5. 0.5 1.5 0.0001 .00000000000000000001 007 2147482 2147482.999 2147481.99999; do
        sends 'PROXY UNKNOWN' "$RELAY" -t 5 -i "$t" "$to"
    done
    for t in .5 5. 0.5 1.5 007 2147482 2147482.999 2147481.99999; do
        sends 'PROXY UNKNOWN' "$RELAY" --timeout="$t" "$to"
    done
    for t in 0 0.0 .0; do
        sends 'PROXY UNKNOWN' "$RELAY" --idle="$t" "$to"
    done
    no_problems
}

@test "--bind takes an address of the backend's family" {
    local a
    backend_record "$backend"
    for a in nonsense '' localhost 127.0.0 127.0.0.256 127.0.0.01 0x7f.0.0.1 127.0.0.1:80 \
        ' 127.0.0.1' '127.0.0.1 ' '[127.0.0.1]' ::g fe80::1%lo $'127.0.0.1\n' "$(repeat 1 1000)" %s; do
        expect 100 '*--bind*no IPv4 or IPv6 address*' "$RELAY" -b "$a" "$to"
        expect 100 '*--bind*no IPv4 or IPv6 address*' "$RELAY" "--bind=$a" localhost:80
    done
    expect 100 '*--bind*family*' "$RELAY" -b ::1 "$to"
    expect 100 '*--bind*family*' "$RELAY" -b 127.0.0.2 "[::1]:$backend"
    expect 100 '*--bind*' "$RELAY" -b 127.0.0.2 "$BATS_TEST_TMPDIR/socket"
    expect 100 '*--bind*' "$RELAY" -b 127.0.0.2 @abstract
    expect 100 '*--bind*' "$RELAY" -b 127.0.0.2 fd:6,7
    expect 111 '--bind: *' "$RELAY" -b 192.0.2.1 "$to"
    no_problems
    nothing_reached_backend
}

@test "NETS are networks, addresses, unix and any, with one comma between them" {
    local nets
    backend_record "$backend"
    for nets in '' ',' '127.0.0.1,' ',127.0.0.1' any,,unix; do
        expect 100 '*--accept-from*comma*' "$RELAY" -a "$nets" "$to"
    done
    for nets in localhost 127.1 127.0.0.1:80 '*' 256.0.0.1 0x7f000001 '127.0.0.1, unix' Any UNIX /run/x \
        '::1%lo' 1:2:3:4:5:6:7:8:9 "any,$(repeat 1 100)" '127.0.0.1 ' all 10/8 /8; do
        expect 100 '*--accept-from*no network or address*' "$RELAY" -a "$nets" "$to"
    done
    for nets in 10.0.0.0/ 10.0.0.0/33 10.0.0.0/-1 10.0.0.0/8/8 10.0.0.0/255.0.0.0 ::/129 '10.0.0.0/ 8' ::/x; do
        expect 100 '*--accept-from*number up to*' "$RELAY" -a "$nets" "$to"
    done
    for nets in 10.0.0.1/8 127.0.0.1/31 2001:db8::1/64 8.0.0.0/4 any,fe80::1/10 ::ffff:10.0.0.1/100; do
        expect 100 '*--accept-from*must be 0*' "$RELAY" -a "$nets" "$to"
    done
    no_problems
    nothing_reached_backend
}

@test "a TLV is TYPE=VALUE, the type a number or a name, the value text or hex" {
    local tlv
    backend_record "$backend"
    for tlv in '' 0xE0 alpn E0; do
        expect 100 '*--tlv*TYPE=VALUE*' "$RELAY" -2 -x "$tlv" "$to"
    done
    for tlv in =x 256=x 0x=x 0x1=x 0xE00=x -1=x ALPN=h2 'alpn =h2' sni=x 1.0=x 0xgg=x unique-id=x; do
        expect 100 '*--tlv*type*' "$RELAY" -2 -x "$tlv" "$to"
    done
    for tlv in 0xE0=0x1 0xE0=0xabc 0xE0=0xzz '0xE0=0x 1' 0xE0=0x12zz; do
        expect 100 '*--tlv*hexadecimal*' "$RELAY" -2 -x "$tlv" "$to"
    done
    for tlv in 3=abcd 0x03=0x00000000; do
        expect 100 '*--tlv*--crc32c*' "$RELAY" -2 -x "$tlv" "$to"
    done
    expect 100 '*--tlv*NOOP*' "$RELAY" -2 -x 4=x "$to"
    expect 100 '*--tlv*--ssl*' "$RELAY" -2 -x 0x20=0x0100000000 "$to"
    expect 100 '*--tlv*128*129*' "$RELAY" -2 -x "5=$(repeat x 129)" "$to"
    expect 100 '*--tlv*too long*' "$RELAY" -2 -x "0xE0=$(repeat x 40000)" "$to"
    expect 100 '*--tlv*too long*' "$RELAY" -2 -x "0xE0=$(repeat x 20000)" -x "0xE1=$(repeat x 20000)" "$to"
    expect 100 '*--unique-id*--tlv*' "$RELAY" -2 -u -x 5=id "$to"
    no_problems
    nothing_reached_backend
}

@test "what only version 2 can carry is refused without -2" {
    local option version
    backend_record "$backend"
    for option in -c -u -s -x0xE0=x; do
        for version in '' -1 -0 '-2 -1' '-2 -0'; do
            # shellcheck disable=SC2086 # a list of words, or none
            expect 100 '*needs*-2*' "$RELAY" $version "$option" "$to"
        done
    done
    no_problems
    nothing_reached_backend
}

@test "--balance is first, hash or random" {
    local how
    backend_record "$backend"
    for how in '' First roundrobin 'hash ' 0 hash,random; do
        expect 100 '*--balance*first, hash or random*' "$RELAY" -l "$how" "$to"
    done
    no_problems
    nothing_reached_backend
}

@test "a backend may be named twice" {
    backend_record "$backend"
    sends 'PROXY UNKNOWN' "$RELAY" -l hash "$to" "$to"
    sends 'PROXY UNKNOWN' "$RELAY" -l random "$to" "$to"
    no_problems
}

@test "wrong usage is told even with -q" {
    expect 100 '*no backend*' "$RELAY" -q
    expect 100 '*--nonsense*' "$RELAY" -q --nonsense "$to"
    expect 100 '*port*' "$RELAY" -q 127.0.0.1:0
    no_problems
}

@test "--help fits a terminal of 24 lines and 80 columns" {
    local option
    for option in -h --help '-vqh'; do
        run --separate-stderr "$RELAY" "$option"
        assert_success
        # shellcheck disable=SC2154 # run sets it
        assert_equal "$stderr" ''
        assert_line --index 0 --regexp '^usage: relay '
        assert [ "$(wc -l <<<"$output")" -le 24 ]
        assert_equal "$(awk 'length > 80' <<<"$output")" ''
    done
}

@test "-V prints the version" {
    local option
    for option in -V --version; do
        run --separate-stderr "$RELAY" "$option"
        assert_success
        assert_output --regexp '^relay [0-9]+\.[0-9]+\.[0-9]+$'
        assert_equal "$stderr" ''
    done
}

@test "--help and -V that cannot be written say so" {
    local option
    for option in --help -V; do
        expect 111 '*standard output: No space left on device*' sh -c '"$1" "$2" >/dev/full' sh "$RELAY" "$option"
    done
}

# --- the network ---

@test "a backend that refuses: one line with the cause, status 111" {
    touch "$BATS_TEST_TMPDIR/file"
    python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$BATS_TEST_TMPDIR/dead"
    expect 111 "*refused*\" backend=$to" "$RELAY" "$to"
    expect 111 "*refused*\" backend=\[::1\]:$backend" "$RELAY" "[::1]:$backend"
    expect 111 '*refused*' "$RELAY" "localhost:$backend"
    expect 111 "*No such file*listen there*\" backend=$BATS_TEST_TMPDIR/none" "$RELAY" "$BATS_TEST_TMPDIR/none"
    expect 111 '*refused*listen there*' "$RELAY" "$BATS_TEST_TMPDIR/dead"
    expect 111 '*refused*' "$RELAY" "$BATS_TEST_TMPDIR/file"
    expect 111 '*refused*" backend=@*' "$RELAY" "@$BATS_RUN_TMPDIR/nobody"
    no_problems
}

@test "-q says nothing about a network that fails" {
    local b
    for b in "$to" "[::1]:$backend" "localhost:$backend" "$BATS_TEST_TMPDIR/none" "@$BATS_RUN_TMPDIR/nobody"; do
        run -111 "$RELAY" -q "$b"
        assert_output ''
        run -111 "$RELAY" -v --quiet "$b"
        assert_output ''
    done
    private_network
    run -111 inside "$RELAY" -q -t 1 nosuch.invalid:80
    assert_output ''
}

@test "an error names client, server and backend, and the client gets no byte" {
    tcpserver_relay "$port" "$to"
    from=$(free_port)
    run ask "$port" "$from" 127.0.0.2 </dev/null
    refute_output --regexp 'relay|error'
    wait_for no_child tcpserver
    run relay_lines
    assert_output "relay: error msg=\"cannot connect: Connection refused: does the backend listen there?\" client=127.0.0.2:$from server=127.0.0.1:$port backend=$to"
}

@test "a backend that does not answer: given up after --timeout" {
    private_network
    drop_inside tcp dport "$backend"
    within 400 1500 expect 111 "*timed out*\" backend=$to" "$RELAY" -t 0.5 "$to"
    within 400 1500 expect 111 "*timed out*\" backend=\[::1\]:$backend" "$RELAY" --timeout=.5 "[::1]:$backend"
    within 1100 2500 expect 111 "*timed out*" "$RELAY" -t 1.2 "$to"
    within 0 1000 expect 111 "*timed out*" "$RELAY" -t 0.0001 "$to"
    no_problems
}

@test "without --timeout a backend that does not answer is given up after 10 s" {
    private_network
    drop_inside tcp dport "$backend"
    within 9500 12000 expect 111 "*timed out*" "$RELAY" "$to"
    no_problems
}

@test "a UNIX backend that accepts nobody: given up after --timeout" {
    local path=$BATS_TEST_TMPDIR/full
    start full python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(0)
waiting = socket.socket(socket.AF_UNIX)
waiting.connect(sys.argv[1])
print("full", flush=True)
time.sleep(1000)' "$path"
    wait_log full full
    within 400 1500 expect 111 "*timed out*\" backend=$path" "$RELAY" -t .5 "$path"
    no_problems
}

# --- names ---

@test "a name that does not exist: told at once" {
    private_network
    resolver_without_names
    within 0 1000 expect 111 'looking up nosuch.invalid: *" backend=nosuch.invalid:80' "$RELAY" nosuch.invalid:80
    within 0 1000 expect 111 'looking up -: *' "$RELAY" -- -:80
    within 0 1000 expect 111 'looking up a b: *" backend="a b:80"' "$RELAY" 'a b:80'
    within 0 1000 expect 111 'looking up a\\x0d\\x0ab: *' "$RELAY" $'a\r\nb:80'
    within 0 1000 expect 111 'looking up %s%n: *' "$RELAY" %s%n:80
    within 0 1000 expect 111 'looking up %s: *' "$RELAY" '[%s]:80'
    within 0 1000 expect 111 'looking up fe80::1%nosuch: *' "$RELAY" '[fe80::1%nosuch]:80'
    within 0 1000 expect 111 'looking up aaaa*aaaa: *" backend=*' "$RELAY" "$(repeat a 255):80"
    no_problems
}

@test "no descriptors left for the look-up: told" {
    # 3 and 4 are the pipe by which the look-up tells that it is over
    expect 111 'looking up localhost: *file*' \
        bash -c 'for fd in {3..19}; do eval "exec $fd>&-"; done; ulimit -n 5; exec "$0" localhost:80' "$RELAY"
}

@test "a name, and no resolver: told within --timeout" {
    private_network # nobody has port 53
    within 0 2000 expect 111 '*looking up nosuch.invalid: *' "$RELAY" -t 1 nosuch.invalid:80
    no_problems
}

@test "a resolver that does not answer: given up after --timeout" {
    private_network
    start_inside resolver socat -u UDP4-RECV:53,bind=127.0.0.53 "CREATE:$BATS_TEST_TMPDIR/questions"
    wait_for inside sh -c 'ss -Huln "sport = :53" | grep .'
    within 900 2000 expect 111 '*looking up nosuch.invalid: *within 1 s*' "$RELAY" -t 1 nosuch.invalid:80
    within 400 1500 expect 111 '*looking up nosuch.invalid: *' "$RELAY" -t .5 -v nosuch.invalid:80
    no_problems
    run grep -ac 'nosuch.invalid' "$BATS_TEST_TMPDIR/questions"
    assert_output --regexp '^[1-9]' # it was asked
}

@test "a resolver whose packets are lost: given up after --timeout" {
    private_network
    drop_inside udp dport 53
    within 900 2000 expect 111 '*looking up nosuch.invalid: *within 1 s*' "$RELAY" -t 1 nosuch.invalid:80
    no_problems
}

@test "each address of a name is tried until one takes the connection" {
    local address listener
    for address in 127.0.0.11 127.0.0.12 127.0.0.13 ::1; do
        echo "$address several"
    done >"$BATS_TEST_TMPDIR/hosts"
    private_network
    # Whatever order the resolver gives them in: three of the four refuse.
    for address in 127.0.0.11 127.0.0.12 127.0.0.13 ::1; do
        listener=$(bracket "$address"):$backend
        connections=0
        record_inside "$listener"
        sends 'PROXY UNKNOWN' "$RELAY" "several:$backend"
        stop backend
    done
    expect 111 '*refused*' "$RELAY" "several:$backend"
    no_problems
}

@test "a name without an address of --bind's family: told" {
    private_network
    expect 111 '*no IPv6 address*--bind*" backend=localhost:80' "$RELAY" -b ::1 localhost:80
    no_problems
}

@test "an address that does not answer leaves time for the next" {
    printf '127.0.0.11 two\n127.0.0.12 two\n' >"$BATS_TEST_TMPDIR/hosts"
    private_network
    drop_inside ip daddr 127.0.0.11 tcp dport "$port"
    drop_inside ip daddr 127.0.0.12 tcp dport "$backend"
    # Whatever order they come in, one of these meets the silent address first,
    # for half of the time.
    connections=0
    record_inside "127.0.0.12:$port"
    within 0 1700 sends 'PROXY UNKNOWN' "$RELAY" -t 2 "two:$port"
    stop backend
    connections=0
    record_inside "127.0.0.11:$backend"
    within 0 1700 sends 'PROXY UNKNOWN' "$RELAY" -t 2 "two:$backend"
    no_problems
}

@test "addresses that all do not answer: given up after one --timeout" {
    printf '127.0.0.1%s many\n' 1 2 3 4 >"$BATS_TEST_TMPDIR/hosts"
    private_network
    drop_inside tcp dport "$backend"
    within 900 2000 expect 111 '*timed out*' "$RELAY" -t 1 "many:$backend"
    no_problems
}

# --- the environment ---

@test "an address from the environment is a plain address or nothing at all" {
    local name value ports=(PROTO=TCP {TCPREMOTE,TCPLOCAL,{SOCAT_{PEER,SOCK},NCAT_{REMOTE_,LOCAL_},REMOTE_}}PORT=1)
    backend_record "$backend"
    for value in \
        $'192.0.2.1\r\nPROXY TCP4 198.51.100.1 198.51.100.2 1 2\r\n' \
        $'192.0.2.1 198.51.100.2 1 2\r\n' $'192.0.2.1\n' $'\r\n' $'192.0.2.1\e[31m' \
        192.0.2.01 192.0.2 192.0.2.1. 192.0.2.1.1 192.0.2.256 192.0.2.-1 192.0.2.+1 3221225985 \
        0xc0.0.2.1 '192.0.2.1 ' ' 192.0.2.1' 192.0.2.1:80 192.0.2.1/32 localhost - UNKNOWN \
        fe80::1%lo fe80::1%1 ::1::2 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 12345:: ::g : ::: '::1 ' ' ::1' \
        ::ffff:192.0.2.01 ::ffff:192.0.2.256 '[::1' '::1]' '[]' '[' ']' '[[::1]]' '[::1]:80' '[192.0.2.1]' \
        '"' "\\" '%s%n%s%n' "$(repeat 1 1000)" "$(repeat $'\r' 1000)" "192.0.2.1$(repeat ' ' 1000)"; do
        for name in TCPREMOTEIP SOCAT_PEERADDR NCAT_REMOTE_ADDR REMOTE_ADDR; do
            expect 100 "$name *address*" env "${ports[@]}" "$name=$value" "$RELAY" "$to"
        done
        expect 100 "TCPREMOTEIP *address*" env PROTO=TCP "TCPREMOTEIP=$value" "$RELAY" "$to"
        expect 100 "TCPLOCALIP *address*" env "${ports[@]}" TCPREMOTEIP=192.0.2.1 "TCPLOCALIP=$value" "$RELAY" -2 "$to"
        expect 100 "TCPLOCALIP *address*" env PROTO=TCP TCPREMOTEIP=192.0.2.1 "TCPLOCALIP=$value" "$RELAY" -2 "$to"
        expect 100 "SOCAT_SOCKADDR *address*" env "${ports[@]}" SOCAT_PEERADDR=192.0.2.1 "SOCAT_SOCKADDR=$value" "$RELAY" "$to"
        expect 100 "NCAT_LOCAL_ADDR *address*" env "${ports[@]}" NCAT_REMOTE_ADDR=192.0.2.1 "NCAT_LOCAL_ADDR=$value" "$RELAY" "$to"
    done
    no_problems
    nothing_reached_backend
}

@test "a client on a UNIX socket or in a virtual machine has no address, and no other variable one" {
    local client
    backend_record "$backend"
    for client in SOCAT_PEERADDR='<anon>' SOCAT_PEERADDR=/run/client $'SOCAT_PEERADDR=\xee\x7e' \
        'NCAT_REMOTE_ADDR=localhost NCAT_REMOTE_PORT=' 'REMOTE_ADDR=vsock:2 REMOTE_PORT=4294967295'; do
        # shellcheck disable=SC2086 # a word or two
        sends 'PROXY UNKNOWN' env PROTO=TCP $client "$RELAY" "$to"
        # shellcheck disable=SC2086
        [[ $client == REMOTE_ADDR* ]] ||
            sends 'PROXY UNKNOWN' env $client REMOTE_ADDR=192.0.2.1 REMOTE_PORT=1 "$RELAY" "$to"
    done
    no_problems
}

@test "no byte of the environment reaches a terminal as a control character" {
    backend_record "$backend"
    expect 100 'TCPREMOTEIP *' env PROTO=TCP TCPREMOTEPORT=1 TCPREMOTEIP=$'\x9b31m' "$RELAY" "$to"
    expect 100 'TCPREMOTEIP *' env PROTO=TCP TCPREMOTEPORT=1 TCPREMOTEIP=$'\xc2\x9b31m' "$RELAY" "$to"
    expect 100 'TCPREMOTEIP *' env PROTO=TCP TCPREMOTEPORT=1 TCPREMOTEIP=$'\x7f' "$RELAY" "$to"
    expect 100 '*' "$RELAY" $'\x9b31m:80x'
    no_problems
    nothing_reached_backend
}

@test "a port from the environment is a number up to 65535 or nothing at all" {
    local value
    backend_record "$backend"
    for value in '' 65536 4294967376 99999999999999999999 -1 +1 ' 80' '80 ' 80.0 1e3 0x50 http \
        $'80\r\n' $'80\r\nPROXY TCP4 198.51.100.1 198.51.100.2 1 2\r\n' '%d' "$(repeat 0 999)x" \
        "$(repeat 1 1000)"; do
        expect 100 "TCPREMOTEPORT *port*" env PROTO=TCP TCPREMOTEIP=192.0.2.1 "TCPREMOTEPORT=$value" "$RELAY" "$to"
        expect 100 "TCPLOCALPORT *port*" env PROTO=TCP TCPREMOTEIP=192.0.2.1 TCPREMOTEPORT=1 \
            TCPLOCALIP=192.0.2.2 "TCPLOCALPORT=$value" "$RELAY" "$to"
        expect 100 "SOCAT_PEERPORT *port*" env SOCAT_PEERADDR=192.0.2.1 "SOCAT_PEERPORT=$value" "$RELAY" "$to"
        expect 100 "NCAT_REMOTE_PORT *port*" env NCAT_REMOTE_ADDR=192.0.2.1 "NCAT_REMOTE_PORT=$value" "$RELAY" "$to"
        expect 100 "REMOTE_PORT *port*" env REMOTE_ADDR=::1 "REMOTE_PORT=$value" "$RELAY" "$to"
    done
    no_problems
    nothing_reached_backend
}

@test "a hostile PROTO names no client" {
    local proto
    backend_record "$backend"
    for proto in '%s%s%n%n' "$(repeat A 1000)" "$(repeat A 15)" "$(repeat A 16)" $'TCP\r\n' 'TCP ' tcp UDP ../../TCP =; do
        sends 'PROXY UNKNOWN' env -i "PROTO=$proto" TCPREMOTEIP=192.0.2.1 "$RELAY" "$to"
    done
    no_problems
}

@test "an address variable that is empty is as good as none" {
    backend_record "$backend"
    sends 'PROXY UNKNOWN' env -i PROTO=TCP TCPREMOTEIP= TCPREMOTEPORT=80 "$RELAY" "$to"
    sends 'PROXY UNKNOWN' env -i PROTO=IPC IPCREMOTEEUID=0 IPCREMOTEEGID=0 IPCREMOTEPATH= "$RELAY" "$to"
    sends 'PROXY UNKNOWN' env -i SOCAT_PEERADDR= NCAT_REMOTE_ADDR= REMOTE_ADDR= "$RELAY" "$to"
    sends 'PROXY TCP4 192.0.2.7 0.0.0.0 7 0' env -i PROTO=TCP TCPREMOTEIP=192.0.2.7 TCPREMOTEPORT=7 \
        TCPLOCALIP= TCPLOCALPORT=80 "$RELAY" "$to"
    no_problems
}

@test "on a TCP socket the environment counts for nothing" {
    local garbage=$'192.0.2.1\r\n' from
    from=$(free_port)
    backend_record "$backend"
    tcpserver_run "$port" env "TCPREMOTEIP=$garbage" "SOCAT_PEERADDR=$garbage" REMOTE_ADDR=192.0.2.9 \
        "NCAT_REMOTE_ADDR=$garbage" TCPREMOTEPORT=x "$RELAY" "$to"
    run ask "$port" "$from" 127.0.0.2 </dev/null
    assert_success
    assert_equal "$(cat -A "$(first_segment)")" "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port^M\$"
}

@test "each launcher's variables name client and server, where its socket is behind a pipe" {
    backend_record "$backend"
    sends 'PROXY TCP4 192.0.2.7 198.51.100.8 51234 443' env -i PROTO=TCP TCPREMOTEIP=192.0.2.7 TCPREMOTEPORT=51234 \
        TCPLOCALIP=198.51.100.8 TCPLOCALPORT=443 "$RELAY" "$to"
    # s6-tlsserver; ucspi-tcp-ipv6 with an IPv6 client
    sends 'PROXY TCP6 2001:db8::7 2001:db8::8 51234 443' env -i PROTO=TCP TCPREMOTEIP=2001:db8::7 TCPREMOTEPORT=51234 \
        TCPLOCALIP=2001:db8::8 TCPLOCALPORT=443 "$RELAY" "$to"
    sends 'PROXY TCP6 2001:db8::7 2001:db8::8 51234 443' env -i PROTO=TCP6 TCP6REMOTEIP=2001:db8::7 TCP6REMOTEPORT=51234 \
        TCP6LOCALIP=2001:db8::8 TCP6LOCALPORT=443 TCPREMOTEIP=192.0.2.1 "$RELAY" "$to"
    # socat, with and without brackets
    sends 'PROXY TCP4 192.0.2.7 198.51.100.8 51234 443' env -i SOCAT_PEERADDR=192.0.2.7 SOCAT_PEERPORT=51234 \
        SOCAT_SOCKADDR=198.51.100.8 SOCAT_SOCKPORT=443 "$RELAY" "$to"
    sends 'PROXY TCP6 2001:db8::7 2001:db8::8 51234 443' env -i 'SOCAT_PEERADDR=[2001:0db8:0000:0000:0000:0000:0000:0007]' \
        SOCAT_PEERPORT=51234 'SOCAT_SOCKADDR=[2001:db8::8]' SOCAT_SOCKPORT=443 "$RELAY" "$to"
    sends 'PROXY TCP4 192.0.2.7 198.51.100.8 51234 443' env -i NCAT_PROTO=TCP NCAT_REMOTE_ADDR=192.0.2.7 NCAT_REMOTE_PORT=51234 \
        NCAT_LOCAL_ADDR=198.51.100.8 NCAT_LOCAL_PORT=443 "$RELAY" "$to"
    sends 'PROXY TCP6 2001:db8::7 2001:db8::8 51234 443' env -i NCAT_PROTO=TCP NCAT_REMOTE_ADDR=2001:db8::7 NCAT_REMOTE_PORT=51234 \
        NCAT_LOCAL_ADDR=2001:db8::8 NCAT_LOCAL_PORT=443 "$RELAY" "$to"
    # systemd tells the client only
    sends 'PROXY TCP4 192.0.2.7 0.0.0.0 51234 0' env -i REMOTE_ADDR=192.0.2.7 REMOTE_PORT=51234 "$RELAY" "$to"
    sends 'PROXY TCP6 2001:db8::7 :: 51234 0' env -i REMOTE_ADDR=2001:db8::7 REMOTE_PORT=51234 "$RELAY" "$to"
    # ports in another spelling; the ends of the range
    sends 'PROXY TCP4 192.0.2.7 198.51.100.8 80 443' env -i PROTO=TCP TCPREMOTEIP=192.0.2.7 TCPREMOTEPORT=0080 \
        TCPLOCALIP=198.51.100.8 TCPLOCALPORT=00443 "$RELAY" "$to"
    sends 'PROXY TCP4 255.255.255.255 0.0.0.0 65535 0' env -i PROTO=TCP TCPREMOTEIP=255.255.255.255 TCPREMOTEPORT=65535 \
        TCPLOCALIP=0.0.0.0 TCPLOCALPORT=0 "$RELAY" "$to"
    # nobody tells
    sends 'PROXY UNKNOWN' env -i REMOTE_HOST=192.0.2.7 "$RELAY" "$to"
    no_problems
}

@test "IPv4 inside IPv6 on both ends is IPv4, on one end IPv6" {
    local from
    backend_record "$backend"
    sends 'PROXY TCP4 192.0.2.7 198.51.100.8 1 2' env -i PROTO=TCP TCPREMOTEIP=::ffff:192.0.2.7 TCPREMOTEPORT=1 \
        TCPLOCALIP=::ffff:198.51.100.8 TCPLOCALPORT=2 "$RELAY" "$to"
    sends 'PROXY TCP4 192.0.2.7 198.51.100.8 1 2' env -i PROTO=TCP TCPREMOTEIP=::ffff:192.0.2.7 TCPREMOTEPORT=1 \
        TCPLOCALIP=198.51.100.8 TCPLOCALPORT=2 "$RELAY" "$to"
    sends 'PROXY TCP4 192.0.2.7 198.51.100.8 1 2' env -i PROTO=TCP TCPREMOTEIP=::FFFF:c000:207 TCPREMOTEPORT=1 \
        TCPLOCALIP=::ffff:c633:6408 TCPLOCALPORT=2 "$RELAY" "$to"
    sends 'PROXY TCP6 ::ffff:c000:207 2001:db8::8 1 2' env -i PROTO=TCP TCPREMOTEIP=192.0.2.7 TCPREMOTEPORT=1 \
        TCPLOCALIP=2001:db8::8 TCPLOCALPORT=2 "$RELAY" "$to"
    sends 'PROXY TCP6 2001:db8::7 ::ffff:c633:6408 1 2' env -i PROTO=TCP TCPREMOTEIP=2001:db8::7 TCPREMOTEPORT=1 \
        TCPLOCALIP=198.51.100.8 TCPLOCALPORT=2 "$RELAY" "$to"
    sends 'PROXY TCP6 ::ffff:c000:207 2001:db8::8 1 2' env -i PROTO=TCP TCPREMOTEIP=::ffff:192.0.2.7 TCPREMOTEPORT=1 \
        TCPLOCALIP=2001:db8::8 TCPLOCALPORT=2 "$RELAY" "$to"
    no_problems
    # and as a socket gives it that listens for both
    from=$(free_port)
    LISTEN=:: tcpserver_relay "$port" "$to"
    run ask "$port" "$from" 127.0.0.2 </dev/null
    assert_success
    assert_equal "$(cat -A "$(first_segment $((connections + 1)))")" "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port^M\$"
}

@test "behind tcpserver and a pipe the client is tcpserver's" {
    local from
    from=$(free_port)
    backend_record "$backend" --say 'hello back'
    tcpserver_run "$port" sh -c 'cat | "$0" "$@" | cat' "$RELAY" "$to"
    run ask "$port" "$from" 127.0.0.2 <<<hello
    assert_success
    assert_output 'hello back'
    assert_equal "$(cat -A "$(all_bytes)")" "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port^M\$"$'\nhello$'
}

@test "behind socat, its socketpair or its pipes, the client is socat's" {
    local how from n=0 port6
    backend_record "$backend"
    for how in '' ,end-close ,pipes; do         # end-close: relay ends by itself, not by socat's signal
        from=$(free_port)
        port=$(free_port)
        port6=$(free_port)
        start "socat$n" socat "TCP4-LISTEN:$port,bind=127.0.0.1,reuseaddr" "EXEC:$RELAY 127.0.0.1\\:$backend$how"
        start "socat6$n" socat "TCP6-LISTEN:$port6,bind=[::1],reuseaddr" "EXEC:$RELAY 127.0.0.1\\:$backend$how"
        wait_listening "$port"
        wait_listening "$port6"
        n=$((n + 1))
        ask "$port" "$from" 127.0.0.2 </dev/null
        assert_equal "$(cat -A "$(first_segment "$n")")" "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port^M\$"
        n=$((n + 1))
        ask "$port6" "$from" ::1 ::1 </dev/null
        assert_equal "$(cat -A "$(first_segment "$n")")" "PROXY TCP6 ::1 ::1 $from $port6^M\$"
    done
}

@test "tcpclient's variables are the backend's address, not the client's" {
    backend_record "$backend"
    sends 'PROXY UNKNOWN' tcpclient -H -R -l0 127.0.0.1 "$backend" "$RELAY" fd:6,7
    no_problems
}

# --- what the launcher hands over ---

@test "descriptor 0 or 1 closed: told, and no connection" {
    backend_record "$backend"
    expect 100 'descriptor 0 is closed*inetd*tcpserver*' sh -c '"$0" "$@" <&-' "$RELAY" "$to"
    expect 100 'descriptor 1 is closed*inetd*tcpserver*' sh -c '"$0" "$@" >&-' "$RELAY" "$to"
    expect 100 'descriptor 0 is closed*' sh -c '"$0" "$@" <&- >&-' "$RELAY" "$to"
    expect 100 'descriptor 3 is closed*' sh -c 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3>&-' "$RELAY" "$to"
    no_problems
    nothing_reached_backend
}

@test "descriptor 2 closed: the connection lives, and messages go to syslog" {
    syslog_start
    backend_record "$backend"
    run sh -c 'echo hello | "$0" "$@" 2>&-' "$RELAY" -v "$to"
    assert_success
    assert_output ''
    wait_log syslog "closed backend=$to"
    assert_equal "$(cat -A "$(all_bytes)")" 'PROXY UNKNOWN^M$'$'\nhello$'
    run grep -F "$to" "$(log_file syslog)"
    assert_output --regexp "relay\\[[0-9]+\\]: closed backend=$to up=6 down=0 seconds=0\\.[0-9]{3} end=done\$"
}

@test "descriptor 2 closed where there is no /dev/null: no connection" {
    need_root 'a mount namespace'
    backend_record "$backend"
    run -111 unshare -m sh -c 'mount -t tmpfs none /dev && echo hello | "$0" "$@" 2>&-' "$RELAY" "$to"
    assert_output ''
    nothing_reached_backend
}

@test "descriptors 0, 1 and 2 closed: told in syslog, and no connection" {
    syslog_start
    backend_record "$backend"
    run -100 sh -c '"$0" "$@" <&- >&- 2>&-' "$RELAY" "$to"
    wait_log syslog "backend=$to"
    run -100 sh -c '"$0" "$@" <&- >&- 2>&-' "$RELAY" "too-many-$backend"
    wait_log syslog "backend=too-many-$backend"
    run grep -F "$backend" "$(log_file syslog)"
    assert_line --index 0 --regexp 'relay\[[0-9]+\]: error msg="descriptor 0 is closed: [^"]*" backend='
    assert_line --index 1 --regexp 'msg="no port: [^"]*" backend=too-many-[0-9]+$'
    assert_equal "${#lines[@]}" 2
    nothing_reached_backend
}

@test "descriptor 3 and no other: nothing but the client's bytes reaches the backend" {
    syslog_start
    backend_record "$backend"
    # Descriptor 1 open, 0 and 2 closed: the backend's socket must not become 2.
    tcpserver_run "$port" sh -c 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&0 0<&- 2>&-' "$RELAY" -v "$to"
    start client python3 -c '
import socket, struct, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"hello\n")
sys.stdin.readline()
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))' "$port" \
        < <(wait_for grep hello "$BATS_TEST_TMPDIR/backend/1.all" && echo)
    wait_log syslog "backend=$to up=6 down=0"
    assert_equal "$(grep -c "backend=$to .* end=client-reset\$" "$(log_file syslog)")" 1
    run cat "$(all_bytes)"
    assert_line --index 0 --regexp "^PROXY TCP4 127.0.0.1 127.0.0.1 [0-9]+ $port"
    assert_line --index 1 hello
    assert_equal "${#lines[@]}" 2
}

@test "a listening socket is told from a connection" {
    backend_record "$backend"
    start activate systemd-socket-activate -l "127.0.0.1:$port" "$RELAY" "$to"
    refused 'descriptor 3 is a listening socket: .*Accept=yes.*nowait' TCP:127.0.0.1:"$port"
    start activate systemd-socket-activate --inetd -l "127.0.0.1:$port" "$RELAY" "$to"
    refused 'descriptor 0 is a listening socket: .*Accept=yes.*nowait' TCP:127.0.0.1:"$port"
    start activate systemd-socket-activate --inetd -l "$BATS_TEST_TMPDIR/socket" "$RELAY" "$to"
    refused 'descriptor 0 is a listening socket: .*Accept=yes.*nowait' "UNIX:$BATS_TEST_TMPDIR/socket"
    nothing_reached_backend
}

@test "a datagram socket is refused" {
    backend_record "$backend"
    start activate systemd-socket-activate -d --inetd -l "127.0.0.1:$port" "$RELAY" "$to"
    refused 'descriptor 0 is no stream socket: ' UDP:127.0.0.1:"$port"
    start activate systemd-socket-activate -d -l "127.0.0.1:$port" "$RELAY" "$to"
    refused 'descriptor 3 is no stream socket: ' UDP:127.0.0.1:"$port"
    nothing_reached_backend
}

@test "a datagram socket that is connected is refused too" {
    backend_record "$backend"
    start activate socat UDP4-LISTEN:"$port",bind=127.0.0.1 "EXEC:$RELAY 127.0.0.1\\:$backend,nofork"
    refused 'descriptor 0 is no stream socket: ' UDP:127.0.0.1:"$port"
    nothing_reached_backend
}

@test "two sockets from systemd are one too many" {
    local other
    other=$(free_port)
    backend_record "$backend"
    start activate systemd-socket-activate -l "127.0.0.1:$port" -l "127.0.0.1:$other" "$RELAY" "$to"
    refused 'LISTEN_FDS is 2, not 1: .*Accept=yes' TCP:127.0.0.1:"$port"
    expect 100 'LISTEN_FDS is 0, not 1*' sh -c 'LISTEN_PID=$$ LISTEN_FDS=0 exec "$0" "$@"' "$RELAY" "$to"
    expect 100 'LISTEN_FDS is , not 1*' sh -c 'LISTEN_PID=$$ LISTEN_FDS= exec "$0" "$@"' "$RELAY" "$to"
    expect 100 'LISTEN_FDS is 1\\x0d, not 1*' env "LISTEN_FDS=1"$'\r' sh -c 'LISTEN_PID=$$ exec "$0" "$@"' "$RELAY" "$to"
    no_problems
    nothing_reached_backend
}

# refused REGEX SOCAT-ADDRESS: a client goes there; "activate" has become relay,
# which ends with status 100 and one line with that message.
refused() {
    local status=0
    wait_for asks "$2"
    exit_status activate || status=$?
    assert_equal "$status" 100
    run relay_lines activate
    assert_output --regexp "^relay: error msg=\"$1[^\"]*\"( client=[^ ]+| server=[^ ]+)* backend=$to\$"
    stop activate
}

# asks SOCAT-ADDRESS: a datagram gets lost while nobody is there, so more may
# have to be sent.
asks() {
    timeout 2 socat -u - "$1" <<<hello || true
    ! is_running activate
}

@test "sockets that systemd meant for another process are left alone" {
    backend_record "$backend"
    echo 'not for you' >"$BATS_TEST_TMPDIR/file"
    local pid
    for pid in 1 0 '' x -1 99999999999999999999 "$$ "; do
        connections=$((connections + 1))
        run env LISTEN_PID="$pid" LISTEN_FDS=1 "$RELAY" "$to" 3<"$BATS_TEST_TMPDIR/file" <<<hello
        assert_success
        assert_equal "$(cat -A "$(all_bytes "$connections")")" 'PROXY UNKNOWN^M$'$'\nhello$'
    done
}

# --- the log ---

NUMBERS='up=%s down=%s seconds=[0-9]+\.[0-9]{3} end=%s'

# assert_closed REGEX UP DOWN END: tcpserver's relay has said that, and no more.
assert_closed() {
    # shellcheck disable=SC2059 # a format of our own
    printf -v numbers "$NUMBERS" "$2" "$3" "$4"
    wait_for no_child tcpserver
    run relay_lines
    assert_output --regexp "^relay: closed $1 $numbers\$"
    assert_equal "${#lines[@]}" 1
}

@test "-v: one line for a connection over IPv4" {
    local from
    from=$(free_port)
    backend_record "$backend" --say 'hello back'
    tcpserver_relay "$port" -v "$to"
    ask "$port" "$from" 127.0.0.2 <<<hello
    assert_closed "client=127\.0\.0\.2:$from server=127\.0\.0\.1:$port backend=127\.0\.0\.1:$backend" 6 10 'done'
}

@test "-v: one line for a connection over IPv6" {
    local from
    from=$(free_port)
    backend_record "[::1]:$backend" --say 'hello back'
    LISTEN=::1 tcpserver_relay "$port" --verbose "[::1]:$backend"
    ask "$port" "$from" ::1 ::1 <<<hello
    assert_closed "client=\[::1\]:$from server=\[::1\]:$port backend=\[::1\]:$backend" 6 10 'done'
}

@test "-v: one line with a UNIX backend, and with an abstract one" {
    local from path='@'$BATS_RUN_TMPDIR/backend
    from=$(free_port)
    backend_record "$path"
    tcpserver_relay "$port" -2 -v "$path"
    ask "$port" "$from" 127.0.0.2 </dev/null
    assert_closed "client=127\.0\.0\.2:$from server=127\.0\.0\.1:$port backend=$path" 0 0 'done'
    stop tcpserver
    stop backend
    from=$(free_port)
    path="$BATS_TEST_TMPDIR/back=end"
    backend_record "$path"
    tcpserver_relay "$port" -0 -v "$path"
    ask "$port" "$from" 127.0.0.2 </dev/null
    assert_closed "client=127\.0\.0\.2:$from server=127\.0\.0\.1:$port backend=\"$path\"" 0 0 'done'
}

@test "-v: one line where the client is not known" {
    backend_record "$backend"
    run --separate-stderr "$RELAY" -v "$to" <<<hello
    assert_success
    assert_output ''
    # shellcheck disable=SC2154 # run sets it
    [[ $stderr =~ ^"relay: closed backend=127.0.0.1:$backend up=6 down=0 seconds="[0-9]+\.[0-9]{3}" end=done"$ ]] ||
        fail "$stderr"
    run --separate-stderr tcpclient -H -R -l0 127.0.0.1 "$backend" env -i "$RELAY" -v fd:6,7 <<<hello
    assert_success
    [[ $stderr =~ ^"relay: closed backend=fd:6,7 up=6 down=0 seconds="[0-9]+\.[0-9]{3}" end=done"$ ]] ||
        fail "$stderr"
}

@test "without -v, and with -q, a connection in order leaves no line" {
    local option
    backend_record "$backend"
    for option in -1 -q -vq -qv; do
        run ! grep . <("$RELAY" "$option" "$to" 2>&1 <<<hello)
    done
}
