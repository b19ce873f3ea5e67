#!/usr/bin/env bats
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# What is on the wire between relay and a backend, as tshark sees it: its PROXY
# protocol dissector names each header's fields, segment by segment.

load helper

setup() {
    need_root capturing
    port=$(free_port)
    local_port=$(free_port)
    backend_port=$(free_port)
    capture
}

teardown() { stop_all; }

# --- tshark ---

# What its dissector finds in a header, each under "proxy.".
readonly FIELDS=(v1.proto v2.version v2.cmd v2.addr_family v2.protocol v2.length
    src.ipv4 src.ipv6 srcport dst.ipv4 dst.ipv6 dstport
    v2.src.unix v2.dst.unix v2.tlv.type header.length_too_small)

# capture: all that the backend's port sends and receives; known as "tshark".
# "Capturing on" comes before the capture is open, "File:" after. The dissector
# is a heuristic one: it is asked first, lest another one claims the port.
capture() {
    local columns=() field
    for field in frame.number tcp.stream tcp.dstport tcp.flags.fin tcp.flags.reset \
        tcp.len tcp.payload _ws.col.Protocol tcp.time_relative "${FIELDS[@]/#/proxy.}"; do
        columns+=(-e "$field")
    done
    start tshark env TMPDIR="$BATS_TEST_TMPDIR" tshark -l -n -i lo -f "tcp port $backend_port" \
        -o tcp.try_heuristic_first:TRUE -T fields -E separator='|' "${columns[@]}"
    wait_log tshark 'Capturing on'
    wait_log tshark ' -- File: '
}

# segments N: those of connection N (1, 2, ...) that carry bytes, a line each:
# to whom (backend or relay), length, bytes in hex, and what the dissector says.
segments() {
    awk -F'|' -v stream=$(($1 - 1)) -v port="$backend_port" -v names="${FIELDS[*]}" '
        BEGIN { split(names, name, " ") }
        /^[0-9]+\|/ && $2 == stream && $6 > 0 {
            line = ($3 == port ? "backend " : "relay ") $6 " " $7 " " $8
            for (i = 10; i <= NF; i++)
                if ($i != "")
                    line = line " " name[i - 9] "=" $i
            print line
        }' "$(log_file tshark)"
}

# ended N: connection N is over: a FIN from both, or a reset.
ended() {
    awk -F'|' -v stream=$(($1 - 1)) '
        /^[0-9]+\|/ && $2 == stream && $4 ~ /1|True/ { fin[$3] = 1 }
        /^[0-9]+\|/ && $2 == stream && $5 ~ /1|True/ { reset = 1 }
        END { exit !(reset || length(fin) == 2) }' "$(log_file tshark)"
}

# prompt N: connection N's first bytes came within a second of its SYN.
prompt() {
    awk -F'|' -v stream=$(($1 - 1)) '
        /^[0-9]+\|/ && $2 == stream && $6 > 0 && !found { found = 1; seconds = $9 }
        END { print "first bytes after", seconds, "s"; exit !(found && seconds < 1) }' "$(log_file tshark)"
}

# has_segments N COUNT
has_segments() {
    [[ $(segments "$1" | wc -l) -ge $2 ]]
}

# assert_header N PROTOCOL FIELD=VALUE...: connection N's first bytes, whoever
# sends them, are this header, in a segment of its own; no other segment has one.
assert_header() {
    local number=$1 to len payload protocol fields lines
    shift
    mapfile -t lines < <(segments "$number")
    read -r to len payload protocol fields <<<"${lines[0]}"
    assert_equal "$to $protocol${fields:+ $fields}" "backend $*"
    if [[ $fields =~ v2\.length=([0-9]+) ]]; then
        assert_equal "$len" $((16 + BASH_REMATCH[1])) # as many as it says
    else
        assert_equal "$payload" "${payload%%0d0a*}0d0a" # one CR LF, at the end
    fi
    assert_equal "$(printf '%s\n' "${lines[@]}" | grep -c ' PROXYv')" 1
}

# assert_payload N SEGMENT TO TEXT: that segment (1, 2, ...) carries this text.
assert_payload() {
    local to len payload rest
    read -r to len payload rest < <(segments "$1" | sed -n "$2p")
    assert_equal "$to $payload" "$3 $(printf '%s' "$4" | hexdump_of -)"
}

# --- who the client is ---

# passes CLIENT SERVER RELAY-ARGUMENT...: one connection with "hello", or $text,
# over tcpserver and relay; returns when the capture has seen its end.
passes() {
    local client=$1 server=$2
    shift 2
    backend_record "[::]:$backend_port"
    LISTEN=${LISTEN:-$server} tcpserver_relay "$port" "$@"
    printf %s "${text-hello}" | ask "$port" "$local_port" "$client" "$server"
    wait_for ended 1
}

@test "v1 of an IPv4 client is TCP4 with its addresses and ports" {
    passes 127.0.0.2 127.0.0.1 -1 "127.0.0.1:$backend_port"
    assert_header 1 PROXYv1 v1.proto=TCP4 \
        src.ipv4=127.0.0.2 srcport="$local_port" dst.ipv4=127.0.0.1 dstport="$port"
    assert_payload 1 1 backend "PROXY TCP4 127.0.0.2 127.0.0.1 $local_port $port"$'\r\n'
    assert_payload 1 2 backend hello
}

@test "v1 of an IPv6 client is TCP6 with its addresses and ports" {
    passes ::1 ::1 -1 "[::1]:$backend_port"
    assert_header 1 PROXYv1 v1.proto=TCP6 \
        src.ipv6=::1 srcport="$local_port" dst.ipv6=::1 dstport="$port"
    assert_payload 1 1 backend "PROXY TCP6 ::1 ::1 $local_port $port"$'\r\n'
    assert_payload 1 2 backend hello
}

@test "v2 of an IPv4 client is PROXY, INET, STREAM with its addresses and ports" {
    passes 127.0.0.2 127.0.0.1 -2 "127.0.0.1:$backend_port"
    assert_header 1 PROXYv2 v2.version=2 v2.cmd=1 v2.addr_family=0x01 v2.protocol=0x01 v2.length=12 \
        src.ipv4=127.0.0.2 srcport="$local_port" dst.ipv4=127.0.0.1 dstport="$port"
    assert_payload 1 2 backend hello
}

@test "v2 of an IPv6 client is PROXY, INET6, STREAM with its addresses and ports" {
    passes ::1 ::1 -2 "[::1]:$backend_port"
    assert_header 1 PROXYv2 v2.version=2 v2.cmd=1 v2.addr_family=0x02 v2.protocol=0x01 v2.length=36 \
        src.ipv6=::1 srcport="$local_port" dst.ipv6=::1 dstport="$port"
    assert_payload 1 2 backend hello
}

@test "the header has the client's family, not the backend's" {
    passes 127.0.0.2 127.0.0.1 -2 "[::1]:$backend_port"
    stop tcpserver
    LISTEN=::1 tcpserver_relay "$port" -2 "127.0.0.1:$backend_port"
    ask "$port" "$local_port" ::1 ::1 </dev/null
    wait_for ended 2
    assert_header 1 PROXYv2 v2.version=2 v2.cmd=1 v2.addr_family=0x01 v2.protocol=0x01 v2.length=12 \
        src.ipv4=127.0.0.2 srcport="$local_port" dst.ipv4=127.0.0.1 dstport="$port"
    assert_header 2 PROXYv2 v2.version=2 v2.cmd=1 v2.addr_family=0x02 v2.protocol=0x01 v2.length=36 \
        src.ipv6=::1 srcport="$local_port" dst.ipv6=::1 dstport="$port"
}

@test "an IPv4 client of a socket for both families is IPv4" {
    LISTEN=:: passes 127.0.0.2 127.0.0.1 -1 "127.0.0.1:$backend_port"
    assert_header 1 PROXYv1 v1.proto=TCP4 \
        src.ipv4=127.0.0.2 srcport="$local_port" dst.ipv4=127.0.0.1 dstport="$port"
}

@test "a client of whom nothing is known is UNKNOWN in v1, PROXY and UNSPEC in v2" {
    backend_record "$backend_port"
    printf hello | "$RELAY" -1 "127.0.0.1:$backend_port"
    printf hello | "$RELAY" -2 "127.0.0.1:$backend_port"
    wait_for ended 1
    wait_for ended 2
    # tshark misses the addresses, which may be missing: PROXY spec 2.1.
    assert_header 1 PROXYv1
    assert_payload 1 1 backend $'PROXY UNKNOWN\r\n'
    assert_payload 1 2 backend hello
    assert_header 2 PROXYv2 v2.version=2 v2.cmd=1 v2.addr_family=0x00 v2.protocol=0x00 v2.length=0
    assert_payload 2 2 backend hello
}

# unix_name PATH: as v2 carries it, 108 bytes, the rest of them NUL.
unix_name() {
    local hex
    hex=$(printf '%s' "$1" | hexdump_of -)$(printf '0%.0s' {1..216})
    echo "${hex:0:216}"
}

@test "a client on a UNIX socket is UNKNOWN in v1, PROXY, UNIX, STREAM in v2" {
    local version
    backend_record "$backend_port"
    for version in 1 2; do
        start "ipcserver$version" s6-ipcserver "$BATS_TEST_TMPDIR/server$version" \
            "$RELAY" "-$version" "127.0.0.1:$backend_port"
        wait_socket "$BATS_TEST_TMPDIR/server$version"
        printf hello | socat -t 10 - "UNIX:$BATS_TEST_TMPDIR/server$version,bind=$BATS_TEST_TMPDIR/client$version"
        wait_for ended "$version"
    done
    assert_header 1 PROXYv1
    assert_payload 1 1 backend $'PROXY UNKNOWN\r\n'
    assert_payload 1 2 backend hello
    assert_header 2 PROXYv2 v2.version=2 v2.cmd=1 v2.addr_family=0x03 v2.protocol=0x01 v2.length=216 \
        v2.src.unix="$(unix_name "$BATS_TEST_TMPDIR/client2")" v2.dst.unix="$(unix_name "$BATS_TEST_TMPDIR/server2")"
    assert_payload 2 2 backend hello
}

# --- when it goes out ---

# silent_client NAME: says nothing, prints what it hears, and stays.
silent_client() {
    # shellcheck disable=SC2016 # for the inner shell
    start "$1" bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && cat <&3' bash "$port"
}

@test "the header is there, whole, before a byte of a client that waits for the server's" {
    local version
    backend_record "$backend_port" --say '220 hello'
    for version in 1 2; do
        tcpserver_relay "$port" "-$version" "127.0.0.1:$backend_port"
        silent_client "client$version"
        wait_log "client$version" '220 hello'
        wait_for has_segments "$version" 2
        assert_payload "$version" 2 relay '220 hello'
        prompt "$version"
        # That is all there is, and the connection lives.
        run segments "$version"
        assert_equal "${#lines[@]}" 2
        run ended "$version"
        assert_failure
        is_running "client$version"
        stop tcpserver
        stop "client$version"
    done
    assert_header 1 PROXYv1 v1.proto=TCP4 src.ipv4=127.0.0.1 "$(source_port 1)" dst.ipv4=127.0.0.1 dstport="$port"
    assert_header 2 PROXYv2 v2.version=2 v2.cmd=1 v2.addr_family=0x01 v2.protocol=0x01 v2.length=12 \
        src.ipv4=127.0.0.1 "$(source_port 2)" dst.ipv4=127.0.0.1 dstport="$port"
}

# source_port N: the one that connection N's header has, whatever it is.
source_port() {
    segments "$1" | grep -o 'srcport=[0-9]*'
}

# received BYTES: so many, and the end, wait in the server's socket for a reader.
received() {
    [[ $(ss -Htn "sport = :$port" | awk '{ print $2 }') == $(($1 + 1)) ]]
}

@test "the header shares no segment with bytes that waited before relay began" {
    local version from=() bytes=50000
    head -c "$bytes" /dev/zero >"$BATS_TEST_TMPDIR/bytes"
    backend_record "$backend_port"
    for version in 1 2; do
        # shellcheck disable=SC2016 # for the inner shell
        tcpserver_run "$port" sh -c 'until [ -e "$1" ]; do sleep 0.02; done; shift; exec "$@"' \
            sh "$BATS_TEST_TMPDIR/go" "$RELAY" "-$version" "127.0.0.1:$backend_port"
        from[version]=$(free_port)
        start "client$version" socat -t 30 - "TCP:127.0.0.1:$port,bind=127.0.0.2:${from[version]}" <"$BATS_TEST_TMPDIR/bytes"
        wait_for received "$bytes"
        touch "$BATS_TEST_TMPDIR/go"
        wait_for ended "$version"
        assert_equal "$(segments "$version" | awk 'NR > 1 { n += $2 } END { print n }')" "$bytes"
        rm "$BATS_TEST_TMPDIR/go"
        stop tcpserver
    done
    assert_header 1 PROXYv1 v1.proto=TCP4 src.ipv4=127.0.0.2 srcport="${from[1]}" dst.ipv4=127.0.0.1 dstport="$port"
    assert_header 2 PROXYv2 v2.version=2 v2.cmd=1 v2.addr_family=0x01 v2.protocol=0x01 v2.length=12 \
        src.ipv4=127.0.0.2 srcport="${from[2]}" dst.ipv4=127.0.0.1 dstport="$port"
}

@test "a client that says nothing at all leaves a whole header and an end" {
    text='' passes 127.0.0.2 127.0.0.1 -2 "127.0.0.1:$backend_port"
    assert_header 1 PROXYv2 v2.version=2 v2.cmd=1 v2.addr_family=0x01 v2.protocol=0x01 v2.length=12 \
        src.ipv4=127.0.0.2 srcport="$local_port" dst.ipv4=127.0.0.1 dstport="$port"
    run segments 1
    assert_equal "${#lines[@]}" 1
}

@test "each of 20 connections at once has one header, its own" {
    local i from source clients=()
    backend_record "$backend_port"
    tcpserver_relay "$port" -2 "127.0.0.1:$backend_port"
    for i in {1..20}; do
        from=$(free_port)
        echo "$from" | ask "$port" "$from" 127.0.0.2 &
        clients+=($!)
    done
    wait "${clients[@]}"
    for i in {1..20}; do
        wait_for ended "$i"
        source=$(source_port "$i")
        assert_header "$i" PROXYv2 v2.version=2 v2.cmd=1 v2.addr_family=0x01 v2.protocol=0x01 v2.length=12 \
            src.ipv4=127.0.0.2 "$source" dst.ipv4=127.0.0.1 dstport="$port"
        assert_payload "$i" 2 backend "${source#*=}"$'\n' # what this client said
    done
}

@test "a header that the client sends comes second" {
    backend_record "$backend_port"
    tcpserver_relay "$port" "127.0.0.1:$backend_port"
    printf 'PROXY TCP4 6.6.6.6 6.6.6.6 1 2\r\n' | ask "$port" "$local_port" 127.0.0.2
    wait_for ended 1
    run segments 1
    assert_equal "${#lines[@]}" 2
    assert_line --index 0 --regexp "^backend .* PROXYv1 .* src.ipv4=127\.0\.0\.2 srcport=$local_port "
    assert_line --index 1 --regexp '^backend .* PROXYv1 .* src.ipv4=6\.6\.6\.6 srcport=1 '
}

@test "with -0 there is no header" {
    passes 127.0.0.2 127.0.0.1 -0 "127.0.0.1:$backend_port"
    run segments 1
    assert_output "backend 5 68656c6c6f TCP"
}
