#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay's header inside TLS, without a service on the near machine: for each client
# socat makes a TLS connection, and relay takes it on descriptors 6 and 7.
#
#   client -> tcpserver, port 80 -> socat -> TLS -> 127.0.0.1:8443, any TLS terminator
#                                     \_ relay fd:6,7 (it has the client on 0 and 1)
#
# Try it: README.md
# Change: where the far end is, and its name in commonname; the certificates; the port.
#
#   cafile      who the far end must be: the holder of this certificate
#   commonname  the name in the far end's certificate
#   cert        who we are, for the far end asks; the user nobody reads it
#   fdin fdout  on which descriptors relay has the TLS connection
#   -t          after one side has ended, wait a day for the other; socat's own limit is
#               half a second, and later answers are lost
#
#   trap        when both sides have ended, socat sends relay SIGTERM; but relay may
#               still have some of the answer, for a client that reads slowly
#   exit 0      any other status has socat end within a signal handler, where it may
#               hang
#
# In SYSTEM's command a colon is \: and a comma \, and a quotation mark \"

exec 2>&1
exec tcpserver -v -H -R -l 0 -c 1000 -b 128 \
    -u "$(id -u nobody)" -g "$(id -g nobody)" \
    0 80 \
    socat -t 86400 \
    OPENSSL:127.0.0.1:8443,cafile=far.crt,commonname=far.example,cert=near.pem \
    SYSTEM:'trap \"\" TERM; /usr/local/bin/relay -v fd\:6\,7; exit 0',fdin=6,fdout=7
