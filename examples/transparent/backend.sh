#!/bin/sh
# The routes for relay --bind=client, on the machine of a backend that is not
# relay's own: see README.md.
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
#   backend, port 8080 -> relay's machine, for whatever client
#
# Try it:  sh backend.sh add 198.51.100.1 8080   (as root: relay's machine, which is
#          in a network of this one's; the backend's port)
# To undo: sh backend.sh del 198.51.100.1 8080   (the table stays: nobody looks into it)
# To see:  ip rule; ip route show table 100; the same with ip -6
# To keep: as in routes.sh
#
# Where relay's machine is the default route anyhow, this is not needed.

set -e
family=-4
case $2 in *:*) family=-6 ;; esac

# By this table all goes to relay's machine.
ip "$family" route replace default via "$2" table 100

# It is for the backend's answers alone: all else keeps its way.
ip "$family" rule "$1" ipproto tcp sport "$3" table 100 priority 100
