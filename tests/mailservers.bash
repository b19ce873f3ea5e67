# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Mail servers, and what mail programs ask them. Loaded after helper and backend.
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

# delivers CLIENT-ADDRESS RELAY-ARGUMENT...: a mail through relay, $id being its name there.
delivers() {
    launch "$@"
    run send_mail "$1" user@example.org
    assert_success
    id=$(sed -nE 's/^< 250 .*(queued as |id=)//p; s/^< 250 .* ([0-9a-f]+) Message accepted .*/\1/p' <<<"$output")
    [[ $id ]]
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

# --- servers that need more than their example ---

# start_postfix: with the package's own master.cf, but for its port 25; then what
# stdin has. Needs root.
start_postfix() {
    local dir=$BATS_FILE_TMPDIR/postfix package=$TESTS/build/postfix
    mkdir -p "$dir"/{conf,queue,data,mail}
    chown uucp "$dir/data"
    chown nobody "$dir/mail"
    {
        grep -v '^smtp  *inet' "$package/usr/share/postfix/master.cf.dist"
        cat
    } >"$dir/conf/master.cf"
    cat >"$dir/conf/main.cf" <<END
compatibility_level = 3.6
myhostname = mx.example
# Relay's address, which is nobody's who may send mail to everywhere.
mynetworks = 127.0.0.1/32
smtpd_peername_lookup = no
smtpd_client_port_logging = yes
smtpd_upstream_proxy_timeout = 3s
postscreen_greet_wait = 1s
alias_maps =
alias_database =
virtual_mailbox_domains = example.org
virtual_mailbox_base = $dir/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
queue_directory = $dir/queue
data_directory = $dir/data
maillog_file = /dev/stdout
# Users that Debian always has, for none is made where nothing is installed.
mail_owner = uucp
setgid_group = list
command_directory = $package/usr/sbin
daemon_directory = $package/usr/lib/postfix/sbin
shlib_directory = $package/usr/lib/postfix
meta_directory = $package/etc/postfix
import_environment = MAIL_CONFIG MAIL_LOGTAG POSTLOG_SERVICE LD_LIBRARY_PATH RELAY_TEST
export_environment = MAIL_CONFIG LD_LIBRARY_PATH RELAY_TEST
END
    start postfix env LD_LIBRARY_PATH="$package/usr/lib/postfix" \
        "$package/usr/sbin/postfix" -c "$dir/conf" start-fg </dev/null
}

# start_dovecot: with what stdin has, inside the smallest configuration that it can
# run with. It listens nowhere by itself; with TLS or without.
start_dovecot() {
    local dir=$BATS_FILE_TMPDIR/dovecot group
    group=$(id -gn "$me")
    mkdir -p "$dir"/{run,state,mail}
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=mx.example -keyout "$dir/key.pem" -out "$dir/certificate.pem" 2>/dev/null
    [[ $(id -u) != 0 ]] || chown -R "$me" "$dir"
    cat >"$dir/99-relay.conf"
    cat >"$dir/dovecot.conf" <<END
protocols = imap
service imap-login {
  chroot =
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = 0
  }
}
service anvil {
  chroot =
  # Or it would let a client wait who has just given a wrong password.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
ssl = required
ssl_cert = <$dir/certificate.pem
ssl_key = <$dir/key.pem
auth_failure_delay = 0
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=$(id -u "$me") gid=$(id -g "$me") home=$dir/mail/%u
}
first_valid_uid = $(id -u "$me")
first_valid_gid = $(id -g "$me")
mail_location = maildir:~
default_internal_user = $me
default_internal_group = $group
default_login_user = $me
base_dir = $dir/run
state_dir = $dir/state
log_path = /dev/stderr
!include $dir/99-relay.conf
END
    start dovecot "${as_user[@]}" dovecot -F -c "$dir/dovecot.conf" </dev/null
}
