#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# sh systemd.sh DIRECTORY RELAY PORT BACKEND: a real systemd, by ../nspawn.sh. It
# listens on PORT and starts relay with examples/systemd, as relay@.service says for a
# busy port, and without its limits. Ends with SIGTERM. Needs root.
set -e
directory=$(cd "$1" && pwd) relay=$2 port=$3 backend=$4
here=$(dirname "$0")
units=$here/../../examples/systemd

# Control groups of its own: in that which we are in, nspawn's would stay.
groups=''
for mount in $(findmnt -nro TARGET -t cgroup2) $(findmnt -nro TARGET -t cgroup -O name=systemd); do
    path=$(sed -n 's/^\(0:\|[0-9]*:name=systemd\):\(.*\)/\2/p' /proc/self/cgroup | tail -n 1)
    groups="$groups $mount${path%/}/relay-bench-$$"
done

mkdir -p "$directory/units/sockets.target.wants" "$directory/fs" "$directory/files/usr/local/bin"
cp "$relay" "$directory/files/usr/local/bin/relay"
sed -e "s|^ListenStream=.*|ListenStream=127.0.0.1:$port|; s|^MaxConnections=.*|MaxConnections=6000|" \
    -e '/^MaxConnectionsPerSource=/d' "$units/relay.socket" >"$directory/units/bench.socket"
sed -e "s|^ExecStart=.*|ExecStart=/usr/local/bin/relay $backend|" \
    -e '/^# These mount a view/,/^$/d' -e '/^UMask=/aUser=daemon' \
    "$units/relay@.service" >"$directory/units/bench@.service"
ln -s ../bench.socket "$directory/units/sockets.target.wants"
ln -s /lib/systemd/system/sockets.target "$directory/units/default.target"

# SIGTERM comes to all of us: this shell only cleans up.
trap : TERM
# shellcheck disable=SC2086 # a list of words
sh "$here/../nspawn.sh" "$directory" $groups -- --bind-ro="$directory/units:/etc/systemd/system" &
machine=$!
while kill -0 "$machine" 2>/dev/null; do
    wait "$machine" || true
done
for group in $groups; do
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +
done
