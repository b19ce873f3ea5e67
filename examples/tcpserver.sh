#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay under tcpserver (Debian: ucspi-tcp): start this by hand as root, or let
# it be the run script of a daemontools, runit or s6 service.
#
#   exec        the supervisor's signals go to tcpserver, not to a shell before it
#   -H -R -l 0  look up no names, ask the client's machine nothing (ident)
#   -u -g       no root once the port is bound
#   -c          connections at once (tcpserver's own limit is 40)
#   -b          connections that may wait to be accepted (its own: 20)
#
# For IPv6 clients too: ucspi-tcp-ipv6's tcpserver, with -6 and 0 for 0.0.0.0.

exec 2>&1
exec tcpserver -v -H -R -l 0 -c 1000 -b 128 \
    -u "$(id -u nobody)" -g "$(id -g nobody)" \
    0.0.0.0 80 \
    /usr/local/bin/relay -v 127.0.0.1:8080
