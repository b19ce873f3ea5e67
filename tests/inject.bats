#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# One system call fails, or does less than it was asked for: each one that relay makes,
# in connections of many kinds. What then may become of a connection: tests/inject.py.
# INJECT=all sh tests/run.sh tests/inject.bats: with each error in turn.

load helper

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    printf 'nameserver 127.0.0.53\noptions timeout:1\n' >resolv.conf
    private_network
    # A /dev/log of the test's own.
    mkdir dev
    : >dev/null
    inside mount --bind /dev/null "$PWD/dev/null"
    inside mount --rbind "$PWD/dev" /dev
}

teardown() {
    stop_all
}

# survives INJECT.PY-ARGUMENT...: what it promises holds. What it counts is told.
survives() {
    start_inside inject python3 "$TESTS/inject.py" "$@"
    WAIT_SECONDS=${INJECT:+10}100 exit_status inject || return
    sed 's/^/# /' "$(log_file inject)" >&3
}

# short KIND...: the same where calls do less than they are asked for. The C library
# is the system's then: one that is linked in would not see ours.
short() {
    export SHORT=$BATS_TEST_TMPDIR/short.so
    cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Os -shared -fPIC -o "$SHORT" "$TESTS/short.c"
    RELAY=$BATS_TEST_TMPDIR/relay
    cc -std=c11 -D_GNU_SOURCE -Os -pthread -o "$RELAY" "$ROOT/relay.c" "$ROOT/proxyhdr.c"
    survives --short "$@"
}

# --- a system call fails ---

@test "a call fails in a connection with a version 1 header" {
    survives v1
}

@test "a call fails in a connection whose backend speaks and ends first" {
    survives backend_first
}

@test "a call fails in a connection with a version 2 header and TLVs" {
    survives tlvs
}

@test "a call fails where the client's own header comes in pieces" {
    survives accept_from
}

@test "a call fails where there are several backends" {
    survives hash random skips
}

@test "a call fails where the backend's name is looked up" {
    survives name
}

@test "a call fails where a look-up is left behind" {
    survives left_behind
}

@test "a call fails in a connection of UNIX sockets" {
    survives unix
}

@test "a call fails in a connection with an address of its own" {
    survives bind bind_client
}

@test "a call fails where the backend is a descriptor" {
    survives descriptor
}

@test "a call fails where the client is two pipes" {
    survives pipes
}

@test "a call fails where the client's pipe is descriptor 2 as well" {
    survives pipes_on_2
}

@test "a call fails in bulk that is handed on both ways" {
    survives bulk
}

@test "a call fails in bulk that is copied" {
    survives bulk_from_a_pipe
}

@test "a call fails in a connection that comes to rest" {
    survives rest
}

@test "a call fails in a connection that is logged" {
    survives verbose syslog
}

@test "a call fails in a connection that ends because it is idle" {
    survives idle
}

@test "a call fails in a connection that a signal ends" {
    survives signal
}

@test "a call fails in a connection that a reset ends" {
    survives client_resets backend_resets
}

@test "a call fails where there is no connection to be had" {
    survives refusing refusing_syslog
}

@test "a call fails where the client is refused, or leaves" {
    survives no_header leaves
}

# --- a system call does less than it is asked for ---

@test "a call does less in small talk" {
    short v1 tlvs accept_from unix pipes pipes_on_2 syslog
}

@test "a call does less in bulk" {
    short bulk bulk_from_a_pipe rest
}
