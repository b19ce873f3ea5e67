# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# One question and its answer through a launcher: clients, and what is expected
# at the backend, at the client, and where messages go. Loaded after helper; a
# suite calls connection_file in its setup_file, and connection in its setup.
#
# shellcheck disable=SC2154 # set by connection, for the suite and the functions below
# shellcheck disable=SC2317 # functions for wait_for

QUESTION='from the client'
ANSWER='from the backend'

# connection_file: a copy of relay where the examples' user nobody can reach it.
connection_file() {
    chmod 711 "$BATS_RUN_TMPDIR"
    install -m 755 "$RELAY" "$BATS_FILE_TMPDIR/relay"
}

# connection: ports of a test's own. $port is the launcher's, $from the client's.
connection() {
    port=$(free_port)
    backend=$(free_port)
    from=$(free_port)
    answer=$(work_dir)/answer
}

# example FILE [SED-SCRIPT]: the path of a copy of that file in examples/, with
# relay where it is, and changed as told.
example() {
    local copy
    copy=$(work_dir)/$(basename "$1")
    sed -e "s|/usr/local/bin/relay|$BATS_FILE_TMPDIR/relay|; ${2:-}" "$ROOT/examples/$1" >"$copy"
    echo "$copy"
}

# record: the backend; it answers as soon as the first segment is there.
record() {
    backend_record "$backend" --say "$ANSWER"
}

# record_anew: another one, with nothing recorded yet.
record_anew() {
    stop backend
    rm -r "$BATS_TEST_TMPDIR/backend"
    record
}

# --- clients: each sends the question, half-closes, and keeps what comes ---

# connect [FROM [TO]]: over TCP, from that address and the port $from.
connect() {
    printf %s "$QUESTION" | ask "$port" "$from" "${1:-127.0.0.2}" "${2:-127.0.0.1}" >"$answer"
}

# connect_tls [FROM [TO]]: the same over TLS, whatever the certificate.
connect_tls() {
    printf %s "$QUESTION" | ask_tls "$port" "$from" "${1:-127.0.0.2}" "${2:-127.0.0.1}" >"$answer"
}

# connect_waiting ASK [FROM [TO]]: half-closes only when something has come. ASK: ask,
# or ask_tls.
connect_waiting() {
    answered() { [[ -s $answer ]]; }
    : >"$answer"
    { printf %s "$QUESTION" && wait_for answered; } |
        "$1" "$port" "$from" "${2:-127.0.0.2}" "${3:-127.0.0.1}" >"$answer"
}

# ask_tls PORT FROM-PORT FROM-ADDRESS TO-ADDRESS: ask over TLS.
ask_tls() {
    socat -t 30 - "OPENSSL:$(bracket "$4"):$1,bind=$(bracket "$3"):$2,verify=0"
}

# connect_unix PATH [SOCAT-OPTION]
connect_unix() {
    printf %s "$QUESTION" | socat -t 30 - "UNIX-CONNECT:$1${2:+,$2}" >"$answer"
}

# leave HOW TIMES: clients that are gone as soon as they are connected; HOW is
# close, or reset.
leave() {
    python3 - "$port" "$1" "$2" <<'PYTHON'
import socket, struct, sys
port, how, times = sys.argv[1:]
for i in range(int(times)):
    client = socket.create_connection(("127.0.0.1", int(port)), 10)
    if how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
PYTHON
}

# crowd COUNT [FROM [ONE-MORE...]]: so many clients that stay, from one address
# (127.0.0.2), and one more from each of these. Prints how many of the crowd got
# their answer; of each of the others "answered", "closed", "refused", or, after
# a second, "waits"; and what the first that waits got when one of the crowd has
# left. $CONNECT may be a UNIX socket's path: addresses do not count then.
crowd() {
    python3 - "${CONNECT:-$port}" "$@" <<'PYTHON'
import socket, sys
to, count, addresses = sys.argv[1], int(sys.argv[2]), sys.argv[3:] or ["127.0.0.2"]

def call(address):
    if to.startswith("/"):
        client = socket.socket(socket.AF_UNIX)
        client.connect(to)
    else:
        host = "::1" if ":" in address else "127.0.0.1"
        client = socket.create_connection((host, int(to)), 10, (address, 0))
    return client

def outcome(client, patience):
    client.settimeout(patience)
    try:
        return "answered" if client.recv(100) else "closed"
    except TimeoutError:
        return "waits"
    except ConnectionResetError:
        return "closed"

clients = [call(addresses[0]) for _ in range(count)]
print([outcome(client, 10) for client in clients].count("answered"))
waiting = []
for address in addresses[1:]:
    try:
        client = call(address)
    except ConnectionRefusedError:
        print("refused")
        continue
    print(end := outcome(client, 1))
    waiting += [client] * (end == "waits")
clients.pop(0).close()
for client in waiting[:1]:
    client.settimeout(10)
    print("then", "answered" if client.recv(100) else "closed")
PYTHON
}

# --- what is expected ---

# no_connection: the backend has none, either.
no_connection() {
    [[ -z $(ss -Htn "dport = :$backend") ]]
}

# alone NAME: nothing of what it has started is left: no process of its
# session or with its environment, no zombie of its own. With wait_for.
alone() {
    no_child "$1" && [[ $(left_of "$1") == "$(pid_of "$1")" ]]
}

assert_answered() {
    assert_equal "$(cat -A "$answer")" "$ANSWER"
}

# assert_nothing_sent: not one byte has reached the client.
assert_nothing_sent() {
    assert_equal "$(cat -A "$answer")" ""
}

# assert_relayed HEX: the first segment at the backend begins with this whole
# header; then came the question; and the client got the answer, nothing else.
assert_relayed() {
    local first all
    first=$(first_segment)
    all=$(all_bytes)
    assert_equal "$(hexdump_of "$first" | head -c "${#1}")" "$1"
    assert_equal "$(hexdump_of "$all")" "$1$(hex_text "$QUESTION")"
    assert_answered
}

# assert_relayed_v1 LINE: with this version 1 header.
assert_relayed_v1() {
    assert_equal "$(head -n 1 "$(first_segment)" | cat -A)" "$1^M\$"
    assert_relayed "$(hex_text "$1")0d0a"
}

# assert_relayed_v2 HEX: with this version 2 header, given from its 14th byte on:
# after the signature, and the 0x21 that means PROXY.
assert_relayed_v2() {
    assert_relayed "0d0a0d0a000d0a515549540a21$1"
}

hex_text() {
    printf %s "$1" | hexdump_of /dev/stdin
}

# unhex HEX: those bytes.
unhex() {
    local i
    for ((i = 0; i < ${#1}; i += 2)); do
        # shellcheck disable=SC2059 # it has an escape
        printf "\\x${1:i:2}"
    done
}

# hex_tcp4 ADDRESS PORT ADDRESS PORT: family and transport, length, addresses.
hex_tcp4() {
    local source destination
    IFS=. read -ra source <<<"$1"
    IFS=. read -ra destination <<<"$3"
    printf 11000c
    printf %02x "${source[@]}" "${destination[@]}"
    printf %04x "$2" "$4"
}

# hex_loopback6 PORT PORT: the same for two addresses that are ::1.
hex_loopback6() {
    local loopback=00000000000000000000000000000001
    echo "210024$loopback$loopback$(printf %04x "$1" "$2")"
}

# hex_unix SOURCE DESTINATION: two paths, each padded to 108 bytes.
hex_unix() {
    local path
    printf 3100d8
    for path; do
        path=$(hex_text "$path")
        printf %s%0*d "$path" "$((216 - ${#path}))" 0
    done
}

# said NAME [FILE]: what relay has written to NAME's stderr, or to that file,
# without its own name and what the launcher puts before it.
said() {
    sed -nE 's/^([-0-9]+ [0-9:.]+  )?relay: //p' "${2:-$(log_file "$1")}" | without_times
}

# said_to_syslog TEXT: the messages in syslog that contain TEXT, waits for one;
# there relay's name comes with its process id.
said_to_syslog() {
    wait_log syslog "$1" && grep -F -e "$1" "$(log_file syslog)" |
        sed -nE 's/^<[0-9]+>relay\[[0-9]+\]: //p' |
        without_times
}

without_times() {
    sed -E 's/ seconds=[0-9]+\.[0-9]{3} / seconds=S /'
}

# closed_line CLIENT SERVER: what -v says of a connection that went well.
closed_line() {
    echo "closed client=$1 server=$2 backend=127.0.0.1:$backend" \
        "up=${#QUESTION} down=${#ANSWER} seconds=S end=done"
}

# assert_refused_line LINE CLIENT: what relay says of a backend that refuses.
assert_refused_line() {
    assert_regex "$1" "^error msg=\"[^\"]*refused[^\"]*\" "
    assert_regex "$1 " " client=$2 "
    assert_regex "$1 " " backend=127\.0\.0\.1:$backend "
}
