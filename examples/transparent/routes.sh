#!/bin/sh
# The routes for relay --bind=client, on relay's machine: see README.md.
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
#   relay, from the client's address -> backend
#   backend -> the client's address, which is relay's socket
#
# Try it:  sh routes.sh add 127.0.0.1 8080   (as root: the backend's address and port)
# To undo: sh routes.sh del 127.0.0.1 8080   (the table stays: nobody looks into it)
# To see:  ip rule; ip route show table 100; the same with ip -6
# To keep: in an ExecStartPre= of relay.socket, or as post-up lines in
#          /etc/network/interfaces: they are gone after a reboot
# Change:  100, if it is another's table or priority
#
# Let clients reach that port through relay only: what the backend answers to
# others from there ends here, too. No sysctl is needed, not even with rp_filter.

set -e
family=-4
case $2 in *:*) family=-6 ;; esac

# In this table every address is this machine's own.
ip "$family" route replace local default dev lo table 100

# What comes from the backend, be it this machine itself or another, is looked up
# there: it would leave for the client, who waits for nothing from the backend.
# With a priority: or a second "add" would add it twice.
ip "$family" rule "$1" from "$2" ipproto tcp sport "$3" table 100 priority 100
