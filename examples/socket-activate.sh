#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# relay under systemd-socket-activate (Debian: systemd): to try with one command
# what a .socket unit does. It knows no limits and goes when your terminal goes: to
# keep it, see systemd/.
#
#   --accept  a relay for each connection
#   --inetd   the client on descriptors 0 and 1. Without it, on 3: relay takes both
#   -l        where clients connect; a port alone: IPv6 and IPv4. Also 192.0.2.1:80,
#             [2001:db8::1]:80, /run/relay.sock
#
# Change: the port, and the backend. It must expect a PROXY header, as that of
#         nginx.conf does.
# To see: relay's line for each connection, with the client's address. relay runs
#         as the user that started this.

exec systemd-socket-activate --accept --inetd -l 80 /usr/local/bin/relay -v 127.0.0.1:8080
