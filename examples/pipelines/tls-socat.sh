#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# TLS before relay: socat takes it off, and relay tells the backend who the client is.
#
#   client, TLS -> socat -> relay 127.0.0.1:8080 -> backend
#
# Type:   sh tls-socat.sh        as root; and from another terminal:
#         curl https://your-name/
# Change: the certificate, with its key in the same file; the port, 443 for IPv6 and
#         IPv4 clients; and the backend. In SYSTEM's command a colon is \:, a quotation
#         mark \"
# For a try: openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=your-name \
#                -keyout key.pem -out cert.pem && cat key.pem cert.pem >/etc/relay/tls.pem
#            curl --cacert cert.pem https://your-name/
# With stunnel: its exec gives relay a connection from 127.0.0.1, and the backend would
#            take that for the client. But protocol = proxy has stunnel send a PROXY
#            header, to relay with -a 127.0.0.1 as well as to the backend itself.
# With relay -2 -s, the backend is told TLS's version and cipher as well.
#
#   verify=0      ask the client for no certificate
#   max-children  connections at once; more of them wait
#   backlog       connections that may wait to be accepted (socat's own: 5)
#   su=nobody     relay is no root
#   -t            after one side has ended, wait a day for the other; socat's own
#                 limit is half a second, and later answers are lost
#   trap          when both sides have ended, socat sends relay SIGTERM; but relay may
#                 still have some bytes, for a side that reads slowly
#   exit 0        any other status has socat end within a signal handler, where it
#                 may hang
#
# relay has a socket that socat has made, and the client's address from socat's
# environment. What is lost: a reset by the backend looks to the client like an end in
# order; one by the client may look so to the backend.

exec socat -t 86400 \
    OPENSSL-LISTEN:443,pf=ip6,ipv6only=0,cert=/etc/relay/tls.pem,verify=0,reuseaddr,fork,max-children=1000,backlog=128 \
    SYSTEM:'trap \"\" TERM; /usr/local/bin/relay -v 127.0.0.1\:8080; exit 0',su=nobody
