#!/usr/bin/env bats
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# What relay promises about a connection's life: S1 to S10 of relay(1), PROMISES.
# Each test runs scenarios of tests/ends.py, which is client and backend in one.
#
# promises-piped.bats and promises-portable.bats are links to this file: the same of
# relay built so that every byte goes through a pipe, or with POSIX alone.

load helper

ENDS=$BATS_TEST_DIRNAME/ends.py
export TCPSERVER6

# Scenarios that mostly wait. They all run from the start, at the same time.
RESTING=(
    rests_when_idle
    rests_when_half_closed:client
    rests_when_half_closed:backend
    rests_when_half_closed:client:unix:unix
    rests_when_half_closed:backend:unix:unix
    rests_when_half_closed:client:pipes
    rests_when_half_closed:backend:pipes
    rests_with_both_directions_full
    rests_with_both_directions_full:unix:unix
    rests_with_both_directions_full:pipes
    rests_when_half_closed_and_full
    rests_when_half_closed_and_full:unix:unix
    rests_when_half_closed_and_full:pipes
    rests_when_its_client_has_hung_up
    rests_when_its_client_has_hung_up:unix:unix
    rests_when_its_client_has_hung_up:pipes
    rests_when_nobody_reads_a_pipe
    rests_while_it_connects
    rests_while_it_connects:unix
)
WAITING=(
    late_answer_after_client_half_close
    late_answer_after_client_half_close:unix:unix
    late_answer_after_client_half_close:pipes
    late_words_after_backend_half_close
    late_words_after_backend_half_close:unix:unix
    late_words_after_backend_half_close:pipes
    idle_cuts
    idle_is_put_off_by_moving_bytes
    idle_counts_a_half_closed_connection
    idle_counts_a_stalled_connection
    timeout_of_a_connection:full
    timeout_of_a_connection:full-unix
    timeout_of_a_connection:full:unix
    timeout_of_a_connection:full-unix:unix
)

setup_file() {
    start resting python3 "$ENDS" --results "$BATS_FILE_TMPDIR" "${RESTING[@]}"
    start waiting python3 "$ENDS" --results "$BATS_FILE_TMPDIR" "${WAITING[@]}"
}

teardown_file() {
    stop_all
}

teardown() {
    stop_all
}

# holds SCENARIO...: each of them. What has run from the start is waited for.
holds() {
    local scenario
    for scenario; do
        if [[ " ${RESTING[*]} ${WAITING[*]} " == *" $scenario "* ]]; then
            held "$scenario"
        else
            start_inside ends python3 "$ENDS" "$scenario"
            WAIT_SECONDS=60 exit_status ends
        fi
    done
}

# --- S1: the header ---

@test "S1: a version 1 header comes whole and at once, and the server speaks first" {
    holds header_comes_first:-1
}

@test "S1: a version 2 header comes whole and at once, and the server speaks first" {
    holds header_comes_first:-2
}

@test "S1: a backend on a UNIX socket gets its header so, too" {
    holds header_comes_first:-1:unix
}

@test "S1: a backend with an abstract name, which only Linux has, gets its header so, too" {
    if [[ $BUILD == portable ]]; then
        run "$RELAY" @backend </dev/null
        assert_failure 100
        assert_output --partial "Linux only"
    else
        holds header_comes_first:-2:abstract
    fi
}

@test "S1: a client on a UNIX socket sends nothing, and its header comes at once" {
    holds header_comes_first:-1:tcp:unix header_comes_first:-2:tcp:unix
}

@test "S1: the header is one write, before any byte of the client's is read" {
    holds header_is_one_write_before_all_else:-1 header_is_one_write_before_all_else:-2
}

# --- S2: every byte ---

@test "S2: 64 MiB both ways at once reach slow readers unchanged" {
    holds much_both_ways_at_once
}

@test "S2: 64 MiB both ways at once between UNIX sockets reach slow readers unchanged" {
    holds much_both_ways_at_once:unix:unix
}

@test "S2: a trickle of single bytes both ways arrives in order" {
    holds trickle
}

@test "S2: urgent bytes arrive in their place" {
    holds urgent_bytes_are_bytes:late urgent_bytes_are_bytes:early
}

@test "S2: a client that sends 1 MiB and closes at once loses nothing" {
    holds quick_close
}

@test "S2: a client that sends and hangs up a UNIX socket or pipes loses nothing" {
    holds fire_and_forget:early:unix fire_and_forget:late:unix \
        fire_and_forget:early:pipes fire_and_forget:late:pipes
}

@test "S2: nor does it where the backend takes its time" {
    holds fire_and_forget_to_a_slow_backend:unix fire_and_forget_to_a_slow_backend:pipes
}

@test "S2: what is still under way when relay has ended arrives" {
    holds what_is_under_way_arrives_after_relay_has_ended
}

# --- S3: half-close ---

@test "S3: a late answer survives a client half-close" {
    holds late_answer_after_client_half_close
}

@test "S3: a late answer survives a client half-close, between UNIX sockets and through pipes" {
    holds late_answer_after_client_half_close:unix:unix late_answer_after_client_half_close:pipes
}

@test "S3: late words of the client survive a backend half-close" {
    holds late_words_after_backend_half_close
}

@test "S3: late words of the client survive a backend half-close, between UNIX sockets and through pipes" {
    holds late_words_after_backend_half_close:unix:unix late_words_after_backend_half_close:pipes
}

@test "S3: a half-close of both sides with both directions full loses nothing" {
    holds half_close_with_both_directions_full half_close_with_both_directions_full:pipes:unix
}

# --- S4: a cut looks cut ---

@test "S4: a client's reset reaches the backend as a reset, behind the last words" {
    holds client_reset_reaches_the_backend
}

@test "S4: a backend's reset reaches the client as a reset, behind the last words" {
    holds backend_reset_reaches_the_client
}

@test "S4: a reset after a half-close reaches the other side as a reset" {
    holds reset_after_a_half_close
}

@test "S4: an answer arrives that a backend gives before it resets an upload" {
    holds answer_before_a_reset_arrives:256 answer_before_a_reset_arrives:65536
}

@test "S4: the parting words of a backend that does not even read the header arrive" {
    holds busy_backend_is_heard
}

@test "S4: SIGKILL in mid-transfer is a reset for both ends" {
    holds killed_in_mid_transfer:SIGKILL
}

@test "S4: SIGTERM in mid-transfer is a reset for both ends, and logged" {
    holds killed_in_mid_transfer:SIGTERM
}

@test "S4: SIGTERM ends relay at once, however busy it is" {
    holds terminated_at_full_speed
}

@test "S4: a signal that ends relay at rest is a reset for both ends" {
    holds killed_at_rest:SIGKILL killed_at_rest:SIGTERM
}

@test "S4: SIGKILL after a half-close is a reset for both ends, not the end of the answer" {
    holds killed_after_a_half_close
}

@test "S4: SIGKILL before there is a backend is a reset for the client" {
    holds killed_while_it_connects
}

@test "S4: a backend that refuses is a reset for the client" {
    holds refused_is_a_reset
}

@test "S4: wrong usage is a reset for the client" {
    holds wrong_usage_is_a_reset
}

# --- S5: when nothing can move, nothing runs ---

@test "S5: an idle connection costs no CPU time" {
    holds rests_when_idle
}

@test "S5: nor does one with both directions full" {
    holds rests_with_both_directions_full rests_with_both_directions_full:unix:unix \
        rests_with_both_directions_full:pipes
}

@test "S5: nor does one that the client has half-closed" {
    holds rests_when_half_closed:client rests_when_half_closed:client:unix:unix \
        rests_when_half_closed:client:pipes
}

@test "S5: nor does one that the backend has half-closed" {
    holds rests_when_half_closed:backend rests_when_half_closed:backend:unix:unix \
        rests_when_half_closed:backend:pipes
}

@test "S5: nor does one that both have half-closed and neither reads" {
    holds rests_when_half_closed_and_full rests_when_half_closed_and_full:unix:unix \
        rests_when_half_closed_and_full:pipes
}

@test "S5: nor does one whose client has hung up a UNIX socket or pipes while the backend is slow" {
    holds rests_when_its_client_has_hung_up rests_when_its_client_has_hung_up:unix:unix \
        rests_when_its_client_has_hung_up:pipes
}

@test "S5: nor does one whose client does not read its pipe any more" {
    holds rests_when_nobody_reads_a_pipe
}

@test "S5: nor does waiting for a connection to the backend" {
    holds rests_while_it_connects rests_while_it_connects:unix
}

# --- S6: when one side is gone, so is the other ---

@test "S6: a client's reset is passed on at once while the backend is stalled" {
    holds client_gone_while_the_backend_is_stalled
}

@test "S6: a backend's reset is passed on at once while the client is stalled" {
    holds backend_gone_while_the_client_is_stalled
}

@test "S6: so it is with both directions full" {
    holds gone_with_both_directions_full:client gone_with_both_directions_full:backend
}

@test "S6: a client that hangs up a UNIX socket or pipes while the backend thinks ends it all" {
    holds hung_up_client_ends_it:unix hung_up_client_ends_it:unix:unix hung_up_client_ends_it:pipes
}

@test "S6: a client that only does not read its pipe any more is cut off by the next byte for it" {
    holds reader_of_a_pipe_gone
}

@test "S6: a client's reset ends relay at once while it connects" {
    holds client_gone_while_relay_connects:full client_gone_while_relay_connects:full-unix
}

@test "S6: a client gone before relay starts is no failure, and not logged without -v" {
    holds client_gone_before_relay:quiet client_gone_before_relay:told
}

@test "S6: keepalive runs on both sockets" {
    holds dead_peers_are_asked_for:idle dead_peers_are_asked_for:busy
}

@test "S6 and S7: both sockets get keepalive of three minutes, and TCP_NODELAY" {
    holds options_are_set_on_both_sockets
}

# --- S7: small messages ---

@test "S7: a small message does not wait for the acknowledgement of another" {
    holds small_messages_are_not_held_back
}

# --- S8: descriptors ---

@test "S8: two pipes carry a connection" {
    holds any_descriptors:pipes
}

@test "S8: a pipe in and a socket out carry a connection" {
    holds any_descriptors:pipe-in
}

@test "S8: a socket in and a pipe out carry a connection" {
    holds any_descriptors:pipe-out
}

@test "S8: shared pipes that block stay so" {
    holds flags_of_shared_pipes_stay:blocking
}

@test "S8: shared pipes that do not block stay so" {
    holds flags_of_shared_pipes_stay:nonblocking
}

@test "S8: a full blocking pipe does not block the other direction" {
    holds full_pipe_does_not_block_the_other_direction
}

# --- S9: nothing but the backend's bytes reaches the client ---

@test "S9: an error goes to syslog where the client's socket is on descriptor 2" {
    private_syslog
    holds error_goes_elsewhere:inetd
    logged '^<27>relay\[[0-9]+\]: error msg="cannot connect: Connection refused.* backend=127\.0\.0\.1:'
}

@test "S9: an error goes to syslog where the client's pipe is on descriptor 2" {
    private_syslog
    holds error_goes_elsewhere:pipes-2
    logged '^<27>relay\[[0-9]+\]: error msg="cannot connect: Connection refused.* backend=127\.0\.0\.1:'
}

@test "S9: an error goes to syslog where the client's socket is on descriptor 2 behind filters" {
    private_syslog
    holds error_goes_elsewhere:pipes-socket
    logged '^<27>relay\[[0-9]+\]: error msg="cannot connect: Connection refused.* backend=127\.0\.0\.1:'
}

@test "S9: wrong usage goes to syslog where the client is on descriptor 2" {
    private_syslog
    holds wrong_usage_goes_elsewhere:inetd wrong_usage_goes_elsewhere:pipes-2
    logged '^<27>relay\[[0-9]+\]: error msg=.*--no-such-option' 2
}

@test "S9: the line of -v goes to syslog where the client is on descriptor 2" {
    private_syslog
    holds log_goes_elsewhere:inetd log_goes_elsewhere:pipes-2
    logged '^<30>relay\[[0-9]+\]: closed .* up=0 down=9 .* end=done$' 2
}

@test "a signal ends relay where its last line waits for a log that is stuck" {
    private_syslog      # where the line then goes
    holds stuck_log_holds_up_no_signal
}

@test "S9: in the journal an error has its level" {
    holds journal_gets_levels
}

# logged REGEX [COUNT]: that many lines (1) are in syslog, each of them such a one.
logged() {
    wait_for eval "[[ \$(wc -l <'$(log_file syslog)') -ge ${2:-1} ]]"
    run grep -c '' "$(log_file syslog)"
    assert_output "${2:-1}"
    run grep -Ec "$1" "$(log_file syslog)"
    assert_output "${2:-1}"
}

# --- S10: one clear line ---

@test "S10: an unknown option ends in one line that names it, and status 100" {
    holds bad_option_is_one_clear_line
}

# --- the options that speak of a connection's life ---

@test "--idle cuts a connection at its time: a reset for both ends, status 0" {
    holds idle_cuts
}

@test "--idle is put off by bytes that move, either way" {
    holds idle_is_put_off_by_moving_bytes
}

@test "--idle cuts half-closed and stalled connections, too" {
    holds idle_counts_a_half_closed_connection idle_counts_a_stalled_connection
}

@test "--timeout ends the wait for a TCP backend with a full accept queue" {
    holds timeout_of_a_connection:full
}

@test "--timeout ends the wait for a UNIX backend with a full accept queue" {
    holds timeout_of_a_connection:full-unix
}

@test "--timeout does not begin anew when a client hangs up" {
    holds timeout_of_a_connection:full:unix timeout_of_a_connection:full-unix:unix
}

@test "--verbose counts the bytes of each direction, and not the header" {
    holds counts_are_right:-1 counts_are_right:-2
}

@test "--verbose counts nothing where the header could not be sent" {
    holds counts_are_right_where_the_header_fails
}

@test "--bind sets the address that the backend sees" {
    holds binds_to_an_address
}

@test "a client over IPv4 reaches a backend over IPv6" {
    holds backend_of_another_family:tcp:tcp6
}

@test "a client over IPv6 reaches a backend over IPv4" {
    holds backend_of_another_family:tcp6:tcp
}
