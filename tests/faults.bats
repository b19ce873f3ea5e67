#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Faults: signals, peers that vanish, a network that loses packets, resolvers that lie,
# limits, logs and clocks. Of each: how the connection ends, what either side sees of it,
# the exit status and the log. Each test runs scenarios of tests/faults.py.

load helper

export TCPSERVER6

# Those that mostly wait. They all run from the start, at the same time: the second list
# in a network of its own, the third with a relay of its own.
WAITING=(
    backend_never_reads
    client_gone_in_connect_in_order
    stopped_for_longer_than_idle:bytes
    stopped_for_longer_than_idle:silence
    stopped_in_set_up:connect
    stopped_in_set_up:header
    another_monotonic_clock
)
IN_A_HOLE=(
    idle_with_a_black_hole:client
    idle_with_a_black_hole:backend
    words_into_a_black_hole:client
    words_into_a_black_hole:backend
    dead_peer:client:hurried
    dead_peer:backend:hurried
)
WITH_A_FAKE_CLOCK=(the_clock_is_set)

setup_file() {
    # Where another user than root can reach it.
    chmod 711 "$BATS_RUN_TMPDIR"
    install -m 755 "$RELAY" "$BATS_FILE_TMPDIR/relay"
    make_variant unguarded -DNO_SANDBOX     # libfaketime opens files
    LIBFAKETIME=$(dpkg -L libfaketime | grep '/libfaketime\.so\.1$')
    export LIBFAKETIME
    RELAY=$BATS_FILE_TMPDIR/unguarded/relay start clock python3 "$TESTS/faults.py" --results "$BATS_FILE_TMPDIR" \
        "${WITH_A_FAKE_CLOCK[@]}"
    start waiting python3 "$TESTS/faults.py" --results "$BATS_FILE_TMPDIR" "${WAITING[@]}"
    [[ $(id -u) == 0 ]] || return 0
    private_network
    start_inside hole python3 "$TESTS/faults.py" --results "$BATS_FILE_TMPDIR" "${IN_A_HOLE[@]}"
}

teardown_file() {
    local scenario hole=("${IN_A_HOLE[@]}")
    [[ $(id -u) == 0 ]] || hole=()
    # One that is cut short, where not all tests were asked for, leaves a relay that is
    # stopped.
    for scenario in "${WAITING[@]}" "${WITH_A_FAKE_CLOCK[@]}" "${hole[@]}"; do
        WAIT_SECONDS=60 wait_for is_over "$scenario"
    done
    stop_all
}

teardown() { stop_all; }

# holds SCENARIO...: each of them, at the same time. What has run from the start is
# waited for.
holds() {
    local scenario now=()
    for scenario; do
        if [[ " ${WAITING[*]} ${IN_A_HOLE[*]} ${WITH_A_FAKE_CLOCK[*]} " == *" $scenario "* ]]; then
            held "$scenario"
        else
            now+=("$scenario")
        fi
    done
    [[ ! ${now[*]} ]] || runs "${now[@]}"
}

# runs SCENARIO...: in a private_network, where there is one.
runs() {
    start_inside faults python3 "$TESTS/faults.py" "$@"
    WAIT_SECONDS=90 exit_status faults
}

# --- signals ---

@test "a signal while relay waits for the client's header is a reset for the client" {
    holds signals:header
}

@test "a signal during a look-up is a reset for the client" {
    private_network
    start_inside resolver socat -u UDP4-RECV:53,bind=127.0.0.53 OPEN:/dev/null
    wait_for inside sh -c 'ss -Huln "sport = :53" | grep .'
    holds signals:look-up
}

@test "a signal while relay connects is a reset for the client" {
    holds signals:connect
}

@test "a signal at rest, with one side's end passed on, or with no room anywhere is a reset for both ends" {
    holds signals:{idle,half-closed,'half-closed by the backend',full}
}

@test "a signal in the middle of bulk, spliced or copied, is a reset for both ends" {
    holds signals:{spliced,copied}
}

@test "SIGTERM ends relay that is process 1 of a PID namespace, too" {
    need_root
    holds process_1_ends_too
}

@test "SIGHUP that nohup ignores ends nothing" {
    holds ignored_hangup
}

# --- two sockets ---

@test "a client and a backend of two sockets each lose no byte, and see a cut on each" {
    holds two_sockets_each:ends two_sockets_each:killed
}

# --- the backend ---

@test "a backend's reset before, during and after the header is a reset for the client" {
    holds backend_resets_{before,during,after}_the_header
}

@test "a backend that closes at once: a reset if the header is unread, else an end" {
    holds backend_closes_at_once:{unread,'and the client too','and the client speaks'}
}

@test "a backend that never reads is waited for, until either end or --idle has had enough" {
    holds backend_never_reads
}

# --- the client ---

@test "a client that has gone in order before relay starts: its words and its end arrive" {
    holds client_gone_before_relay_in_order
}

@test "a client that leaves during a look-up: a reset ends it, an end does not" {
    private_network
    start_inside resolver socat -u UDP4-RECV:53,bind=127.0.0.53 OPEN:/dev/null
    wait_for inside sh -c 'ss -Huln "sport = :53" | grep .'
    holds client_gone_in_look_up:reset client_gone_in_look_up:end
}

@test "a client that leaves in order while relay connects: its words and its end arrive" {
    holds client_gone_in_connect_in_order
}

# --- the network ---

@test "--idle ends a connection with a side that has vanished" {
    need_root
    holds idle_with_a_black_hole:{client,backend}
}

@test "a side that vanishes with bytes on their way to it is given up when the kernel does" {
    need_root
    holds words_into_a_black_hole:{client,backend}
}

# dead_peer:client:real waits for the three minutes.
@test "a side that vanishes without a word is found by keepalive, by the manual's times" {
    need_root
    holds dead_peer:{client,backend}:hurried
}

@test "lost packets cost time and nothing else, in set-up too" {
    private_network
    holds lossy lost_syn
}

@test "a host that is unreachable for a while costs nothing" {
    private_network
    holds unreachable_in_mid_connection
}

# --- names ---

@test "a resolver that answers after three seconds is in time" {
    private_network
    holds slow_answer
}

@test "a resolver's answer after another backend has won ends nothing" {
    private_network
    too_late name nosuch name:quiet name:killed
}

@test "nor does it with the system's C library" {
    private_network
    make_variant libc
    RELAY=$BATS_TEST_TMPDIR/libc/relay too_late name nosuch
}

# too_late HOW...: there is one resolver, so one after the other.
too_late() {
    local how
    for how; do
        holds "too_late_an_answer:$how"
    done
}

@test "a resolver that lies: told within --timeout, or the connection goes where it says" {
    private_network
    holds lies
}

# --- limits ---

@test "with 3 descriptors relay says so, with 4 to 8 it works" {
    holds few_descriptors:{3,4,5,6,7,8}
}

@test "with 3 to 8 descriptors, one of which syslog would take" {
    private_network
    private_dev
    holds few_descriptors_under_inetd:{3,4,5,6,7,8} few_descriptors_and_a_pipe_on_2
}

@test "a backend that hangs and has the last descriptor does not keep out the next" {
    holds few_descriptors_and_several_backends look_up_waits_for_a_descriptor
}

@test "with little memory relay says so, or works" {
    holds no_memory:address no_memory:name
}

@test "where there can be no thread, a look-up says so, and all else works" {
    need_root
    RELAY=$BATS_FILE_TMPDIR/relay holds no_thread
}

@test "a user who has used up the room for pipes has bulk copied" {
    need_root
    RELAY=$BATS_FILE_TMPDIR/relay holds pipes_used_up
}

@test "an environment of 1 MB and a thousand backends" {
    holds large_environment
}

# --- the log ---

@test "a log that cannot be written to changes nothing" {
    holds log_cannot_be_written:{full,closed}
}

@test "a log that is stuck holds up no connection, and relay not for long" {
    private_network
    private_dev
    holds stuck_log_holds_up_nobody
}

@test "syslog that is not there changes nothing" {
    private_network
    private_dev
    holds no_syslog
}

@test "syslog that is full and stuck does not hold up a connection, nor relay for long" {
    private_network
    private_dev
    holds full_syslog
}

@test "syslog that is slow loses no line" {
    private_network
    private_dev
    holds busy_syslog
}

@test "syslog that is restarted gets the next line" {
    private_network
    private_dev
    holds restarted_syslog
}

@test "descriptor 2 closed, and no /dev/null to put there: told in syslog, and no connection" {
    private_network
    private_dev
    holds no_dev_null
}

# --- time ---

@test "relay that was stopped for longer than --idle goes on if bytes have come" {
    holds stopped_for_longer_than_idle:{bytes,silence}
}

@test "relay that was stopped for longer than --timeout takes what has come" {
    holds stopped_in_set_up:{connect,header}
}

@test "time limits hold on a monotonic clock that has run for decades, or for no time" {
    need_root
    unshare --time true || skip "no time namespaces"
    holds another_monotonic_clock
}

@test "time limits hold while the clock is set by years" {
    holds the_clock_is_set
}

@test "--timeout is for all addresses of a name, however quickly each fails" {
    local i
    for i in {1..40}; do
        echo "127.0.1.$i many.example"
    done >"$BATS_TEST_TMPDIR/hosts"
    private_network
    holds time_limit_of_quick_failures
}

# --- the machine's failures are not the client's ---

@test "a failure of the machine's own is told, not taken for a client that has left" {
    holds failing_call:recvfrom:{ENOMEM,ENOBUFS}:reading failing_call:getpeername:ENOBUFS:getpeername
}

@test "--bind that fails is told in one line, whatever number of backends there are" {
    holds bind_that_fails
}

# make_variant NAME [FLAG...]: relay built with the system's compiler and C library.
make_variant() {
    mkdir "$(work_dir)/$1"
    cc -std=c11 -D_GNU_SOURCE -O1 -pthread "${@:2}" -o "$(work_dir)/$1/relay" "$ROOT/relay.c" "$ROOT/proxyhdr.c"
}
