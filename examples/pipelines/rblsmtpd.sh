#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Mail: rblsmtpd answers for clients that are on a list. All others it leaves to
# relay: it becomes relay, which has the client's own socket, and nothing is lost.
#
#   client -> tcpserver, its rules -> rblsmtpd -> relay 127.0.0.1:2525 -> SMTP server
#
# Type:   sh rblsmtpd.sh         as root
# To see: "rblsmtpd: ADDRESS pid PID: 553 ...", or relay's line.
# Change: the rules, the list (a DNS zone), and the SMTP server. It must expect a PROXY
#         header: with Postfix, smtpd_upstream_proxy_protocol=haproxy. It greets
#         first, and the client gets its greeting at once. -2: an SMTP server that
#         expects no header hangs up then, and does not go on with it. The rules below are put
#         into /var/lib/relay/smtp if there are none: change them there, and compile
#         them, as tcprules.sh says.
#
# RBLSMTPD in a rule: a text is what the client is told, with 451 (come again), or
# 553 (never) where it begins with a hyphen; empty: never ask the list.
# -r  the list; an address that is on it is told 553 (-b), or 451 (-B).
# -C  if DNS does not answer, some ten seconds later the client is served all the
#     same; with -c it is told 451.

rules=/var/lib/relay/smtp
mkdir -p "${rules%/*}"
[ -e $rules ] || cat >$rules.new <<'END' || exit
10.:allow,RBLSMTPD=""
203.0.113.:allow,RBLSMTPD="-we take no mail from you"
198.51.100.66:deny
:allow
END
[ -e $rules ] || mv $rules.new $rules || exit      # whole, or not at all
tcprules $rules.cdb $rules.tmp <$rules || exit

exec 2>&1
exec tcpserver -v -H -R -l 0 -c 100 -b 128 -x $rules.cdb \
    -u "$(id -u nobody)" -g "$(id -g nobody)" \
    0.0.0.0 25 \
    rblsmtpd -C -b -r list.example \
    /usr/local/bin/relay -v -2 127.0.0.1:2525
