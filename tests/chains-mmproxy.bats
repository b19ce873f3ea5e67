#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# examples/chains/go-mmproxy: what its README says, typed on a machine of its own,
# with real routes, and clients that come over a network.
#
# shellcheck disable=SC2154 # set by server_for and door

load helper
load backend
load machine

README=$BATS_TEST_DIRNAME/../examples/chains/go-mmproxy/README.md

setup_file() {
    [[ $(id -u) == 0 ]] || return 0
    machine host "$TESTS/build/go-mmproxy" "$TESTS/build/openssh-server" "$TESTS/build/ucspi-tcp-ipv6"
    ssh-keygen -q -t ed25519 -N '' -f "$BATS_FILE_TMPDIR/key"
    ssh_packages | on host sh -es "$(<"$BATS_FILE_TMPDIR/key.pub")"
    machine_runs host chains/go-mmproxy/README.md
    wait_ready 2222
}

teardown_file() { stop_all; }

setup() {
    need_root 'a machine of its own'
    from=$(free_port)
}

teardown() { stop_all; }

# What the packages' own installation would do, and a user who has this key.
ssh_packages() {
    cat <<'END'
getent passwd sshd >/dev/null || useradd --system --no-create-home --home-dir /run/sshd sshd
mkdir /run/sshd
cp /usr/share/openssh/sshd_config /etc/ssh
ssh-keygen -q -A
useradd --create-home --password '*' user
mkdir ~user/.ssh
echo "$1" >~user/.ssh/authorized_keys
END
}

# wait_ready PORT: for the launcher there, and all behind it.
wait_ready() {
    wait_listening_on host "$1"
    wait_listening_on host 2022 127.0.0.1
    wait_listening_on host 10022 127.0.0.1
    wait_listening_on host 10022 ::1
}

# the_readmes_client CLIENT-ADDRESS [PORT]: as README says.
the_readmes_client() {
    local options="-F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    readme_commands "$README" 2 | sed "s|^ssh -p 2222 user@host\.example\.org |outside ssh $options -o LogLevel=ERROR \
        -i $BATS_FILE_TMPDIR/key -b $1 -p ${2:-2222} user@$to |" >"$BATS_TEST_TMPDIR/commands"
    # shellcheck source=/dev/null
    . "$BATS_TEST_TMPDIR/commands"
}

# logged TEXT: until one of the programs has said so.
logged() {
    wait_for grep -F -e "$1" "$BATS_FILE_TMPDIR/commands.log"
}

# not_believed: sshd has had no connection from this address.
not_believed() {
    run grep -F 'from 203.0.113.6' "$BATS_FILE_TMPDIR/commands.log"
    assert_output ''
}

# --- the chain ---

# knows CLIENT-ADDRESS [PORT]: what the user's session and sshd's log say.
knows() {
    local client=$1 port loopback=127.0.0.1
    server_for "$client"
    [[ $client != *:* ]] || loopback=::1
    run the_readmes_client "$@"
    assert_success
    assert_output --regexp "^$client [0-9]+ $loopback 10022$"
    port=$(cut -d' ' -f2 <<<"$output")
    logged "Connection from $client port $port on $loopback port 10022 rdomain \"\""
    logged "Accepted publickey for user from $client port $port ssh2: "
    [[ -n ${2:-} ]] || logged \
        "relay: closed client=$(bracket "$client"):$port server=$(bracket "$to"):2222 backend=127.0.0.1:2022 "
}

@test "sshd and its session know an IPv4 client" {
    knows 192.0.2.2
}

@test "sshd and its session know an IPv6 client" {
    knows 2001:db8::2
}

@test "sshd knows its clients from a version 2 header, too" {
    local enter
    door host
    start v2 "${enter[@]}" tcpserver -H -R -l0 0 2600 relay -2 127.0.0.1:2022
    wait_ready 2600
    knows 192.0.2.3 2600
    knows 2001:db8::3 2600
}

@test "sshd greets a client that says nothing, from a port below 1024" {
    run outside socat -u TCP:192.0.2.1:2222,bind=192.0.2.2:700,readbytes=8 -
    assert_output SSH-2.0-
    logged 'Connection from 192.0.2.2 port 700 on 127.0.0.1 port 10022'
}

@test "a header that a client sends is not believed" {
    printf 'PROXY TCP4 203.0.113.6 203.0.113.6 6666 22\r\n' |
        outside socat -t 30 - "TCP:192.0.2.1:2222,bind=192.0.2.3:$from"
    logged "Connection from 192.0.2.3 port $from on 127.0.0.1 port 10022"
    not_believed
}

@test "a header from another address than relay's is not believed" {
    run on host socat -t 30 - "TCP:127.0.0.1:2022,bind=127.0.0.3:$from" \
        < <(printf 'PROXY TCP4 203.0.113.6 203.0.113.6 6666 22\r\n')
    assert_output ''
    wait_for grep "\"connection origin not in allowed subnets\".*127\.0\.0\.3:$from\"" "$BATS_FILE_TMPDIR/commands.log"
    not_believed
    local client port
    for client in 192.0.2.3 2001:db8::3; do
        server_for "$client"
        for port in 2022 10022; do
            run outside socat -u "TCP:$(bracket "$to"):$port" -
            assert_output --partial 'Connection refused'
        done
    done
}

@test "go-mmproxy hangs up on a connection without a header" {
    run on host socat -t 30 - "TCP:127.0.0.1:2022,bind=127.0.0.1:$from" < <(printf 'SSH-2.0-client\r\n')
    assert_output ''
    wait_for grep "\"failed to parse PROXY header\".*127\.0\.0\.1:$from\".*\"PROXY header missing\"" \
        "$BATS_FILE_TMPDIR/commands.log"
}

@test "a client of whom nothing is known is go-mmproxy itself" {
    run on host socat -t 30 -,ignoreeof TCP:127.0.0.1:2022,readbytes=8 < <(printf 'PROXY UNKNOWN\r\n')
    assert_output SSH-2.0-
    logged 'Connection from 127.0.0.1 port '
}

@test "a client on the machine itself gets nothing" {
    run on host socat -u "TCP:192.0.2.1:2222,bind=192.0.2.1:$from" -
    assert_output ''
    logged "dial tcp 192.0.2.1:$from->127.0.0.1:10022: bind: address already in use"
}

@test "what is sent after a half-close is lost in go-mmproxy" {
    local enter
    door host
    # A backend that answers when its client has ended.
    start late "${enter[@]}" socat TCP-LISTEN:10023,bind=127.0.0.1,reuseaddr,fork SYSTEM:'cat >/dev/null; echo late'
    start mmproxy "${enter[@]}" go-mmproxy -l 127.0.0.1:2023 -4 127.0.0.1:10023
    wait_listening_on host 10023
    wait_listening_on host 2023
    run on host socat -t 30 - TCP:127.0.0.1:10023 </dev/null
    assert_output late
    run on host socat -t 30 - TCP:127.0.0.1:2023 < <(printf 'PROXY TCP4 192.0.2.2 192.0.2.1 6666 22\r\n')
    assert_output ''
}

# --- the routes ---

routes() {
    on host sh /run/relay/examples/chains/go-mmproxy/routes.sh "$1"
}

table() {
    local family
    for family in -4 -6; do
        on host ip "$family" rule show priority 123
        on host ip "$family" route show table 123 2>/dev/null || true # none of them: no such table
    done
}

@test "without the routes go-mmproxy reaches nobody, and a client waits" {
    local client clients=()
    routes down
    run table
    assert_output ''
    for client in 192.0.2.3 2001:db8::3; do
        server_for "$client"
        outside socat -u "TCP:$(bracket "$to"):2222,bind=$(bracket "$client"):$from" - &
        clients+=($!)
    done
    WAIT_SECONDS=30 logged "dial tcp 192.0.2.3:$from->127.0.0.1:10022: connect: connection timed out"
    WAIT_SECONDS=30 logged "dial tcp [2001:db8::3]:$from->[::1]:10022: connect: connection timed out"
    wait "${clients[@]}"
    # Where they are there twice, they are there once.
    routes up
    run ! routes up
    run table
    assert_line --regexp '^123:.*from 127\.0\.0\.0/8 iif lo lookup 123'
    assert_line --regexp '^123:.*from ::1 iif lo lookup 123'
    assert_equal "${#lines[@]}" 4
    knows 192.0.2.3
    knows 2001:db8::3
}

@test "the routes do without a sysctl" {
    local value
    for value in 1 2; do
        # shellcheck disable=SC2016 # for the inner shell
        on host sh -c 'for name in all default lo eth0; do sysctl -qw net.ipv4.conf.$name.rp_filter=$1; done' sh "$value"
        knows 192.0.2.2
    done
    run on host sysctl -n net.ipv4.conf.all.route_localnet net.ipv4.conf.lo.route_localnet
    assert_output $'0\n0'
}
