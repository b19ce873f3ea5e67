#!/usr/bin/env bats
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# What relay can still do once it relays: nothing else. Each test runs scenarios of
# tests/ends.py; tests/forbidden.h is a relay that does what its client says.

load helper

FORBIDDEN=(openat socket connect bind listen accept4 sendmsg execve execveat clone clone3 mmap mprotect brk kill tgkill
    ptrace ioctl unlinkat setuid prctl seccomp memfd_create process_vm_writev io_uring_setup 'another number' 'sendto to connect' 'fcntl to kill')

setup() {
    case $(uname -m) in
    x86_64 | aarch64 | riscv64) ;;
    *) skip "no sandbox on this architecture" ;;
    esac
}

teardown() {
    stop_all
}

# holds BUILD SCENARIO...: of relay, or what is in tests/build/BUILD.
holds() {
    local RELAY=$RELAY
    [[ ! $1 ]] || RELAY=$ROOT/tests/build/$1/relay
    export RELAY
    start ends python3 "$BATS_TEST_DIRNAME/ends.py" "${@:2}"
    WAIT_SECONDS=60 exit_status ends
}

@test "before it reads a byte of the client's, relay is in its sandbox" {
    holds '' sandbox_is_closed_before_the_first_byte sandbox_is_closed_before_the_first_byte:unix \
        sandbox_is_closed_before_the_first_byte:pipes
}

@test "every other system call ends relay, resets the connection, and is logged" {
    holds hostile "${FORBIDDEN[@]/#/sandbox_forbids:}"
}

@test "it is the sandbox that forbids them" {
    holds freed "${FORBIDDEN[@]/#/sandbox_is_what_forbids:}"
}

@test "relay may signal itself, and a debugger may leave out a call" {
    holds hostile "sandbox_is_what_forbids:kill itself" "sandbox_is_what_forbids:no call"
}
