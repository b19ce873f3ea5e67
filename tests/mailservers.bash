# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Mail programs' end: what they ask a mail server. Loaded after helper and backend.
#
# shellcheck disable=SC2154 # set by launch, or by the suite

# $via: a command that runs clients where they belong. Here, unless a suite says
# otherwise.
via=()

# send_mail CLIENT-ADDRESS RECIPIENT [PORT [CURL-ARGUMENT...]]: with the port it
# comes from as the subject; curl shows the dialogue.
send_mail() {
    printf 'Subject: %s\r\n\r\nHello\r\n' "$from" >"$BATS_TEST_TMPDIR/mail"
    "${via[@]}" curl -sS -v -m 60 --interface "$1" --local-port "$from" \
        "smtp://$(bracket "$to"):${3:-$port}/client.example" \
        "${@:4}" --mail-from somebody@example.net --mail-rcpt "$2" --upload-file "$BATS_TEST_TMPDIR/mail" 2>&1 |
        tr -d '\r'
    return "${PIPESTATUS[0]}"
}

# received_line: the first Received header of its input, a mail, on one line.
received_line() {
    sed -n '/^Received:/,/^[^ \t]/ { /^Received:\|^[ \t]/p }' | tr -s '\n\t ' ' '
}

# imap CLIENT-ADDRESS SCHEME USER:PASSWORD CURL-ARGUMENT...: asks Dovecot; over
# TLS, whatever the scheme.
imap() {
    "${via[@]}" curl -sS -v -m 60 --interface "$1" --local-port "$from" -k --ssl-reqd \
        -u "$3" "${@:4}" "$2://$(bracket "$to"):$port" 2>&1 | tr -d '\r'
    return "${PIPESTATUS[0]}"
}

# greeting: the first line that the server says to a client that says nothing.
greeting() {
    local line
    exec 3<>"/dev/tcp/$to/$port"
    IFS= read -r -t 10 line <&3 2>/dev/null
    exec 3<&-
    echo "${line%$'\r'}"
}

# greets REGEX RELAY-ARGUMENT...: a client that waits for the server to speak.
greets() {
    local pattern=$1
    shift
    launch 127.0.0.2 "$@"
    run greeting
    assert_success
    assert_output --regexp "$pattern"
}
