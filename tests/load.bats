#!/usr/bin/env bats
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay under load: thousands of connections, and clients that mean no good. Each test
# runs a scenario of tests/load.py in a network of its own, with the examples' ports.
# Here the numbers are such as a test has time for; `make load` has them in full, in
# some minutes. systemd's limits are in systemd.bats.
#
# shellcheck disable=SC2154 # set by helper, for connection

load helper
load connection
load readme

# A package that conflicts with openbsd-inetd: tests/run.sh unpacks it.
XINETD=$TESTS/build/xinetd/usr/sbin/xinetd

setup_file() { connection_file; }

# Without the system's log, to which a launcher would open a descriptor of its own, or not,
# as other tests come and go.
setup() { private_network && private_dev; }

teardown() { stop_all; }

# size SMALL FULL: the one of this run.
size() {
    if [[ ${LOAD_FULL:-} ]]; then echo "$2"; else echo "$1"; fi
}

# listen NAME PORT [TCPSERVER-OPTION...] -- RELAY-ARGUMENT...: relay under tcpserver
# there.
listen() {
    local name=$1 port=$2 options=()
    shift 2
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    start_inside "$name" tcpserver -H -R -l0 "${options[@]}" 127.0.0.1 "$port" "$BATS_FILE_TMPDIR/relay" "${@:2}"
    wait_listening_inside "$port"
}

wait_listening_inside() {
    wait_for inside sh -c "ss -Hltn 'sport = :$1' | grep ."
}

# holds SCENARIO LAUNCHER [NAME=VALUE...]: it does, under this launcher, of which
# nothing is left then. What it prints are the test's comments.
holds() {
    start_inside load python3 "$TESTS/load.py" "$1" launcher="$(pid_of "$2")" "${@:3}"
    comment load
    exit_status load || return
    wait_for alone "$2"
}

# silent NAME: neither it nor relay has said anything.
silent() {
    run cat "$(log_file "$1")"
    assert_output ''
}

# no_errors NAME: its relays have told of none.
no_errors() {
    run ! grep 'relay: error' "$(log_file "$1")"
}

# --- many ---

@test "5000 connections at once lose no byte while others come and go, and leave nothing" {
    listen tcpserver 80 -c 6000 -b 1024 -- 127.0.0.1:8080
    holds hold tcpserver count=5000
    silent tcpserver
}

@test "thousands of connections, one after another, leave the launcher as it was: the client closes first" {
    listen tcpserver 80 -- 127.0.0.1:8080
    holds sequence tcpserver count="$(size 5000 100000)" first=client
    silent tcpserver
}

@test "thousands of connections, one after another, leave the launcher as it was: the backend closes first" {
    listen tcpserver 80 -- 127.0.0.1:8080
    holds sequence tcpserver count="$(size 5000 100000)" first=backend
    silent tcpserver
}

# As musl and glibc say it.
NO_PORT='(Address not available|Cannot assign requested address): is there an address, and a free port, to connect from\?'

@test "where the local ports to a backend run out, relay says so, and each remedy is one" {
    local number
    for number in 1 2 3; do
        inside ip address add "192.0.2.$number/24" dev lo
    done
    listen tcpserver 80 -- 192.0.2.1:8080
    listen bound 81 -- -b 192.0.2.3 192.0.2.1:8080
    listen several 82 -- 192.0.2.1:8080 192.0.2.2:8080
    listen unix 83 -- "$BATS_TEST_TMPDIR/backend.sock"
    listen loopback 84 -- 127.0.0.1:8080
    holds ports_run_out tcpserver path="$BATS_TEST_TMPDIR/backend.sock"
    silent bound
    silent unix
    assert_regex "$(said several)" "$(quoted 'is there an address, and a free port')"
    assert_regex "$(said several)" "^skipped msg=\"cannot connect: $NO_PORT\" .* backend=192\.0\.2\.1:8080\$"
    run said tcpserver
    assert_line --regexp "^error msg=\"cannot connect: $NO_PORT\" client=127\.0\.0\.1:20065 server=127\.0\.0\.1:80 backend=192\.0\.2\.1:8080\$"
    run ! grep -vE "$NO_PORT" "$(log_file tcpserver)"
}

@test "200 bulk transfers at once, both ways, of a user whose room for pipes is too small for all" {
    listen tcpserver 80 -c 200 -u "$(id -u nobody)" -g "$(id -g nobody)" -- 127.0.0.1:8080
    holds bulk tcpserver count=200 size="$(size 4 32)"
    silent tcpserver
}

# --- clients that drip their header ---

@test "clients that drip their header are ended at --timeout, and others are served meanwhile" {
    listen tcpserver 80 -c 300 -b 300 -- -a any -t 3 127.0.0.1:8080
    holds slowloris tcpserver count=200 slots=300 timeout=3
    assert_dripped 200
}

@test "where such clients take all that the launcher has, others wait until --timeout has ended those before them" {
    listen tcpserver 80 -c 50 -b 300 -- -a any -t 3 127.0.0.1:8080
    holds slowloris tcpserver count=100 slots=50 timeout=3
    assert_dripped 100
}

# assert_dripped COUNT: of so many, and of nobody else, relay has said why.
assert_dripped() {
    assert_equal "$(said tcpserver | sed 's/ client=.*//' | sort | uniq -c | xargs -d '\n')" \
        "$(printf '%7d error msg="refused: no whole PROXY header within 3 s"' "$1")"
}

# --- floods: ten times what the launcher is to let in ---

# floods LAUNCHER [NAME=VALUE...]: that of its example.
floods() {
    local limit
    limit=$(size 100 1000)
    start_inside "$1" sh "$(example "$1.sh" "s/-c 1000/-c $limit/")"
    wait_listening_inside 80
    listen neighbour 81 -- 127.0.0.1:8080
    holds flood "$1" limit="$limit" count="${limit}0" over=wait other_port=81 "${@:2}"
    no_errors "$1"
    silent neighbour
}

@test "tcpserver: a flood gets no more than -c processes, other ports are served, and then everybody" {
    floods tcpserver
}

@test "tcpsvd: a flood gets no more than -c processes, other ports are served, and then everybody" {
    floods tcpsvd addresses=250
}

@test "tcpsvd: a flood from one address gets no more than the example's -C processes, and others are served" {
    start_inside tcpsvd sh "$(example tcpsvd.sh)"
    wait_listening_inside 80
    holds flood tcpsvd limit=50 count=500 over=closed other_address=127.0.0.2 others=1
    no_errors tcpsvd
}

@test "xinetd: a flood from one address gets no more than the example's per_source processes, and others are served" {
    start_inside xinetd "$XINETD" -dontfork -f "$(example xinetd.conf)" -pidfile "$BATS_TEST_TMPDIR/xinetd.pidfile"
    wait_listening_inside 80
    holds flood xinetd limit=50 count=500 over=closed other_address=127.0.0.2 others=1
}

@test "openbsd-inetd: a flood gets no more than nowait's number, and other ports are served" {
    # Below port 1024 inetd would close the port: see superservers.bats.
    start_inside inetd inetd -i "$(example inetd.conf "s/^80\>/8081/; s/^443\>/81/; s/ -2 / /; s/:8443/:8080/
        s/nowait\.60000\(.*\)$/nowait.51\1/; s/^\(81\>.*nowait\.\)51/\160000/")"
    wait_listening_inside 8081
    wait_listening_inside 81
    holds flood inetd port=8081 limit=50 count=500 over=closed other_port=81 others=1 after="$(size 0 70)"
}
