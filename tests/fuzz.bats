#!/usr/bin/env bats
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# The fuzz targets, tests/fuzz: each with the seeds that are kept, among them headers of
# real programs, and then with what libFuzzer makes of them in 20 seconds. Every input
# must hold to the target's own reading of the specification and the manual page, and
# leave the sanitizers nothing to say. `make fuzz SECS=...` does the same for longer.

load helper

SECONDS_EACH=20

# Two targets at a time. What they find to be new is not kept.
setup_file() {
    export FUZZ_CORPUS=$BATS_FILE_TMPDIR/corpus
    cd "$ROOT" || return
    make -s -j2 tests/build/fuzz/{parse,tlv,options,environment,connection} || return
    start one sh tests/fuzz/run.sh "$SECONDS_EACH" connection parse tlv
    start two sh tests/fuzz/run.sh "$SECONDS_EACH" environment options
}

teardown_file() {
    stop_all
}

# replays TARGET: its seeds, one by one.
replays() {
    local seeds=("$ROOT/tests/fuzz/corpus/$1"/*)
    ((${#seeds[@]} > 5))
    run "$ROOT/tests/build/fuzz/$1" -artifact_prefix="$BATS_TEST_TMPDIR/" "${seeds[@]}"
    assert_success
    assert_equal "$(grep -c '^Executed .* in ' <<<"$output")" "${#seeds[@]}"
}

# holds TARGET: it has run for its time and found nothing.
holds() {
    local log=$BATS_FILE_TMPDIR/$2.log
    WAIT_SECONDS=150 wait_for grep "^$1: .* executions" "$log"
    run grep "^$1: " "$log"
    echo "# $output" >&3
    [[ $output == "$1: "*" executions, "* ]] || tail -n 100 "$log"
    assert_regex "$output" "^$1: [1-9][0-9]{2,} executions, [0-9]+ of [0-9]+ edges, $SECONDS_EACH s$"
}

@test "parse: the headers that real programs have sent are read as a second reader reads them" {
    replays parse
}

@test "tlv: TLVs that real programs have sent are walked and added as a model has them" {
    replays tlv
}

@test "options: the command lines of the documents are taken as a second reader takes them" {
    replays options
}

@test "environment: what real launchers set is read as a second reader reads it" {
    replays environment
}

@test "connection: what is promised holds for the connections that are kept" {
    replays connection
}

@test "parse: any bytes, cut anywhere, are read as a second reader reads them, and built again" {
    holds parse one
}

@test "tlv: any TLVs are walked and added as a model has them" {
    holds tlv one
}

@test "options: any command line is taken or refused as a second reader does" {
    holds options two
}

@test "environment: any environment names the client that a second reader finds, or none" {
    holds environment two
}

@test "connection: all bytes arrive, ends are ends and cuts are cuts, whatever the two sides do" {
    holds connection one
}
