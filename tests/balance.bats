#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Several backends that are real: four of examples/nginx.conf, in which only ports
# are replaced, and each says its name. Who gets which of the clients, also while
# backends die and come back; and what those cost that hang. tests/balance.py has
# the clients, and says by what bounds chance is told from error.
#
# shellcheck disable=SC2154 # set by launch_one, or by backend
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own

load helper
load backend
load connection

NAMES=(one two three four)

setup_file() {
    connection_file
    choose_ports "${NAMES[@]}"
    local name
    for name in "${NAMES[@]}"; do
        nginx_files "$name" "$(port_of "$name")"
        start_nginx "$name"
    done
    for name in "${NAMES[@]}"; do
        wait_listening "$(port_of "$name")"
    done
}

teardown_file() { stop_all; }

teardown() { stop_all; }

# --- backends ---

# nginx_files NAME PORT [SED-SCRIPT]: what a backend of this name needs.
nginx_files() {
    local dir
    dir=$(user_dir "$1")
    mkdir -p "$dir/html"
    sed "s/8080/$2/; s/return 200 \"/&$1 /; ${3:-}" "$ROOT/examples/nginx.conf" >"$dir/nginx.conf"
}

# start_nginx NAME [BEFORE...]: under that command, if there is one.
start_nginx() {
    local dir=$BATS_FILE_TMPDIR/$1
    start "$1" "${@:2}" "${as_user[@]}" nginx -p "$dir" -c "$dir/nginx.conf" -g 'daemon off;'
}

# start_nginx_inside NAME PORT: in the private network.
start_nginx_inside() {
    nginx_files "$1" "$2"
    start_nginx "$1" "${under[@]}"
    wait_listening_inside "$2"
}

# to NAME...: as relay is given them.
to() {
    local name
    for name; do
        echo "127.0.0.1:$(port_of "$name")"
    done
}

# named NAME...: as tests/balance.py is given them.
named() {
    local name
    for name; do
        echo "$name=$(to "$name")"
    done
}

# --- relay and its clients ---

# wait_listening_inside PORT: there, where there is a private network.
wait_listening_inside() {
    wait_for inside sh -c "ss -Hltn 'sport = :$1' | grep ."
}

# relays NAME RELAY-ARGUMENT...: relay under a tcpserver of that name, for many
# clients at once, on $port; with ${under[@]} in the private network.
relays() {
    local name=$1 tcpserver=(tcpserver)
    shift
    port=$(free_port)
    [[ -z ${dual:-} ]] || tcpserver=("$TCPSERVER6" -6)
    start "$name" "${under[@]}" "${tcpserver[@]}" -v -H -R -l0 -c 1000 -b 128 "${dual:-127.0.0.1}" "$port" "$RELAY" "$@"
    wait_listening_inside "$port"
}

balance() {
    "${under[@]}" python3 "$TESTS/balance.py" "$@"
}

# says TEXT: on bats's own output.
says() {
    echo "# $*" >&3
}

# fetches COUNT MIN MAX: through $port; the first byte came within so many
# milliseconds, at the median, and never sooner than MIN.
fetches() {
    run balance fetch "$port" "$@"
    says "$output"
    assert_success
}

# --- who gets whom ---

@test "random gives each backend its share of the connections, and a client any of them" {
    # shellcheck disable=SC2046 # words
    relays random -v -l random $(to "${NAMES[@]}")
    balance map "$port" loopback 1000 4 >"$BATS_TEST_TMPDIR/got"
    run balance spread "${NAMES[@]}" < <(cut -d' ' -f2 "$BATS_TEST_TMPDIR/got")
    says "connections: $output"
    assert_success
    run balance alike 1000 0.015625 <"$BATS_TEST_TMPDIR/got" # all four the same: (1/4)^3
    says "$output"
    assert_success
}

@test "random shares a dead backend's connections among the others" {
    # shellcheck disable=SC2046 # words
    relays random -l random $(to one two) "127.0.0.1:$(free_port)" $(to four)
    balance map "$port" loopback 600 1 >"$BATS_TEST_TMPDIR/got"
    run balance spread one two four < <(cut -d' ' -f2 "$BATS_TEST_TMPDIR/got")
    says "connections: $output"
    assert_success
}

@test "hash gives a client the same backend always, the one that the manual says" {
    # shellcheck disable=SC2046 # words
    relays hash -l hash $(to "${NAMES[@]}")
    # Four connections each, from four ports.
    balance map "$port" loopback 1000 4 >"$BATS_TEST_TMPDIR/got"
    assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/got")" 4000
    uniq "$BATS_TEST_TMPDIR/got" >"$BATS_TEST_TMPDIR/once"
    # shellcheck disable=SC2046 # words
    balance formula loopback 1000 $(named "${NAMES[@]}") | diff - "$BATS_TEST_TMPDIR/once"
    run balance spread "${NAMES[@]}" < <(cut -d' ' -f2 "$BATS_TEST_TMPDIR/once")
    says "addresses: $output"
    assert_success
}

# moved TABLE: whom the clients have now who have got others than in that one.
# Nobody who did not have "three" has moved.
moved() {
    diff "$1" - | tee "$BATS_TEST_TMPDIR/moved" | sed -n 's/^> //p'
    run ! grep '^< .* \(one\|two\|four\)$' "$BATS_TEST_TMPDIR/moved"
    assert_equal "$(grep -c '^<' "$BATS_TEST_TMPDIR/moved")" "$(grep -c ' three$' "$1")"
}

@test "without one of hash's backends its own clients move, and back when it is back" {
    local before=$BATS_TEST_TMPDIR/before without=$BATS_TEST_TMPDIR/without three all
    three=$(free_port)
    nginx_files three "$three"
    all=("$(to one)" "$(to two)" "127.0.0.1:$three" "$(to four)")
    start_nginx three
    wait_listening "$three"
    relays all -v -l hash "${all[@]}"
    balance map "$port" loopback 500 1 >"$before"
    run balance spread "${NAMES[@]}" < <(cut -d' ' -f2 "$before")
    says "addresses: $output"
    assert_success

    # It dies.
    stop three
    balance map "$port" loopback 500 1 >"$without"
    run balance spread one two four < <(moved "$before" <"$without" | cut -d' ' -f2)
    says "moved: $output"
    assert_success
    assert_equal "$(grep -c 'relay: skipped .*Connection refused' "$(log_file all)")" "$(grep -c ' three$' "$before")"

    # It is back.
    start_nginx three
    wait_listening "$three"
    balance map "$port" loopback 500 1 | diff "$before" -

    # It is not on the command line; the others are, in another order.
    # shellcheck disable=SC2046 # words
    relays less -l hash $(to four one two)
    balance map "$port" loopback 500 1 | diff "$without" -
    run ! grep 'relay: ' "$(log_file less)"
    # All are, in another order.
    relays reversed -l hash "${all[3]}" "${all[2]}" "${all[1]}" "${all[0]}"
    balance map "$port" loopback 500 1 | diff "$before" -
}

@test "an IPv4 client of a listener for both families is the same to hash" {
    # shellcheck disable=SC2046 # words
    dual=0 relays hash -l hash $(to "${NAMES[@]}")
    # shellcheck disable=SC2046 # words
    diff <(balance map "$port" loopback 300 1) <(balance formula loopback 300 $(named "${NAMES[@]}"))
}

@test "behind a proxy hash goes by the address in the client's header" {
    local clients
    # shellcheck disable=SC2046 # words
    relays hash -l hash -a 127.0.0.1 $(to "${NAMES[@]}")
    for clients in v1 v2 v1-ip6 v2-ip6; do
        # shellcheck disable=SC2046 # words
        diff <(balance map "$port" "$clients" 200 1) <(balance formula "$clients" 200 $(named "${NAMES[@]}"))
    done
}

@test "the order of first is that of the command line" {
    # shellcheck disable=SC2046 # words
    relays first $(to three one two)
    assert_equal "$(balance map "$port" loopback 100 1 | cut -d' ' -f2 | sort | uniq -c | xargs)" '100 three'
    # shellcheck disable=SC2046 # words
    relays spare -l first "127.0.0.1:$(free_port)" $(to two three)
    assert_equal "$(balance map "$port" loopback 100 1 | cut -d' ' -f2 | sort | uniq -c | xargs)" '100 two'
}

# --- while they die and come back ---

# outage NAME PORT SIGNAL: it gets that, is away for a while, and back.
outage() {
    local times=("$EPOCHREALTIME")
    case $3 in
    KILL) kill -KILL -- "-$(pid_of "$1")" ;; # workers, too
    *) kill -"$3" "$(pid_of "$1")" ;;
    esac
    wait_for eval "[[ -z \$(left_of $1) ]]"
    times+=("$EPOCHREALTIME")
    sleep 0.5 # clients go on
    times+=("$EPOCHREALTIME")
    start_nginx "$1"
    wait_listening "$2"
    echo "$1 127.0.0.1:$2 ${times[*]}" >>"$BATS_TEST_TMPDIR/outages"
    sleep 0.3
}

@test "under load, backends that are killed and started again cost no connection but their own" {
    local name mine=() all=()
    for name in "${NAMES[@]}"; do
        mine+=("$(free_port)")
        all+=("127.0.0.1:${mine[-1]}")
        nginx_files "$name" "${mine[-1]}"
        start_nginx "$name"
        wait_listening "${mine[-1]}"
    done
    relays random -v -l random "${all[@]}"
    start load python3 "$TESTS/balance.py" load "$port" 12 "$BATS_TEST_TMPDIR/results"
    wait_log load begun
    outage one "${mine[0]}" TERM
    outage two "${mine[1]}" QUIT
    outage three "${mine[2]}" KILL
    outage four "${mine[3]}" KILL
    outage one "${mine[0]}" KILL
    kill -TERM "$(pid_of load)"
    exit_status load
    wait_for no_child random
    run balance judge "$BATS_TEST_TMPDIR/results" "$(log_file random)" "$BATS_TEST_TMPDIR/outages"
    says "$output"
    assert_success
}

# --- that hang ---

@test "a stopped nginx whose queue is full costs the stagger, and gets no byte" {
    local hung pid
    hung=$(free_port)
    nginx_files hung "$hung" '/ listen /s/;/ backlog=1;/'
    start_nginx hung
    wait_listening "$hung"
    for pid in $(left_of hung); do
        kill -STOP "$pid"
    done
    start full python3 -c '
import contextlib, socket, sys, time
waiting = []
with contextlib.suppress(TimeoutError):
    while True:
        waiting.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), 0.5))
print("full", flush=True)
time.sleep(1000)' "$hung"
    wait_log full full
    relays first -v "127.0.0.1:$hung" "$(to two)"
    fetches 10 250 1250
    wait_for no_child first
    assert_equal "$(grep -c "relay: skipped msg=\"no answer yet.* backend=127.0.0.1:$hung\$" "$(log_file first)")" 10
    stop full
    for pid in $(left_of hung); do
        kill -CONT "$pid"
    done
    # The first that it hears of.
    ask "$hung" "$(free_port)" 127.0.0.9 <<<$'PROXY TCP4 127.0.0.8 127.0.0.1 1 2\r\nGET /client HTTP/1.0\r\n\r'
    run cat "$BATS_FILE_TMPDIR/hung/access.log"
    assert_line --index 0 --partial '127.0.0.9'
    assert_equal "${#lines[@]}" 1
    run cat "$(log_file hung)"
    refute_output --partial 'broken header'
}

# capture FILTER: packets of the private network, a line each: time, destination's
# address and port, payload's length. Known as "tshark".
capture() {
    start tshark "${under[@]}" env TMPDIR="$BATS_TEST_TMPDIR" tshark -l -n -i lo -f "$1" -T fields \
        -e frame.time_epoch -e ip.dst -e ipv6.dst -e tcp.dstport -e tcp.len
    wait_log tshark 'Capturing on'
    wait_log tshark ' -- File: '
}

# captured: the lines with a packet.
captured() {
    grep -P '^\d+\.\d+\t' "$(log_file tshark)" | tr -s '\t' ' '
}

# captured_at_least COUNT
captured_at_least() {
    (($(captured | wc -l) >= $1))
}

@test "an address that swallows packets costs the stagger, and gets no byte" {
    local living black
    living=$(free_port) black=$(free_port)
    private_network
    inside ip addr add 192.0.2.1/32 dev lo
    drop_inside ip daddr 192.0.2.1
    start_nginx_inside living "$living"
    capture "tcp and dst host 192.0.2.1"
    relays first "192.0.2.1:$black" "127.0.0.1:$living"
    fetches 5 250 1250
    # Two of them, and one that refuses.
    relays more "192.0.2.1:$black" "127.0.0.1:$(free_port)" "192.0.2.1:$black" "127.0.0.1:$living"
    fetches 3 500 1500
    wait_for captured_at_least 11
    run cut -d' ' -f4 < <(captured)
    assert_equal "$(sort -u <<<"$output")" 0 # bytes, in each of the packets
}

@test "a route that says unreachable, prohibited or nothing costs no time" {
    local living kind addresses=()
    living=$(free_port)
    private_network
    start_nginx_inside living "$living"
    for kind in unreachable prohibit blackhole; do
        addresses+=("192.0.2.$((${#addresses[@]} + 1)):80")
        inside ip route add "$kind" "${addresses[-1]%:*}"
    done
    relays first "${addresses[@]}" "127.0.0.1:$living"
    fetches 20 0 249
    run sed -nE 's/^relay: skipped msg="([^"]*)".* backend=(.*)/\2 \1/p' "$(log_file first)"
    assert_line --index 0 '192.0.2.1:80 cannot connect: Host is unreachable'
    assert_line --index 1 '192.0.2.2:80 cannot connect: Permission denied: does a route or a firewall forbid it?'
    assert_line --index 2 '192.0.2.3:80 cannot connect: Invalid argument'
    assert_equal "${#lines[@]}" 60
}

@test "a dead port from which the system connects is dead: nobody is connected to himself" {
    local to living
    living=$(free_port)
    private_network
    inside sh -c 'echo 40000 40000 >/proc/sys/net/ipv4/ip_local_port_range'
    for to in 127.0.0.1:40000 '[::1]:40000' 0.0.0.0:40000 '[::]:40000' '[::ffff:127.0.0.1]:40000'; do
        run -111 inside "$RELAY" "$to" </dev/null
        assert_output "relay: error msg=\"cannot connect: Connection refused: does the backend listen there?\" backend=$to"
    done
    start_nginx_inside living "$living"
    relays first 127.0.0.1:40000 "127.0.0.1:$living"
    fetches 1 0 1250
    assert_equal "$(grep -c 'relay: skipped .* backend=127.0.0.1:40000$' "$(log_file first)")" 1
}

# --- names ---

@test "a name's addresses are tried a quarter of a second apart, IPv6 and IPv4 in turn" {
    local last
    for last in 1 2 3; do
        printf '%s many\n' "192.0.2.$last" "2001:db8::$last"
    done >"$BATS_TEST_TMPDIR/hosts"
    private_network
    for last in 1 2 3; do
        inside ip addr add "192.0.2.$last/32" dev lo
        inside ip addr add "2001:db8::$last/128" dev lo nodad
    done
    drop_inside tcp dport 80
    capture 'tcp dst port 80'
    "${under[@]}" "$RELAY" -t 2 many:80 </dev/null || true
    wait_for captured_at_least 6
    # Whatever the resolver's order is. Each one's first SYN.
    run awk '!seen[$2]++ { print ($2 ~ /:/ ? "6" : "4"), last && $1 - last < 0.24 ? "too soon" : "in time"; last = $1 }' < <(captured)
    assert_equal "${#lines[@]}" 6
    assert_output --regexp $'^(6 in time\n4 in time\n6 in time\n4 in time\n6 in time\n4 in time|4 in time\n6 in time\n4 in time\n6 in time\n4 in time\n6 in time)$'
}

@test "a name of which one family is out of reach is served by the other" {
    local living silent
    living=$(free_port)
    printf '127.0.0.1 both\n::1 both\n' >"$BATS_TEST_TMPDIR/hosts"
    private_network
    start_nginx_inside living "$living"
    relays name "both:$living"
    drop_inside tcp dport "$living" ip6 daddr ::1
    fetches 5 0 1250
    inside nft flush chain inet t input
    drop_inside tcp dport "$living" ip daddr 127.0.0.1
    fetches 5 0 1250
    silent=$(grep -c 'relay: ' "$(log_file name)" || true)
    assert_equal "$silent" 0 # one backend, whatever number of addresses it has
}

@test "a name that nobody answers for holds up the next backend for the stagger only" {
    local living
    living=$(free_port)
    private_network
    start_inside resolver socat -u UDP4-RECV:53,bind=127.0.0.53 "CREATE:$BATS_TEST_TMPDIR/questions"
    wait_for inside sh -c 'ss -Huln "sport = :53" | grep .'
    start_nginx_inside living "$living"
    relays first -v name.example:80 "127.0.0.1:$living"
    fetches 5 250 1250
    # The look-up does not outlive its connection.
    wait_for no_child first
    run grep -c 'relay: skipped msg="no answer yet, .* backend=name.example:80$' "$(log_file first)"
    assert_output 5
    run grep -ac 'name.example' "$BATS_TEST_TMPDIR/questions"
    assert_output --regexp '^[1-9]' # it was asked
    # Alone.
    SECONDS=0
    run -111 "${under[@]}" "$RELAY" -t 1 name.example:80 </dev/null
    assert_output 'relay: error msg="looking up name.example: no answer within 1 s" backend=name.example:80'
    ((SECONDS <= 3))
}

@test "with --bind=client, a backend of the other family than the client's is skipped" {
    local living refusing
    living=$(free_port) refusing=$(free_port)
    private_network
    # examples/nginx.conf reads a header: here it gets one from the client's address.
    start_nginx_inside living "$living"
    dual=0 relays first -v -b client "[::1]:$living" "127.0.0.1:$refusing" "127.0.0.1:$living"
    fetches 1 0 1250
    wait_for no_child first
    run sed -nE 's/^relay: (skipped|closed) (msg="([^"]*)")?.* backend=([^ ]+).*/\1 \4 \3/p' "$(log_file first)"
    assert_line --index 0 "skipped [::1]:$living the backend has no IPv4 address: --bind needs one"
    assert_line --index 1 --partial "skipped 127.0.0.1:$refusing cannot connect: Connection refused"
    assert_line --index 2 "closed 127.0.0.1:$living "
}

# --- examples/balance ---

@test "examples/balance: three backends as the README has it, and the script" {
    need_root
    local ports=() backends=() name copy=$BATS_TEST_TMPDIR/examples how
    for name in 1 2 3; do
        ports+=("$(free_port)")
        backends+=("${ports[-1]}=127.0.0.1:${ports[-1]}")
    done
    mkdir -p "$copy/balance"
    cp "$ROOT/examples/nginx.conf" "$copy"
    chmod -R go+rX "$BATS_TEST_TMPDIR"
    # Not as daemons: those would outlive a test that fails.
    sed -n '/^    for /,/^    done/p' "$ROOT/examples/balance/README.md" |
        sed "s/8080 8081 8082/${ports[*]}/; s/nginx -p .*/& -g 'daemon off;' \&/" >"$copy/balance/try.sh"
    cd "$copy/balance"
    start try sh -c '. ./try.sh; wait'
    for name in "${ports[@]}"; do
        wait_listening "$name"
    done
    for how in first random hash; do
        port=$(free_port)
        start "$how" sh "$(example balance/balance.sh "s/ 80 / $port /; s/8080/${ports[0]}/
            s/8081/${ports[1]}/; s/8082/${ports[2]}/")" "$how"
        wait_listening "$port"
        assert_equal "$(ps -o user= -p "$(pid_of "$how")")" nobody
        balance map "$port" loopback 100 2 >"$BATS_TEST_TMPDIR/$how"
    done
    assert_equal "$(cut -d' ' -f2 "$BATS_TEST_TMPDIR/first" | sort -u)" "${ports[0]}"
    assert_equal "$(cut -d' ' -f2 "$BATS_TEST_TMPDIR/random" | sort -u | wc -l)" 3
    uniq "$BATS_TEST_TMPDIR/hash" | diff - <(balance formula loopback 100 "${backends[@]}")
    # One is stopped, in the README's words; $port is hash's.
    # shellcheck disable=SC2016 # the README's own marks
    eval "$(sed -n 's/.*(`\(kill .*\)`).*/\1/p' "$ROOT/examples/balance/README.md" | sed "s/8081/${ports[1]}/")"
    wait_for eval "! listening ${ports[1]}"
    diff <(balance map "$port" loopback 100 1) <(balance formula loopback 100 "${backends[0]}" "${backends[2]}")
}
