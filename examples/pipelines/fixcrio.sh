#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Clients that end a line with LF alone, before a backend that insists on CR LF:
# fixcrio puts in the CR that is missing, both ways. For protocols of lines only:
# it would spoil binary data.
#
#   client -> tcpserver -> fixcrio -> relay 127.0.0.1:2525 -> SMTP server
#
# Type:   sh fixcrio.sh          as root; and from another terminal:
#         printf 'HELO me\nQUIT\n' | nc your-address 25
# To see: the SMTP server takes the two commands, and logs the client's address.
# Change: the port, 25 on every address, and the backend. -2: one that expects no header
#         hangs up then, and does not go on with it.
#
# fixcrio has the client's socket, relay two pipes, and the client's address from
# tcpserver's environment. What is lost: see recordio.sh, it is the same.

exec 2>&1
exec tcpserver -v -H -R -l 0 -c 100 -b 128 \
    -u "$(id -u nobody)" -g "$(id -g nobody)" \
    0.0.0.0 25 \
    fixcrio \
    /usr/local/bin/relay -v -2 127.0.0.1:2525
