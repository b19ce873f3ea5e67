#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay on a mail host's ports, with systemd: see README.md. For each port a pair
# of units, made of ../../systemd/relay.socket and relay@.service.
#
#   client -> systemd, port 25  -> relay 127.0.0.1:2525  -> Postfix
#   client -> systemd, port 587 -> relay 127.0.0.1:10587 -> Postfix
#   client -> systemd, port 143 -> relay 127.0.0.1:10143 -> Dovecot
#   client -> systemd, port 993 -> relay 127.0.0.1:10993 -> Dovecot (TLS)
#
# Try it:  sh units.sh
# To see:  journalctl -u 'relay-*@*'
# Change:  the ports; and in the .socket files, how many connections at once

set -e
cd "$(dirname "$0")/../../systemd"
units=/etc/systemd/system

# pair NAME PORT BACKEND
pair() {
    sed "s/relay\([.@]\)/$1\1/g; s/^ListenStream=80$/ListenStream=$2/" relay.socket >"$units/$1.socket"
    sed "s/relay\([.@]\)/$1\1/g; s/ 127\.0\.0\.1:8080$/ $3/" relay@.service >"$units/$1@.service"
}

pair relay-smtp 25 127.0.0.1:2525
pair relay-submission 587 127.0.0.1:10587
pair relay-imap 143 127.0.0.1:10143
pair relay-imaps 993 127.0.0.1:10993
systemctl daemon-reload
systemctl enable --now relay-smtp.socket relay-submission.socket relay-imap.socket relay-imaps.socket
