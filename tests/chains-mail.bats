#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# examples/chains/mail: what its README says, typed on a machine of its own, with
# the real ports, Debian's own configuration, and clients that come over a network.
#
# shellcheck disable=SC2030,SC2031 # each test is a subshell, and what it changes is its own
# shellcheck disable=SC2034,SC2154 # for send_mail and imap; set by door

load helper
load backend
load machine
load mailservers

setup_file() {
    [[ $(id -u) == 0 ]] || return 0
    machine mail "$TESTS/build/postfix" "$TESTS/build/ucspi-tcp-ipv6"
    start syslog python3 "$PEER" syslog "/proc/$(process_of mail)/root/dev/log"
    wait_for on mail test -S /dev/log
    mail_packages | on mail sh -es
    machine_runs mail chains/mail/README.md 1 2
    local port
    for port in 25 587 143 993 2525 10587 10143 10993 10025; do
        wait_listening_on mail "$port"
    done
}

teardown_file() { stop_all; }

setup() {
    need_root 'a machine of its own'
    via=(outside)
    from=$(free_port)
}

teardown() { stop_all; }

# What the packages' own installation would do and ask, a mailbox, and, to compare,
# a service on port 10025 that expects no header.
mail_packages() {
    cat <<'END'
hostname mail.example.org
getent group postdrop >/dev/null || groupadd --system postdrop
getent passwd postfix >/dev/null || useradd --system --no-create-home --home-dir /var/spool/postfix postfix
chown postfix /var/lib/postfix
cd /etc/postfix
sed '$a 127.0.0.1:10025 inet n - y - - smtpd' /usr/share/postfix/master.cf.dist >master.cf
cp /usr/share/postfix/main.cf.debian main.cf
cat >>main.cf <<MAIN
myhostname = mail.example.org
mydestination = \$myhostname, example.org, localhost
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
alias_maps =
alias_database =
inet_protocols = all
smtpd_tls_cert_file = /etc/ssl/certs/ssl-cert-snakeoil.pem
smtpd_tls_key_file = /etc/ssl/private/ssl-cert-snakeoil.key
MAIN
mkdir -p /etc/ssl/private
cd /etc/dovecot/private
rm -f dovecot.key dovecot.pem # links to those above, where ssl-cert is installed
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=mail.example.org -keyout dovecot.key -out dovecot.pem 2>/dev/null
cp dovecot.key /etc/ssl/private/ssl-cert-snakeoil.key
cp dovecot.pem /etc/ssl/certs/ssl-cert-snakeoil.pem
useradd --create-home user
echo user:password | chpasswd
END
}

# --- clients ---

# the_readmes_client CLIENT-ADDRESS: sends a mail and fetches it as README says.
the_readmes_client() {
    readme_commands "$ROOT/examples/chains/mail/README.md" 3 >"$BATS_TEST_TMPDIR/commands"
    sed -i "s/curl /curl -m 60 --interface $1 /; s|//mail\.example\.org|//$(bracket "$to")|
        s/hello/$from/; /^curl.*imaps:/i await_mail" "$BATS_TEST_TMPDIR/commands"
    # shellcheck disable=SC2317 # for the commands
    curl() { outside curl "$@" | tr -d '\r'; }
    # shellcheck source=/dev/null
    . "$BATS_TEST_TMPDIR/commands"
}

# forge CLIENT-ADDRESS PORT COMMAND ANSWER: begins with a header of its own, and waits
# until the server has given that answer to it.
forge() {
    local answer=$BATS_TEST_TMPDIR/answer expected=$4
    # shellcheck disable=SC2317 # for wait_for
    answered() { grep -e "$expected" "$answer"; }
    : >"$answer"
    { printf 'PROXY TCP4 203.0.113.6 203.0.113.6 666 %d\r\n%s\r\n' "$2" "$3" && wait_for answered; } |
        outside socat -t 30 - "TCP:$(bracket "$to"):$2,bind=$(bracket "$1")" >"$answer"
    answered
}

# await_mail: until Postfix has delivered all.
await_mail() {
    # shellcheck disable=SC2317 # for wait_for
    queue_empty() { [[ $(on mail postqueue -j) == '' ]]; }
    wait_for queue_empty
}

# logged TEXT: waits until syslog has it: /var/log/mail.log.
logged() {
    wait_for grep -E -e "$1" "$BATS_FILE_TMPDIR/syslog.log"
}

# relay_logged CLIENT-ADDRESS PORT BACKEND
relay_logged() {
    wait_for grep -E "^relay: closed client=$(quote "$1"):[0-9]+ server=$(quote "$to"):$2 backend=$3 " \
        "$BATS_FILE_TMPDIR/commands.log"
}

quote() {
    bracket "$1" | sed 's/[].[]/\\&/g'
}

# --- the chain ---

# goes_in_and_out CLIENT-ADDRESS: a mail, and who sent and fetched it.
goes_in_and_out() {
    local client=$1 in_received=$1
    server_for "$client"
    [[ $client != *:* ]] || in_received=IPv6:$client
    run the_readmes_client "$client"
    assert_success
    assert_line "Subject: $from"
    assert_regex "$(received_line <<<"$output")" \
        "^Received: from [^ ]+ \(unknown \[$in_received\]\) by mail\.example\.org \(Postfix\) with ESMTP id "
    logged " postfix/smtpd\[[0-9]+\]: connect from unknown\[$client\]$"
    logged " postfix/smtpd\[[0-9]+\]: [0-9A-F]+: client=unknown\[$client\]$"
    logged " dovecot: imap-login: Login: user=<user>, method=PLAIN, rip=$client, lip=$to, .* TLS"
    relay_logged "$client" 25 127.0.0.1:2525
    relay_logged "$client" 993 127.0.0.1:10993
}

@test "a mail comes in on port 25 and is fetched on port 993, IPv4" {
    goes_in_and_out 192.0.2.2
}

@test "a mail comes in on port 25 and is fetched on port 993, IPv6" {
    goes_in_and_out 2001:db8::2
}

@test "Dovecot knows who logs in on port 143" {
    local client port=143
    for client in 192.0.2.3 2001:db8::3; do
        server_for "$client"
        run imap "$client" imap user:password -X 'STATUS INBOX (MESSAGES)'
        assert_success
        assert_line --regexp '^\* STATUS INBOX '
        logged " dovecot: imap-login: Login: user=<user>, .* rip=$client, lip=$to, .* TLS"
        relay_logged "$client" 143 127.0.0.1:10143
    done
}

# submit CLIENT-ADDRESS CURL-ARGUMENT...: a mail to elsewhere, on port 587.
submit() {
    send_mail "$1" somebody@elsewhere.example 587 -k "${@:2}"
}

@test "a user of the host sends mail to elsewhere, on port 587, and Postfix knows from where" {
    local client
    for client in 192.0.2.2 2001:db8::2; do
        server_for "$client"
        run submit "$client" --ssl-reqd -u user:password
        assert_success
        assert_line --regexp '^< 250 2\.0\.0 Ok: queued as '
        logged " postfix/submission/smtpd\[[0-9]+\]: [0-9A-F]+: client=unknown\[$client\], sasl_method=PLAIN, sasl_username=user$"
        relay_logged "$client" 587 127.0.0.1:10587
    done
}

@test "nobody else can" {
    local client port=25
    for client in 192.0.2.3 2001:db8::3; do
        server_for "$client"
        run send_mail "$client" somebody@elsewhere.example
        assert_failure
        assert_line '< 454 4.7.1 <somebody@elsewhere.example>: Relay access denied'
        logged " reject: RCPT from unknown\[$client\]: 454 4\.7\.1 <somebody@elsewhere\.example>: Relay access denied"
        from=$(free_port)
        run submit "$client" --ssl-reqd
        assert_failure
        assert_line --regexp '^< 554 5\.7\.1 <somebody@elsewhere\.example>: .* Access denied'
        from=$(free_port)
        run submit "$client"
        assert_failure
        assert_line '< 530 5.7.0 Must issue a STARTTLS command first'
    done
}

@test "everybody can where no header is expected, unless it comes as the README's tcpserver sends it" {
    local enter port=2600 options careful
    server_for 192.0.2.3
    door mail
    careful=$(readme_commands "$ROOT/examples/chains/mail/README.md" 2 | sed -n 's/.* relay \(.*\) 127\.0\.0\.1:2525 &$/\1/p')
    for options in -0 -1 "$careful"; do
        # shellcheck disable=SC2086 # words
        start careless "${enter[@]}" tcpserver -H -R -l0 0 "$port" relay $options 127.0.0.1:10025
        wait_listening_on mail "$port"
        from=$(free_port)
        run send_mail 192.0.2.3 somebody@elsewhere.example
        if [[ $options == "$careful" ]]; then
            assert_failure
            assert_line --regexp '^< 500 5\.5\.2 '
            refute_line --regexp '^< 250'
        else
            assert_line --regexp '^< 250 2\.1\.5 Ok'
        fi
        stop careless
    done
}

# All at once: the servers let each of them wait for some seconds.
@test "a wrong password is logged with its client" {
    local client port=143 attempt attempts=()
    for client in 192.0.2.3 2001:db8::3; do
        server_for "$client"
        imap "$client" imap user:wrong &
        attempts+=($!)
        from=$(free_port)
        submit "$client" --ssl-reqd -u user:wrong &
        attempts+=($!)
        from=$(free_port)
    done
    for attempt in "${attempts[@]}"; do
        status=0
        wait "$attempt" || status=$?
        # curl(1): login denied
        assert_equal "$status" 67
    done
    for client in 192.0.2.3 2001:db8::3; do
        server_for "$client"
        logged " dovecot: imap-login: .*\(auth failed, .* user=<user>, .* rip=$client, lip=$to, "
        logged " postfix/submission/smtpd\[[0-9]+\]: warning: unknown\[$client\]: SASL PLAIN authentication failed"
        logged " auth: pam_unix\(dovecot:auth\): authentication failure; .* rhost=$client "
    done
}

@test "a header that a client sends is not believed" {
    local client port
    for client in 192.0.2.3 2001:db8::3; do
        server_for "$client"
        forge "$client" 25 QUIT '^5[0-9][0-9] '
        forge "$client" 143 'a LOGOUT' '^PROXY BAD '
        # And relay's way to the servers is not open to them.
        for port in 2525 10587 10143 10993; do
            run outside socat -u "TCP:$(bracket "$to"):$port" -
            assert_output --partial 'Connection refused'
        done
    done
    run grep -E '(\[|rip=)203\.0\.113\.6' "$BATS_FILE_TMPDIR/syslog.log"
    assert_output ''
}

# --- with systemd ---

@test "units.sh changes nothing where somebody has a port, and says who" {
    run on mail sh /run/relay/examples/chains/mail/units.sh
    assert_failure 1
    assert_line --partial '"tcpserver"'
    assert_line --partial 'port 25 is taken; '
    run on mail sh -c 'ls /etc/systemd/system | grep "^relay-"'
    assert_output ''
}

@test "units.sh makes units that hand these ports on to these servers" {
    local enter name line most unit port=2600
    server_for 192.0.2.3
    # Here is no systemd that could start them; and the ports are tcpserver's.
    sed '/^systemctl /d' "$ROOT/examples/chains/mail/units.sh" | on mail tee /run/relay/examples/chains/mail/here.sh
    on mail mv /usr/local/bin/relay /usr/local/bin/relay.not
    run on mail unshare --net sh /run/relay/examples/chains/mail/here.sh
    assert_failure 1
    assert_line 'there is no /usr/local/bin/relay: make install'
    on mail mv /usr/local/bin/relay.not /usr/local/bin/relay
    on mail unshare --net sh /run/relay/examples/chains/mail/here.sh
    door mail
    while read -r name most line; do
        unit=/etc/systemd/system/relay-$name
        run on mail grep -h '^ListenStream=\|^MaxConnectionsPerSource=\|^ExecStart=' "$unit.socket" "$unit@.service"
        assert_output "ListenStream=${line% *}
MaxConnectionsPerSource=$most
ExecStart=/usr/local/bin/relay --verbose -2 ${line#* }"
        run on mail systemd-analyze verify "$unit.socket"
        assert_success
        refute_output --partial "relay-$name"
    done <<'END'
smtp 50 25 127.0.0.1:2525
submission 50 587 127.0.0.1:10587
imap 200 143 127.0.0.1:10143
imaps 200 993 127.0.0.1:10993
END
    # The servers' own limits, of which its comment speaks.
    run on mail sh -c 'postconf -dh smtpd_client_connection_count_limit; doveconf -dh default_process_limit'
    assert_output $'50\n100'
    # shellcheck disable=SC2046 # a command's words
    start smtp "${enter[@]}" systemd-socket-activate --accept --inetd -l "$port" \
        $(on mail sed -n 's/^ExecStart=//p' /etc/systemd/system/relay-smtp@.service)
    wait_listening_on mail "$port"
    run send_mail 192.0.2.3 user@example.org
    assert_success
    logged " postfix/smtpd\[[0-9]+\]: [0-9A-F]+: client=unknown\[192\.0\.2\.3\]$"
}

# --- what the comments of the files say ---

@test "a service whose line is taken out leaves its port when Postfix reloads, as master.cf's comment says" {
    local command
    command=$(sed -n 's/^# *\(postconf -M# .*\)/\1/p' "$ROOT/examples/postfix/master.cf")
    assert_equal "$command" 'postconf -M# smtp/inet; postfix reload'
    on mail sh -c "${command/smtp/127.0.0.1:10025}"
    left() { [[ -z $(on mail ss -Hltn 'sport = :10025') ]]; }
    wait_for left
}
