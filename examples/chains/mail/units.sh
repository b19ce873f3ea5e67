#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay on a mail host's ports, with systemd: see README.md. For each port a pair
# of units, made of ../../systemd/relay.socket and relay@.service.
#
#   client -> systemd, port 25  -> relay -2 127.0.0.1:2525  -> Postfix
#   client -> systemd, port 587 -> relay -2 127.0.0.1:10587 -> Postfix
#   client -> systemd, port 143 -> relay -2 127.0.0.1:10143 -> Dovecot
#   client -> systemd, port 993 -> relay -2 127.0.0.1:10993 -> Dovecot (TLS)
#
# Try it:  sh units.sh          as root; where a port is taken it changes nothing
# To see:  journalctl -u 'relay-*@*'
# Change:  the ports, the backends (with a UNIX socket, SupplementaryGroups= in the
#          service's unit too), and how many connections one address may have at once. For
#          SMTP as many as Postfix lets it by default (50). To IMAP a mail program
#          keeps about five open, and an office behind NAT is one address: 200 are
#          40 programs. Over 100, of all clients, Dovecot lets others wait: raise its
#          default_process_limit as well.

set -e
cd "$(dirname "$0")/../../systemd"
units=/etc/systemd/system

# NAME PORT BACKEND CONNECTIONS-OF-ONE-ADDRESS
pairs='relay-smtp 25 127.0.0.1:2525 50
relay-submission 587 127.0.0.1:10587 50
relay-imap 143 127.0.0.1:10143 200
relay-imaps 993 127.0.0.1:10993 200'

command -v ss >/dev/null || { echo "there is no ss: apt-get install iproute2" >&2; exit 1; }
# Nobody else may listen on the ports, and relay must be where the units look for it.
echo "$pairs" | while read -r name port backend most; do
    systemctl --quiet is-active "$name.socket" || [ -z "$(ss -Hltn "sport = :$port")" ] || {
        ss -Hltnp "sport = :$port"
        echo "port $port is taken; where that is by systemd, systemctl list-sockets says for whom" >&2
        exit 1
    }
done
relay=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' relay@.service)
[ -x "$relay" ] || { echo "there is no $relay: make install" >&2; exit 1; }

echo "$pairs" | while read -r name port backend most; do
    sed "s/relay\([.@]\)/$name\1/g; s/^ListenStream=80$/ListenStream=$port/
        s/^\(MaxConnectionsPerSource\)=.*/\1=$most/" relay.socket >"$units/$name.socket"
    sed "s/relay\([.@]\)/$name\1/g; s| 127\.0\.0\.1:8080\$| -2 $backend|" relay@.service >"$units/$name@.service"
done
systemctl daemon-reload
systemctl enable relay-smtp.socket relay-submission.socket relay-imap.socket relay-imaps.socket
systemctl restart relay-smtp.socket relay-submission.socket relay-imap.socket relay-imaps.socket
