#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay as one program of a chain: examples/pipelines/, in which only ports, paths
# and addresses are replaced. Pipes and TLS cannot carry all that a socket can: what
# the files say of that is tested, too.
#
# shellcheck disable=SC2154 # set by connection
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2317 # functions for wait_for

load helper
load connection
load readme

CHAINS=(recordio fixcrio filters tcprules rblsmtpd tls-socat tls-ncat tls-tlswrapper)
MAIL='MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nQUIT\r\n'

export DNSCACHEIP=127.9.9.9 # no resolver is there

setup_file() {
    connection_file
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=relay.example -addext subjectAltName=DNS:relay.example \
        -keyout "$BATS_FILE_TMPDIR/key.pem" -out "$BATS_FILE_TMPDIR/cert.pem" 2>/dev/null
    cat "$BATS_FILE_TMPDIR"/{key,cert}.pem >"$BATS_FILE_TMPDIR/tls.pem"

    # It takes rblsmtpd eleven seconds to give up: two clients wait from the start.
    [[ $(id -u) == 0 ]] || return 0
    connection
    record
    chain rblsmtpd
    # shellcheck disable=SC2059 # it has escapes
    printf "$MAIL" >"$BATS_FILE_TMPDIR/mail"
    start served socat -t 60 - "TCP:127.0.0.1:$port,bind=127.0.5.1" <"$BATS_FILE_TMPDIR/mail"
    port=$(free_port)
    chain rblsmtpd 's/ -C / -c /' chain-closed
    start told socat -t 60 - "TCP:127.0.0.1:$port,bind=127.0.5.1" <"$BATS_FILE_TMPDIR/mail"
}

teardown_file() { stop_all; }

setup() { connection; }

teardown() { stop_all; }

# chain NAME [SED-SCRIPT [PROCESS]]: examples/pipelines/NAME.sh, known as "chain".
# In its rules, 127.0.0. is never looked up, 127.0.3. gets no mail, or is denied,
# 127.0.4.66 is denied.
chain() {
    local dir
    need_root
    dir=$(work_dir)
    chmod 711 "$dir"
    start "${3:-chain}" sh "$(example "pipelines/$1.sh" "\
        s/ \(80\|25\|443\) / $port /; s/LISTEN:443,/LISTEN:$port,/; s/ 443\$/ $port/
        s/:8080\>/:$backend/; s/:2525\>/:$backend/
        s|/var/lib/relay/|$dir/rules/|; s|/etc/relay/|$BATS_FILE_TMPDIR/|g
        s/^10\.:/127.0.0.:/; s/^203\.0\.113\.:/127.0.3.:/; s/^198\.51\.100\.66:/127.0.4.66:/
        ${2:-}")"
    wait_listening "$port"
}

# next_chain: ends this one, and its backend, before another in the same test.
next_chain() {
    stop chain
    [[ ! -e $BATS_TEST_TMPDIR/backend ]] || { stop backend && rm -r "$BATS_TEST_TMPDIR/backend"; }
    connection
}

# connect_to CHAIN [FROM [TO]]: as that one wants it.
connect_to() {
    case $1 in
    tls-ncat | tls-tlswrapper) connect_waiting ask_tls "${@:2}" ;;
    tls-*) connect_tls "${@:2}" ;;
    *) connect "${@:2}" ;;
    esac
}

# names CHAIN V1-LINE V2-HEX: the backend got this header, in the version that the chain sends.
names() {
    case $1 in
    fixcrio | rblsmtpd) assert_relayed_v2 "$3" ;;
    *) assert_relayed_v1 "$2" ;;
    esac
}

# ends [--tls]: what the chain makes of ends and resets.
ends() {
    run python3 "$TESTS/chain.py" "$@" "$port" "$backend"
}

# --- every chain ---

@test "each chain names an IPv4 client, and relay's line is on stderr" {
    local chain
    for chain in "${CHAINS[@]}"; do
        echo "$chain:"
        record
        chain "$chain"
        connect_to "$chain"
        names "$chain" "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port" "$(hex_tcp4 127.0.0.2 "$from" 127.0.0.1 "$port")"
        wait_for alone chain
        assert_equal "$(said chain)" "$(closed_line "127.0.0.2:$from" "127.0.0.1:$port")"
        next_chain
    done
}

@test "each chain tells of a backend that refuses on stderr, and the client gets nothing" {
    local chain
    for chain in "${CHAINS[@]}"; do
        echo "$chain:"
        chain "$chain"
        WAIT_SECONDS=1 run connect_to "$chain"
        assert_nothing_sent
        wait_for alone chain
        assert_refused_line "$(said chain)" "127.0.0.2:$from"
        next_chain
    done
}

@test "in each chain clients that leave at once leave no process behind" {
    local chain
    for chain in "${CHAINS[@]}"; do
        echo "$chain:"
        record
        chain "$chain"
        leave close 5
        leave reset 5
        wait_for alone chain
        wait_for no_connection
        next_chain
    done
}

@test "each chain of pipes names an IPv6 client, and an IPv4 one of both families plainly" {
    local chain
    for chain in recordio fixcrio filters tls-tlswrapper; do
        echo "$chain:"
        record
        chain "$chain" "s|^exec tcpserver|exec $TCPSERVER6 -6|; s/ 0\.0\.0\.0 / 0 /"
        connect_to "$chain" ::1 ::1
        names "$chain" "PROXY TCP6 ::1 ::1 $from $port" "$(hex_loopback6 "$from" "$port")"
        record_anew
        connect_to "$chain"
        names "$chain" "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port" "$(hex_tcp4 127.0.0.2 "$from" 127.0.0.1 "$port")"
        next_chain
    done
}

# --- recordio ---

@test "recordio shows what the client sends and gets, and not the header" {
    record
    chain recordio
    connect
    wait_for alone chain
    run sed -nE 's/^[0-9]+ < //p' "$(log_file chain)"
    assert_output "$QUESTION+"$'\n[EOF]'
    run sed -nE 's/^[0-9]+ > //p' "$(log_file chain)"
    assert_output "$ANSWER+"$'\n[EOF]'
}

@test "recordio, fixcrio: a half-close passes, resets and late words are lost as the examples say" {
    local chain
    for chain in recordio fixcrio; do
        chain "$chain"
        ends
        assert_output "\
late-answer: backend question eof, client answer eof
late-words: backend eof, client greeting eof
client-reset: backend question eof, client -
backend-reset: backend -, client greeting eof"
        next_chain
    done
}

# --- fixcrio ---

@test "fixcrio puts in each CR that is missing, both ways" {
    backend_record "$backend" --say $'220 mx\n250 ok\r\n'
    chain fixcrio
    printf 'HELO me\nQUIT\r\n' | ask "$port" "$from" 127.0.0.2 >"$answer"
    assert_equal "$(tail -c +29 "$(all_bytes)" | cat -A)" $'HELO me^M$\nQUIT^M$'
    assert_equal "$(cat -A "$answer")" $'220 mx^M$\n250 ok^M$'
}

# --- filters ---

@test "filters change what passes, both ways" {
    backend_record "$backend" --say $'220 hello\n'
    chain filters
    printf 'one\r\ntwo\r\n' | ask "$port" "$from" 127.0.0.2 >"$answer"
    assert_equal "$(cat -A "$(all_bytes)")" "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port^M\$
one\$
two\$"
    assert_equal "$(cat -A "$answer")" '220 hello^M$'
}

@test "filters: a half-close passes, the answer's end is the connection's, as the example says" {
    chain filters
    ends
    assert_output --regexp "\
^late-answer: backend question eof, client answer eof
late-words: backend (reset|eof), client greeting eof
client-reset: backend question eof, client -
backend-reset: backend -, client greeting eof\$"
    is_running chain
}

@test "filters: without the example's kill 0 the client does not learn of the answer's end" {
    chain filters 's/ kill 0;//'
    ends
    assert_line "late-words: backend words eof, client greeting open"
    assert_line "backend-reset: backend -, client greeting open"
}

# --- tcpserver's rules ---

# denied FROM
denied() {
    : >"$answer"
    run connect "$1"
    assert_nothing_sent
    wait_log chain ":$1::$from"
    grep -q "^tcpserver: deny .*:$1::$from\$" "$(log_file chain)"
}

# change_rules FILE LINE: adds one, and has it count, as tcprules.sh says.
change_rules() {
    (
        cd "$BATS_TEST_TMPDIR/rules" || return
        echo "$2" >>"$1"
        sh -c "$(sed -n 's/^#  *editor rules && \(tcprules .*<rules\) .*/\1/p' "$ROOT/examples/pipelines/tcprules.sh" |
            sed "s/rules\([. ]\|\$\)/$1\1/g; s/^tcp$1/tcprules/")"
    )
}

@test "tcprules: who is denied gets nothing, and relay is not started" {
    local address
    record
    chain tcprules
    for address in 127.0.3.1 127.0.3.200 127.0.4.66; do
        denied "$address"
        from=$(free_port)
    done
    assert_equal "$(said chain)" ""
    connect 127.0.4.65
    assert_relayed_v1 "PROXY TCP4 127.0.4.65 127.0.0.1 $from $port"
}

@test "tcprules: new rules count from the next connection on" {
    record
    chain tcprules
    connect
    assert_answered
    from=$(free_port)
    change_rules rules 127.0.0.2:deny
    denied 127.0.0.2
}

@test "tcprules, rblsmtpd: what was denied later is denied after a restart" {
    local chain file=rules
    for chain in tcprules rblsmtpd; do
        echo "$chain:"
        chain "$chain"
        change_rules "$file" 127.0.0.2:deny
        stop chain
        from=$(free_port)
        chain "$chain"
        denied 127.0.0.2
        next_chain
        file=smtp
    done
}

@test "a reset without a word of relay's: tcpserver denies, or cannot read its rules or run relay" {
    is_cut 127.0.3.1
    wait_log chain 'tcpserver: deny '
    says 'end … status 25600' "$(log_file chain)"
    is_cut 127.0.0.2 's/ -x [^ ]*/&.not/'
    wait_log chain '.not: file does not exist'
    grep '^tcpserver: .*unable to read ' "$(log_file chain)"
    says 'end … status 28416' "$(log_file chain)"
    install -D -m 755 "$RELAY" "$BATS_TEST_TMPDIR/closed/relay"
    chmod 700 "$BATS_TEST_TMPDIR/closed"
    is_cut 127.0.0.2 "s|^    [^ ]*/relay |    $BATS_TEST_TMPDIR/closed/relay |"
    says 'unable to run …: access denied' "$(log_file chain)"
    says 'end … status 28416' "$(log_file chain)"
}

# is_cut FROM [SED-SCRIPT]: such a client of tcprules.sh is.
is_cut() {
    [[ ! -e $BATS_TEST_TMPDIR/chain.pid ]] || next_chain
    chain tcprules "${2:-}"
    cut_off() { # mostly the request is there already
        curl -sS -m 30 --noproxy '*' --interface "$1" "http://127.0.0.1:$port/" 2>&1 |
            grep -F "$(quoted 'Connection reset by peer')"
    }
    wait_for cut_off "$1"
    assert_equal "$(said chain)" ''
}

@test "tcpserver without -H waits where DNS does not answer" {
    backend_record "$backend" --say $'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n'
    fetch() { curl -sS -m 3 --noproxy '*' "http://127.0.0.1:$port/"; }
    chain recordio 's/ -H / /'
    run fetch
    assert_failure 28
    says 'tcpserver: pid' "$(log_file chain)"
    run ! grep -E "$(quoted 'tcpserver: ok')" "$(log_file chain)"
    stop chain
    chain recordio
    run fetch
    assert_output hello
    says 'tcpserver: ok' "$(log_file chain)"
}

@test "tcprules: tcprulescheck tells what the example's rules say" {
    chain tcprules
    TCPREMOTEIP=127.0.3.7 run tcprulescheck "$BATS_TEST_TMPDIR/rules/rules.cdb"
    assert_line "deny connection"
    TCPREMOTEIP=127.0.4.7 run tcprulescheck "$BATS_TEST_TMPDIR/rules/rules.cdb"
    assert_line "allow connection"
}

# --- rblsmtpd ---

# send_mail FROM: a whole dialogue. Prints the codes that it gets.
send_mail() {
    python3 - "$port" "$1" <<'PYTHON'
import smtplib, sys
client = smtplib.SMTP(timeout=20, source_address=(sys.argv[2], 0))
print("greeting", *client.connect("127.0.0.1", int(sys.argv[1])))
try:
    client.sendmail("a@example.org", ["b@example.org"], "Subject: test\r\n\r\nHello\r\n")
    print("quit", *client.quit())
except smtplib.SMTPRecipientsRefused as refusal:
    print("refused", *refusal.recipients["b@example.org"])
PYTHON
}

@test "rblsmtpd leaves a client to relay, and the backend speaks first" {
    local line
    backend_record "$backend" \
        --say $'220 mx\r\n250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n250 sent\r\n221 bye\r\n'
    chain rblsmtpd
    run send_mail 127.0.0.2
    assert_output "greeting 220 b'mx'
quit 221 b'bye'"
    assert_regex "$(hexdump_of "$(all_bytes)")" "^0d0a0d0a000d0a515549540a2111000c7f0000027f000001....$(printf %04x "$port")"
    mapfile -t line < <(tail -c +29 "$(all_bytes)" | tr -d '\r')
    assert_equal "${line[*]:1}" "mail FROM:<a@example.org> rcpt TO:<b@example.org> data Subject: test  Hello . quit"
}

@test "rblsmtpd answers a listed client itself, and relay is not started" {
    record
    chain rblsmtpd
    run send_mail 127.0.3.1
    assert_line --index 0 --partial "greeting 220"
    assert_line --index 1 "refused 553 b'we take no mail from you'"
    wait_log chain 'rblsmtpd: 127.0.3.1 pid'
    wait_for alone chain
    assert_equal "$(said chain)" ""
    denied 127.0.4.66
    assert_equal "$(ls "$BATS_TEST_TMPDIR/backend")" ""
}

@test "rblsmtpd becomes relay: ends and resets pass as they are" {
    chain rblsmtpd 's/^:allow/127.:allow,RBLSMTPD=""/'
    ends
    assert_output "\
late-answer: backend question eof, client answer eof
late-words: backend words eof, client greeting eof
client-reset: backend question reset, client -
backend-reset: backend -, client greeting reset"
}

# over FILE'S-PROCESS: one of setup_file has ended.
over() {
    [[ -z $(ps -o pid= -p "$(cat "$BATS_FILE_TMPDIR/$1.pid")") ]]
}

@test "rblsmtpd: where DNS does not answer, a client is served, or with -c told 451" {
    need_root
    WAIT_SECONDS=60 wait_for over served
    assert_equal "$(cat "$BATS_FILE_TMPDIR/served.log")" "$ANSWER"
    assert_regex "$(hexdump_of "$BATS_FILE_TMPDIR/backend/1.first")" "^0d0a0d0a000d0a515549540a2111000c7f000501"

    WAIT_SECONDS=60 wait_for over told
    grep -q '^451 temporary RBL lookup error' "$BATS_FILE_TMPDIR/told.log"
    assert_equal "$(said '' "$BATS_FILE_TMPDIR/chain-closed.log")" ""
    [[ ! -e $BATS_FILE_TMPDIR/backend/2.first ]]
}

# --- TLS ---

@test "tls-socat, tls-ncat: an IPv6 client is named" {
    local chain
    for chain in tls-socat tls-ncat; do
        record
        chain "$chain"
        connect_to "$chain" ::1 ::1
        assert_relayed_v1 "PROXY TCP6 ::1 ::1 $from $port"
        next_chain
    done
}

@test "tls-socat, tls-ncat, tls-tlswrapper: curl trusts the certificate, and has its answer" {
    local chain
    for chain in tls-socat tls-ncat tls-tlswrapper; do
        backend_record "$backend" --say $'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n'
        chain "$chain"
        run curl -sS -m 10 --noproxy '*' --cacert "$BATS_FILE_TMPDIR/cert.pem" --interface 127.0.0.2 \
            --resolve "relay.example:$port:127.0.0.1" "https://relay.example:$port/"
        assert_output hello
        assert_regex "$(head -n 1 "$(first_segment)")" "^PROXY TCP4 127\.0\.0\.2 127\.0\.0\.1 "
        grep -q '^GET / HTTP/1.1' "$(all_bytes)"
        next_chain
    done
}

@test "tls-socat, tls-tlswrapper: a client that does not speak TLS gets nothing, and relay is not started" {
    local chain
    for chain in tls-socat tls-tlswrapper; do
        record
        chain "$chain"
        printf 'GET / HTTP/1.0\r\n\r\n' | ask "$port" "$from" 127.0.0.2 >"$answer" || true
        wait_for alone chain
        assert_equal "$(said chain)" ""
        run ! grep -a "$ANSWER" "$answer"
        [[ $chain != tls-tlswrapper ]] || wait_log chain 'status 28416'
        next_chain
    done
}

@test "tls-socat: with -2 -s the backend is told of TLS, as the example says" {
    record
    chain tls-socat 's|/relay -v|/relay -2 -s|'
    connect_tls
    assert_equal "$(python3 "$TESTS/header.py" show "$(all_bytes)")" "PROXY INET STREAM 127.0.0.2 127.0.0.1 $from $port
SSL client=1 verify=1 VERSION=TLSv1.3 CIPHER=TLS_AES_256_GCM_SHA384"
}

@test "tls-socat: half-closes pass, resets as the example says" {
    chain tls-socat
    ends --tls
    assert_output --regexp "\
^late-answer: backend question eof, client answer eof
late-words: backend words eof, client greeting eof
client-reset: backend question (reset|eof), client -
backend-reset: backend -, client greeting eof\$"
}

@test "tls-ncat: ends and resets are lost as the example says" {
    chain tls-ncat
    ends --tls
    assert_output "\
late-answer: backend question eof, client eof
late-words: backend words eof, client greeting open
client-reset: backend question eof, client -
backend-reset: backend -, client greeting eof"
}

@test "tls-tlswrapper: ends and resets are lost as the example says" {
    chain tls-tlswrapper
    ends --tls
    assert_output "\
late-answer: backend question eof, client eof
late-words: backend eof, client greeting eof
client-reset: backend question eof, client -
backend-reset: backend -, client greeting eof"
}

@test "tls-tlswrapper: relay is nobody, and after -t a silent connection is over" {
    record
    chain tls-tlswrapper 's/ -t 60 / -t 2 /'
    relay_user() { [[ $(ps -o user= -p "$(pgrep -s "$(pid_of chain)" -x relay)") == nobody ]]; }
    start client socat -u "OPENSSL:127.0.0.1:$port,verify=0" -
    wait_for relay_user
    wait_log client "$ANSWER"
    wait_for eval '! is_running client'
}

# overlap: a client whose handshake is under way while another is handed to relay. Prints
# how TCP ends for it when TLS has: with the other's connection open, and then over.
overlap() {
    python3 - "$port" "$backend" <<'PYTHON'
import socket, ssl, sys
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
backend = socket.create_server(("127.0.0.1", int(sys.argv[2])))
backend.settimeout(10)

def call():
    return socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)

first = call()
second = tls.wrap_socket(call())    # accepted after the first
ends = [backend.accept()]           # so a relay has been started
first = tls.wrap_socket(first)
ends.append(backend.accept())
first = first.unwrap()              # TLS has ended both ways
first.settimeout(2)
try:
    print("first", first.recv(1))
except TimeoutError:
    print("first open")
second.unwrap()
first.settimeout(10)
print("then", first.recv(1) or "eof")
PYTHON
}

@test "tls-ncat: the relay of another client may hold a connection open, as the example says" {
    chain tls-ncat
    run overlap
    assert_output $'first open\nthen eof'
}

# stunnel gives its program a connection of its own, from 127.0.0.1 to 127.0.0.1:
# nothing that relay asks tells the two apart from a client and a server. So there
# is no example for it, but a word in tls-socat.sh.
@test "stunnel's exec: relay takes stunnel for the client, as tls-socat.sh says" {
    record
    start stunnel stunnel -fd 0 <<END
foreground = yes
debug = err
pid =
[relay]
accept = 127.0.0.1:$port
cert = $BATS_FILE_TMPDIR/tls.pem
exec = $RELAY
execArgs = relay -v 127.0.0.1:$backend
END
    wait_listening "$port"
    connect_tls
    assert_regex "$(head -n 1 "$(first_segment)" | tr -d '\r')" '^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 '
    assert_answered
}
