#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# What README.md tells people to type is read out of it here, typed as it stands, and
# does what README.md says: in a copy of the tree, in a network of the test's own where
# ports and addresses are free, or on a machine with systemd. The last tests see that
# no command is forgotten, and that figures and names are right.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2016 # README.md's own marks
# shellcheck disable=SC2153,SC2154 # set by backend and connection
# shellcheck disable=SC2317 # functions for wait_for

load helper
load backend
load connection
load readme
load nspawn

# The copy begins as a clone does, with nothing built but what only the tests need. No
# apt-get installs anything here.
setup_file() {
    connection_file
    tree=$BATS_FILE_TMPDIR/tree
    mkdir "$tree" "$BATS_FILE_TMPDIR/bin"
    tar -C "$ROOT" -c --exclude=./.git --exclude=./relay --exclude='*.o' --exclude=./build \
        --exclude='*.gcda' --exclude=__pycache__ . | tar -C "$tree" -x
    printf '#!/bin/sh\nexec /usr/bin/apt-get -s "$@"\n' >"$BATS_FILE_TMPDIR/bin/apt-get"
    chmod +x "$BATS_FILE_TMPDIR/bin/apt-get"
}

teardown_file() { machine_stop; }

setup() {
    tree=$BATS_FILE_TMPDIR/tree
    answer=$BATS_TEST_TMPDIR/answer
    unset MAKEFLAGS MAKEOVERRIDES MFLAGS MAKELEVEL CC CFLAGS CPPFLAGS LDFLAGS DESTDIR PREFIX
}

teardown() { stop_all; }

# --- typing it ---

# Of nspawn.bash's: in the machine. Here "inside" is in the private network.
eval "$(declare -f inside | sed '1s/inside/in_machine/')"
inside() { "${under[@]}" "$@"; }

# types TEXT: in the tree.
types() {
    (cd "$tree" && PATH=$BATS_FILE_TMPDIR/bin:$PATH sh -ec "$1")
}

# in_network: a private network, in which relay is on PATH as if it were installed.
in_network() {
    private_network
    under+=(env "PATH=$BATS_FILE_TMPDIR:$PATH")
    inside mount -t tmpfs none /run
}

# start_typing NAME TEXT: in that network.
start_typing() {
    start_inside "$1" sh -c "$2"
}

# listens PORT: somebody does, in that network.
listens() {
    wait_for inside sh -c "ss -Hltn 'sport = :$1' | grep ."
}

# call FROM-PORT [FROM [TO]]: asks port 80 there, half-closes, keeps what comes.
call() {
    printf %s "$QUESTION" |
        inside socat -t 30 - "TCP:${3:-127.0.0.1}:80,bind=${2:-127.0.0.2}:$1" >"$answer"
}

# alike: numbers that differ from run to run become N, and dates go.
alike() {
    sed -E 's/:[0-9]{4,5}\b/:N/g; s/^(127\.0\.0\.2|::1) [0-9]+/\1 N/; s/\[[0-9].*\+0000\]/[]/
        s/(up|down|seconds|connect_ms)=[0-9.]+/\1=N/g'
}

# shows TEXT WHAT: TEXT has the lines that WHAT, a block of README.md, has, in that
# order; where WHAT has "...", any others may stand between.
shows() {
    local expected=() line i=0 any=''
    mapfile -t expected <<<"$2"
    while IFS= read -r line; do
        while [[ ${expected[i]:-} == ... ]]; do any=yes i=$((i + 1)); done
        if [[ $line == "${expected[i]-}" ]]; then
            any='' i=$((i + 1))
        elif [[ ! $any ]]; then
            echo "README.md shows '${expected[i]-the end}', and there is '$line'"
            return 1
        fi
    done <<<"$1"
    while [[ ${expected[i]:-} == ... ]]; do i=$((i + 1)); done
    ((i == ${#expected[@]})) || { echo "README.md shows '${expected[i]}', and it does not come"; return 1; }
}

# --- what and why, and the two commands ---

@test "the header that README.md shows first is relay's" {
    connection
    record
    env -i PROTO=TCP TCPREMOTEIP=203.0.113.7 TCPREMOTEPORT=51234 TCPLOCALIP=198.51.100.2 TCPLOCALPORT=443 \
        "$RELAY" "127.0.0.1:$backend" </dev/null | cat
    assert_equal "$(cat -A "$(all_bytes)")" "$(readme_block 'PROXY ')^M\$"
}

@test "the demonstration shows what README.md says" {
    local block
    need_root 'what installs the missing'
    block=$(readme_block '\$ sh examples')
    run types "$(sed -n '1s/^\$ //p' <<<"$block")"
    assert_success
    shows "$(alike <<<"$output")" "$(sed '1,2d' <<<"$block" | alike)"
}

# nested COMMAND: run.sh in the tree, as somebody does who has no tests running.
nested() {
    start nested env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME="$BATS_TEST_TMPDIR" sh -c "cd '$tree' && $1"
    WAIT_SECONDS=60 exit_status nested
}

@test "sh tests/run.sh, of a few tests, says what README.md shows" {
    local block command
    need_root 'what installs the missing'
    block=$(readme_block '\$ sh tests/run')
    command=$(sed -n '1s/^\$ //p' <<<"$block")
    rm -f "$tree/relay"
    nested "$command -f '^(nginx|Apache) sees and logs IPv4' tests/backends.bats"
    shows "$(<"$(log_file nested)")" "$(sed 1d <<<"$block")"
    run tail -n 1 "$(log_file nested)"
    assert_output '2 passed, 0 failed, 0 skipped'
    # It is what the CI runs, and takes as long.
    run grep -F "exec $command " "$ROOT/.ci/run"
    assert_success
}

# --- install ---

@test "what README.md has people install Debian has" {
    local lines packages
    lines=$(readme_blocks | cut -f 2 | grep '^\(# \)\?apt-get install ')
    (($(wc -l <<<"$lines") >= 3))
    mapfile -t packages < <(awk '{ sub(/.*install /, ""); gsub(/ /, "\n"); print }' <<<"$lines")
    run "$BATS_FILE_TMPDIR/bin/apt-get" -q install "${packages[@]}"
    assert_success
}

@test "make, make install and make uninstall, as README.md has them" {
    local block
    block=$(readme_block 'apt-get install gcc')
    export DESTDIR=$BATS_TEST_TMPDIR/stage
    types "$block"
    run "$DESTDIR/usr/local/bin/relay" --version
    assert_success
    for file in share/man/man1/relay.1 lib/systemd/system/relay.socket share/doc/relay/README.md \
        share/doc/relay/examples/nginx.conf; do
        assert [ -e "$DESTDIR/usr/local/$file" ]
    done
    types "$(readme_block 'make uninstall')"
    run find "$DESTDIR" ! -type d
    assert_output ''
}

# --- launchers ---

booted() {
    journalctl -q -D "$BATS_FILE_TMPDIR/journal" UNIT=basic.target --grep '^Reached target'
}

@test "README.md's commands for systemd put relay on port 80, and show its lines" {
    local block from
    need_root 'a machine with systemd'
    mkdir -p "$BATS_FILE_TMPDIR"/{units,files/usr/local/bin}
    install -m 755 "$RELAY" "$BATS_FILE_TMPDIR/files/usr/local/bin/relay"
    ln -s /lib/systemd/system/basic.target "$BATS_FILE_TMPDIR/units/default.target"
    machine_boot --private-network --bind-ro="$ROOT:/run/tree"
    block=$(readme_block 'cd examples/systemd')
    in_machine sh -ec "cd /run/tree; $(sed '$d' <<<"$block")"
    under=(nsenter --net --target "$(<"$BATS_FILE_TMPDIR/init")" --)
    record_on_machine
    from=$(free_port)
    run "${under[@]}" socat -t 30 - "TCP:127.0.0.1:80,bind=127.0.0.2:$from" </dev/null
    assert_output 'good day'
    assert_equal "$(cat -A "$(first_segment)")" "PROXY TCP4 127.0.0.2 127.0.0.1 $from 80^M\$"
    tells() { in_machine sh -c "$(tail -n 1 <<<"$block")" | grep "relay: closed client=127\.0\.0\.2:$from .* end=done\$"; }
    wait_for tells
}

record_on_machine() {
    mkdir "$BATS_TEST_TMPDIR/backend"
    start backend "${under[@]}" python3 "$PEER" record 127.0.0.1:8080 "$BATS_TEST_TMPDIR/backend" --say 'good day'
    wait_for "${under[@]}" sh -c "ss -Hltn 'sport = :8080' | grep ."
}

@test "README.md's tcpserver with tcpclient names the client, and logs it" {
    local from
    in_network
    record_inside 127.0.0.1:8080 --say "$ANSWER"
    start_typing tcpserver "$(readme_block 'tcpserver .* tcpclient ')"
    listens 80
    from=$(free_port)
    call "$from"
    assert_relayed_v1 "PROXY TCP4 127.0.0.2 127.0.0.1 $from 80"
    wait_log tcpserver "closed client=127.0.0.2:$from "
}

# --- backends ---

# nginx_inside PORT [SED-SCRIPT]: the example, there.
nginx_inside() {
    local dir
    dir=$(user_dir "nginx-$1")
    mkdir -p "$dir/html"
    sed "s/8080/$1/; ${2:-}" "$ROOT/examples/nginx.conf" >"$dir/nginx.conf"
    start_inside "nginx-$1" "${as_user[@]}" nginx -p "$dir" -c "$dir/nginx.conf" -g 'daemon off;'
    listens "$1"
}

@test "README.md's --check says what README.md shows of nginx with its setting and without" {
    in_network
    nginx_inside 8080
    nginx_inside 8000 's/ proxy_protocol;/;/; /real_ip_header/d'
    run inside sh -c "$(readme_block 'relay -n ')"
    assert_failure 111
    assert_equal "$(alike <<<"$output")" "$(readme_block 'ok backend' | alike)"
}

@test "README.md's --bind=client shows a backend that reads no header the client's address" {
    in_network
    nginx_inside 8080 's/ proxy_protocol;/;/; /real_ip_header/d; s/listen \[::1\].*//'
    start_typing tcpserver "exec tcpserver -H -R -l 0 0 80 $(readme_block 'relay -0 ')"
    listens 80
    run inside curl -sS -m 30 --noproxy '*' --interface 127.0.0.2 http://127.0.0.1/client
    assert_output --regexp '^127\.0\.0\.2 [0-9]+$'
}

@test "each way to name a backend in README.md is one" {
    local form to number=0
    in_network
    for form in $(readme_block 'relay HOST' | cut -d ' ' -f 2); do
        rm -rf "$BATS_TEST_TMPDIR"/{backend,socket}
        case $form in
        HOST:PORT) to=localhost:8080 on=127.0.0.1:8080 ;;
        '[V6]:PORT') to='[::1]:8080' on='[::1]:8080' ;;
        /path) to=/run/backend on=/run/backend ;;
        @abstract) to=@backend on=@backend ;;
        fd:R,W) to=fd:6,7 on=127.0.0.1:8080 ;;
        *) fail "what is $form?" ;;
        esac
        mkdir "$BATS_TEST_TMPDIR/backend"
        start_inside backend python3 "$PEER" record "$on" "$BATS_TEST_TMPDIR/backend"
        wait_for inside sh -c "ss -Hltnx | grep -F -e '$on' -e '${on/#@/@}'"
        command=(relay "$to")
        [[ $form != fd:* ]] || command=(tcpclient -H -R -l 0 127.0.0.1 8080 env -i "$(type -P env)" "PATH=$BATS_FILE_TMPDIR" relay "$to")
        printf %s "$QUESTION" | inside "${command[@]}" | cat
        assert_equal "$form: $(tr -d '\r' <"$(all_bytes)")" "$form: PROXY UNKNOWN
$QUESTION"
        stop backend
        number=$((number + 1))
    done
    ((number == 5))
}

# --- options, several backends, behind a proxy ---

@test "README.md's TLVs are in the header" {
    in_network
    record_inside 127.0.0.1:8080
    inside sh -c "$(readme_block 'relay -2 -c')" </dev/null | cat
    run python3 "$TESTS/header.py" show "$(all_bytes)"
    assert_line '0xE0 web-1'
    assert_line --regexp '^UNIQUE_ID .'
    assert_line 'CRC32C right'
}

@test "README.md's tshark shows all of a header" {
    in_network
    record_inside 127.0.0.1:8080
    start_typing tshark "TMPDIR=$BATS_TEST_TMPDIR $(readme_block 'tshark .* -O proxy')"
    wait_log tshark ' -- File: '
    inside env PROTO=TCP TCPREMOTEIP=203.0.113.7 TCPREMOTEPORT=51234 TCPLOCALIP=198.51.100.2 TCPLOCALPORT=443 \
        relay -2 -x alpn=h2 -c -x 0xE0=not-the-last-16-bytes 127.0.0.1:8080 </dev/null | cat
    wait_log tshark 'Source Address: 203.0.113.7'
    wait_log tshark 'Type: ALPN (0x01)'
    wait_log tshark 'Type: Unknown (0xe0)'
    # And as README.md says, the checksum is not shown.
    run ! grep -i -e crc32c -e t=3, "$(log_file tshark)"
}

@test "README.md's lines of the log are relay's" {
    in_network
    start_inside tcpserver tcpserver -H -R -l 0 0 80 relay -v 127.0.0.1:8080
    listens 80
    call "$(free_port)" || true
    wait_log tcpserver 'error '
    record_inside 127.0.0.1:8080 --say "$ANSWER"
    call "$(free_port)"
    wait_log tcpserver end=done
    inside python3 - "$BATS_TEST_TMPDIR/backend/2.first" <<'PYTHON'
import os, socket, struct, sys, time
client = socket.create_connection(("127.0.0.1", 80), 10, ("127.0.0.1", 0))
client.sendall(b"hello")
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
PYTHON
    wait_log tcpserver end=client-reset
    assert_equal "$(relay_lines | alike | sort)" "$(readme_block 'relay: closed' | alike | sort)"
}

@test "README.md's hash gives a client one of the backends, and takes another for one that is down" {
    local first i
    in_network
    inside ip address add 10.0.0.5/32 dev lo
    inside ip address add 10.0.0.6/32 dev lo
    start_typing tcpserver "$(readme_block 'tcpserver .* -l hash')"
    listens 80
    record_inside 10.0.0.5:8080 --say 'five'
    mkdir "$BATS_TEST_TMPDIR/six"
    start_inside six python3 "$PEER" record 10.0.0.6:8080 "$BATS_TEST_TMPDIR/six" --say 'six'
    wait_for inside sh -c 'ss -Hltn "src 10.0.0.6 and sport = :8080" | grep .'
    call "$(free_port)"
    first=$(<"$answer")
    assert_regex "$first" '^(five|six)$'
    for i in 1 2 3; do
        call "$(free_port)"
        assert_equal "$i $(<"$answer")" "$i $first"
    done
    stop backend
    stop six
    mkdir "$BATS_TEST_TMPDIR/spare"
    start_inside spare python3 "$PEER" record /run/spare.sock "$BATS_TEST_TMPDIR/spare" --say 'spare'
    wait_for inside test -S /run/spare.sock
    call "$(free_port)"
    assert_equal "$(<"$answer")" spare
}

@test "README.md's --accept-from takes a header from its network only" {
    in_network
    inside ip address add 10.0.0.5/32 dev lo
    record_inside 127.0.0.1:8080 --say "$ANSWER"
    start_typing tcpserver "$(readme_block 'tcpserver .* -a ')"
    listens 80
    printf 'PROXY TCP4 203.0.113.7 198.51.100.2 51234 443\r\n%s' "$QUESTION" |
        inside socat -t 30 - TCP:127.0.0.1:80,bind=10.0.0.5 >"$answer"
    assert_relayed_v1 'PROXY TCP4 203.0.113.7 198.51.100.2 51234 443'
    run call "$(free_port)"
    wait_log tcpserver 'refused: not in --accept-from'
}

# --- proxyhdr ---

@test "README.md's receiver compiles, and greets whom curl's header names" {
    local block expected
    in_network
    block=$(readme_block 'cc -I')
    types "$(sed -n 1p <<<"$block")"
    start_typing receiver "cd '$tree' && exec $(sed -n 2p <<<"$block")"
    listens 8080
    expected=$(sed -n '3s/.*# //p' <<<"$block")
    run inside sh -c "no_proxy='*' $(sed -n 3p <<<"$block")"
    assert_line "$expected"
}

# --- working on the code ---

@test "README.md's list of the tree has all that is there" {
    local listed name
    listed=$(readme_block 'relay\.c ' | sed 's/  .*//; s/, \.h$/\nproxyhdr.h/')
    for name in $listed; do
        assert [ -e "$ROOT/$name" ]
    done
    for name in $(git -C "$ROOT" ls-files | sed 's|/.*|/|' | sort -u | grep -v -e '^\.' -e LICENSE -e README.md); do
        assert_regex "$listed" "(^|[^a-z/])$name"
    done
}

@test "one test, the pictures and the tables, as README.md has them" {
    local block
    need_root 'what installs the missing'
    block=$(readme_block 'sh tests/run')
    nested "$(sed -n 1p <<<"$block")"
    run cat "$(log_file nested)"
    assert_line --partial 'ok 1 a port is a number'
    assert_line '1 passed, 0 failed, 0 skipped'
    types "$(grep bench-plot <<<"$block")"
    for picture in setup throughput memory growth; do
        cmp "$tree/tests/bench/$picture.svg" "$ROOT/tests/bench/$picture.svg"
    done
    run types "$(grep -e --show <<<"$block")"
    assert_line --partial '| relay | v1 | '
}

# marked: what is not run.
marked() {
    readme_blocks | sed -n 's/^-\t//p'
}

@test "what README.md marks as not run is short, and make knows it" {
    local target
    assert_equal "$(marked | grep -vc '^make ')" 0
    (($(marked | wc -l) <= 7))
    for target in $(marked | sed 's/^make //; s/ *#.*//; s/[A-Z]*=[^ ]*//'); do
        run make -n -C "$tree" "$target"
        assert_success
    done
}

# Commands that other suites run, though they do not read them here: the line's
# beginning, the suite, and what is in it.
ELSEWHERE='make deb|package.bats|make -C "$BATS_FILE_TMPDIR/tree" deb
dpkg -i build/relay_\*\.deb|package.bats|inside dpkg -i "/run/build/$deb"
make dist deb|package.bats|make -C other dist'

# elsewhere LINE: it is one of them.
elsewhere() {
    local beginning suite words
    while IFS='|' read -r beginning suite words; do
        if [[ $1 =~ ^$beginning && -e $TESTS/$suite ]] && grep -qF -e "$words" "$TESTS/$suite"; then return 0; fi
    done <<<"$ELSEWHERE"
    return 1
}

# Nothing to type: a picture.
DRAWN='client ──'

@test "every command in README.md is run by a test, or marked" {
    local blocks lines number line covered missing=''
    # What is read is what these are called with, in whatever suite.
    blocks=$(sed -n "s/.*\<readme_block '\([^']*\)'.*/\1/p" "$TESTS"/*.bats)
    lines=$(sed -nE "s/.*\<(readme_command|watching) '?([^')\"\$]+).*/\2/p" "$TESTS"/*.bats | sort -u)
    local last=''
    while IFS=$'\t' read -r number line; do
        [[ $number != - ]] || continue
        if [[ $number != "$last" ]]; then
            last=$number
            covered=$(grep -c . < <(while IFS= read -r key; do [[ ! $line =~ ^$key ]] || echo 1; done <<<"$blocks")) || true
            [[ $line != "$DRAWN"* ]] || covered=1
        fi
        # What apt-get installs has a test of its own.
        [[ $covered == 0 && $line && $line != '# '* && $line != 'apt-get install '* ]] || continue
        while IFS= read -r key; do ! grep -q "^$key" <<<"$line" || continue 2; done <<<"$lines"
        elsewhere "$line" || missing+="$line"$'\n'
    done < <(readme_blocks)
    assert_equal "$missing" ''
    (($(readme_blocks | cut -f 1 | sort -u | wc -l) > 20))
}

# --- what it names ---

# names PATTERN: what matches it in the section about working on the code, each once.
names() {
    sed -n '/^## Working on the code/,/^## Licence/p' "$ROOT/README.md" | grep -oE -e "$1" | sort -u
}

@test "the suites, tests and functions that README.md names for who works on the code are there" {
    local name missing=''
    for name in $(names '[a-z/-]+\.(bats|bash|c|h|sh)\b'); do
        [[ -e $TESTS/$name || -e $ROOT/$name ]] || missing+="$name"$'\n'
    done
    while IFS= read -r name; do
        grep -qF "@test \"${name//\*/}\"" "$TESTS"/*.bats || missing+="$name"$'\n'
    done < <(names '\*[a-z][^*]+\*' | tr -d '*')
    for name in $(names '`[a-z][a-z_12]+(\(\))?`' | tr -d '`()'); do
        # A function, a table or a list.
        grep -qE "^(static .*)?\<$name\(|\<$name\[\] =|^$name [a-z]" \
            "$ROOT"/*.c "$TESTS"/*.ba* "$TESTS"/*.sh "$TESTS"/fuzz/*.c || missing+="$name"$'\n'
    done
    assert_equal "$missing" ''
}

# --- figures ---

# measured MEASURE AT WHO [UNIT]: the median, rounded, and the unit.
measured() {
    awk -F '\t' -v m="$1" -v at="$2" -v who="$3" -v unit="${4:-}" \
        '$1 == m && $2 == at && $3 == who { printf "%.0f%s\n", $5, unit }' "$TESTS/bench/results.tsv"
}

@test "README.md's figures for when not to use relay are the benchmark's" {
    local table
    table=$(sed -n '/^\*\*When should I not use it/,/^\*\*Does it work for UDP/p' "$ROOT/README.md")
    assert_regex "$table" "\| $(measured setup_p50 1 relay ' µs') each; $(measured setup_rate 64 relay ' a second'), 64 at once \|"
    assert_regex "$table" "HAProxy: $(measured setup_p50 1 HAProxy ' µs'), $(measured setup_rate 64 HAProxy ' a second'); "
    assert_regex "$table" "nginx's stream module: $(measured setup_p50 1 'nginx stream' ' µs'), $(measured setup_rate 64 'nginx stream')"
    assert_regex "$table" "in systemd $(measured setup_p50 1 'relay in systemd' ' µs'), $(measured setup_rate 64 'relay in systemd') a second"
    assert_regex "$table" "systemd-socket-proxyd, $(measured setup_rate 64 systemd-socket-proxyd) a second"
    assert_regex "$table" "\| $(measured memory 2000 relay ' KiB') each; with 5000 open, a new one takes $(measured growth 5000 relay ' µs') \|"
    assert_regex "$table" "HAProxy: $(measured memory 2000 HAProxy ' KiB') each, $(measured growth 5000 HAProxy ' µs')"
}

@test "README.md's tables of flags and of where the time goes are the benchmark's" {
    local tables
    tables=$(python3 "$TESTS/bench/bench.py" --show | sed -n '/^|  | set-up p50 µs | page faults/,/^What/p' | grep '^|')
    assert_equal "$(sed -n '/^\*\*What flags cost/,/^The benchmark ends/p' "$ROOT/README.md" | grep '^|')" "$tables"
    assert_regex "$tables" '[|] seccomp [|] 0 [|] 0 [|] 0 [|] [1-9]'
}

@test "README.md's figures for proxyhdr and libproxyprotocol are the benchmark's" {
    local row version
    for version in 'v1, IPv4:v1-TCP4' 'v2, IPv4:v2-INET' 'v2, IPv6 with three TLVs:v2-INET6+TLVs'; do
        row=$(grep -F "${version%:*} | " "$ROOT/README.md" | tail -n 1)
        for who in proxyhdr libproxyprotocol; do
            assert_regex "$row" "\| $(figure header_build "${version#*:}" "$who"), $(figure header_parse "${version#*:}" "$who") \|"
        done
    done
}

# figure MEASURE AT WHO: under 10 with one decimal.
figure() {
    awk -F '\t' -v m="$1" -v at="$2" -v who="$3" \
        '$1 == m && $2 == at && $3 == who { printf $5 < 10 ? "%.1f\n" : "%.0f\n", $5 }' "$TESTS/bench/results.tsv"
}
