#!/usr/bin/env bats
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# The paths that the bytes take inside relay: a buffer, and for a bulk flow a pipe.
# Each test runs scenarios of tests/ends.py. What is promised holds on each path:
# promises-piped.bats and promises-portable.bats are promises.bats with relay built
# so that there is no other.

load helper

teardown() {
    stop_all
}

holds() {
    local scenario
    for scenario; do
        start ends python3 "$BATS_TEST_DIRNAME/ends.py" "$scenario"
        WAIT_SECONDS=60 exit_status ends
    done
}

@test "bulk goes through a pipe, small messages do not" {
    holds bulk_goes_through_a_pipe
}

@test "a connection that is idle again has given back its buffers and its pipes" {
    holds idle_gives_memory_back
}

@test "an idle connection keeps one page of data" {
    holds rest_takes_one_page_of_data
}

@test "bytes that a stalled connection holds stay where they are" {
    holds stalled_bulk_keeps_its_bytes
}

@test "bulk for a client that does not read holds up nothing, whatever others do to its socket" {
    holds bulk_waits_for_nobody
}

@test "a reset in the middle of bulk never looks like the end" {
    holds reset_in_mid_bulk_is_no_end
}

@test "without descriptors for a pipe, bulk is copied" {
    holds pipe_that_cannot_be_had:pipe2=EMFILE
}

@test "a user who has used up the room for pipes has bulk copied" {
    holds pipe_that_cannot_be_had:fcntl=EPERM pipe_that_cannot_be_had:fcntl=EPERM/when=2+
}

@test "a sandbox that forbids splice has bulk copied" {
    holds pipe_that_cannot_be_had:splice=EPERM pipe_that_cannot_be_had:splice=ENOSYS
}

@test "a socket that cannot be spliced has its bulk copied" {
    holds pipe_that_cannot_be_had:splice=EINVAL/when=2+2 pipe_that_cannot_be_had:splice=ENOMEM/when=2+2
}

@test "a splice that is interrupted, or finds nothing, is no cut" {
    holds pipe_that_cannot_be_had:splice=EINTR/when=2+3 pipe_that_cannot_be_had:splice=EAGAIN/when=3+3
}
