#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# See what passes: recordio writes each packet to descriptor 2.
#
#   client -> tcpserver -> recordio -> relay 127.0.0.1:8080 -> backend
#
# Type:   sh recordio.sh         as root; and from another terminal:
#         curl http://your-address/
# To see: PID < what the client sends, PID > what it gets, and relay's line. Not
#         the PROXY header: relay adds it behind recordio.
# Change: the port, 80 on every address, and the backend.
#
# recordio has the client's socket, relay two pipes, and the client's address from
# tcpserver's environment. What pipes cannot carry: a reset, by the client or the
# backend, looks to the other like an end in order. And recordio ends it all when the
# backend has ended: what the client says after that is lost.

exec 2>&1
exec tcpserver -v -H -R -l 0 -c 100 -b 128 \
    -u "$(id -u nobody)" -g "$(id -g nobody)" \
    0.0.0.0 80 \
    recordio \
    /usr/local/bin/relay -v 127.0.0.1:8080
