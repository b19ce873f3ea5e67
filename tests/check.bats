#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay --check: what it says of real backends, with the PROXY protocol and
# without, and of odd ones.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2153,SC2154 # set by backend
# shellcheck disable=SC2317 # functions for wait_for

load helper
load backend
load mailservers

NOT_EXPECTED='it takes the header for a request: it expects none, or none from here'
IMAP_GREETING='* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS'
ENDS='it ends the connection: does it expect a header of this version and length, and from here?'

# Each program twice: NAME expects a header, NAME-plain does not.
setup_file() {
    local name
    choose_ports {nginx,haproxy,imap,postfix}{,-plain} haproxy-elsewhere sshd
    chmod go+x "$BATS_RUN_TMPDIR"
    user_dir sockets
    start_nginx nginx
    start_nginx nginx-plain 's/ proxy_protocol;/;/g; /real_ip_header/d'
    start_haproxy haproxy
    start_haproxy haproxy-plain 's/ accept-proxy//g'
    start_haproxy haproxy-elsewhere 's/src 127.0.0.1 ::1/src 192.0.2.1/; s/ { src -m found }//'
    start_sshd
    start_dovecot < <(dovecot_services)
    [[ $(id -u) != 0 ]] || start_postfix < <(postfix_services)
    for name in {nginx,haproxy,imap,postfix}{,-plain}; do
        [[ $name != postfix* || $(id -u) == 0 ]] || continue
        wait_listening "$(port_of "$name")" 127.0.0.1
        wait_listening "$(port_of "$name")" ::1
    done
    wait_listening "$HAPROXY_ELSEWHERE_PORT" ::1
    wait_listening "$SSHD_PORT" ::1
}

teardown_file() { stop_all; }

teardown() { stop_all; }

# --- the servers ---

# start_nginx NAME [SED-SCRIPT]: the example; and on a UNIX socket.
start_nginx() {
    local dir
    dir=$(user_dir "$1")
    sed "s/8080/$(port_of "$1")/; s|^ *listen 127|listen unix:$(socket_of "$1") proxy_protocol;\n&|; ${2:-}" \
        "$ROOT/examples/nginx.conf" >"$dir/nginx.conf"
    start "$1" "${as_user[@]}" nginx -p "$dir" -c "$dir/nginx.conf" -g 'daemon off;'
}

# start_haproxy NAME [SED-SCRIPT]: the same. A UNIX socket has no src.
start_haproxy() {
    sed "s/8080/$(port_of "$1")/; s|^ *bind 127|bind $(socket_of "$1") accept-proxy\n&|
        s/reject if/& { src -m found }/; ${2:-}" "$ROOT/examples/haproxy.cfg" >"$BATS_FILE_TMPDIR/$1.cfg"
    start "$1" "${as_user[@]}" haproxy -f "$BATS_FILE_TMPDIR/$1.cfg"
}

# It knows nothing of the protocol.
start_sshd() {
    local dir
    dir=$(user_dir sshd)
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$dir/key" 2>/dev/null
    [[ $(id -u) != 0 ]] || chown nobody "$dir/key"
    start sshd "${as_user[@]}" "$TESTS/build/openssh-server/usr/sbin/sshd" -D -e -f /dev/null -h "$dir/key" \
        -o PidFile=none -o "ListenAddress=127.0.0.1:$SSHD_PORT" -o "ListenAddress=[::1]:$SSHD_PORT"
}

dovecot_services() {
    cat <<END
ssl = yes
haproxy_trusted_networks = 127.0.0.1 ::1
service imap-login {
  inet_listener imap-relay {
    address = 127.0.0.1 ::1
    port = $IMAP_PORT
    haproxy = yes
  }
  inet_listener imap-plain {
    address = 127.0.0.1 ::1
    port = $IMAP_PLAIN_PORT
  }
}
END
}

postfix_services() {
    local host
    for host in '127.0.0.1:' '[::1]:'; do
        echo "$host$POSTFIX_PORT inet n - y - - smtpd -o smtpd_upstream_proxy_protocol=haproxy"
        echo "$host$POSTFIX_PLAIN_PORT inet n - y - - smtpd"
    done
    echo 'check unix n - y - - smtpd -o smtpd_upstream_proxy_protocol=haproxy'
    echo 'check-plain unix n - y - - smtpd'
}

# socket_of NAME: its UNIX socket.
socket_of() {
    case $1 in
    postfix) echo "$BATS_FILE_TMPDIR/postfix/queue/public/check" ;;
    postfix-plain) echo "$BATS_FILE_TMPDIR/postfix/queue/public/check-plain" ;;
    *) echo "$BATS_FILE_TMPDIR/sockets/$1" ;;
    esac
}

# check VERSION RELAY-ARGUMENT...: what relay says of these backends, how many
# milliseconds the connection took replaced; and its exit status.
check() {
    local status=0
    timeout 60 "$RELAY" -n "$@" 2>&1 </dev/null || status=$?
    echo "status $status"
}

without_ms() {
    sed -E 's/ connect_ms=[0-9]+/ connect_ms=N/'
}

# each NAME HOW...: a program over IPv4, IPv6 and, if it has one, its UNIX socket,
# with the three headers, all at the same time. HOW: what the line says with -1, with
# -2 and with -0: "ok ..." or "failed ...", backend= and connect_ms= left out.
each() {
    local name=$1 socket version backend expected job pids=() backends=("127.0.0.1:$(port_of "$1")" "[::1]:$(port_of "$1")")
    socket=$(socket_of "$name")
    [[ ! -S $socket ]] || backends+=("$socket")
    shift
    for version in 1 2 0; do
        for backend in "${backends[@]}"; do
            expected="${1/ / backend=$backend connect_ms=N }"$'\n'"status $([[ $1 == ok* ]] && echo 0 || echo 111)"
            job=$BATS_TEST_TMPDIR/${#pids[@]}
            echo "$expected" >"$job.expected"
            settle "$expected" "-$version" "$backend" >"$job" &
            pids+=($!)
        done
        shift
    done
    wait "${pids[@]}" # not for bats's own
    for job in "${!pids[@]}"; do
        assert_equal "$(<"$BATS_TEST_TMPDIR/$job")" "$(<"$BATS_TEST_TMPDIR/$job.expected")"
    done
}

# settle EXPECTED RELAY-ARGUMENT...: what check says. A program may need more than
# its second on a busy machine: then it is asked again. Whether its end is a cut or a
# reset depends on what it has read by then.
settle() {
    local said
    for _ in {1..4}; do
        said=$(check "${@:2}" | without_ms | sed 's/ end=reset/ end=closed/')
        [[ $said != "$1" ]] || break
    done
    echo "$said"
}

# --- real programs ---

@test "nginx that expects a header takes both" {
    each nginx 'ok header=v1 end=open' 'ok header=v2 end=open' 'ok header=none end=open'
}

@test "nginx that expects none takes none" {
    local answer="end=closed answer=\"HTTP/1.1 400 Bad Request\" msg=\"$NOT_EXPECTED\""
    each nginx-plain "failed header=v1 $answer" "failed header=v2 $answer" 'ok header=none end=open'
}

@test "HAProxy that expects a header takes both" {
    each haproxy 'ok header=v1 end=open' 'ok header=v2 end=open' 'ok header=none end=open'
}

@test "HAProxy that expects none takes none" {
    local answer="end=closed answer=\"HTTP/1.1 400 Bad request\" msg=\"$NOT_EXPECTED\""
    each haproxy-plain "failed header=v1 $answer" "failed header=v2 $answer" 'ok header=none end=open'
}

@test "HAProxy that expects a header, but not from here, takes none" {
    local version backend="127.0.0.1:$HAPROXY_ELSEWHERE_PORT"
    for version in -1 -2; do
        run check "$version" "$backend"
        # It resets the connection, sometimes before relay has seen that there is one.
        assert_line --index 0 --regexp "^failed backend=$backend connect_ms=[0-9]+ (header=v[12] end=[a-z]+ msg=\"${ENDS/\?/\\?}\"|msg=\"cannot connect: Connection reset by peer: does it take connections from here\\?\")\$"
        assert_line --index 1 'status 111'
    done
}

@test "Postfix that expects a header takes both" {
    need_root Postfix
    # It waits for one before it greets.
    local greeting='end=open answer="220 mx.example ESMTP Postfix"'
    each postfix "ok header=v1 $greeting" "ok header=v2 $greeting" 'ok header=none end=open'
}

@test "Postfix that expects none takes none" {
    need_root Postfix
    # Version 2 has the word QUIT in it.
    each postfix-plain \
        "failed header=v1 end=open answer=\"500 5.5.2 Error: command not recognized\" msg=\"$NOT_EXPECTED\"" \
        "failed header=v2 end=closed answer=\"500 5.5.2 Error: bad syntax\" msg=\"$NOT_EXPECTED\"" \
        'ok header=none end=open answer="220 mx.example ESMTP Postfix"'
}

@test "Dovecot that expects a header takes both" {
    local greeting="end=open answer=\"$IMAP_GREETING LOGINDISABLED] Dovecot (Debian) ready.\""
    each imap "ok header=v1 $greeting" "ok header=v2 $greeting" 'ok header=none end=open'
}

@test "Dovecot that expects none takes none" {
    local error='Error in IMAP command received by server.'
    each imap-plain \
        "failed header=v1 end=open answer=\"PROXY BAD $error\" msg=\"$NOT_EXPECTED\"" \
        "failed header=v2 end=closed answer=\"* BAD $error\" msg=\"$NOT_EXPECTED\"" \
        "ok header=none end=open answer=\"$IMAP_GREETING AUTH=PLAIN] Dovecot (Debian) ready.\""
}

@test "OpenSSH takes none" {
    local banner answer
    banner=$(ask "$SSHD_PORT" </dev/null | tr -d '\r')
    assert_regex "$banner" '^SSH-2\.0-OpenSSH_'
    answer="end=closed answer=\"Invalid SSH identification string.\" msg=\"$NOT_EXPECTED\""
    each sshd "failed header=v1 $answer" "failed header=v2 $answer" \
        "ok header=none end=open answer=\"$banner\""
}

# --- odd backends ---

# odd NAME...: a backend for each, on the ports of these names: what it does with
# each connection is in the program below.
odd() {
    local name arguments=()
    choose_ports "$@"
    for name; do
        arguments+=("$name" "$(port_of "$name")")
    done
    start odd python3 -c "$ODD" "${arguments[@]}"
    wait_log odd ready
}

ODD='
import socket, struct, sys, threading, time

def full(listener):             # nobody is accepted, and no more can wait
    while True:
        client = socket.socket()
        client.settimeout(0.3)
        try:
            client.connect(listener.getsockname())
        except TimeoutError:
            break
        keep.append(client)

def close(end):
    end.recv(4096)
    end.close()

def close_unread(end):
    time.sleep(0.2)
    end.close()

def reset(end):
    end.recv(4096)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()

def mute(end):
    end.recv(4096)
    keep.append(end)

def late(end):
    time.sleep(1.5)
    end.sendall(b"500 what?\r\n")

def slow(end):
    keep.append(end)
    for byte in b"HTTP/1.1 400 Bad\r\n":
        end.send(bytes([byte]))
        time.sleep(0.005)

def endless(end):
    while True:
        end.sendall(b"abc " * 1000)

def garbage(end):
    end.sendall(bytes(range(256)))
    keep.append(end)

def nul(end):
    end.sendall(b"\0\0greeting\0rest\r\n-ERR\0")
    keep.append(end)

def text(end):
    end.sendall(b"\r\n\r\n  all is \"well\" at 500 \\ and 5 BADGERS\r\n")
    keep.append(end)

words = [b"NO what?", b"* BYE", b"BYE", b"ERROR", b"-ERR what?", b"530 Log in", b"221-Goodbye"]

def word(end):                  # another one for each connection
    end.recv(4096)
    end.sendall(b"+OK hello\r\n" + words.pop() + b"\r\n")
    end.close()

def refuses(end):
    end.sendall(b"554 go away\r\n")
    keep.append(end)

def attempt(behave, end):
    try:
        behave(end)
    except OSError:
        pass

def accept(listener, behave):
    while True:
        end, _ = listener.accept()
        threading.Thread(target=attempt, args=(behave, end), daemon=True).start()

keep = []
for name, port in zip(sys.argv[1::2], sys.argv[2::2]):
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=0 if name == "full" else 10)
    keep.append(listener)
    behave = globals()[name.replace("-", "_")]
    if name == "full":
        full(listener)
    else:
        threading.Thread(target=accept, args=(listener, behave)).start()
print("ready", flush=True)
time.sleep(1000)
'

# says LINE RELAY-ARGUMENT... NAME: that is what relay says of this odd backend.
says() {
    local line=$1 name=${!#} expected=111
    [[ $line != ok* ]] || expected=0
    run check "${@:2:$#-2}" "127.0.0.1:$(port_of "$name")"
    assert_equal "$(without_ms <<<"$output")" \
        "${line/ / backend=127.0.0.1:$(port_of "$name") connect_ms=N }"$'\n'"status $expected"
}

@test "a backend that ends the connection at once does not take the header" {
    odd close close-unread reset
    says "failed header=v1 end=closed msg=\"$ENDS\"" close
    says "failed header=v2 end=closed msg=\"$ENDS\"" -2 close
    says "failed header=v1 end=reset msg=\"$ENDS\"" close-unread
    says 'failed header=none end=closed msg="it ends the connection"' -0 close-unread
    says "failed header=v1 end=reset msg=\"$ENDS\"" reset
}

@test "a backend has a second to object" {
    odd mute late slow
    says 'ok header=v1 end=open' mute
    says 'ok header=v1 end=open' late
    says "failed header=v1 end=open answer=\"HTTP/1.1 400 Bad\" msg=\"$NOT_EXPECTED\"" slow
}

@test "nothing but printable text gets out, and not too much of it" {
    local backend
    odd endless garbage nul text
    backend=$(port_of garbage)
    run check "127.0.0.1:$backend"
    refute [ "$(tr -d '\n -~' <<<"$output")" ]
    assert_line --regexp '^ok backend=[0-9.:]+ connect_ms=[0-9]+ header=v1 end=open answer="\\x01.*\\x09"$'
    run check "127.0.0.1:$(port_of endless)"
    assert_line --regexp '^ok .* end=open answer="abc .*\.\.\."$'
    assert [ "${#lines[0]}" -lt 500 ]
    says "failed header=v1 end=open answer=-ERR msg=\"$NOT_EXPECTED\"" nul
    says 'ok header=v1 end=open answer="  all is \"well\" at 500 \\ and 5 BADGERS"' text
}

@test "a complaint is told from a greeting, in the words of many protocols" {
    local answer
    odd word
    for answer in 221-Goodbye '"530 Log in"' '"-ERR what?"' ERROR BYE '"* BYE"' '"NO what?"'; do
        says "failed header=v1 end=closed answer=$answer msg=\"$NOT_EXPECTED\"" word
    done
}

@test "an error in the greeting is one, with no header too" {
    odd refuses
    says 'failed header=none end=open answer="554 go away" msg="it answers with an error"' -0 refuses
}

@test "a backend that cannot be reached fails, after --timeout at most" {
    local begin=$SECONDS missing=$BATS_TEST_TMPDIR/missing
    odd full
    # musl calls it an operation, glibc a connection.
    run check -t 0.3 "127.0.0.1:$FULL_PORT"
    assert_line --index 0 --regexp "^failed backend=127\\.0\\.0\\.1:$FULL_PORT connect_ms=[0-9]+ msg=\"cannot connect: (Operation|Connection) timed out\"\$"
    assert_line --index 1 'status 111'
    run check -t 0.3 "127.0.0.1:$(free_port)" "$missing" nowhere.invalid:80
    assert_line --index 0 --regexp '^failed backend=.* connect_ms=[0-9]+ msg="cannot connect: Connection refused: does the backend listen there\?"$'
    assert_line --index 1 --regexp "^failed backend=$missing connect_ms=[0-9]+ msg=\"cannot connect: No such file or directory: does the backend listen there\\?\"\$"
    assert_line --index 2 --regexp '^failed backend=nowhere\.invalid:80 connect_ms=[0-9]+ msg="looking up nowhere\.invalid: .*"$'
    assert_line --index 3 'status 111'
    assert [ $((SECONDS - begin)) -lt 8 ]
}

# --- several, and names ---

@test "each of several backends has its own line, as soon as it is known, in the order given" {
    local status=0
    odd refuses mute
    lines_now() { [[ $(wc -l <"$(log_file several)") == "$1" ]]; }
    start several "$RELAY" -n -l random "127.0.0.1:$(port_of mute)" "127.0.0.1:$(port_of mute)" \
        "127.0.0.1:$(port_of refuses)" "127.0.0.1:$(port_of mute)" /nowhere
    wait_for lines_now 1
    assert is_running several
    exit_status several || status=$?
    assert_equal "$status" 111
    run cut -d ' ' -f 1,2 "$(log_file several)"
    assert_output "ok backend=127.0.0.1:$(port_of mute)
ok backend=127.0.0.1:$(port_of mute)
failed backend=127.0.0.1:$(port_of refuses)
ok backend=127.0.0.1:$(port_of mute)
failed backend=/nowhere"
    run tail -n 1 "$(log_file several)"
    assert_output --partial ' msg="cannot connect: No such file or directory: '
}

@test "more backends than are ever tried at once have a line each" {
    local to
    odd close
    printf -v to "127.0.0.1:$(port_of close) %.0s" {1..40}
    # shellcheck disable=SC2086 # a list of words
    run -111 "$RELAY" -n $to
    assert_equal "${#lines[@]}" 40
    run uniq <(cut -d ' ' -f 1,2,4,5 <<<"$output")
    assert_output "failed backend=127.0.0.1:$(port_of close) header=v1 end=closed"
}

@test "of a name that has several addresses the one that relay takes is told" {
    need_root 'a mount namespace'
    printf '%s both.example\n' ::1 127.0.0.1 127.0.0.9 >"$BATS_TEST_TMPDIR/hosts"
    odd mute
    # shellcheck disable=SC2016 # for the inner shell
    run unshare -m sh -c 'mount --bind "$1" /etc/hosts && exec "$2" -n "$3"' sh \
        "$BATS_TEST_TMPDIR/hosts" "$RELAY" "both.example:$(port_of mute)"
    assert_success
    assert_output --regexp "^ok backend=both\.example:$MUTE_PORT address=127\.0\.0\.1:$MUTE_PORT connect_ms=[0-9]+ header=v1 end=open$"
}

# --- other options ---

@test "--check sends the TLVs that the command line asks for" {
    local backend first
    backend=$(free_port)
    backend_record "$backend"
    run check -2 -c -u -s -x 0xE0=hello "127.0.0.1:$backend"
    assert_line --regexp '^ok '
    first=$(hexdump_of "$(first_segment)")
    # LOCAL; as much nothing as IPv6 addresses take; a custom TLV, an id of 32 bytes, a
    # checksum.
    assert_regex "$first" '^0d0a0d0a000d0a515549540a200000..0400210{66}e0000568656c6c6f050020.{64}030004.{8}$'
}

@test "--check names the connection's own addresses in version 1, and 127.0.0.1 where there are none" {
    local backend path=$BATS_TEST_TMPDIR/socket
    backend=$(free_port)
    backend_record "$backend"
    check -b 127.0.0.7 "127.0.0.1:$backend"
    run cat -A "$(first_segment)"
    assert_output --regexp "^PROXY TCP4 127\.0\.0\.7 127\.0\.0\.1 [0-9]+ $backend\^M\\\$$"
    stop backend
    rm -r "$BATS_TEST_TMPDIR/backend"
    backend_record "$path"
    check "$path"
    run cat -A "$(first_segment)"
    assert_output 'PROXY TCP4 127.0.0.1 127.0.0.1 0 0^M$'
}

@test "--check ends the connection in order" {
    local backend
    backend=$(free_port)
    backend_record "$backend"
    check "127.0.0.1:$backend"
    all_bytes
    assert_equal "$(cat "$BATS_TEST_TMPDIR/backend/1.end")" eof
}

@test "with --quiet --check says nothing, and its exit status counts" {
    odd mute refuses
    run check -q "127.0.0.1:$(port_of mute)"
    assert_output 'status 0'
    run check -q "127.0.0.1:$(port_of refuses)"
    assert_output 'status 111'
}

@test "what is about clients means nothing to --check" {
    odd mute
    says 'ok header=v1 end=open' -v -a 192.0.2.0/24 -l hash -i 0.1 mute
}

@test "--check has no client whose address to take" {
    odd mute
    run check -q -b client "127.0.0.1:$(port_of mute)"
    assert_output "relay: error msg=\"--check has no client for --bind=client\" backend=127.0.0.1:$MUTE_PORT
status 100"
}

@test "--check that cannot write its lines says so" {
    local status=0
    odd mute
    "$RELAY" -n "127.0.0.1:$(port_of mute)" >/dev/full 2>"$BATS_TEST_TMPDIR/err" || status=$?
    assert_equal "$status" 111
    assert_regex "$(cat "$BATS_TEST_TMPDIR/err")" '^relay: error msg="standard output: No space left on device" '
    status=0
    "$RELAY" -n "127.0.0.1:$(port_of mute)" 0<&- >&- 2>"$BATS_TEST_TMPDIR/err" || status=$?
    assert_equal "$status" 111
    assert_regex "$(cat "$BATS_TEST_TMPDIR/err")" '^relay: error msg="standard output: .*"'
    # Here the backend's socket would be descriptor 1, and get the line.
    status=0
    "$RELAY" -n "127.0.0.1:$(port_of mute)" >&- 2>"$BATS_TEST_TMPDIR/err" || status=$?
    assert_equal "$status" 111
    assert_regex "$(cat "$BATS_TEST_TMPDIR/err")" '^relay: error msg="standard output: .*"'
}

connecting() { [[ -n $(ss -Htn state syn-sent "dport = :$FULL_PORT") ]]; }

@test "--check can be interrupted" {
    odd full
    start check "$RELAY" -n -v "127.0.0.1:$(port_of full)"
    wait_for connecting
    kill -TERM "$(pid_of check)"
    local status=0
    exit_status check || status=$?
    assert_equal "$status" 143
    assert_equal "$(cat "$(log_file check)")" ''
}
