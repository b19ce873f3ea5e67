#!/bin/sh
# The routes that go-mmproxy needs: see README.md.
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
#   go-mmproxy, from the client's address -> lo -> 127.0.0.1:10022, sshd
#   sshd, from 127.0.0.1 -> lo, not the way to the client -> go-mmproxy
#
# Try it:  sh routes.sh up     (as root; sh routes.sh down takes them away)
# To see:  ip rule; ip route show table 123; the same with ip -6
# To keep: in a unit's ExecStartPre=, or as post-up lines of lo in
#          /etc/network/interfaces: they are gone after a reboot
# Change:  123, if it is another's table or priority
#
# No sysctl is needed: these packets never leave lo, so neither rp_filter nor
# route_localnet has a say.

set -e
case $1 in
up) what=add ;;
down) what=del ;;
*) echo "usage: sh routes.sh up|down" >&2; exit 2 ;;
esac

# sshd's answers are for a client's address, so they would leave for the client,
# who waits for none from there. What this machine itself (iif lo) sends from a
# loopback address looks into another table; nothing else does. With a priority:
# or a second "up" would add it twice.
ip rule "$what" from 127.0.0.0/8 iif lo table 123 priority 123
ip -6 rule "$what" from ::1 iif lo table 123 priority 123

# In that table every address is this machine's own: the answers stay here, and
# reach go-mmproxy's socket, which is bound to the client's address.
ip route "$what" local 0.0.0.0/0 dev lo table 123
ip -6 route "$what" local ::/0 dev lo table 123
