#!/bin/sh
# Several backends: one for each client, one with spares, or any of them.
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
#                                          .-> nginx 127.0.0.1:8080
#   client -> tcpserver, port 80 -> relay -+-> nginx 127.0.0.1:8081
#                                          '-> nginx 127.0.0.1:8082
#
# Try it:  three of ../nginx.conf, with these ports: see README.md
#          sh balance.sh hash      or first, or random; as root, for port 80
#          curl http://your-address/client
# To see:  relay's line for each connection: backend= says who had it; a line
#          "skipped" tells of one that was down.
# Change:  the backends. Each must expect a PROXY header from this machine.

exec 2>&1
exec tcpserver -v -H -R -l 0 -c 1000 -b 128 \
    -u "$(id -u nobody)" -g "$(id -g nobody)" \
    0.0.0.0 80 \
    /usr/local/bin/relay -v -l "${1:-hash}" \
    127.0.0.1:8080 127.0.0.1:8081 127.0.0.1:8082
