#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# sh nspawn.sh DIRECTORY CONTROL-GROUP... -- [NSPAWN-OPTION...]: a machine with a real
# systemd, a container over this machine's own files, what it writes being in memory, on
# this machine's network if no option says otherwise. In DIRECTORY are files, which go
# over this machine's, and fs, which is empty. Ends with SIGTERM. Needs root.

# In a mount namespace of its own: no mount can outlive it.
# shellcheck disable=SC2016 # expanded by the sh that runs it
exec unshare --mount --propagation private sh -ec '
directory=$1
shift
while [ "$1" != -- ]; do
    mkdir "$1"
    echo $$ >"$1/cgroup.procs"
    shift
done
shift
mount -t tmpfs tmpfs "$directory/fs"
for part in work root upper/etc; do
    mkdir -p "$directory/fs/$part"
done
cp -r "$directory/files/." "$directory/fs/upper"
echo 127.0.0.1 localhost >"$directory/fs/upper/etc/hosts"
tr -d - </proc/sys/kernel/random/uuid >"$directory/fs/upper/etc/machine-id"
mount -t overlay overlay "$directory/fs/root" \
    -o "lowerdir=/,upperdir=$directory/fs/upper,workdir=$directory/fs/work"
exec systemd-nspawn --boot --quiet --directory="$directory/fs/root" \
    --machine="relay-$$" --register=no --keep-unit --kill-signal=SIGRTMIN+3 \
    --console=pipe --link-journal=no --resolv-conf=off --timezone=off "$@"' boot "$@"
