#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# sh systemd.sh DIRECTORY RELAY PORT BACKEND: a real systemd, in a container that shares
# this machine's network and files; what it writes is in memory. It listens on PORT and
# starts relay with examples/systemd, as relay@.service says for a busy port, and
# without its limits. Ends with SIGTERM. Needs root.
set -e
directory=$(cd "$1" && pwd) relay=$2 port=$3 backend=$4
units=$(cd "$(dirname "$0")/../../examples/systemd" && pwd)

# Control groups of its own: in that which we are in, nspawn's would stay.
groups=''
for mount in $(findmnt -nro TARGET -t cgroup2) $(findmnt -nro TARGET -t cgroup -O name=systemd); do
    path=$(sed -n 's/^\(0:\|[0-9]*:name=systemd\):\(.*\)/\2/p' /proc/self/cgroup | tail -n 1)
    groups="$groups $mount${path%/}/relay-bench-$$"
done

mkdir -p "$directory/units/sockets.target.wants" "$directory/fs"
sed -e "s|^ListenStream=.*|ListenStream=127.0.0.1:$port|; s|^MaxConnections=.*|MaxConnections=6000|" \
    -e '/^MaxConnectionsPerSource=/d' "$units/relay.socket" >"$directory/units/bench.socket"
sed -e "s|^ExecStart=.*|ExecStart=/usr/local/bin/relay $backend|" \
    -e '/^# These mount a view/,/^$/d' -e '/^UMask=/aUser=daemon' \
    "$units/relay@.service" >"$directory/units/bench@.service"
ln -s ../bench.socket "$directory/units/sockets.target.wants"
ln -s /lib/systemd/system/sockets.target "$directory/units/default.target"

# SIGTERM comes to all of us: this shell only cleans up.
trap : TERM
# shellcheck disable=SC2016,SC2086 # expanded by the sh that runs it; a list of words
unshare --mount --propagation private sh -ec '
    directory=$1 relay=$2
    shift 2
    for group; do
        mkdir "$group"
        echo $$ >"$group/cgroup.procs"
    done
    mount -t tmpfs tmpfs "$directory/fs"
    for part in work root upper/etc upper/usr/local/bin; do
        mkdir -p "$directory/fs/$part"
    done
    cp "$relay" "$directory/fs/upper/usr/local/bin/relay"
    tr -d - </proc/sys/kernel/random/uuid >"$directory/fs/upper/etc/machine-id"
    mount -t overlay overlay "$directory/fs/root" \
        -o "lowerdir=/,upperdir=$directory/fs/upper,workdir=$directory/fs/work"
    exec systemd-nspawn --boot --quiet --directory="$directory/fs/root" \
        --machine="relay-bench-$$" --register=no --keep-unit --kill-signal=SIGRTMIN+3 \
        --console=pipe --link-journal=no --resolv-conf=off --timezone=off \
        --bind-ro="$directory/units:/etc/systemd/system"' boot "$directory" "$relay" $groups &
machine=$!
while kill -0 "$machine" 2>/dev/null; do
    wait "$machine" || true
done
for group in $groups; do
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +
done
