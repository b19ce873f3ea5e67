#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# --accept-from: the client is a proxy, and sends a header first. Each test runs
# scenarios of tests/inbound.py, which is that proxy and the backend in one.

load helper

export TCPSERVER6

setup_file() {
    export PROXYHDR=$BATS_FILE_TMPDIR/proxyhdr.so
    cc -std=c11 -O2 -shared -fPIC -o "$PROXYHDR" "$ROOT/proxyhdr.c"
}

teardown() { stop_all; }

# holds SCENARIO...: each of them.
holds() {
    start inbound python3 "$TESTS/inbound.py" "$@"
    WAIT_SECONDS=120 exit_status inbound
}

@test "a version 1 header becomes version 1, version 2 or none" {
    holds converts:v1-ip4:-{1,2,0} converts:v1-ip6:-{1,2,0}
}

@test "a version 2 header becomes version 1, version 2 or none" {
    holds converts:v2-ip4:-{1,2,0} converts:v2-ip6:-{1,2,0}
}

@test "IPv4 inside IPv6 on both ends is IPv4" {
    holds converts:v1-mapped:-{1,2} converts:v2-mapped:-{1,2}
}

@test "a UNIX connection's header becomes version 2, or UNKNOWN" {
    holds unix_to_unix
}

@test "a datagram's header becomes version 2, or UNKNOWN" {
    holds datagrams_stay_datagrams
}

@test "UNKNOWN, UNSPEC and LOCAL mean the socket's own addresses" {
    holds without_addresses_the_socket_counts nothing_known_in_front
}

@test "a header may come byte by byte" {
    holds byte_by_byte byte_by_byte:unix byte_by_byte:pipes
}

@test "a header may come in two segments, cut anywhere, with payload behind it" {
    holds split_anywhere
}

@test "8 MiB behind a header, both ways, arrive unchanged" {
    holds much_payload_behind
}

@test "a version 2 header may have 65551 bytes, a version 1 line 107" {
    holds longest_headers
}

@test "relay's own header leaves as soon as the client's has come" {
    holds server_speaks_first
}

@test "a header comes from any client: sockets, pipes, one of each" {
    holds any_client
}

@test "only who is in NETS may send a header: IPv4 clients" {
    holds networks:tcp
}

@test "only who is in NETS may send a header: IPv6 clients" {
    holds networks:tcp6
}

@test "only who is in NETS may send a header: UNIX clients and pipes" {
    holds networks:unix networks:pipes
}

@test "an IPv4 client of a socket for both families is in a network of IPv4" {
    local port from backend
    port=$(free_port) from=$(free_port) backend=$(free_port)
    backend_record "$backend"
    LISTEN=:: tcpserver_relay "$port" -v -a 127.0.0.0/30 "127.0.0.1:$backend"
    printf 'PROXY TCP4 192.0.2.7 198.51.100.2 51234 443\r\nhello' | ask "$port" "$from" 127.0.0.2
    assert_equal "$(tr -d '\r' <"$(all_bytes)")" $'PROXY TCP4 192.0.2.7 198.51.100.2 51234 443\nhello'
    wait_for no_child tcpserver
    run relay_lines
    assert_output --partial " client=192.0.2.7:51234 server=198.51.100.2:443 via=127.0.0.2:$from "
}

@test "who is not in NETS is sent away before a word is said" {
    holds stranger_is_not_waited_for
}

@test "a bad header or none is refused, and the backend not contacted" {
    holds bad_headers
}

@test "a client that ends within its header is refused, one that says nothing has left" {
    holds cut_short reset_within reset_just_before
}

@test "a header that is not whole within --timeout is refused" {
    holds too_late:{none,some,trickle}
}

@test "waiting for a header costs no CPU time" {
    holds rests_while_it_waits
}

@test "TLVs travel on, but for CRC32C, NOOP and those that relay sets itself" {
    holds tlvs_travel
}

@test "TLVs that leave no room for relay's own are refused" {
    holds tlvs_that_do_not_fit
}

@test "a line of the log has room for the longest names" {
    holds long_names
}

@test "relay behind relay passes the first client on, with its id" {
    holds twice_in_a_row
}

@test "mutations of headers are accepted or refused as proxyhdr says" {
    # The builds that watch take their time.
    local count=10000
    [[ ! $BUILD ]] || count=500
    holds mutations:$count
}
