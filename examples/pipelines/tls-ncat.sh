#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# TLS before relay, to try something with what is there. To keep it: tls-socat.sh,
# tls-tlswrapper.sh.
#
#   client, TLS -> ncat -> relay 127.0.0.1:8080 -> backend
#
# Type:   sh tls-ncat.sh         as root; and from another terminal:
#         curl -k https://your-name/
# Change: the certificate and its key (without them ncat makes some of its own); the
#         port, 443 for IPv6 and IPv4 clients; and the backend.
#
# relay has two pipes, and the client's address from ncat's environment. What is lost:
# see ../ncat.sh, it is the same. And the end of TCP may come late, after that of TLS:
# a relay that ncat starts while another client's handshake is under way keeps that
# client's connection open, too, for as long as it runs.

exec ncat -l -k -m 1000 --ssl --ssl-cert /etc/relay/cert.pem --ssl-key /etc/relay/key.pem \
    -e '/usr/local/bin/relay -v 127.0.0.1:8080' 443
