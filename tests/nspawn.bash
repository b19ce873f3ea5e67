# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# A machine with a real systemd: a container over this machine's own files, what it
# writes being in memory, on this machine's network if no option says otherwise. Loaded after helper. Needs root.
#
# A suite makes two directories in $BATS_FILE_TMPDIR for it: units, which is its
# /etc/systemd/system, and files, which go over those of this machine. Its journal is
# there too.

# In a mount namespace of its own: no mount can outlive it. Arguments: the suite's
# directory, control groups to join, --, options for systemd-nspawn.
# shellcheck disable=SC2016 # expanded by the bash that runs it
BOOT='
set -e
dir=$1
while shift && [[ $1 != -- ]]; do
    mkdir "$1"
    echo $$ >"$1/cgroup.procs"
done
shift
mount -t tmpfs tmpfs "$dir/fs"
mkdir -p "$dir"/fs/{work,root,upper/etc}
cp -r "$dir/files/." "$dir/fs/upper"
echo 127.0.0.1 localhost >"$dir/fs/upper/etc/hosts"
tr -d - </proc/sys/kernel/random/uuid >"$dir/fs/upper/etc/machine-id"
mount -t overlay overlay "$dir/fs/root" \
    -o "lowerdir=/,upperdir=$dir/fs/upper,workdir=$dir/fs/work"
exec systemd-nspawn --boot --quiet --directory="$dir/fs/root" \
    --machine="relay-$$" --register=no --keep-unit --kill-signal=SIGRTMIN+3 \
    --console=pipe --link-journal=no --resolv-conf=off --timezone=off \
    --bind="$dir/units:/etc/systemd/system" --bind="$dir/journal:/var/log/journal" "$@"'

# machine_boot [NSPAWN-OPTION...]: returns when it is booted, which the suite tells.
machine_boot() {
    local groups
    mkdir "$BATS_FILE_TMPDIR"/{fs,journal}
    mapfile -t groups < <(machine_groups)
    start machine unshare --mount --propagation private \
        bash -c "$BOOT" boot "$BATS_FILE_TMPDIR" "${groups[@]}" -- "$@"
    if ! WAIT_SECONDS=60 wait_for booted_or_dead || ! booted; then
        echo "no systemd to test with: it did not boot, or does not listen. It said:" >&2
        cat "$(log_file machine)" >&2
        return 1
    fi
    children_of machine >"$BATS_FILE_TMPDIR/init"
}

booted_or_dead() {
    booted || ! is_running machine
}

# Groups for the machine alone. systemd-nspawn makes more of them below: in the
# group that we are in, they would stay, and two machines would share them.
machine_groups() {
    local mount path
    if mount=$(findmnt -fnro TARGET -t cgroup2); then
        path=$(sed -n 's/^0:://p' /proc/self/cgroup)
        echo "$mount${path%/}/relay-test-$$"
    fi
    if mount=$(findmnt -fnro TARGET -t cgroup -O name=systemd); then
        path=$(sed -n 's/^[0-9]*:name=systemd://p' /proc/self/cgroup)
        echo "$mount${path%/}/relay-test-$$"
    fi
}

machine_stop() {
    local failed=0 group
    stop_all || failed=1
    for group in $(machine_groups); do
        # Fails where a process is left in one of them.
        [[ ! -d $group ]] || find "$group" -depth -type d -exec rmdir {} + || failed=1
    done
    if findmnt -nro TARGET | grep -F "$BATS_FILE_TMPDIR/"; then
        failed=1
    fi
    return "$failed"
}

# inside COMMAND...: run it in the machine.
inside() {
    nsenter -m -u -i -n -p -t "$(<"$BATS_FILE_TMPDIR/init")" -- "$@"
}

# journal_begins: in a test's setup.
journal_begins() {
    inside journalctl --sync
    BEGUN=$(date +@%s.%6N)
}

# journal MATCH...: messages since the test began.
journal() {
    journalctl -q -o cat -D "$BATS_FILE_TMPDIR/journal" --since="$BEGUN" "$@"
}
