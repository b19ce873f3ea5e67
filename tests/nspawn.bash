# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# A machine with a real systemd: see nspawn.sh. Loaded after helper. Needs root.
#
# A suite makes two directories in $BATS_FILE_TMPDIR for it: units, which is its
# /etc/systemd/system, and files, which go over those of this machine. Its journal is
# there too.

# machine_boot [NSPAWN-OPTION...]: returns when it is booted, which the suite tells.
machine_boot() {
    local groups
    mkdir "$BATS_FILE_TMPDIR"/{fs,journal}
    mapfile -t groups < <(machine_groups)
    start machine sh "$TESTS/nspawn.sh" "$BATS_FILE_TMPDIR" "${groups[@]}" -- \
        --bind="$BATS_FILE_TMPDIR/units:/etc/systemd/system" \
        --bind="$BATS_FILE_TMPDIR/journal:/var/log/journal" "$@"
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
