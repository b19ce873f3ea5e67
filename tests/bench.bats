#!/usr/bin/env bats
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# The benchmark works, and so does every peer that it measures relay beside. What
# it measures here means nothing: a few connections each.

load helper

setup_file() {
    export BENCH=$BATS_FILE_TMPDIR/bench RESULTS=$BATS_FILE_TMPDIR/results.tsv
    sh "$TESTS/bench/run.sh" --tiny --results="$RESULTS" >"$BENCH" 2>&1 && return
    cat "$BENCH" >&2
    return 1
}

teardown() { stop_all; }

# values MEASURE: for whom there is one, each once.
values() {
    awk -F '\t' -v measure="$1" '$1 == measure && !seen[$3]++ { print $3 }' "$RESULTS"
}

# checked PEER: what the check said.
checked() {
    sed -n "s/^# check $1: //p" "$RESULTS"
}

@test "every peer of the benchmark relays every byte, with the header that it is said to send" {
    local peer
    for peer in relay least 'built as static PIE' 'relay without splice' 'relay in tcpsvd' 'relay in inetd' HAProxy 'HAProxy, splice' 'nginx stream'; do
        assert_equal "$peer: $(checked "$peer")" "$peer: ok, sends a v1 header"
    done
    for peer in direct socat nc.openbsd ncat s6-ioconnect systemd-socket-proxyd redir; do
        assert_equal "$peer: $(checked "$peer")" "$peer: ok, sends no header"
    done
    if [[ $(id -u) == 0 ]]; then
        assert_equal "$(checked 'relay in systemd')" 'ok, sends a v1 header'
    fi
}

@test "every peer of the benchmark is measured, and none fails" {
    local measure peers
    peers=$(sed -n 's/^# check \(.*\): ok.*/\1/p' "$RESULTS" | grep -v '^floor' | sort)
    for measure in rtt_p50 memory_after; do
        assert_equal "$(values "$measure" | sort)" "$(grep -Ev '^(built|least|relay without)' <<<"$peers")"
    done
    assert_equal "$(values stream | sort)" "$(grep -Ev '^(built|least)' <<<"$peers")"
    assert_equal "$(values stream_cpu | sort)" "$(grep -Ev '^(built|least|direct$)' <<<"$peers")"
    assert_equal "$(values setup_p50 | sort)" "$(grep -v '^relay without' <<<"floor"$'\n'"$peers" | sort)"
    if ! grep -q '^# profile: skipped' "$RESULTS"; then
        assert_equal "$(values profile | sort)" $'built without sandbox\nfloor\nleast\nrelay'
    fi
    run grep -e FAILED -e '^# failed' "$BENCH" "$RESULTS"
    assert_output ''
}

@test "the benchmark's backend tells a header from none, and a right address from a wrong one" {
    local port forger
    port=$(free_port) forger=$(free_port)
    start backend "$TESTS/build/bench/load" backend "$port"
    wait_listening "$port"
    # It sends a header, with somebody else's address.
    tcpserver_run "$forger" env -i PROTO=TCP TCPREMOTEIP=127.0.0.9 TCPREMOTEPORT=99 TCPLOCALIP=127.0.0.1 TCPLOCALPORT=2 \
        sh -c "cat | $RELAY 127.0.0.1:$port"
    run "$TESTS/build/bench/load" check "$port" 1 4096
    assert_failure 1
    assert_output 'load: the backend got header 0, not 1'
    run "$TESTS/build/bench/load" check "$forger" 0 4096
    assert_failure 1
    assert_output 'load: the backend got header 1, not 0'
    run "$TESTS/build/bench/load" check "$forger" 1 4096
    assert_failure 1
    assert_regex "$output" '^load: the header names 127\.0\.0\.9 99, not 127\.0\.0\.1 [0-9]+$'
}

@test "the benchmark's results become pictures" {
    local picture
    sh "$TESTS/bench/plot.sh" "$RESULTS" "$BATS_TEST_TMPDIR"
    for picture in setup throughput memory growth; do
        grep -q '</svg>' "$BATS_TEST_TMPDIR/$picture.svg"
        grep -q relay "$BATS_TEST_TMPDIR/$picture.svg"
    done
}
