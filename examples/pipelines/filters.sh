#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Any filter, before relay and behind it. Here: clients that end a line with CR LF,
# before an application that knows LF only.
#
#   client -> tcpserver -> delcr | relay 127.0.0.1:8080 | addcr
#
# Type:   sh filters.sh          as root; and from another terminal:
#         nc -C your-address 80
# Change: the port, 80 on every address, the filters, and the backend. A filter that
#         keeps bytes in a buffer holds up a conversation: grep and sed do (but grep
#         --line-buffered, sed -u), delcr, addcr, tee and pv do not.
#
# relay has two pipes, and the client's address from tcpserver's environment.
#
# kill 0: without, the client would never learn of the answer's end, for delcr and the
# shell have its socket too. setsid makes these processes a group of their own: without
# it, kill 0 would end tcpserver as well.
#
# What is lost: when the answer has ended, so has the connection. What the client says
# after that does not arrive; the backend sees a reset or an end, and relay logs
# end=signal, mostly. A reset by the client or the backend looks to the other like an
# end in order.

exec 2>&1
exec tcpserver -v -H -R -l 0 -c 100 -b 128 \
    -u "$(id -u nobody)" -g "$(id -g nobody)" \
    0.0.0.0 80 \
    setsid sh -c 'delcr | /usr/local/bin/relay -v 127.0.0.1:8080 | { addcr; kill 0; }'
