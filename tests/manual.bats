#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay.1 against relay: each of its EXAMPLES as it stands there, on a machine of its own
# where port 80 is free; the lines and the numbers that it shows; and, read out of relay.c,
# the variables, keys and exit statuses that it must name. build.bats has the options,
# balance.bats many clients of --balance=hash.
#
# shellcheck disable=SC2154 # set by helper, machine and connection
# shellcheck disable=SC2317 # functions for wait_for

load helper
load connection
load backend
load machine

PAGE=$ROOT/relay.1

setup_file() {
    [[ $(id -u) == 0 ]] || return 0
    connection_file
    machine page
    # What EXAMPLES begins with, and one that knows no header.
    # shellcheck disable=SC2016 # for nginx
    on page sh -ec 'mkdir -p /run/nginx/html && cd /run/nginx && echo hello >html/index.html
        sed "s|listen .::1.:8080 |listen unix:/run/backend.sock |
            \$i server { listen 127.0.0.1:8081; location = /client { return 200 \"\$remote_addr\\n\"; } }" \
            /run/relay/examples/nginx.conf >nginx.conf'
    start_on nginx nginx -p /run/nginx -c /run/nginx/nginx.conf -g 'daemon off;'
    wait_listening_on page 8080
    wait_listening_on page 8081
}

teardown_file() { stop_all; }

setup() { connection; }

teardown() {
    if declare -F machine_stop >/dev/null; then machine_stop; else stop_all; fi
}

# --- the page ---

# section NAME: its source.
section() {
    awk -v name="$1" '/^\.Sh / { inside = $0 == ".Sh " name } inside' "$PAGE"
}

# display SECTION WORD: the literal display there that has this word; as people see it.
# Fails where there is none, or several.
display() {
    section "$1" | awk -v word="$2" '
        /^\.Bd -literal/ { inside = 1; text = ""; next }
        /^\.Ed/ { inside = 0; if (index(text, word)) { found++; printf "%s", text } }
        inside { gsub(/\\e/, "\\"); text = text $0 "\n" }
        END { exit found != 1 }'
}

# items SECTION: the words that its lists explain, one a line.
items() {
    section "$1" | sed -nE 's/^\.It (Ev )?//p' | sed 's/ , /\n/g' | sort
}

# typed WORD: the example with this word.
typed() {
    display EXAMPLES "$1"
}

# --- the machine ---

start_on() {
    local enter
    door page
    start "$1" "${enter[@]}" "${@:2}"
}

# launches WORD: what the example with this word listens with.
launches() {
    need_machine
    start_on launcher sh -ec "$(typed "$1")"
    wait_listening_on page 80
}

need_machine() {
    need_root 'a machine of its own'
}

# page_of FROM [CURL-OPTION...]: what the backend tells a client that comes from there.
page_of() {
    outside curl -sS -m 10 --interface "$1" "${@:2}" http://192.0.2.1/client
}

# assert_known FROM: and that client it knows.
assert_known() {
    run page_of "$1"
    assert_output --regexp "^${1//./\\.}( [0-9]+)?\$"
}

# --- the command line ---

@test "options may follow the backends, but not --, and long ones may be cut short" {
    run "$RELAY" 127.0.0.1:1 --vers --verb
    assert_output --regexp '^relay [0-9]'
    run "$RELAY" 127.0.0.1:1 --ver
    assert_failure 100
    run --separate-stderr "$RELAY" 127.0.0.1:1 -- --version
    assert_failure 100
    # shellcheck disable=SC2154 # run sets it
    assert_regex "$stderr" 'no port: .* backend=--version$'
}

# --- EXAMPLES ---

@test "each of the examples is run here" {
    local word count=0
    while read -r word; do
        run typed "$word"
        assert_success
        count=$((count + 1))
    done < <(grep -oE "^ .*(launches|typed) ('[^']+'|[a-z-]+)" "$BATS_TEST_FILENAME" | sed -E "s/.*(launches|typed) //" | tr -d "'" | sort -u)
    assert_equal "$count" "$(section EXAMPLES | grep -c '^\.Bd')"
}

@test "the example to try it: systemd-socket-activate, and curl" {
    launches socket-activate
    run on page sh < <(typed curl)
    assert_line hello
    wait_log launcher 'relay: closed client=127.0.0.1:'
    assert_known 192.0.2.2
}

@test "the example with tcpserver: 1000 connections, a UNIX socket" {
    launches '-c 1000'
    assert_known 192.0.2.2
    wait_log launcher ' backend=/run/backend.sock '
}

@test "the example with a program between" {
    launches recordio
    assert_known 192.0.2.2
    wait_log launcher ' < GET /client HTTP/1.1'
}

@test "the example for inetd.conf" {
    need_machine
    typed nowait | on page tee /etc/inetd.conf
    start_on launcher inetd -i
    wait_listening_on page 80
    assert_known 192.0.2.2
}

@test "the example behind a proxy: its word counts, and nobody else's" {
    local claim
    launches '-a 192.0.2.2'
    claim='PROXY TCP4 203.0.113.7 198.51.100.2 51234 443\r\nGET /client HTTP/1.0\r\n\r\n'
    # shellcheck disable=SC2059 # a format of our own
    run outside socat -t 10 - TCP:192.0.2.1:80,bind=192.0.2.2 < <(printf "$claim")
    assert_line '203.0.113.7 51234'
    # shellcheck disable=SC2059
    run --separate-stderr outside socat -t 10 - TCP:192.0.2.1:80,bind=192.0.2.3 < <(printf "$claim")
    assert_output ''
    wait_log launcher 'refused: not in --accept-from" client=192.0.2.3:'
}

@test "the example with tcpclient" {
    launches tcpclient
    assert_known 192.0.2.2
}

@test "the example of --check, and what CHECK shows of it" {
    local shown
    need_machine
    shown=$(display CHECK 'ok backend' | tr '\n' ' ' | sed 's/ failed /\n&/' | sed 's/^ *//; s/ *$//')
    run on page sh < <(typed 'relay -n')
    assert_failure 111
    assert_equal "${output//connect_ms=[0-9]/connect_ms=0}" "$shown"
}

@test "the example without a header: the backend sees the client itself" {
    launches 'ip rule'
    assert_known 192.0.2.2
    run on page ip rule
    assert_output --partial 'from 127.0.0.1 ipproto tcp sport 8081 lookup 100'
    # Without the rule it would have been another way.
    on page ip rule del table 100
    run ! page_of 192.0.2.2 -m 1
}

@test "the example of systemd's units" {
    local example units=$BATS_FILE_TMPDIR/units
    need_machine
    load nspawn
    booted() { listening "$port"; }
    example=$(typed '[Socket]')
    mkdir -p "$units/sockets.target.wants" "$BATS_FILE_TMPDIR/files/usr/local/bin"
    cp "$RELAY" "$BATS_FILE_TMPDIR/files/usr/local/bin"
    ln -s /lib/systemd/system/sockets.target "$units/default.target"
    sed "/^\[Service\]/,\$d; s/=80\$/=$port/" <<<"$example" >"$units/relay.socket"
    sed "/^\[Service\]/,\$!d; s/:8080\$/:$backend/" <<<"$example" >"$units/relay@.service"
    ln -s ../relay.socket "$units/sockets.target.wants"
    record
    machine_boot
    connect
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port"
    wait_for eval "inside journalctl -q -o cat -u 'relay@*' | grep -F 'closed client=127.0.0.2:$from'"
}

# --- SEVERAL BACKENDS: the formula ---

# orders CLIENT... -- BACKEND...: in what order each client tries them, by the page's
# formula, whose lines are Python's too: "CLIENT SCORE BACKEND" lines. CLIENT -: unknown.
orders() {
    python3 - "$(display 'SEVERAL BACKENDS' 'for byte in key')" "$@" <<'PYTHON'
import ipaddress, sys
formula, *clients = sys.argv[1:]
backends = clients[clients.index("--") + 1:]

def score(client, backend):
    address = "::ffff:" + client if "." in client else client
    names = {"key": (b"" if client == "-" else ipaddress.ip_address(address).packed) + backend.encode()}
    for line in formula.splitlines():
        exec(line, names)
        names["h"] &= (1 << 64) - 1
    return names["score"]

for client in clients[:clients.index("--")]:
    for backend in sorted(backends, key=lambda backend: score(client, backend), reverse=True):
        print(client, f"{score(client, backend):#018x}", backend)
PYTHON
}

@test "hash tries backends in the order that the page's formula gives" {
    local backends client clients=(203.0.113.{7..12} ::ffff:cb00:710d 2001:db8::{7..12} -) expected tried
    mapfile -t backends < <(display 'SEVERAL BACKENDS' 10.0.0.6 | cut -d' ' -f2 | sort)
    assert_equal "${#backends[@]}" 3
    expected=$(orders "${clients[@]}" -- "${backends[@]}")
    assert_equal "$(sed -n 's/^203.0.113.7 //p' <<<"$expected")" "$(display 'SEVERAL BACKENDS' 10.0.0.6)"
    # None is there, so relay tells of each, in turn.
    private_network
    tried=$(for client in "${clients[@]}"; do
        inside env PROTO=TCP TCPREMOTEIP="${client#-}" "$RELAY" -l hash "${backends[@]}" </dev/null 2>&1 |
            sed -n "s/^relay: skipped .* backend=/$client /p"
    done)
    assert_equal "$tried" "$(cut -d' ' -f1,3 <<<"$expected")"
}

# --- DIAGNOSTICS ---

# shown WORD: the line there, which is broken to fit.
shown() {
    display DIAGNOSTICS "relay: $1" | tr '\n' ' ' | sed 's/ $//'
}

# says RELAY-ARGUMENT...: of the client and to the server that the page has.
says() {
    on page env PROTO=TCP TCPREMOTEIP=203.0.113.7 TCPREMOTEPORT=51234 TCPLOCALIP=198.51.100.2 TCPLOCALPORT=443 \
        relay "$@" </dev/null 2>&1
}

without_numbers() {
    sed 's/=[0-9.]* /= /g'
}

@test "the lines that DIAGNOSTICS shows are what relay says" {
    need_machine
    on page ip address add 10.0.0.5/32 dev lo
    run says 10.0.0.5:8443
    assert_failure 111
    assert_output "$(shown error)"
    run says 10.0.0.5:8443 127.0.0.1:8080
    assert_success
    assert_output "$(shown error | sed 's/: error /: skipped /')"
    run says -v 127.0.0.1:8080
    assert_equal "$(without_numbers <<<"$output")" "$(shown closed | without_numbers)"
}

# keys_of LINES-OF-relay.c: the keys of messages that they write.
keys_of() {
    grep -oE '(add_pair|add_address)\([^,]*, "[a-z_]+"|add\([^,]*, " [^"]*"' <<<"$1" |
        grep -oE '"[a-z_]+"| [a-z_]+=%' | tr -d ' "=%' | sort -u
}

@test "DIAGNOSTICS and CHECK explain each key, and no other" {
    local check rest
    check=$(sed -n '/^static void report_check/,/^}/p' "$ROOT/relay.c")
    rest=$(sed '/^static void report_check/,/^}/d' "$ROOT/relay.c")
    assert_regex "$(keys_of "$check")" '^address.*msg$'
    assert_regex "$(keys_of "$rest")" '^backend.*via$'
    assert_equal "$(items CHECK)" "$(keys_of "$check")"
    assert_equal "$(items DIAGNOSTICS)" "$(keys_of "$rest")"
}

@test "DIAGNOSTICS explains each word that end may be, and no other" {
    local ends
    ends=$(sed -n '/^static void report(/,/^}/p' "$ROOT/relay.c" | grep -m 1 '"not-yet"' | grep -oE '"[a-z-]+"' |
        tr -d '"' | grep -vx not-yet | sort)
    assert_regex "$ends" '^backend-reset.*signal$'
    assert_equal "$(section DIAGNOSTICS | sed -n '/^\.It end/,/^\.El/p' | sed -n 's/^\.Ql \([a-z-]*\).*/\1/p' | sort)" "$ends"
}

# --- ENVIRONMENT and EXIT STATUS ---

@test "ENVIRONMENT has each variable that relay reads, and no other" {
    local variables
    # Words of capitals that are in quotes, but for what answers and values are compared with;
    # four names begin with $PROTO.
    # shellcheck disable=SC2016 # for sed
    variables=$(grep -oE '"[A-Z][A-Z0-9_]{3,}"' "$ROOT/relay.c" | tr -d '"' | grep -vxE 'ERROR|SUCCESS' |
        sed -E 's/^(REMOTE|LOCAL)(IP|PORT)$/${PROTO}&/' | sort -u)
    assert_regex "$variables" 'JOURNAL_STREAM.*PROTO.*SSL_PROTOCOL'
    assert_equal "$(items ENVIRONMENT)" "$variables"
}

@test "relay.c, the page, the README and --help have the same exit statuses" {
    local statuses
    statuses="0 $(sed -n '/^enum { EXIT_REFUSED/p' "$ROOT/relay.c" | grep -oE '[0-9]+' | xargs)"
    assert_equal "$statuses" '0 1 100 111'
    assert_equal "$(items 'EXIT STATUS' | sort -n | xargs)" "$statuses"
    assert_equal "$(sed -nE '/^#+ Exit status/,/^#+ [^E]/s/^\| ([0-9]+) .*/\1/p' "$ROOT/README.md" | xargs)" "$statuses"
    assert_equal "$("$RELAY" --help | sed -n 's/^exit status: //p' | grep -oE '[0-9]+' | xargs)" "$statuses"
}

# --- how it looks ---

@test "man and mandoc show the page within 80 columns, and have nothing to say" {
    MANWIDTH=80 run --separate-stderr man --warnings -l "$PAGE"
    assert_equal "$stderr" ''
    refute_line --regexp '.{81}'
    assert_line 'SECURITY CONSIDERATIONS'
    run --separate-stderr col -bx < <(mandoc -Tutf8 -Owidth=80 "$PAGE")
    refute_line --regexp '.{81}'
    assert_line 'SECURITY CONSIDERATIONS'
}
