#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# tcpserver, relay, and a real mail server: Postfix (smtpd, and postscreen), Exim,
# Dovecot, and nginx's mail module before two of them, each with its file from
# examples/, in which only ports and names of files are replaced, inside the
# smallest configuration that it can run with.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2034,SC2153,SC2154 # set by backend, or for it

load helper
load backend
load mailservers
load readme

# One of each for all tests. Postfix insists on root; Exim on a user Debian-exim,
# which it gets in a mount namespace of its own.
setup_file() {
    local name
    chmod go+x "$BATS_RUN_TMPDIR" # for their own users
    install -m 755 "$RELAY" "$BATS_FILE_TMPDIR/relay"
    choose_ports postfix postscreen unaware unaware-slow postscreen-unaware exim exim-unaware exim-strict \
        imap imaps imap-unaware front-imap front-smtp front-unaware front-auth xclient
    start_dovecot < <(dovecot_conf)
    start_front
    if [[ $(id -u) == 0 ]]; then
        start_postfix < <(master_cf)
        start_exim
        wait_listening "$POSTFIX_PORT" 127.0.0.1
        wait_listening "$POSTFIX_PORT" ::1
        wait_listening "$EXIM_PORT" 127.0.0.1
        wait_listening "$EXIM_PORT" ::1
        wait_listening "$EXIM_UNAWARE_PORT"
    fi
    wait_listening "$FRONT_UNAWARE_PORT"
    for name in imap front-imap front-smtp; do
        wait_listening "$(port_of "$name")" 127.0.0.1
        wait_listening "$(port_of "$name")" ::1
    done
}

teardown_file() { stop_all; }

teardown() { stop_all; }

# --- the servers ---

# The example, all of it in use. UNAWARE is smtpd as it is on port 25: it expects no header. Nor do
# another one, in which the header is there before its greeting, and another
# postscreen.
master_cf() {
    sed -E "s/^#([^ ]|    -o )/\1/; s/2525/$POSTFIX_PORT/; s/2526/$POSTSCREEN_PORT/" "$ROOT/examples/postfix/master.cf"
    sed -n "s/10025/$XCLIENT_PORT/; s/^#  *\(127.*xclient\)/\1/p" "$ROOT/examples/nginx-mail.conf"
    echo "127.0.0.1:$UNAWARE_PORT inet n - y - - smtpd"
    echo "127.0.0.1:$UNAWARE_SLOW_PORT inet n - y - - smtpd"
    echo "    -o smtpd_delay_reject=no -o smtpd_client_restrictions=sleep,1"
    echo "127.0.0.1:$POSTSCREEN_UNAWARE_PORT inet n - y - 1 postscreen"
    echo "    -o postscreen_cache_map=btree:\$data_directory/postscreen_unaware_cache"
}

start_exim() {
    local dir=$BATS_FILE_TMPDIR/exim file
    mkdir -p "$dir"/{spool,mail}
    chown nobody "$dir"/{spool,mail}
    install -m 755 "$TESTS/build/exim/usr/sbin/exim4" "$dir/exim4"
    sed "s/2525/$EXIM_PORT/g" "$ROOT/examples/exim.conf" >"$dir/relay.conf"
    cat >"$dir/exim.conf" <<END
.include $dir/relay.conf
local_interfaces = <; 127.0.0.1.$EXIM_PORT ; ::1.$EXIM_PORT ; 127.0.0.1.$EXIM_UNAWARE_PORT ; 127.0.0.1.$EXIM_STRICT_PORT
pipelining_connect_advertise_hosts = \${if eq{\$received_port}{$EXIM_STRICT_PORT}{}{*}}
primary_hostname = mx.example
log_selector = +proxy +incoming_port +smtp_syntax_error
acl_smtp_rcpt = rcpt
tls_advertise_hosts =
# It looks up the names of clients that a header names. There is none to find.
dns_retrans = 1s
dns_retry = 1
exim_path = $dir/exim4
exim_user = nobody
exim_group = nogroup
never_users =
keep_environment = ^RELAY_TEST\$
spool_directory = $dir/spool
pid_file_path = $dir/spool/exim.pid
begin acl
rcpt:
  accept domains = example.org
  deny
begin routers
local:
  driver = accept
  transport = inbox
begin transports
inbox:
  driver = appendfile
  user = nobody
  group = nogroup
  maildir_format
  directory = $dir/mail/inbox
END
    for file in passwd group; do
        cp "/etc/$file" "$dir/$file"
    done
    echo 'Debian-exim:x:64999:64999::/nonexistent:/bin/false' >>"$dir/passwd"
    echo 'Debian-exim:x:64999:' >>"$dir/group"
    # shellcheck disable=SC2016 # for the inner shell
    start exim unshare -m sh -c 'cd "$1" && shift &&
        mount --bind passwd /etc/passwd && mount --bind group /etc/group && exec "$@"' \
        sh "$dir" "${as_user[@]}" "$dir/exim4" -C "$dir/exim.conf" -bdf
}

# The example, and a listener that expects no header. Mail clients here use TLS, but
# nginx does not.
dovecot_conf() {
    sed "s/10143/$IMAP_PORT/; s/10993/$IMAPS_PORT/" "$ROOT/examples/dovecot.conf"
    cat <<END
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = $IMAP_UNAWARE_PORT
  }
}
ssl = yes
disable_plaintext_auth = no
END
}

# nginx's mail module, before Dovecot and Postfix; and a server that expects no header.
start_front() {
    cd "$(user_dir front)" || return
    cp "$BATS_FILE_TMPDIR"/dovecot/{key,certificate}.pem .
    [[ $(id -u) != 0 ]] || chown "$me" key.pem
    sed "s/8143/$FRONT_IMAP_PORT/; s/8025/$FRONT_SMTP_PORT/; s/8009/$FRONT_AUTH_PORT/
        s/10143/$IMAP_PORT/; s/10025/$XCLIENT_PORT/" "$ROOT/examples/nginx-mail.conf" >nginx-mail.conf
    sed -i "/^mail {/a server { listen 127.0.0.1:$FRONT_UNAWARE_PORT; protocol smtp; smtp_auth none; xclient on; }" nginx-mail.conf
    start front "${as_user[@]}" nginx -p "$PWD" -c "$PWD/nginx-mail.conf" -g 'daemon off;'
}

# server_log NAME: where it logs.
server_log() {
    case $1 in
    postscreen) echo "$BATS_FILE_TMPDIR/postfix.log" ;;
    *) echo "$BATS_FILE_TMPDIR/$1.log" ;;
    esac
}

# wait_logged NAME REGEX: until a line of its log matches.
wait_logged() {
    wait_for grep -E -e "$2" -- "$(server_log "$1")"
}

# --- clients ---

# received NAME: the first Received header, on one line, of the mail with the
# subject $from; waits for it.
received() {
    wait_for mail_file "$1" || return
    received_line <"$(mail_file "$1")"
}

mail_file() {
    grep -lxF "Subject: $from" "$BATS_FILE_TMPDIR/$1"/mail/inbox/new/*
}

# --- what is expected ---

# takes_mail NAME CLIENT-ADDRESS RELAY-ARGUMENT...: the whole dialogue, and the
# client in the delivered mail and in the log.
takes_mail() {
    local name=$1 client=$2 id
    need_root "$name"
    delivers "${@:2}"
    assert_line --regexp '^< 220 mx\.example ESMTP '
    case $name in
    exim)
        # It tells the client, too.
        assert_line "< 250-mx.example Hello client.example [$client]"
        assert_regex "$(received exim)" \
            "^Received: from \[$client\] \(port=$from helo=client\.example\) by mx\.example .* id $id "
        wait_logged exim " <= .* H=\(client\.example\) \[$client\]:$from .* PRX=(127\.0\.0\.1|::1) "
        ;;
    *)
        postfix_knows "$client" "$from$"
        ;;
    esac
    [[ $name != postscreen ]] || wait_logged postscreen " CONNECT from \[$client\]:$from to \[$to\]:$port$"
    quiet_end
}

# postfix_knows CLIENT-ADDRESS REGEX: whom the mail $id is from; its log has a port, too.
postfix_knows() {
    local in_received=$1
    [[ $1 != *:* ]] || in_received=IPv6:$1
    assert_regex "$(received postfix)" \
        "^Received: from client\.example \(unknown \[$in_received\]\) by mx\.example .* id $id "
    wait_logged postfix " $id: client=unknown\[$1\]:$2"
}

# front_logged FILE REGEX
front_logged() {
    wait_for grep -E -e "$2" -- "$BATS_FILE_TMPDIR/front/$1"
}

# front_reads_mailbox CLIENT-ADDRESS RELAY-ARGUMENT...: nginx, what it asks, and
# Dovecot know the client, whom Dovecot lets in.
front_reads_mailbox() {
    local client=$1
    shift
    launch "$client" "$@"
    run imap "$client" imap "$from@example.org:secret" -X 'STATUS INBOX (MESSAGES)'
    assert_success
    assert_line --regexp '^\* STATUS INBOX \(MESSAGES 0\)$'
    front_logged auth.log "^$client \[.*\] imap $from@example\.org$"
    front_logged mail.log " client logged in, client: $client using starttls, .* login: \"$from@example\.org\""
    wait_logged dovecot "imap-login: Info: Login: user=<$from@example\.org>, method=PLAIN, rip=$client, "
    quiet_end
}

# front_takes_mail CLIENT-ADDRESS RELAY-ARGUMENT...: nginx, what it asks, and
# Postfix know the client.
front_takes_mail() {
    local client=$1 id
    need_root Postfix
    delivers "$@"
    postfix_knows "$client" ''
    front_logged auth.log "^$client \[.*\] smtp "
    front_logged mail.log " client logged in, client: $client, server: "
    quiet_end
}

# --- Postfix ---

@test "Postfix takes mails and knows its IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client postfix '-1 -2' takes_mail postfix
}

@test "Postfix greets a client that says nothing" {
    need_root Postfix
    greets '^220 mx\.example ESMTP Postfix' -1 "127.0.0.1:$POSTFIX_PORT"
    stop tcpserver
    greets '^220 mx\.example ESMTP Postfix' -2 "127.0.0.1:$POSTFIX_PORT"
}

@test "Postfix does not relay for relay's clients" {
    need_root Postfix
    launch 127.0.0.2 "127.0.0.1:$POSTFIX_PORT"
    run send_mail 127.0.0.2 somebody@elsewhere.example
    assert_failure
    assert_line --regexp '^< 454 .*<somebody@elsewhere\.example>: Relay access denied'
    wait_logged postfix " reject: RCPT from unknown\[127\.0\.0\.2\]:$from: .* Relay access denied"
    # It would for its own network: so with no header it does, for everybody.
    stop tcpserver
    launch 127.0.0.2 -0 "127.0.0.1:$UNAWARE_PORT"
    run send_mail 127.0.0.2 somebody@elsewhere.example
    assert_line --regexp '^< 250 2\.1\.5 Ok'
}

@test "Postfix refuses a connection without a header" {
    need_root Postfix
    launch 127.0.0.2 -0 "127.0.0.1:$POSTFIX_PORT"
    run ask "$port" "$from" 127.0.0.2 < <(printf 'EHLO client.example\r\n')
    assert_output --regexp "$(quoted '421 4.3.0')"
    says 'warning: haproxy read: unrecognized protocol header' "$(server_log postfix)"
    run ask "$port" "$(free_port)" 127.0.0.2 < <(printf 'QUIT\r\n')
    assert_output --regexp "$(quoted '421 4.3.0')"
    says 'haproxy read: short protocol header' "$(server_log postfix)"
    # Nor does it greet a client that waits to be greeted, as it should.
    run send_mail 127.0.0.2 user@example.org
    assert_failure
    refute_output --partial '< 220'
    assert_output --regexp "$(quoted '421 4.3.0')"
    says 'warning: haproxy read: timeout error' "$(server_log postfix)"
}

# What its log says depends on whether the header or its greeting is earlier.
@test "Postfix takes relay's header for a client's commands where it expects none" {
    need_root Postfix
    launch 127.0.0.2 -1 "127.0.0.1:$UNAWARE_PORT"
    run send_mail 127.0.0.2 user@example.org
    assert_line --regexp "^< $(quoted '500 5.5.2 Error: command not recognized')\$"
    wait_logged postfix ' disconnect from unknown\[127\.0\.0\.1\]:[0-9]+ .* unknown=0/1 '
    says 'connect from …[127.0.0.1]' "$(server_log postfix)"
    stop tcpserver
    # Version 2 has the word QUIT in it.
    launch 127.0.0.2 -2 "127.0.0.1:$UNAWARE_PORT"
    run send_mail 127.0.0.2 user@example.org
    assert_failure
    assert_line --regexp "^< $(quoted '500 5.5.2 Error: bad syntax')\$"
    says 'quit=1 commands=1' "$(server_log postfix)"
    wait_logged postfix ' disconnect from unknown\[127\.0\.0\.1\]:[0-9]+ quit=1 commands=1$'
}

# all_it_says: to a client that says nothing, until it ends the connection.
all_it_says() {
    timeout 30 cat <"/dev/tcp/$to/$port" | tr -d '\r'
}

@test "Postfix, or nginx before it, that expects no header: an open relay with version 1, with version 2 it hangs up" {
    local name
    need_root Postfix
    for name in unaware unaware-slow postscreen-unaware front-unaware; do
        launch 127.0.0.2 -1 "127.0.0.1:$(port_of "$name")"
        run send_mail 127.0.0.2 somebody@elsewhere.example
        assert_line --regexp '^< 250 2\.1\.5 Ok$'
        stop tcpserver
        launch 127.0.0.2 -2 "127.0.0.1:$(port_of "$name")"
        run send_mail 127.0.0.2 somebody@elsewhere.example
        assert_failure
        refute_line --regexp '^< 250'
        run all_it_says
        assert_line --regexp "^$(quoted '221 2.0.0 Bye')\$"
        stop tcpserver
    done
}

# until_said KEY NAME RELAY-ARGUMENT...: clients that wait to be greeted, until the
# server's log has what is quoted: whether the header is earlier than its greeting
# is chance.
until_said() {
    says_to_greeted() {
        (greeting)
        WAIT_SECONDS=0 says "$1" "$(server_log "$2")"
    }
    launch 127.0.0.2 "${@:3}"
    wait_for says_to_greeted "$1" "$2"
    stop tcpserver
}

@test "Postfix and postscreen, which expect no header, take it for impatience" {
    need_root Postfix
    until_said 'improper command pipelining after CONNECT' postfix "127.0.0.1:$UNAWARE_SLOW_PORT"
    # mynetworks' address need not wait for postscreen's greeting, others must.
    until_said 'ALLOWLISTED' postscreen "127.0.0.1:$POSTSCREEN_UNAWARE_PORT"
    until_said 'PREGREET … from' postscreen --bind=127.0.0.9 "127.0.0.1:$POSTSCREEN_UNAWARE_PORT"
}

@test "Postfix takes a mail over its UNIX socket, from relay in the group for it" {
    local path=$BATS_FILE_TMPDIR/postfix/queue/public/relay-smtp
    need_root Postfix
    # The group postdrop has another name here: main.cf, setgid_group.
    relay=(setpriv --reuid=nobody --regid=list --clear-groups "$BATS_FILE_TMPDIR/relay")
    with_each_client "$path" '-1 -2' takes_mail postfix
    # Others of this machine cannot claim to be a client.
    relay=("${as_user[@]}" "$BATS_FILE_TMPDIR/relay")
    launch 127.0.0.2 "$path"
    run greeting
    assert_output ''
    wait_for no_child tcpserver
    run relay_lines
    assert_output --partial 'error msg="cannot connect: Permission denied'
}

# --- postscreen ---

@test "postscreen takes mails and knows its IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client "127.0.0.1:$POSTSCREEN_PORT" '-1 -2' takes_mail postscreen
    # relay's header came first, and was not taken for a client's impatience.
    wait_logged postscreen " PASS NEW \[127\.0\.0\.2\]:"
}

@test "postscreen knows who did not wait for its greeting" {
    need_root Postfix
    launch 127.0.0.4 "127.0.0.1:$POSTSCREEN_PORT"
    run ask "$port" "$from" 127.0.0.4 < <(printf 'EHLO early.example\r\n')
    wait_logged postscreen " PREGREET 20 after [0-9.]+ from \[127\.0\.0\.4\]:$from: EHLO early\.example"
}

@test "postscreen refuses a connection without a header" {
    need_root Postfix
    launch 127.0.0.5 -0 "127.0.0.1:$POSTSCREEN_PORT"
    run ask "$port" "$from" 127.0.0.5 < <(printf 'EHLO client.example\r\n')
    refute_output --partial 220
    wait_logged postscreen 'postscreen\[[0-9]+\]: warning: haproxy read: unrecognized protocol header: EHLO client.example'
    run grep -F "[127.0.0.5]" "$(server_log postscreen)"
    assert_output ''
}

# --- Exim ---

@test "Exim takes mails and knows its IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client exim '-1 -2' takes_mail exim
}

@test "Exim greets a client that says nothing" {
    need_root Exim
    greets '^220 mx\.example ESMTP Exim ' -1 "127.0.0.1:$EXIM_PORT"
    stop tcpserver
    greets '^220 mx\.example ESMTP Exim ' -2 "127.0.0.1:$EXIM_PORT"
}

@test "Exim refuses a connection without a header" {
    need_root Exim
    launch 127.0.0.2 -0 "127.0.0.1:$EXIM_PORT"
    run ask "$port" "$from" 127.0.0.2 < <(printf 'EHLO client.example\r\n')
    assert_output --regexp "$(quoted '550 Administrative prohibition')"
    refute_output --partial '250'
    says 'rejected connection in "connect" ACL' "$(server_log exim)"
}

@test "Exim believes no header that another address than relay's sends" {
    need_root Exim
    from=$(free_port)
    run ask "$EXIM_PORT" "$from" 127.0.0.3 < <(printf 'PROXY TCP4 6.6.6.6 6.6.6.6 666 666\r\n')
    assert_output --partial '550 '
    wait_logged exim "H=\[127\.0\.0\.3\]:$from rejected connection in \"connect\" ACL"
    run grep -F 6.6.6.6 "$(server_log exim)"
    assert_output ''
}

@test "Exim, which expects no header on another port, takes it for a command" {
    need_root Exim
    launch 127.0.0.2 "127.0.0.1:$EXIM_UNAWARE_PORT"
    run ask "$port" "$from" 127.0.0.2 < <(printf 'EHLO client.example\r\n')
    assert_line --index 1 --regexp "^$(quoted '500 unrecognized command')"
    says 'SMTP syntax error in' "$(server_log exim)"
    # And serves its clients, as this machine's own; but not those of version 2.
    assert_line --regexp '^250-mx\.example Hello client\.example \[127\.0\.0\.1\]'
    stop tcpserver
    launch 127.0.0.2 -2 "127.0.0.1:$EXIM_UNAWARE_PORT"
    run send_mail 127.0.0.2 user@example.org
    assert_failure
    refute_line --regexp '^< 250'
    run all_it_says
    assert_line --regexp "^$(quoted '501 NUL characters are not allowed')\$"
    assert_line '221 mx.example closing connection'
    says 'NUL character(s) present' "$(server_log exim)"
}

@test "Exim without early pipelining takes the header for impatience" {
    need_root Exim
    until_said 'SMTP protocol synchronization error' exim "127.0.0.1:$EXIM_STRICT_PORT"
    launch 127.0.0.2 "127.0.0.1:$EXIM_STRICT_PORT"
    told_off() { [[ $(greeting) =~ $(quoted '554 SMTP synchronization error') ]]; }
    wait_for told_off
}

# --- Dovecot ---

# reads_mailbox CLIENT-ADDRESS SCHEME RELAY-ARGUMENT...: a login that succeeds,
# one that fails, and Dovecot knows both clients.
reads_mailbox() {
    local client=$1 scheme=$2
    shift 2
    launch "$client" "$@"
    run imap "$client" "$scheme" user@example.org:secret -X 'STATUS INBOX (MESSAGES)'
    assert_success
    assert_line --regexp '^< \* OK .* Dovecot .*ready'
    assert_line --regexp '^\* STATUS INBOX \(MESSAGES 0\)$'
    wait_logged dovecot "imap-login: Info: Login: user=<user@example\.org>, method=PLAIN, rip=$client, lip=$to, .*TLS"
    from=$(free_port)
    run imap "$client" "$scheme" user@example.org:wrong
    # curl(1): login denied
    assert_failure 67
    wait_logged dovecot "imap-login: Info: .*auth failed, .* user=<user@example\.org>, method=PLAIN, rip=$client, lip=$to, .*TLS"
    quiet_end
}

@test "Dovecot knows its IPv4 client, whom it lets in and whom it does not, v1" {
    reads_mailbox 127.0.0.2 imap -1 "127.0.0.1:$IMAP_PORT"
}

@test "Dovecot knows its IPv4 client, whom it lets in and whom it does not, v2" {
    reads_mailbox 127.0.0.3 imap -2 "127.0.0.1:$IMAP_PORT"
}

@test "Dovecot knows its IPv6 client, whom it lets in and whom it does not, v1" {
    reads_mailbox ::1 imap -1 "[::1]:$IMAP_PORT"
}

@test "Dovecot knows its IPv6 client, whom it lets in and whom it does not, v2" {
    reads_mailbox ::1 imap -2 "[::1]:$IMAP_PORT"
}

@test "Dovecot knows its client where TLS begins at once" {
    reads_mailbox 127.0.0.6 imaps -1 "127.0.0.1:$IMAPS_PORT"
    reads_mailbox 127.0.0.7 imaps -2 "127.0.0.1:$IMAPS_PORT"
}

@test "Dovecot greets a client that says nothing" {
    greets '^\* OK \[CAPABILITY IMAP4rev1 ' -1 "127.0.0.1:$IMAP_PORT"
    stop tcpserver
    greets '^\* OK \[CAPABILITY IMAP4rev1 ' -2 "127.0.0.1:$IMAP_PORT"
}

@test "README's ncat commands tell Dovecot that expects a header from Dovecot that does not" {
    run sh -c "$(readme_command '(printf' "$IMAP_PORT")"
    assert_line --index 0 --regexp '^\* OK .* Dovecot '
    run sh -c "$(readme_command 'sleep 2' "$IMAP_PORT")"
    assert_output ''
    run sh -c "$(readme_command '(printf' "$IMAP_UNAWARE_PORT")"
    assert_line --regexp '^PROXY BAD '
    run sh -c "$(readme_command 'sleep 2' "$IMAP_UNAWARE_PORT")"
    assert_line --index 0 --regexp '^\* OK .* Dovecot '
}

@test "Dovecot hangs up on a connection without a header" {
    launch 127.0.0.2 -0 "127.0.0.1:$IMAP_PORT"
    run ask "$port" "$from" 127.0.0.2 < <(printf 'a001 CAPABILITY\r\n')
    assert_output ''
    says 'haproxy: Client disconnected: Failed to read valid' "$(server_log dovecot)"
    # Nor does it greet a client that waits to be greeted, as it should.
    run greeting
    assert_output ''
    says 'haproxy: Client timed out' "$(server_log dovecot)"
}

@test "Dovecot hangs up on whoever sends a header from another address than relay's" {
    run ask "$IMAP_PORT" "$(free_port)" 127.0.0.3 < <(printf 'PROXY TCP4 6.6.6.6 6.6.6.6 666 666\r\n')
    assert_output ''
    says 'haproxy: Client not trusted' "$(server_log dovecot)"
    run grep -F rip=6.6.6.6 "$(server_log dovecot)"
    assert_output ''
}

@test "Dovecot, which expects no header on another port, takes it for a command" {
    launch 127.0.0.2 "127.0.0.1:$IMAP_UNAWARE_PORT"
    : >"$BATS_TEST_TMPDIR/answer"
    # First it is busy starting.
    said_bad() { says 'PROXY BAD' "$BATS_TEST_TMPDIR/answer"; }
    { said_bad && printf 'a001 LOGOUT\r\n'; } |
        ask "$port" "$from" 127.0.0.2 >"$BATS_TEST_TMPDIR/answer"
    says 'no auth attempts in' "$(server_log dovecot)"
    # And lets clients in, as this machine's own.
    : >"$BATS_TEST_TMPDIR/answer"
    { said_bad && printf 'a001 LOGIN user@example.org secret\r\na002 LOGOUT\r\n'; } |
        ask "$port" "$(free_port)" 127.0.0.2 >"$BATS_TEST_TMPDIR/answer"
    says 'Login: … rip=127.0.0.1' "$(server_log dovecot)"
    # Of whom it needs no TLS.
    wait_logged dovecot 'Login: user=<user@example\.org>, method=PLAIN, rip=127\.0\.0\.1, .* secured, '
    stop tcpserver
    # But not those of version 2.
    launch 127.0.0.2 -2 "127.0.0.1:$IMAP_UNAWARE_PORT"
    run all_it_says
    assert_line --regexp "^$(quoted 'BYE Too many invalid IMAP commands')\$"
    wait_logged dovecot ' Too many invalid commands \(no auth attempts in .* rip=127\.0\.0\.1,'
}

@test "after mail over TLS relay's line may say that the backend has reset, and its exit status is 0" {
    reset_at_the_end() {
        from=$(free_port)
        imap 127.0.0.2 imaps user@example.org:secret -X 'STATUS INBOX (MESSAGES)' || return
        WAIT_SECONDS=0 says 'end=backend-reset' "$(log_file tcpserver)"
    }
    launch 127.0.0.2 -v -2 "127.0.0.1:$IMAPS_PORT"
    wait_for reset_at_the_end
    wait_for no_child tcpserver
    run ! grep 'tcpserver: end .* status [1-9]' "$(log_file tcpserver)"
}

# --- relay --check ---

@test "relay --check shows the greeting of a mail server, and none where TLS begins at once" {
    local version name
    for version in -1 -2; do
        run "$RELAY" -n "$version" "127.0.0.1:$IMAP_PORT"
        assert_success
        assert_output --regexp ' answer="\* OK '
        run "$RELAY" -n "$version" "127.0.0.1:$IMAPS_PORT"
        assert_success
        refute_output --partial answer=
        [[ $(id -u) == 0 ]] || continue
        for name in postfix postscreen; do
            run "$RELAY" -n "$version" "127.0.0.1:$(port_of "$name")"
            assert_success
            assert_output --regexp ' answer="220 mx\.example ESMTP '
        done
    done
}

# --- nginx's mail module ---

@test "nginx's mail module and Dovecot know their IPv4 and IPv6 clients, in v1 and v2" {
    with_each_client front-imap '-1 -2' front_reads_mailbox
}

@test "nginx's mail module gives Dovecot no mixture of IPv4 and IPv6 that it takes" {
    launch ::1 "127.0.0.1:$FRONT_IMAP_PORT"
    run imap ::1 imap user@example.org:secret -X 'STATUS INBOX (MESSAGES)'
    assert_failure
    wait_logged dovecot "Error: haproxy\(v1\): Client disconnected: Proxied local address is invalid "
}

@test "Dovecot behind nginx's mail module says no, and nginx passes it on" {
    launch 127.0.0.2 "127.0.0.1:$FRONT_IMAP_PORT"
    run imap 127.0.0.2 imap user@example.org:wrong
    # curl(1): login denied
    assert_failure 67
    assert_line --partial 'NO [AUTHENTICATIONFAILED] Authentication failed.'
}

@test "nginx's mail module and Postfix know their IPv4 client, v1" {
    front_takes_mail 127.0.0.2 -1 "127.0.0.1:$FRONT_SMTP_PORT"
}

@test "nginx's mail module and Postfix know their IPv4 client, v2" {
    front_takes_mail 127.0.0.3 -2 "127.0.0.1:$FRONT_SMTP_PORT"
}

@test "nginx's mail module and Postfix know their IPv6 client" {
    front_takes_mail ::1 -1 "[::1]:$FRONT_SMTP_PORT"
    front_takes_mail ::1 -2 "127.0.0.1:$FRONT_SMTP_PORT"
}

# nginx comes from 127.0.0.1, which may send mail to everywhere: its clients may not.
@test "Postfix behind nginx's mail module does not relay for relay's clients" {
    local client
    need_root Postfix
    for client in 127.0.0.2 ::1; do
        launch "$client" "127.0.0.1:$FRONT_SMTP_PORT"
        run send_mail "$client" somebody@elsewhere.example
        assert_failure
        assert_line --regexp '^< 454 .*<somebody@elsewhere\.example>: Relay access denied'
        stop tcpserver
    done
}

@test "nginx's mail module refuses a connection without a header" {
    launch 127.0.0.2 -0 "127.0.0.1:$FRONT_IMAP_PORT"
    run ask "$port" "$from" 127.0.0.2 < <(printf 'a001 CAPABILITY\r\n')
    assert_output ''
    front_logged mail.log 'broken header: "a001 CAPABILITY'
}

@test "nginx's mail module believes no header that another address than relay's sends" {
    need_root Postfix
    # A client of its own that tells no truth: Postfix knows who it is.
    run python3 - "$FRONT_SMTP_PORT" <<'PYTHON'
import smtplib, socket, sys
class Liar(smtplib.SMTP):
    def _get_socket(self, *args):
        connection = super()._get_socket(*args)
        connection.sendall(b"PROXY TCP4 6.6.6.6 6.6.6.6 666 666\r\n")
        return connection
with Liar("127.0.0.1", int(sys.argv[1]), "liar.example", source_address=("127.0.0.5", 0)) as client:
    client.sendmail("somebody@example.net", "user@example.org", "Subject: lie\r\n\r\nHello\r\n")
PYTHON
    assert_success
    wait_logged postfix ': client=unknown\[127\.0\.0\.5\]:'
    run grep -F 6.6.6.6 "$(server_log postfix)" "$BATS_FILE_TMPDIR/front/auth.log"
    assert_output ''
}
