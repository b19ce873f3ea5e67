#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay under tcpsvd (Debian: ipsvd): start this by hand as root, or let it be
# the run script of a runit, daemontools or s6 service. tcpsvd knows IPv4 only.
#
#   -l 0    look up no name of its own
#   -u      no root once the port is bound
#   -c      connections at once (tcpsvd's own limit is 30); more of them wait
#   -C      of these from one address; one more is closed at once
#   -b      connections that may wait to be accepted (its own: 20)
#
# Change: the port, here 80 on every address (0), and the backend. It must expect
#         a PROXY header, as that of nginx.conf does.
# To see: relay's line for each connection, with the client's address, between
#         tcpsvd's own.

exec 2>&1
exec tcpsvd -v -l 0 -u nobody -c 1000 -C 50 -b 128 \
    0 80 \
    /usr/local/bin/relay -v 127.0.0.1:8080
