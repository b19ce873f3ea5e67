#!/usr/bin/env bats
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# A real systemd with the units of examples/systemd. It boots once for all of
# these tests.

load helper
load connection
load readme
load backend
load nspawn

EXAMPLES=$BATS_TEST_DIRNAME/../examples
UNITS=$EXAMPLES/systemd
STYLES=(stdin fd3)

setup_file() {
    BACKEND=$(free_port)
    export BACKEND
    mkdir -p "$BATS_FILE_TMPDIR"/{units/sockets.target.wants,files/usr/local/bin,examples,run}
    cp "$RELAY" "$BATS_FILE_TMPDIR/files/usr/local/bin"
    cp "$UNITS"/* "$BATS_FILE_TMPDIR/examples"
    ln -s /lib/systemd/system/sockets.target "$BATS_FILE_TMPDIR/units/default.target"

    local verbose="--verbose 127.0.0.1:$BACKEND" own
    add_unit stdin relay "$(free_port)" "$verbose"
    add_unit fd3 relay-fd3 "$(free_port)" "$verbose"
    add_unit stdin-ipv4 relay "127.0.0.1:$(free_port)" "127.0.0.1:$BACKEND"
    add_unit fd3-ipv4 relay-fd3 "127.0.0.1:$(free_port)" "127.0.0.1:$BACKEND"
    add_unit stdin-unix relay /run/relay/stdin.sock "--v2 127.0.0.1:$BACKEND"
    add_unit fd3-unix relay-fd3 /run/relay/fd3.sock "--v2 127.0.0.1:$BACKEND"
    add_unit stdin-unknown relay /run/relay/stdin1.sock "$verbose"
    add_unit fd3-unknown relay-fd3 /run/relay/fd31.sock "$verbose"
    add_unit name relay "$(free_port)" "localhost:$BACKEND"
    add_unit syslog relay "$(free_port)" "$verbose" -e '/^StandardError=/d'
    add_unit wrong relay "$(free_port)" --wrong
    # What the comment in the service says of a busy port.
    add_unit busy relay "$(free_port)" "$verbose" -e '/^# These mount a view/,/^$/d' -e '/^UMask=/aUser=daemon'
    add_unit crowded relay "$(free_port)" "$verbose"
    sed -i 's/^MaxConnections=.*/MaxConnections=3/' "$BATS_FILE_TMPDIR/units/test-crowded.socket"
    add_unit flooded relay "$(free_port)" "$verbose" -e '/^# These mount a view/,/^$/d' -e '/^UMask=/aUser=daemon'
    sed -i 's/^MaxConnections=.*/MaxConnections=40/' "$BATS_FILE_TMPDIR/units/test-flooded.socket"
    # Of the three backends in the drop-in the second lives.
    add_unit several relay "$(free_port)" ""
    add_drop_in several balance/balance.conf "s/:8080/:$(free_port)/; s/:8081/:$BACKEND/; s/:8082/:$(free_port)/"
    add_unit stopped relay "$(free_port)" "$verbose"
    add_unit deferred relay "$(free_port)" "$verbose"
    sed -i 's/^Accept=yes/&\nDeferAcceptSec=60/' "$BATS_FILE_TMPDIR/units/test-deferred.socket"
    add_unit lost relay "$(free_port)" "$verbose" -e 's|/usr/local/bin/relay|/usr/local/bin/no-relay|'
    add_unit alone relay "$(free_port)" "$verbose"
    rm "$BATS_FILE_TMPDIR/units/test-alone@.service"
    # Not listened on, and so not waited for.
    sed '/^Accept=/d; s/^ListenStream=.*/ListenStream='"$(free_port)/" "$UNITS/relay.socket" \
        >"$BATS_FILE_TMPDIR/units/test-unaccepting.socket"
    # One that hands over what it listens on.
    add_unit at-once relay "$(free_port)" "$verbose"
    sed -i '/^Accept=/d' "$BATS_FILE_TMPDIR/units/test-at-once.socket"
    mv "$BATS_FILE_TMPDIR/units/test-at-once@.service" "$BATS_FILE_TMPDIR/units/test-at-once.service"
    # Relay's own port is its backend.
    own=$(free_port)
    add_unit own relay "$own" "--verbose 127.0.0.1:$own" -e '/^# These mount a view/,/^$/d' -e '/^UMask=/aUser=daemon'
    sed -i 's/^MaxConnections=.*/MaxConnections=5/' "$BATS_FILE_TMPDIR/units/test-own.socket"
    # Without the example's word against systemd's own limit, and a low one.
    add_unit trigger relay "$(free_port)" "$verbose"
    sed -i 's/^TriggerLimitIntervalSec=0/TriggerLimitBurst=3/' "$BATS_FILE_TMPDIR/units/test-trigger.socket"
    add_nlb "$(free_port)"
    add_unit transparent relay "127.0.0.1:$(free_port)" ""
    add_drop_in transparent transparent/transparent.conf "s/8080/$BACKEND/"

    machine_boot --bind-ro="$BATS_FILE_TMPDIR/examples:/run/examples" \
        --bind="$BATS_FILE_TMPDIR/run:/run/relay"
}

teardown_file() {
    machine_stop
}

setup() {
    journal_begins
}

teardown() {
    stop_all
    wait_for no_instance
}

# --- the machine ---

# add_unit NAME EXAMPLE LISTEN ARGUMENTS [SED...]: the example's two files as
# test-NAME, listening there, relay having these arguments.
add_unit() {
    local name=$1 example=$2 listen=$3 arguments=$4 units=$BATS_FILE_TMPDIR/units
    shift 4
    sed "s|^ListenStream=.*|ListenStream=$listen|" "$UNITS/$example.socket" >"$units/test-$name.socket"
    sed -e "s|^\(ExecStart=/usr/local/bin/relay\) .*|\1 $arguments|" "$@" \
        "$UNITS/$example@.service" >"$units/test-$name@.service"
    ln -s "../test-$name.socket" "$units/sockets.target.wants"
    echo "$listen" >"$BATS_FILE_TMPDIR/listen.$name"
}

# add_nlb PORT: test-nlb, which examples/behind/nlb/README.md makes of the examples;
# 127.0.1 and 127.0.2 are its balancer's subnets.
add_nlb() {
    local units=$BATS_FILE_TMPDIR/units commands
    commands=$(readme_commands "$EXAMPLES/behind/nlb/README.md" | grep '^sed ' |
        sed "s|/etc/systemd/system/relay|$units/test-nlb|; s/10\.0\./127.0./g")
    (cd "$EXAMPLES/behind/nlb" && sh -ec "$commands")
    sed -i "s/^ListenStream=80\$/ListenStream=$1/" "$units/test-nlb.socket"
    sed -i "s/ 127\.0\.0\.1:8080\$/ 127.0.0.1:$BACKEND/" "$units/test-nlb@.service"
    ln -s ../test-nlb.socket "$units/sockets.target.wants"
    echo "$1" >"$BATS_FILE_TMPDIR/listen.nlb"
}

# add_drop_in NAME FILE SED-SCRIPT: that file of examples, changed, for this service.
add_drop_in() {
    local dir=$BATS_FILE_TMPDIR/units/test-$1@.service.d
    mkdir "$dir"
    sed "$3" "$EXAMPLES/$2" >"$dir/${2##*/}"
}

# where NAME: the port, or the path as this side has it.
where() {
    local listen
    listen=$(<"$BATS_FILE_TMPDIR/listen.$1")
    case $listen in
    /*) echo "$BATS_FILE_TMPDIR/run/${listen##*/}" ;;
    *) echo "${listen##*:}" ;;
    esac
}

# Every socket unit listens.
booted() {
    local listen
    while read -r listen; do
        case $listen in
        /*) [[ -S $BATS_FILE_TMPDIR/run/${listen##*/} ]] || return ;;
        *) listening "${listen##*:}" || return ;;
        esac
    done < <(cat "$BATS_FILE_TMPDIR"/listen.*)
}

# --- its units ---

# instances [NAME]: the services of the connections that there are.
instances() {
    local list
    list=$(inside systemctl list-units --all --plain --no-legend "test-${1:-*}@*.service") || return
    cut -d' ' -f1 <<<"$list"
}

no_instance() {
    local list
    list=$(instances "$@") && [[ -z $list ]]
}

# main_pid NAME: relay's process id, of its only connection, in the machine.
main_pid() {
    inside systemctl show -P MainPID "$(instances "$1")"
}

# accepted NAME: how many connections there have been.
accepted() {
    inside systemctl show -P NAccepted "test-$1.socket"
}

# --- its journal ---

# journal_of NAME MATCH...: those of and about its connections.
journal_of() {
    journal -u "test-$1@*.service" "${@:2}"
}

# relay_says NAME PRIORITY: waits for relay's lines of that priority.
relay_says() {
    wait_for eval "journal_of $1 SYSLOG_IDENTIFIER=relay PRIORITY=$2 | grep ." || return
    journal_of "$1" SYSLOG_IDENTIFIER=relay "PRIORITY=$2"
}

# journal_says KEY MATCH...: waits for what README.md quotes, since the test began.
journal_says() {
    local regex
    regex=$(quoted "$1") && wait_for journal_matches "$regex" "${@:2}"
}

journal_matches() {
    journal "${@:2}" | grep -E -e "$1"
}

# failures NAME: what systemd says about connections that have failed.
failures() {
    inside journalctl --sync
    journal_of "$1" _PID=1 | grep 'Failed with result'
}

# --- who is the client ---

# assert_header N LINE: the backend's connection N began with this, CR LF after it.
assert_header() {
    assert_equal "$(cat -A "$(first_segment "$1")")" "$2^M\$"
}

# assert_named SUFFIX PROTOCOL CLIENT-ADDRESS SERVER-ADDRESS: so the header says, in each
# style, of a client of the unit with this suffix.
assert_named() {
    local n=0 style port from
    backend_record "$BACKEND"
    for style in "${STYLES[@]}"; do
        port=$(where "$style$1") from=$(free_port) n=$((n + 1))
        ask "$port" "$from" "$3" "$4" </dev/null
        assert_header "$n" "PROXY $2 $3 $4 $from $port"
    done
}

@test "an IPv4 client's address and port reach the backend, in both styles" {
    assert_named -ipv4 TCP4 127.0.0.2 127.0.0.1
}

@test "an IPv6 client's address and port reach the backend, in both styles" {
    assert_named '' TCP6 ::1 ::1
}

@test "an IPv4 client of a socket for IPv6 and IPv4 is plain IPv4 to the backend, in both styles" {
    local style
    for style in "${STYLES[@]}"; do
        [[ $(ss -Hltn "sport = :$(where "$style")") == *'*:'* ]] # one socket for both
    done
    assert_named '' TCP4 127.0.0.2 127.0.0.1
}

@test "a UNIX client is AF_UNIX in version 2, with the socket's path, in both styles" {
    local n=0 style path
    backend_record "$BACKEND"
    for style in "${STYLES[@]}"; do
        path=/run/relay/$style.sock n=$((n + 1))
        socat - "UNIX:$(where "$style-unix")" </dev/null
        # Signature, PROXY, UNIX stream, 216 bytes: no name, and the path, 108 each.
        assert_equal "$(hexdump_of "$(first_segment "$n")")" \
            "0d0a0d0a000d0a515549540a213100d8$(printf '%0216d' 0)$(
                head -c 108 <(printf '%s' "$path" && cat /dev/zero) | hexdump_of /dev/stdin)"
    done
}

@test "a UNIX client is UNKNOWN in version 1, in both styles" {
    local n=0 style
    backend_record "$BACKEND"
    for style in "${STYLES[@]}"; do
        n=$((n + 1))
        socat - "UNIX:$(where "$style-unknown")" </dev/null
        assert_header "$n" "PROXY UNKNOWN"
    done
}

start_nginx() {
    mkdir "$(work_dir)/nginx"
    sed "s/8080/$BACKEND/" "$EXAMPLES/nginx.conf" >"$(work_dir)/nginx/nginx.conf"
    start nginx nginx -p "$(work_dir)/nginx" -c "$(work_dir)/nginx/nginx.conf" -g 'daemon off;'
    wait_listening "$BACKEND"
}

@test "nginx answers a client of systemd's with its real address and port" {
    local port from
    port=$(where stdin-ipv4) from=$(free_port)
    start_nginx
    run curl -sS --interface 127.0.0.2 --local-port "$from" "http://127.0.0.1:$port/client"
    assert_output "127.0.0.2 $from"
}

# --- behind a balancer: examples/behind/nlb ---

# nlb_says FROM HEADER-ARGUMENT...: what its README has people try, as a balancer at
# that address, for this client.
nlb_says() {
    local from=$1 try
    shift
    try=$(readme_commands "$EXAMPLES/behind/nlb/README.md" 2 |
        sed "s/header\.py [^;]*;/header.py $*;/; s/ncat 10\.0\.1\.5 80/ncat -s $from 127.0.0.1 $(where nlb)/")
    [[ $try == *"header.py $*;"*" -s $from "* ]]
    (cd "$EXAMPLES/behind/nlb" && sh -c "$try")
}

@test "behind a cloud's balancer, clients are known to the backend and in the journal" {
    start_nginx
    run nlb_says 127.0.1.9 203.0.113.7 51234 198.51.100.2 80
    assert_line --partial '203.0.113.7 51234'
    run nlb_says 127.0.2.9 2001:db8::7 51234 2001:db8::2 80 vpce-08d2bf15fac5001c9
    assert_line --partial '2001:db8::7 51234'
    wait_for eval 'journal_of nlb PRIORITY=6 | grep -F " client=203.0.113.7:51234 server=198.51.100.2:80 via=127.0.1.9:"'
    wait_for eval 'journal_of nlb PRIORITY=6 | grep -F " client=[2001:db8::7]:51234 server=[2001:db8::2]:80 via=127.0.2.9:"'
    wait_for grep '^203\.0\.113\.7 51234 via 127\.0\.0\.1 ' "$(work_dir)/nginx/access.log"
    wait_for grep '^2001:db8::7 51234 via 127\.0\.0\.1 ' "$(work_dir)/nginx/access.log"
    # No limit for one source.
    run inside systemctl show -P MaxConnectionsPerSource test-nlb.socket
    assert_output 0
}

@test "a cloud balancer's health checks are no error, and only one by HTTP reaches the backend" {
    local port before
    port=$(where nlb) before=$(accepted nlb)
    start_nginx
    (cd "$EXAMPLES/behind/nlb" && python3 header.py) >"$(work_dir)/header"
    python3 - "$port" "$(work_dir)/header" <<'PYTHON'
import socket, struct, sys

header = open(sys.argv[2], "rb").read()

def check(say, reset=False, wait=False):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10, ("127.0.1.9", 0)) as client:
        client.sendall(say)
        if wait:
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

for n in range(3):
    check(b"")
    check(b"", reset=True)
    check(header)
    check(header, reset=True)
check(header + b"GET /client HTTP/1.0\r\n\r\n", wait=True)
PYTHON
    wait_for nobody_waits nlb
    wait_for no_instance nlb
    inside journalctl --sync
    run journal_of nlb SYSLOG_IDENTIFIER=relay PRIORITY=6
    # systemd itself lets go of one that has reset already.
    assert [ "${#lines[@]}" == $(($(accepted nlb) - before)) ]
    assert [ "${#lines[@]}" -ge 7 ]
    run ! grep -vE '^relay: closed (client=127\.0\.1\.9:([0-9]+) server=127\.0\.0\.1:[0-9]+ (via=127\.0\.1\.9:\2 )?)?backend=.* end=(client-reset|done)$' <<<"$output"
    run journal_of nlb SYSLOG_IDENTIFIER=relay PRIORITY=3
    assert_output ''
    run ! failures nlb
    run cat "$(work_dir)/nginx/access.log"
    assert_output --regexp '^127\.0\.1\.9 [0-9]+ via 127\.0\.0\.1 .*"GET /client HTTP/1\.0" 200 '
    assert_equal "${#lines[@]}" 1
}

@test "who is not in the balancer's subnets is refused, and the journal has it as an error" {
    start_nginx
    run nlb_says 127.0.3.9 203.0.113.7 51234 198.51.100.2 80
    refute_output --partial 203.0.113.7
    run relay_says nlb 3
    assert_output --regexp '^relay: error msg="refused: not in --accept-from" client=127\.0\.3\.9:[0-9]+ '
    assert [ ! -s "$(work_dir)/nginx/access.log" ]
}

@test "with its drop-in, relay has several backends" {
    local port from i
    port=$(where several)
    start_nginx
    # Chance is 1 in 3^16 that none of them has a dead one first.
    for i in {1..16}; do
        from=$(free_port)
        run curl -sS --interface "127.0.1.$i" --local-port "$from" "http://127.0.0.1:$port/client"
        assert_output "127.0.1.$i $from"
    done
    inside journalctl --sync
    run relay_says several 4
    assert_line --index 0 --regexp '^relay: skipped msg="cannot connect: Connection refused: [^"]*" client=127\.0\.1\.[0-9]+:'
    run relay_says several 6
    assert_equal "$(grep -c "^relay: closed .* backend=127.0.0.1:$BACKEND .* end=done\$" <<<"$output")" 16
}

# The routes are tests/transparent.bats's. Here all addresses are the machine's own:
# but without the right to others relay would not get this far.
@test "with its drop-in for that, relay connects from the client's address" {
    local port
    port=$(where transparent)
    # shellcheck disable=SC2016 # for the shell that socat starts
    start backend socat "TCP-LISTEN:$BACKEND,bind=127.0.0.1,fork,reuseaddr" \
        SYSTEM:'echo $SOCAT_PEERADDR'
    wait_listening "$BACKEND"
    run ask "$port" "$(free_port)" 127.0.0.2 </dev/null
    assert_line --index 0 127.0.0.2
    run relay_says transparent 6
    assert_output --regexp '^relay: closed client=127\.0\.0\.2:.* end=done$'
}

# --- the connection ---

@test "bytes go both ways, and an answer after the client's half-close arrives, in both styles" {
    local style
    # Answers when its input has ended: the checksum of what followed the header.
    start backend socat "TCP-LISTEN:$BACKEND,bind=127.0.0.1,fork,reuseaddr" \
        SYSTEM:'read -r header; md5sum'
    wait_listening "$BACKEND"
    head -c 3000000 /dev/urandom >"$(work_dir)/sent"
    for style in "${STYLES[@]}"; do
        run ask "$(where "$style")" <"$(work_dir)/sent"
        assert_success
        assert_output "$(md5sum <"$(work_dir)/sent")"
    done
}

@test "a backend's name is looked up, within the sandbox" {
    backend_record "$BACKEND" --say 'good day'
    run ask "$(where name)" </dev/null
    assert_success
    assert_output 'good day'
}

# client N NAME: a client that says nothing. Its exit status tells a reset from
# an end; socat's does not.
client() {
    start "client$1" bash -c "exec cat </dev/tcp/127.0.0.1/$(where "$2")"
    first_segment "$1"
}

@test "a service that is stopped resets client and backend, and has not failed" {
    local n=0 name
    backend_record "$BACKEND"
    # One catches the signal to log it, the other does not.
    for name in stdin fd3-ipv4; do
        n=$((n + 1))
        client "$n" "$name"
        inside systemctl stop "test-$name@*.service"
        assert_reset "$n"
        run ! failures "$name"
    done
    run relay_says stdin 6
    assert_output --partial 'end=signal'
}

@test "relay's sudden death resets client and backend" {
    local n=0 style
    backend_record "$BACKEND"
    for style in "${STYLES[@]}"; do
        n=$((n + 1))
        client "$n" "$style"
        inside kill -KILL "$(main_pid "$style")"
        assert_reset "$n"
    done
}

# assert_reset N: client N and backend N have seen a reset.
assert_reset() {
    local status=0
    exit_status "client$1" || status=$?
    assert_equal "$status" 1
    wait_log "client$1" 'Connection reset by peer'
    wait_for test -e "$(work_dir)/backend/$1.end"
    assert_equal "$(<"$(work_dir)/backend/$1.end")" reset
}

@test "stopping the socket unit leaves the connections that there are" {
    local port
    port=$(where stopped)
    backend_record "$BACKEND"
    mkfifo "$(work_dir)/input"
    start client socat -t 30 - "TCP:127.0.0.1:$port" <>"$(work_dir)/input"
    first_segment 1
    inside systemctl stop test-stopped.socket
    run ! listening "$port"
    echo 'still here' >"$(work_dir)/input"
    wait_for grep -F 'still here' "$(work_dir)/backend/1.all"
}

# --- the journal ---

@test "the line for a connection is in the journal with priority 6, in both styles" {
    local style port from
    backend_record "$BACKEND" --say 'good day'
    for style in "${STYLES[@]}"; do
        port=$(where "$style") from=$(free_port)
        run ask "$port" "$from" <<<hello
        assert_output 'good day'
        run relay_says "$style" 6
        assert_output --regexp "^relay: closed client=127.0.0.1:$from server=127.0.0.1:$port backend=127.0.0.1:$BACKEND up=6 down=8 seconds=[0-9]+\.[0-9]{3} end=done\$"
    done
}

@test "an error is in the journal with priority 3 and does not reach the client, in both styles" {
    local style port from
    for style in "${STYLES[@]}"; do
        port=$(where "$style") from=$(free_port)
        run --separate-stderr ask "$port" "$from" </dev/null
        assert_output ''
        run relay_says "$style" 3
        assert_output "relay: error msg=\"cannot connect: Connection refused: does the backend listen there?\" client=127.0.0.1:$from server=127.0.0.1:$port backend=127.0.0.1:$BACKEND"
    done
}

@test "where descriptor 2 is the client, messages reach the journal through syslog" {
    local port from
    port=$(where syslog) from=$(free_port)
    run --separate-stderr ask "$port" "$from" </dev/null
    assert_output ''
    wait_for eval 'journal _TRANSPORT=syslog SYSLOG_IDENTIFIER=relay PRIORITY=3 | grep .'
    run journal _TRANSPORT=syslog SYSLOG_IDENTIFIER=relay PRIORITY=3
    assert_output "error msg=\"cannot connect: Connection refused: does the backend listen there?\" client=127.0.0.1:$from server=127.0.0.1:$port backend=127.0.0.1:$BACKEND"

    backend_record "$BACKEND" --say 'good day'
    run ask "$port" </dev/null
    assert_output 'good day'
    wait_for eval 'journal _TRANSPORT=syslog SYSLOG_IDENTIFIER=relay PRIORITY=6 | grep "^closed .* end=done$"'
    # README.md's command finds both.
    run inside sh -c "$(readme_command journalctl)"
    assert_line --partial "error msg=\"cannot connect: Connection refused: does the backend listen there?\" client=127.0.0.1:$from "
    assert_line --regexp 'closed .* end=done$'
    # And by no other way.
    run ! relay_lines_of_stderr
}

relay_lines_of_stderr() {
    journal _TRANSPORT=stdout SYSLOG_IDENTIFIER=relay | grep .
}

@test "a connection that failed leaves no failed unit" {
    ask "$(where stdin)" </dev/null || true
    wait_for failures stdin
    journal_says 'status=111/n/a' _PID=1
    ask "$(where wrong)" </dev/null || true
    journal_says 'status=100/n/a' _PID=1
    wait_for no_instance stdin
    run inside systemctl list-units --plain --no-legend --state=failed
    assert_output ''
}

@test "clients that leave at once leave no process, and none of their services has failed" {
    local style before
    backend_record "$BACKEND" --say x
    for style in "${STYLES[@]}"; do
        before=$(accepted "$style")
        python3 - "$(where "$style")" <<'PYTHON'
import socket, struct, sys, time

for n in range(20):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    if n % 2:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if n < 12:
        time.sleep(n // 2 * 0.005)  # relay is being started
    else:
        client.recv(1)              # it is there
    client.close()
PYTHON
        wait_for nobody_waits "$style"
        wait_for no_instance "$style"
        run inside ps -o pid=,args= -C relay
        assert_output ''
        run ! failures "$style"
        # relay had all of them, and nothing to complain of.
        run relay_says "$style" 6
        assert_equal "${#lines[@]}" $(($(accepted "$style") - before))
        run ! grep -v '^relay: closed .* end=\(done\|client-reset\)$' <<<"$output"
        run journal_of "$style" SYSLOG_IDENTIFIER=relay PRIORITY=3
        assert_output ''
    done
}

# nobody_waits NAME: systemd has accepted every connection.
nobody_waits() {
    [[ $(ss -Hltn "sport = :$(where "$1")" | awk '{ print $2 }') == 0 ]]
}

# --- the units ---

@test "the connection over the limit for one address is closed, another address is served" {
    local limit
    limit=$(sed -n 's/^MaxConnectionsPerSource=//p' "$UNITS/relay.socket")
    backend_record "$BACKEND" --say 'good day'
    port=$(where busy) run crowd "$limit" 127.0.0.1 127.0.0.1 ::1
    assert_output "$limit"$'\nclosed\nanswered'
    journal_says 'Too many incoming connections (…) from source' -u test-busy.socket
}

@test "the connection over the limit for all is closed, whoever it is" {
    backend_record "$BACKEND" --say 'good day'
    port=$(where crowded) run crowd 3 127.0.0.1 127.0.0.2 ::1
    assert_output $'3\nclosed\nclosed'
    journal_says 'Too many incoming connections (…), dropping' -u test-crowded.socket
}

@test "relay whose backend is its own port starts one after the other, up to the limit, and its lines show it" {
    ask "$(where own)" </dev/null || true
    journal_says 'Too many incoming connections (…), dropping' -u test-own.socket
    # "The same" is all that these two say.
    journal_says 'server=' -t relay
    journal_says 'backend=' -t relay
    wait_for journal_matches '^relay: closed .* server=([^ ]+) backend=\1 ' -t relay
    assert_equal "$(accepted own)" 5
    run inside systemctl is-active test-own.socket
    assert_output active
}

# flood NAME [NAME=VALUE...]: of tests/load.py, which tells what it was like.
flood() {
    start load python3 "$TESTS/load.py" flood launcher="$(<"$BATS_FILE_TMPDIR/init")" machine=yes \
        port="$(where "$1")" backend="$BACKEND" over=closed others=1 after=30 "${@:2}"
    comment load
    exit_status load || return
    wait_for no_instance "$1"
}

@test "a flood from one address gets no more than the limit for it, and others are served" {
    local limit
    limit=$(sed -n 's/^MaxConnectionsPerSource=//p' "$UNITS/relay.socket")
    flood busy limit="$limit" count="${limit}0" other_address=127.0.0.2
    run journal_of busy SYSLOG_IDENTIFIER=relay PRIORITY=3
    assert_output ''
}

@test "a flood from everywhere gets no more than the limit for all, other ports are served, and then everybody" {
    flood flooded limit=40 count=400 addresses=40 other_port="$(where busy)"
    run journal_of flooded SYSLOG_IDENTIFIER=relay PRIORITY=3
    assert_output ''
}

@test "a burst of 400 connections does not end the listening" {
    local port
    port=$(where busy)
    python3 - "$port" <<'PYTHON'
import socket, sys

for n in range(400):
    client = socket.socket()
    client.bind(("127.0.1.%d" % (n % 100 + 1), 0))
    client.connect(("127.0.0.1", int(sys.argv[1])))
    client.close()
PYTHON
    wait_for nobody_waits busy
    backend_record "$BACKEND" --say 'good day'
    run ask "$port" </dev/null
    assert_output 'good day'
    run inside systemctl is-active test-busy.socket
    assert_output active
}

@test "systemd starts no service for a client that was gone before, and nothing has failed" {
    local before
    before=$(accepted stdin)
    kill -STOP "$(<"$BATS_FILE_TMPDIR/init")"
    python3 - "$(where stdin)" <<'PYTHON'
import socket, struct, sys

client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
client.close()
PYTHON
    kill -CONT "$(<"$BATS_FILE_TMPDIR/init")"
    journal_says 'getpeername failed' -u test-stdin.socket
    assert_equal "$(accepted stdin)" "$before"
    run ! journal -u test-stdin.socket --grep 'Failed'
    run inside systemctl is-active test-stdin.socket
    assert_output active
}

@test "systemd's own limit ends the listening where the unit does not forbid it, and a start mends it" {
    local port
    port=$(where trigger)
    crowd_of 10 "$port"
    wait_for eval "! listening $port"
    journal_says 'Trigger limit hit' -u test-trigger.socket
    inside systemctl restart test-trigger.socket
    wait_listening "$port"
}

@test "systemd says what is missing: relay, the service, or Accept=yes" {
    ask "$(where lost)" </dev/null || true
    journal_says 'status=203/EXEC' _PID=1
    ask "$(where alone)" </dev/null || true
    journal_says 'Failed to queue service startup job' -u test-alone.socket
    wait_for eval "! listening $(where alone)"
    run ! inside systemctl start test-unaccepting.socket
    journal_says 'Socket service … not loaded' -u test-unaccepting.socket
    inside systemctl reset-failed
}

@test "systemd gives up a socket without Accept=yes, and one that is started too often until it is told to forget" {
    local i
    ask "$(where at-once)" </dev/null || true
    journal_says 'service-start-limit-hit' -u test-at-once.socket
    wait_for eval "! listening $(where at-once)"
    sed -i 's/^ListenStream=.*/&\nAccept=yes/' "$BATS_FILE_TMPDIR/units/test-at-once.socket"
    mv "$BATS_FILE_TMPDIR/units/test-at-once.service" "$BATS_FILE_TMPDIR/units/test-at-once@.service"
    inside systemctl daemon-reload
    inside systemctl restart test-at-once.socket
    backend_record "$BACKEND" --say 'good day'
    run ask "$(where at-once)" </dev/null
    assert_output 'good day'
    for i in {1..10}; do
        inside systemctl restart test-at-once.socket || break
    done
    ((i < 10))
    journal_says 'Start request repeated too quickly.' -u test-at-once.socket
    run ! inside systemctl start test-at-once.socket
    inside systemctl reset-failed test-at-once.socket
    inside systemctl start test-at-once.socket
    run ask "$(where at-once)" </dev/null
    assert_output 'good day'
}

# crowd_of COUNT PORT: clients, as far as they are let in, which leave at once.
crowd_of() {
    python3 - "$@" <<'PYTHON'
import socket, sys

for n in range(int(sys.argv[1])):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[2]))).close()
    except OSError:
        pass
PYTHON
}

@test "where systemd waits for the client's first byte, the server's greeting does" {
    local port
    port=$(where deferred)
    backend_record "$BACKEND" --say 'good day'
    mkfifo "$(work_dir)/input"
    start client socat -t 30 - "TCP:127.0.0.1:$port" <>"$(work_dir)/input"
    # Its side is connected, systemd's is not.
    wait_for eval "ss -Htan 'sport = :$port' | grep -E \"$(quoted 'SYN-RECV')\""
    no_instance deferred
    run ! grep . "$(log_file client)"
    echo hello >"$(work_dir)/input"
    wait_log client 'good day'
}

@test "the services' hardening is in force" {
    local n=0 style pid
    backend_record "$BACKEND"
    inside touch /home/probe /root/probe /tmp/probe /var/tmp/probe /dev/probe
    for style in "${STYLES[@]}"; do
        n=$((n + 1))
        client "$n" "$style"
        pid=$(main_pid "$style")
        run inside cat "/proc/$pid/status"
        assert_line NoNewPrivs:$'\t'1
        assert_line Seccomp:$'\t'2
        assert_line CapEff:$'\t'0000000000000000
        assert_line CapPrm:$'\t'0000000000000000
        assert_line CapBnd:$'\t'0000000000000000
        assert_line --regexp '^Uid:'$'\t''6[0-9]{4}'$'\t' # a dynamic user's
        run inside diff "/proc/$pid/uid_map" /proc/1/uid_map
        assert_failure 1
        # The files that it sees: nothing to write to, and nobody else's.
        run inside nsenter -m -t "$pid" -- sh -c 'touch /etc/x /usr/x /var/x;
            ls -A /home /root /tmp /var/tmp; ls /dev/probe /proc/meminfo'
        assert_output "touch: cannot touch '/etc/x': Read-only file system
touch: cannot touch '/usr/x': Read-only file system
touch: cannot touch '/var/x': Read-only file system
/home:

/root:

/tmp:

/var/tmp:
ls: cannot access '/dev/probe': No such file or directory
ls: cannot access '/proc/meminfo': No such file or directory"
        run inside cat "/proc/$pid/mounts"
        assert_line --regexp '^proc /proc proc .*hidepid=invisible'
    done
}

@test "systemd has no complaint about the units" {
    run inside sh -c 'systemd-analyze verify /run/examples/*'
    assert_success
    assert_output ''
}

@test "systemd calls the services safe" {
    local service
    for service in "$UNITS"/*.service; do
        run systemd-analyze security --offline=true --threshold=12 "$service"
        assert_success
    done
}

@test "the two styles' services differ only in where the client is" {
    run diff <(grep -v '^#' "$UNITS/relay@.service") <(grep -v '^#' "$UNITS/relay-fd3@.service")
    assert_line -n 1 '< StandardInput=socket'
    assert_line -n 2 '< StandardError=journal'
    assert_equal "${#lines[@]}" 3
}
