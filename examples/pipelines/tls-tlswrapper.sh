#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# TLS before relay, with tcpserver: tlswrapper takes it off. Debian 12 has neither
# ucspi-ssl's sslserver nor s6-tlsd, which are started just so.
#
#   client, TLS -> tcpserver -> tlswrapper -> relay 127.0.0.1:8080 -> backend
#
# Type:   sh tls-tlswrapper.sh   as root; and from another terminal:
#         curl https://your-name/
# Change: the certificate, with its key in the same file (tls-socat.sh makes one to
#         try); the port, 443 on every address; and the backend.
#
#   -f  the certificate and its key. tcpserver stays root: tlswrapper reads them as
#       root, and then does all with users of its own.
#   -u  relay's user
#   -t  a connection on which nothing comes for so many seconds is over (its own: 60)
#
# relay has two pipes, and the client's address from tcpserver's environment. Of TLS
# that tells nothing: relay's -s adds nothing. And it is version 1.2, no newer one.
#
# What is lost: when either side has ended, it is all over: an answer that comes after
# the client's end is lost, and so is what the client says after the backend's. A reset
# looks to the other side like an end in order. A status of 28416 with no line of
# relay's is tlswrapper's: its client spoke no TLS; -vv tells why.

exec 2>&1
exec tcpserver -v -H -R -l 0 -c 1000 -b 128 \
    0.0.0.0 443 \
    tlswrapper -u nobody -t 60 -f /etc/relay/tls.pem \
    /usr/local/bin/relay -v 127.0.0.1:8080
