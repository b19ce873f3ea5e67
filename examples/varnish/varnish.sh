#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Varnish behind relay: the client's real address in VCL, in logs and in
# X-Forwarded-For, for what comes from the cache as well.
#
#   client -> launcher, port 80 -> relay 127.0.0.1:8080 -> this Varnish -> application
#
# Try it:  sh varnish.sh        (its files go to ./varnish; relay.vcl says where
#                               the application is. Not below /root: Varnish gives
#                               up root, and then cannot read relay.vcl)
#          tcpserver -H -R -l0 0 80 relay 127.0.0.1:8080 &
#          curl http://your-address/client    -> your client's address and port
#          varnishncsa -n "$PWD/varnish"      a line for each request
# To keep: the two -a in the place of your own, and -f with relay.vcl, copied to
#          /etc/varnish: systemctl edit --full varnish
#
# PROXY: every connection here must begin with a PROXY header, version 1 or 2. So
# these are not the ports that browsers come to. Another -a, without PROXY, may
# stand beside them.

exec varnishd -F -n "$PWD/varnish" \
    -a 127.0.0.1:8080,PROXY \
    -a '[::1]:8080,PROXY' \
    -f "$PWD/relay.vcl" \
    -s malloc,64m
