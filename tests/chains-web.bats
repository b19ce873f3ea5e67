#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# The chains of HTTP programs in examples/chains: what each README tells people to
# type is run, in a copy in which only ports are replaced, and shows what it says.
# Not as root, though: so without what gives root up.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2154 # set by launch

load helper
load backend

CHAINS=(x-forwarded-for cache layers)

export no_proxy='*' # for curl

# One of each for all tests, in a copy of examples/ of its own.
setup_file() {
    local chain
    mkdir "$BATS_FILE_TMPDIR/bin" && install "$RELAY" "$TCPSERVER6" "$BATS_FILE_TMPDIR/bin"
    for chain in "${CHAINS[@]}"; do
        copy_chain "$chain"
        cd "$(chain_dir "$chain")" || return
        start "$chain" env PATH="$BATS_FILE_TMPDIR/bin:$PATH" "${as_user[@]}" \
            sh -c "$(readme_commands README.md | grep -v '^curl \|^tail ')
                wait"
    done
    for chain in "${CHAINS[@]}"; do
        wait_chain "$chain"
    done
}

teardown_file() { stop_all; }

teardown() { stop_all; }

# --- the chains ---

chain_dir() {
    echo "$BATS_FILE_TMPDIR/$1/chains/$1"
}

# copy_chain NAME: with ports of its own for 80, 8000 ...: port_of NAME-80; for one user.
copy_chain() {
    local ports=(8000 8080 8081) port script=''
    choose_ports "$1-80" "${ports[@]/#/$1-}"
    for port in "${ports[@]}"; do
        script+="s/\b$port\b/$(port_of "$1-$port")/g; "
    done
    port=$(port_of "$1-80")
    script+="s/ 0 80 / 0 $port /; s|\(http://[^/]*\)/|\1:$port/|g; "
    script+='s/ -u "[^"]*" -g "[^"]*" 0 / 0 /; /^    user haproxy$/d; /^    group haproxy$/d'
    cp -R "$ROOT/examples/." "$(user_dir "$1")"
    # Without what somebody who has tried it there has left.
    find "$(chain_dir "$1")" -mindepth 1 ! -name README.md ! -name '*.c*' ! -name '*.py' -delete
    find "$BATS_FILE_TMPDIR/$1" -type f -exec sed -i "$script" {} +
    [[ $(id -u) != 0 ]] || chown -R nobody:nogroup "$BATS_FILE_TMPDIR/$1"
}

# wait_chain NAME: until there is whoever its README draws.
wait_chain() {
    local number
    cd "$(chain_dir "$1")" || return
    for number in 80 8000 8080 8081; do
        ! grep -q "\b$(port_of "$1-$number")\b" README.md || wait_listening "$(port_of "$1-$number")"
    done
    [[ $1 != cache ]] || wait_for test -e varnish.log
}

# first_hop NAME: the port to which relay connects.
first_hop() {
    if [[ $1 == layers ]]; then port_of layers-8081; else port_of "$1-8080"; fi
}

# page NAME: where the application, or nginx in its place, tells who its client is.
page() {
    case $1 in
    x-forwarded-for) echo /page ;;
    cache) echo /who ;;
    layers) echo /client ;;
    esac
}

# logs NAME: the logs that its README shows.
logs() {
    sed -n 's/^==> \(.*\) <==$/\1/p' "$(chain_dir "$1")/README.md"
}

# logged NAME LOG CLIENT TEXT: it has a line of this client with this text.
logged() {
    awk -v client="$3" -v text="$4" '
        index($0, client) == 1 && substr($0, length(client) + 1) ~ /^[ :]/ && index($0, text) { found = 1 }
        END { exit !found }' "$(chain_dir "$1")/$2"
}

# nowhere NAME TEXT: none of its logs has it.
nowhere() {
    local log
    for log in $(logs "$1"); do
        run grep -F -e "$2" "$(chain_dir "$1")/$log"
        assert_output ''
    done
}

# --- what a README says ---

# patterns: what the README shows, each line as a pattern: "..." stands for anything,
# and a port for any.
patterns() {
    awk '/^```/ { text = $0 == "```text"; next } text' README.md |
        sed -E 's/[].*^$+?(){}|\\[]/\\&/g; s/(\\\.){3}/.*/g; s/\b[0-9]{5}\b/[0-9]+/g; s/.*/^&$/'
}

# shows_what_its_readme_says NAME: the clients in it get the answers in it, and then
# its logs are as it says: nobody else has asked yet.
shows_what_its_readme_says() {
    local asks look answers
    cd "$(chain_dir "$1")" || return
    asks=$(readme_commands README.md | grep '^curl ')
    look=$(readme_commands README.md | grep '^tail ')
    printf 'silent\nshow-error\nmax-time 60\n' >"$BATS_TEST_TMPDIR/.curlrc"
    answers=$(CURL_HOME=$BATS_TEST_TMPDIR sh -c "$asks")
    wait_for shown || { echo "$answers" && sh -c "$look" && return 1; }
}

shown() {
    local expected actual i
    mapfile -t expected < <(patterns)
    mapfile -t actual < <(echo "$answers" && sh -c "$look")
    ((${#actual[@]} == ${#expected[@]} && ${#actual[@]} > 4)) || return
    for i in "${!expected[@]}"; do
        [[ ${actual[i]} =~ ${expected[i]} ]] || return
    done
}

@test "the chain x-forwarded-for shows what its README says" {
    shows_what_its_readme_says x-forwarded-for
}

@test "the chain cache shows what its README says" {
    shows_what_its_readme_says cache
}

@test "the chain layers shows what its README says" {
    shows_what_its_readme_says layers
}

# --- every client ---

# fetch NAME CLIENT [CURL-ARGUMENT...]: what the application says, through relay at
# $to and $port, from $from, which is in the question, too.
fetch() {
    curl -sS -m 60 --interface "$2" --local-port "$from" "${@:3}" "http://$(bracket "$to"):$port$(page "$1")?$from"
}

# assert_seen NAME CLIENT: this client is in the answer, and in each log.
assert_seen() {
    local log
    assert_success
    case $1 in
    x-forwarded-for) assert_output --regexp "^client $2, asked from 127\.0\.0\.1:[0-9]+$" ;;
    cache) assert_output "$2" ;;
    layers) assert_output "$2 $from" ;;
    esac
    for log in $(logs "$1"); do
        wait_for logged "$1" "$log" "$2" "$(page "$1")?$from HTTP/1."
    done
}

# ask_open PORT FROM-ADDRESS: ask without half-closing, which nginx takes for a client
# that has left: it drops the request.
ask_open() {
    socat -t 30 - "TCP:127.0.0.1:$1,bind=$2,shut-none" | tr -d '\r'
}

# sees_clients NAME [CURL-ARGUMENT...]: of both families, after a header of either
# version.
sees_clients() {
    local name=$1 client version
    shift
    for client in 127.0.0.2 ::1; do
        for version in -1 -2; do
            launch "$client" "$version" "127.0.0.1:$(first_hop "$name")"
            run fetch "$name" "$client" "$@"
            assert_seen "$name" "$client"
            quiet_end
        done
    done
}

@test "an application behind nginx sees and logs each client, v1 and v2" {
    sees_clients x-forwarded-for
}

@test "Varnish and nginx see and log each client, v1 and v2" {
    sees_clients cache
}

@test "HAProxy and nginx see and log each client, v1 and v2" {
    sees_clients layers
}

@test "a client that speaks HTTP/1.0 is seen like any other" {
    local name
    for name in "${CHAINS[@]}"; do
        sees_clients "$name" --http1.0
        grep "?$from HTTP/1.0" "$(chain_dir "$name")"/*.log
    done
}

@test "relay reaches each chain over IPv6, too" {
    local name
    for name in "${CHAINS[@]}"; do
        launch 127.0.0.2 "[::1]:$(first_hop "$name")"
        run fetch "$name" 127.0.0.2
        assert_seen "$name" 127.0.0.2
        stop tcpserver
    done
}

# --- every request ---

# turns NAME CLIENT...: they ask in turns, each on one connection, which it keeps.
turns() {
    python3 - "$(port_of "$1-80")" "$(page "$1")" "${@:2}" <<'PYTHON'
import http.client, sys
port, page, turns = sys.argv[1], sys.argv[2], sys.argv[3:]
clients = {}
for address in turns:
    if address not in clients:
        to = "::1" if ":" in address else "127.0.0.1"
        clients[address] = http.client.HTTPConnection(to, int(port), 60, (address, 0))
        clients[address].connect()
        clients[address].auto_open = False # fail where it has not been kept
    clients[address].request("GET", page)
    print(clients[address].getresponse().read().decode(), end="")
PYTHON
}

# connections NAME NUMBER: how many the kernel has to that port.
connections() {
    ss -Htn state established "dport = :$(port_of "$1-$2")" | wc -l
}

TURNS=(127.0.0.2 127.0.0.3 ::1 127.0.0.2 ::1 127.0.0.3 127.0.0.3 127.0.0.2)

# tells_apart NAME: each request has the client that sent it.
tells_apart() {
    run turns "$1" "${TURNS[@]}"
    assert_success
    assert_equal "$(sed -E 's/^client //; s/[ ,].*//' <<<"$output")" "$(printf '%s\n' "${TURNS[@]}")"
}

@test "kept connections of several clients share one to the application, and none gets another's address" {
    tells_apart x-forwarded-for
    run sort -u <(printf '%s\n' "${lines[@]##*:}")
    assert_equal "${#lines[@]}" 1
}

@test "kept connections of several clients share one from Varnish to nginx, and none gets another's address" {
    tells_apart cache
    assert_equal "$(connections cache 8000)" 1
}

@test "HAProxy lends no client's connection to another" {
    tells_apart layers
    # With ports: each client's own is the same in all of its turns.
    run sort -u <<<"$output"
    assert_equal "${#lines[@]}" 3
}

@test "pipelined requests each have their client" {
    local name request
    for name in "${CHAINS[@]}"; do
        request="GET $(page "$name") HTTP/1.1\r\nHost: localhost\r\n"
        # shellcheck disable=SC2059 # with \r\n
        run ask_open "$(port_of "$name-80")" 127.0.0.4 < <(printf "$request\r\n${request}Connection: close\r\n\r\n")
        assert_equal "$(grep -cE '^(client )?127\.0\.0\.4\b' <<<"$output")" 2
    done
}

@test "Varnish logs the client of an answer from its cache, which nginx never sees" {
    local client
    launch 127.0.0.2 "127.0.0.1:$(first_hop cache)"
    for client in 127.0.0.5 127.0.0.6; do
        run curl -sS -m 60 --interface "$client" "http://127.0.0.1:$port/$from"
        assert_output 'the same for everybody'
    done
    wait_for logged cache varnish.log 127.0.0.5 "/$from HTTP/1.1\" 200 miss"
    wait_for logged cache varnish.log 127.0.0.6 "/$from HTTP/1.1\" 200 hit"
    wait_for logged cache access.log 127.0.0.5 "/$from HTTP/1.1\" 200 "
    assert_equal "$(grep -c "/$from " "$(chain_dir cache)/access.log")" 1
}

# --- what they do not believe ---

FORGED=(-H 'X-Forwarded-For: 6.6.6.6' -H 'x-forwarded-for: 6.6.6.7, 127.0.0.1' -H 'X_Forwarded_For: 6.6.6.6'
    -H 'X-Real-IP: 6.6.6.6' -H 'Forwarded: for=6.6.6.6')

@test "no chain believes an address that the client has written into its request" {
    local name
    for name in "${CHAINS[@]}"; do
        sees_clients "$name" "${FORGED[@]}"
        nowhere "$name" 6.6.6
    done
}

@test "nginx hands on exactly one address, whatever the client has written" {
    local front back file
    front=$(free_port)
    back=$(free_port)
    cd "$(user_dir recorded)" || return
    sed "s/$(port_of x-forwarded-for-8080)/$front/; s/$(port_of x-forwarded-for-8000)/$back/" \
        "$(chain_dir x-forwarded-for)/nginx.conf" >nginx.conf
    backend_record "$back" --say $'HTTP/1.0 204 No Content\r\n\r\n'
    start nginx "${as_user[@]}" nginx -p "$PWD" -c "$PWD/nginx.conf" -g 'daemon off;'
    wait_listening "$front" 127.0.0.1
    launch 127.0.0.2 "127.0.0.1:$front"
    run curl -sS -m 60 --interface 127.0.0.2 "${FORGED[@]}" -H 'Connection: X-Forwarded-For' "http://127.0.0.1:$port/"
    assert_success
    file=$(first_segment)
    run grep -aiE 'forwarded|real|6\.6\.6|127\.0\.0' "$file"
    assert_output $'X-Forwarded-For: 127.0.0.2\r'
}

@test "a client cannot have Varnish leave its address out" {
    launch 127.0.0.2 "127.0.0.1:$(first_hop cache)"
    run fetch cache 127.0.0.2 -o /dev/null -w '%{http_code}' -H 'Connection: X-Forwarded-For'
    assert_output 400
}

# forge NAME NUMBER FROM-ADDRESS TEXT: no relay: the text, and a request, to that port.
forge() {
    printf '%sGET %s HTTP/1.0\r\n%s\r\n' "$4" "$(page "$1")?$from" "${5:-}" |
        ask_open "$(port_of "$1-$2")" "$3"
}

HEADER=$'PROXY TCP4 6.6.6.6 127.0.0.1 666 80\r\n'

@test "nginx believes a header from relay's address only" {
    from=$(free_port)
    run forge x-forwarded-for 8080 127.0.0.3 "$HEADER"
    assert_line --partial 'client 127.0.0.3, '
    run forge x-forwarded-for 8080 127.0.0.1 "$HEADER"
    assert_line --partial 'client 6.6.6.6, '
}

@test "Varnish answers nobody who sends a header from another address than relay's" {
    from=$(free_port)
    run forge cache 8080 127.0.0.3 "$HEADER"
    assert_line --index 0 'HTTP/1.1 403 Forbidden'
    run forge cache 8080 127.0.0.1 "$HEADER"
    assert_line 6.6.6.6
}

@test "nginx believes X-Forwarded-For from Varnish's address only" {
    from=$(free_port)
    run forge cache 8000 127.0.0.3 '' $'X-Forwarded-For: 6.6.6.6\r\n'
    assert_line 127.0.0.3
    run forge cache 8000 127.0.0.1 '' $'X-Forwarded-For: 6.6.6.6\r\n'
    assert_line 6.6.6.6
}

@test "HAProxy hangs up on whoever sends a header from another address than relay's" {
    from=$(free_port)
    run forge layers 8081 127.0.0.3 "$HEADER"
    refute_output --partial HTTP/
    nowhere layers "?$from"
    run forge layers 8081 127.0.0.1 "$HEADER"
    assert_line '6.6.6.6 666'
}

@test "nginx believes a header from HAProxy's address only" {
    from=$(free_port)
    run forge layers 8080 127.0.0.3 "$HEADER"
    assert_line --regexp '^127\.0\.0\.3 '
    run forge layers 8080 127.0.0.1 "$HEADER"
    assert_line '6.6.6.6 666'
}

@test "no chain serves a connection without a header" {
    local name
    for name in "${CHAINS[@]}"; do
        launch 127.0.0.2 -0 "127.0.0.1:$(first_hop "$name")"
        run fetch "$name" 127.0.0.2
        # curl(1): an empty answer, or a reset.
        [[ $status == 52 || $status == 56 ]]
        nowhere "$name" "?$from"
        stop tcpserver
    done
}
