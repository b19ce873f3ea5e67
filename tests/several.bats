#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Several backends: whom relay takes, and what those cost that do not answer. Each
# test runs scenarios of tests/several.py, which is client and backends in one.

load helper

export TCPSERVER6

teardown() { stop_all; }

# holds SCENARIO...: each of them.
holds() {
    start several python3 "$TESTS/several.py" "$@"
    WAIT_SECONDS=90 exit_status several
}

@test "the first backend that takes the connection gets it, whatever kind they are" {
    holds first_is_first
}

@test "a backend that refuses is skipped at once, and the log says so" {
    holds refusing_is_skipped:{tcp,tcp6,unix,abstract} missing_path_is_skipped
}

@test "a hundred backends that refuse, or a thousand, are skipped" {
    holds many_are_skipped
    holds a_thousand_on_the_command_line
}

@test "when all have failed, each is told, and the status is 111" {
    holds all_fail
}

@test "backends that all hang are given up after one --timeout and the staggers" {
    holds all_hang
}

@test "a backend that hangs costs a quarter of a second, and gets no byte of a header" {
    holds hanging_costs_the_stagger:full hanging_costs_the_stagger:full-unix hanging_costs_the_stagger:full:unix
}

@test "several that hang cost as many quarters" {
    holds several_hanging_cost_as_many longest_timeout
}

@test "a backend that hangs may still win, if it answers before the others" {
    holds hanging_one_may_still_win
}

@test "of two that answer at once, the first in order gets the connection" {
    holds of_two_at_once_the_first
}

@test "the log has the address of the backend that took the connection" {
    holds the_log_tells_who_has_it
}

@test "a log that is stuck does not hold up the connection" {
    holds stuck_log_holds_up_nobody
}

@test "descriptors that are connected are a backend among others" {
    holds descriptors_among_others descriptors_end_the_race
}

@test "a client's reset ends all attempts" {
    holds client_reset_ends_the_race
}

@test "waiting for several backends costs no CPU time" {
    holds rests_in_the_race rests_when_no_more_may_start
}
