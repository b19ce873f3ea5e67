#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay under ncat: to try something with what is there. To keep it, take
# another launcher: ncat gives relay two pipes, and does not tell it, nor the
# client, how the connection ends:
#   - the client ends first: ncat ends it all, and an answer that is still to come
#     is lost. HTTP clients wait for it, and so are well served.
#   - the backend ends first: the client does not learn of it. One that waits for
#     the end, as HTTP/1.0 does, waits for ever.
#   - a reset looks like an end.
#
#   -k          serve one client after the other, and many at once
#   -m          connections at once; one more is closed
#   -e          the program, with its full path
#
# Change: the port, 80 on every IPv4 and IPv6 address, and the backend.
# To see: relay's line for each connection, with the client's address. relay runs
#         as the user that started this.

exec ncat -l -k -m 1000 -e '/usr/local/bin/relay -v 127.0.0.1:8080' 80
