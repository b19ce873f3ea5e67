#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay elsewhere: with other C libraries, on machines of other kinds, which qemu-user
# plays, and without what macOS lacks. The same scenarios for all of them, from
# tests/ends.py. See promises-glibc.bats and promises-portable.bats, too.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2154 # set by connection

load helper
load connection

# Header and bytes, both ways, over each kind of descriptor; ends, resets and signals.
LIFE=(
    counts_are_right:-1
    counts_are_right:-2
    header_comes_first:-2:abstract:unix
    much_both_ways_at_once
    any_descriptors:pipes
    backend_of_another_family:tcp:tcp6
    what_is_under_way_arrives_after_relay_has_ended
    client_reset_reaches_the_backend
    killed_at_rest:SIGTERM
    options_are_set_on_both_sockets
    refused_is_a_reset
)
# Where it makes other calls, more of them.
MORE=(
    half_close_with_both_directions_full
    backend_reset_reaches_the_client
    answer_before_a_reset_arrives:65536
    busy_backend_is_heard
    killed_after_a_half_close
    reader_of_a_pipe_gone
    client_gone_while_relay_connects:full
    counts_are_right_where_the_header_fails
)

setup() {
    connection
    unset MAKEFLAGS MAKEOVERRIDES MFLAGS MAKELEVEL CC CFLAGS CPPFLAGS LDFLAGS
}

teardown() { stop_all; }

# --- what the tests have in common ---

# built NAME MAKE-ARGUMENT...: tests/build/NAME/relay, compiled without a warning; its
# path is $RELAY then.
built() {
    RELAY=$ROOT/tests/build/$1/relay
    make -C "$ROOT" "${@:2}" CFLAGS='-Os -Werror' "tests/build/$1/relay"
}

# crossed MACHINE [QEMU-OPTION...]: the same for that machine, linked statically; where
# this one cannot run it, its path is that of a script that has the machine played.
crossed() {
    [[ $(uname -m) == x86_64 ]] || skip "Debian's cross compilers are for x86-64"
    built "$1" CC="$(compiler "$1")" LINK=-static
    program=$RELAY
    ! runs_here "$1" "$program" --version || return 0
    # The process has relay's name, for tests/ends.py.
    mkdir -p "$BATS_TEST_TMPDIR/qemu"
    ln -sf "$(command -v "$(emulator "$1")")" "$BATS_TEST_TMPDIR/qemu/relay"
    RELAY=$BATS_TEST_TMPDIR/relay-$1
    printf '#!/bin/sh\nexec %s/qemu/relay %s %s "$@"\n' "$BATS_TEST_TMPDIR" "${*:2}" "$program" >"$RELAY"
    chmod +x "$RELAY"
}

# runs_here MACHINE COMMAND...: some x86-64 kernels run i386's programs.
runs_here() {
    [[ $1 == i386 ]] && "${@:2}" >/dev/null 2>&1
}

compiler() {
    case $1 in
    arm64) echo aarch64-linux-gnu-gcc ;;
    armhf) echo arm-linux-gnueabihf-gcc ;;
    i386) echo i686-linux-gnu-gcc ;;
    *) echo "$1-linux-gnu-gcc" ;;
    esac
}

emulator() {
    case $1 in
    arm64) echo qemu-aarch64 ;;
    armhf) echo qemu-arm ;;
    *) echo "qemu-$1" ;;
    esac
}

# lives SCENARIO...: they hold for $RELAY.
lives() {
    export RELAY
    start ends python3 "$TESTS/ends.py" "$@"
    WAIT_SECONDS=60 exit_status ends
}

# is_for MACHINE: what file(1) would say of $program, by its ELF header: class, byte
# order and machine.
is_for() {
    local header
    header=$(head -c 20 "$program" | hexdump_of /dev/stdin)
    case $1 in
    arm64) assert_regex "$header" '^7f454c460201.*b700$' ;;
    armhf) assert_regex "$header" '^7f454c460101.*2800$' ;;
    i386) assert_regex "$header" '^7f454c460101.*0300$' ;;
    riscv64) assert_regex "$header" '^7f454c460201.*f300$' ;;
    s390x) assert_regex "$header" '^7f454c460202.*0016$' ;;
    esac
}

# names_client MACHINE: under tcpserver, to a backend that is looked up by name, with
# TLVs, a random id and a checksum.
names_client() {
    record
    tcpserver_relay "$port" -v -2 -c -u -x authority=relay.example "localhost:$backend"
    connect
    assert_answered
    run python3 "$TESTS/header.py" show "$(all_bytes)"
    assert_line --index 0 "PROXY INET STREAM 127.0.0.2 127.0.0.1 $from $port"
    assert_line --index 1 'AUTHORITY relay.example'
    assert_line --index 2 --regexp '^UNIQUE_ID [0-9a-f]{32}$'
    assert_line --index 3 'CRC32C right'
    wait_for no_child tcpserver
    run relay_lines
    assert_output --regexp "^relay: closed client=127\.0\.0\.2:$from .* up=${#QUESTION} down=${#ANSWER} "
    stop tcpserver
}

# works_on MACHINE [QEMU-OPTION...]: relay, and it is compiled for it without a warning.
works_on() {
    crossed "$@"
    is_for "$1"
    names_client
    lives "${LIFE[@]}"
}

# allows MACHINE ARCHITECTURE: relay works on it, without seccomp, which qemu has not, and
# its filter would have let it.
allows() {
    mkdir "$BATS_TEST_TMPDIR/strace"
    # shellcheck disable=SC2016 # the script's own process id
    works_on "$1" -strace -D "$BATS_TEST_TMPDIR/strace/"'$$'
    python3 "$TESTS/filter.py" made "$2" "$BATS_TEST_TMPDIR/strace"/*
}

# headers_on MACHINE: proxyhdr.c, in all that tests/proxyhdr_test.c asks of it.
headers_on() {
    local group proxyhdr_test=("$(emulator "$1")" "$BATS_TEST_TMPDIR/proxyhdr_test")
    "$(compiler "$1")" -std=c11 -O1 -Wall -Wextra -Wpedantic -Wconversion -Werror -static \
        -o "${proxyhdr_test[1]}" "$TESTS/proxyhdr_test.c" "$ROOT/proxyhdr.c"
    ! runs_here "$1" "${proxyhdr_test[1]}" || proxyhdr_test=("${proxyhdr_test[1]}")
    for group in $("${proxyhdr_test[@]}"); do
        "${proxyhdr_test[@]}" "$group" || return
    done
    [[ $group == inet-pton-ipv6 ]]
}

# --- C libraries, and other systems ---

@test "glibc, static: relay looks up names, and is in its sandbox before it reads a byte" {
    built glibc-static CC=gcc LINK=-static
    names_client
    lives sandbox_is_closed_before_the_first_byte
}

@test "without what macOS lacks relay keeps what it promises" {
    built macos
    names_client
    record_anew
    printf %s "$QUESTION" | socat -t 30 - "EXEC:$RELAY -2 127.0.0.1\\:$backend" >"$answer"
    assert_relayed_v2 000000 # a socketpair is no client of a UNIX socket
    lives "${LIFE[@]/:abstract:/:unix:}" "${MORE[@]}"
}

# --- machines ---

@test "arm64: relay works, and calls what its filter allows" {
    allows arm64 aarch64
}

@test "riscv64: relay works, and calls what its filter allows" {
    allows riscv64 riscv64
}

@test "armhf: relay works" {
    works_on armhf
}

@test "i386: relay and proxyhdr work" {
    works_on i386
    headers_on i386
}

@test "s390x, whose bytes are in the other order: relay and proxyhdr work" {
    works_on s390x
    headers_on s390x
}

# order: that in which hash tries four backends for sixteen clients. None is there.
order() {
    local i
    for i in {1..8}; do
        env -i REMOTE_ADDR="203.0.113.$i" "$RELAY" -l hash /none/{a,b,c,d} </dev/null 2>&1 || true
        env -i REMOTE_ADDR="2001:db8::$i" "$RELAY" -l hash /none/{a,b,c,d} </dev/null 2>&1 || true
    done | sed -n 's/.*skipped.*backend=//p'
}

@test "the order of the bytes is nothing to hash" {
    local expected
    expected=$(order)
    assert_equal "$(wc -l <<<"$expected")" 64
    assert_equal "$(sort -u <<<"$expected" | wc -l)" 4
    crossed s390x
    assert_equal "$(order)" "$expected"
    crossed armhf
    assert_equal "$(order)" "$expected"
}

# logs FILE: to that file, as it is.
logs() {
    local line status=0
    "$RELAY" /none </dev/null 2>>"$1" || status=$?
    assert_equal "$status" 111
    line=$(tail -c 200 "$1" | tr -d '\0')
    assert_regex "$line" 'relay: error msg="cannot connect: No such file'
}

@test "32 bits: relay's log may be over 2 GiB, and written to after 2038" {
    local machine
    for machine in armhf i386; do
        crossed "$machine"
        truncate -s 3G "$BATS_TEST_TMPDIR/large-$machine"
        logs "$BATS_TEST_TMPDIR/large-$machine"
        touch -d 2040-01-01 "$BATS_TEST_TMPDIR/late-$machine"
        logs "$BATS_TEST_TMPDIR/late-$machine"
    done
}

# --- the sandbox of machines that are not here ---

# filters ARCHITECTURE BUILD MAKE-ARGUMENT...: the filter of relay built so is right.
# $RELAY runs it, as $runs tells.
filters() {
    make -C "$ROOT" "${@:3}" CFLAGS='-O0 -Werror' "tests/build/filter-$2/relay"
    FILTER=$BATS_TEST_TMPDIR/$2 $runs "$ROOT/tests/build/filter-$2/relay" -q fd:6 </dev/null 6<>/dev/tcp/127.0.0.1/"$backend"
    python3 "$TESTS/filter.py" check "$1" "$BATS_TEST_TMPDIR/$2"
}

@test "the filter allows what relay needs and nothing else, on x86-64, arm64 and riscv64" {
    local runs=''
    [[ $(uname -m) == x86_64 ]] || skip "Debian's cross compilers are for x86-64"
    record
    filters x86_64 x86_64
    runs=qemu-aarch64 filters aarch64 arm64 CC=aarch64-linux-gnu-gcc LINK=-static
    runs=qemu-riscv64 filters riscv64 riscv64 CC=riscv64-linux-gnu-gcc LINK=-static
}
