#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay under valgrind: no memory is read before it is written, none is lost, and of the
# descriptors that relay opens none is left but what the connection itself needs to its
# end. Scenarios of the suites that show what relay does; here valgrind has the word.

load helper

# A command of relay's name, which the scenarios take for it; what valgrind finds goes
# to files, and makes an exit status that no scenario expects.
setup() {
    cd "$BATS_TEST_TMPDIR" || return
    cat >relay <<END
#!/bin/sh
exec valgrind --error-exitcode=99 --leak-check=full --track-fds=yes --trace-children=no \\
    --suppressions='$PWD/suppressions' --log-file='$PWD/valgrind.%p' '$ROOT/tests/build/memcheck/relay' "\$@"
END
    chmod +x relay
    RELAY=$PWD/relay
    export TCPSERVER6
    # What stays to the end though nothing points to it any more: see watched.h.
    cat >suppressions <<'END'
{
   asked
   Memcheck:Leak
   fun:calloc
   fun:start_lookup
}
{
   backends
   Memcheck:Leak
   fun:calloc
   fun:order_backends
}
{
   backends that were tried
   Memcheck:Leak
   fun:calloc
   fun:new_target
}
{
   answered
   Memcheck:Leak
   ...
   fun:getaddrinfo
   fun:look_up_in_thread
}
END
}

teardown() { stop_all; }

# holds FILE SCENARIO...: these of that file, one after the other.
holds() {
    local scenario
    for scenario in "${@:2}"; do
        start scenario python3 "$TESTS/$1.py" "$scenario"
        WAIT_SECONDS=60 exit_status scenario
    done
}

# left: who has opened the descriptors that are open at the end of each relay, and are
# not inherited: functions of relay.c, a line each.
left() {
    awk '/ Open / { shown = 0; next }
        !shown && match($0, /[a-z_0-9]+ \(relay\.c:/) {
            if (descriptors) print FILENAME, substr($0, RSTART, RLENGTH - length(" (relay.c:"))
            shown = 1
        }
        / FILE DESCRIPTORS: / { descriptors = 1 }
        / HEAP SUMMARY:/ { descriptors = 0 }' valgrind.*
}

# clean COUNT: so many relays have run (or COUNT+: at least), and valgrind has seen the
# end of each, and nothing wrong. A connection's socket, and the pipes of its bulk, the
# kernel closes.
clean() {
    local files=(valgrind.*)
    assert [ "${#files[@]}" -"$([[ $1 == *+ ]] && echo ge || echo eq)" "${1%+}" ]
    run grep -L 'ERROR SUMMARY: 0 errors' valgrind.*
    assert_output ''
    run grep -L 'FILE DESCRIPTORS: ' valgrind.*
    assert_output ''
    run awk '{ n = ++count[$0] }
        !($2 == "start_connect" && n <= 1 || $2 == "open_pipe" && n <= 4 || $2 == "open_syslog" && n <= 1)' <(left)
    assert_output ''
}

@test "small messages, between sockets of all kinds and pipes" {
    holds ends counts_are_right:-2 any_descriptors:pipes any_descriptors:pipe-in \
        header_comes_first:-2:abstract:unix backend_of_another_family:tcp6:tcp
    clean 5
}

@test "bulk both ways, spliced, and its pipes given back" {
    holds ends much_both_ways_at_once stalled_bulk_keeps_its_bytes
    clean 2
    # Which shows that a descriptor that is left is noticed.
    run left
    assert_output --partial ' open_pipe'
}

@test "the client's own header, whole and in pieces, with TLVs, and what is none" {
    holds inbound byte_by_byte twice_in_a_row converts:v1-ip6:-2 tlvs_that_do_not_fit
    clean 6+
}

# nobody STATUS RELAY-ARGUMENT...: relay for a client that says nothing. $said is what
# relay says; a file, for a pipe on descriptor 2 could be the client's.
nobody() {
    local status=0
    "$RELAY" "${@:2}" < <(:) >out 2>err || status=$?
    said=$(<err)
    assert_equal "$status" "$1"
}

@test "TLVs of relay's own, and what a TLS launcher tells" {
    local backend
    backend=$(free_port)
    backend_record "$backend"
    export SSL_PROTOCOL=TLSv1.3 SSL_CIPHER=cipher SSL_TLS_SNI_SERVERNAME=relay.example \
        SSL_CLIENT_DN='C=DE,O="Example, Inc.",CN=client\2Cexample'
    nobody 0 -v -2 -c -u -s -x 0xE0=text -x netns=0x6e6574 "127.0.0.1:$backend"
    assert_regex "$said" ' end=done$'
    clean 1
}

@test "names are looked up, and not found" {
    local backend
    backend=$(free_port)
    backend_record "$backend"
    nobody 0 -v "localhost:$backend"
    assert_regex "$said" ' end=done$'
    nobody 0 -v -l random nowhere.invalid:80 "localhost:$backend"
    nobody 111 nowhere.invalid:80
    assert_regex "$said" 'looking up nowhere.invalid: '
    clean 3
}

@test "--check of a backend that takes the header, and of none" {
    local backend
    backend=$(free_port)
    backend_record "$backend"
    run -111 "$RELAY" -n -2 -u "127.0.0.1:$backend" /nowhere "localhost:$backend"
    clean 1
}

@test "several backends, of which some refuse" {
    local backend refusing
    backend=$(free_port)
    refusing=$(free_port)
    backend_record "$backend"
    nobody 0 -v -l hash /nowhere "127.0.0.1:$refusing" "[::1]:$refusing" "127.0.0.1:$backend"
    assert_regex "$said" ' end=done$'
    holds several all_fail descriptors_end_the_race
    clean 3
}

@test "connections that fail, are refused, are cut or cannot be" {
    holds ends refused_is_a_reset wrong_usage_is_a_reset client_gone_before_relay:told \
        error_goes_elsewhere:inetd journal_gets_levels reset_after_a_half_close
    clean 9
}
