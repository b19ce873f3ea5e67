#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay under socat.
#
#   socat.sh            IPv6 and IPv4 clients, on one port
#   socat.sh 4          IPv4 only
#   socat.sh 6          IPv6 only
#   socat.sh both pair  without nofork: see below
#
# Change: the port, 80, and the backend. In EXEC's command a colon is \: and so
#         an IPv6 backend is [\:\:1]\:8080. Without the \ socat says "wrong number
#         of parameters", and only when the first client has come.
# To see: relay's line for each connection, with the client's address.
#
#   max-children  connections at once; more of them wait
#   backlog       connections that may wait to be accepted; with socat's own 5, clients
#                 that come in a crowd lose a second
#   su=nobody     relay is no root
#   nofork        the process that socat has started for the connection becomes
#                 relay, which has the client's own socket. Without, socat stays
#                 between them: its variables tell relay the client's address.

case ${1:-both} in
both) listen=TCP6-LISTEN:80,ipv6only=0 ;;
4) listen=TCP4-LISTEN:80 ;;
6) listen=TCP6-LISTEN:80,ipv6only=1 ;;
esac
listen=$listen,reuseaddr,fork,max-children=1000,backlog=128

# What stays between takes a process more, and loses something: a reset by the client
# or the backend looks to the other like an end in order.
# -t:   after one side has ended, wait a day for the other. socat's own limit is half
#       a second, and later answers are lost.
# trap: when both sides have ended, socat sends relay SIGTERM; but relay may still
#       have some bytes, for a side that reads slowly. In SYSTEM's command a colon is
#       \: and a quotation mark \"
if [ "${2:-}" = pair ]; then
    exec socat -t 86400 "$listen" \
        SYSTEM:'trap \"\" TERM; /usr/local/bin/relay -v 127.0.0.1\:8080; exit 0',su=nobody
fi

exec socat "$listen" EXEC:'/usr/local/bin/relay -v 127.0.0.1\:8080',nofork,su=nobody
