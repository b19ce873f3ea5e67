# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# A machine of a suite's own: network, processes and files. Its files are those
# of this machine, and what is written to them is in memory: a test can type what
# a README says, with the real ports and paths. Loaded after helper. Needs root.
#
# shellcheck disable=SC2034 # set here, for the suites

# In namespaces of its own, as their process 1: nothing outlives it. Arguments:
# a directory for its file system, the project, packages unpacked.
# shellcheck disable=SC2016 # expanded by the sh that runs it
MACHINE='
set -e
fs=$1 project=$2
shift 2
mount -t tmpfs tmpfs "$fs"
mkdir "$fs/upper" "$fs/work" "$fs/root"
mount -t overlay overlay "$fs/root" -o "lowerdir=/,upperdir=$fs/upper,workdir=$fs/work"
cd "$fs/root"
for package; do
    tar -C "$package" -cf - . | tar -xf - --keep-directory-symlink --no-overwrite-dir
done
mount -t proc proc proc
for directory in run tmp dev; do
    mount -t tmpfs tmpfs "$directory"
done
chmod 1777 tmp
mkdir -p dev/pts run/lock run/relay usr/local/bin
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
cp "$project/relay" usr/local/bin/relay
cp -r "$project/examples" run/relay
echo 127.0.0.1 localhost >etc/hosts
: >etc/resolv.conf
ip link set lo up
exec chroot . sh -c "trap \"exit 0\" TERM; touch /run/relay/ready; sleep infinity & while :; do wait; done"'

# machine NAME [DIRECTORY...]: start one that has relay in /usr/local/bin, the
# examples in /run/relay/examples, and the packages that are unpacked in these. It is
# 192.0.2.1 and 2001:db8::1 in a network with clients, the .2 and .3 of both.
machine() {
    local name=$1 dir=$BATS_FILE_TMPDIR/$1 net
    shift
    mkdir "$dir"
    start "$name" unshare --mount --net --uts --pid --fork --propagation private \
        sh -c "$MACHINE" machine "$dir" "$ROOT" "$@"
    wait_for on "$name" test -e /run/relay/ready || { cat "$(log_file "$name")" >&2; return 1; }
    start clients unshare --net sleep infinity
    wait_for elsewhere "$(pid_of clients)"
    net=(nsenter --target "$(process_of "$name")" --net)
    "${net[@]}" ip link add eth0 type veth peer name eth0 netns "$(pid_of clients)"
    connect_to_network 1 "${net[@]}"
    connect_to_network '2 3' outside
    outside ip link set lo up
}

# connect_to_network NUMBERS COMMAND...: there, with addresses that end in them.
connect_to_network() {
    local number numbers=$1
    shift
    "$@" ip link set eth0 up
    for number in $numbers; do
        "$@" ip address add "192.0.2.$number/24" dev eth0
        "$@" ip address add "2001:db8::$number/64" dev eth0 nodad
    done
}

elsewhere() {
    [[ $(readlink "/proc/$1/ns/net") != "$(readlink /proc/self/ns/net)" ]]
}

# process_of NAME: the machine's process 1.
process_of() {
    cut -d' ' -f1 "/proc/$(suite_pid "$1")/task/$(suite_pid "$1")/children"
}

suite_pid() {
    cat "$BATS_FILE_TMPDIR/$1.pid"
}

# on NAME COMMAND...: run it on that machine.
on() {
    local enter
    door "$1"
    "${enter[@]}" "${@:2}"
}

# door NAME: sets $enter, to put before a command.
door() {
    enter=(nsenter --target "$(process_of "$1")" --mount --net --uts --pid --root --wd)
}

# outside COMMAND...: run it where the clients are.
outside() {
    nsenter --target "$(suite_pid clients)" --net "$@"
}

# server_for CLIENT-ADDRESS: sets $to, the machine's address of the same family.
server_for() {
    to=192.0.2.1
    [[ $1 != *:* ]] || to=2001:db8::1
}

# machine_runs NAME README [N...]: type there what README says in its first block, or in
# these, in its directory; waits until all is typed. The output, what goes on running included, is the log of
# "commands".
machine_runs() {
    local enter n blocks=("${@:3}")
    door "$1"
    for n in "${blocks[@]:-1}"; do readme_commands "$ROOT/examples/$2" "$n"; done | "${enter[@]}" tee /run/commands >/dev/null
    start commands "${enter[@]}" sh -ec "cd /run/relay/examples/$(dirname "$2") && . /run/commands"
    WAIT_SECONDS=60 exit_status commands
}

# wait_listening_on NAME PORT [ADDRESS]: until somebody listens there.
wait_listening_on() {
    wait_for on "$1" bash -c "$(declare -f listening bracket); listening \"\$@\"" bash "${@:2}"
}
