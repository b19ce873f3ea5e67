#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Limits: whom tcpserver serves, and how many at once. Whoever is denied gets not
# one byte, and no relay is started.
#
#   client -> tcpserver, its rules -> relay 127.0.0.1:8080 -> backend
#
# Type:   sh tcprules.sh         as root; or let it be a run script, as ../tcpserver.sh.
# To see: "tcpserver: deny PID ...", or relay's line with the client's address.
#         tcprulescheck tells what a rule says: TCPREMOTEIP=203.0.113.7 \
#             tcprulescheck /var/lib/relay/rules.cdb
# Change: the rules: an address, or the beginning of one with its dot; the longest
#         that matches counts. -c: connections at once; more of them wait.
#
# The rules are in a file of their own, /var/lib/relay/rules, and stay there. Those
# below are put there only if there is no such file. To change them, then and there,
# for the next connections and after a restart:
#         editor rules && tcprules rules.cdb rules.tmp <rules      in that directory
#
# IPv6: under ucspi-tcp-ipv6's tcpserver -6 0, an IPv4 client is ::ffff:203.0.113.7,
# and these rules miss it. Run one tcpserver for IPv4, and one with -6 for ::.

rules=/var/lib/relay/rules
mkdir -p "${rules%/*}"
[ -e $rules ] || cat >$rules.new <<'END' || exit
203.0.113.:deny
198.51.100.66:deny
:allow
END
[ -e $rules ] || mv $rules.new $rules || exit      # whole, or not at all
tcprules $rules.cdb $rules.tmp <$rules || exit

exec 2>&1
exec tcpserver -v -H -R -l 0 -c 1000 -b 128 -x $rules.cdb \
    -u "$(id -u nobody)" -g "$(id -g nobody)" \
    0.0.0.0 80 \
    /usr/local/bin/relay -v 127.0.0.1:8080
