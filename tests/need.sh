# shellcheck shell=sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# Sourced by tests/run.sh and examples/demo.sh. It runs before anything else is
# installed: dash and what every Debian has.

PATH=${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin

# need COMMAND=PACKAGE...: install the packages whose command is missing, or
# whose file where COMMAND is a path. Exits 1 where that cannot be done.
need() {
    need_missing "$@"
    [ "$need_commands" ] || return 0

    need_self=${0##*/}
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "$need_self: missing:$need_commands: install them first (there is no apt-get here; Debian's packages:$need_packages)" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "$need_self: missing:$need_commands: as root, run: apt-get install$need_packages" >&2
        exit 1
    fi

    echo "$need_self: installing$need_packages" >&2
    # shellcheck disable=SC2086 # a list of words
    need_install $need_packages || exit 1

    need_missing "$@"
    [ "$need_commands" ] || return 0
    echo "$need_self: still missing:$need_commands: apt-get installed$need_packages without an error; see what they contain" >&2
    exit 1
}

# Sets need_commands and need_packages, each word with a blank before it.
need_missing() {
    need_commands='' need_packages=''
    for need_pair; do
        case $need_pair in
        /*) [ -e "${need_pair%=*}" ] && continue ;;
        *) command -v "${need_pair%=*}" >/dev/null 2>&1 && continue ;;
        esac
        need_commands="$need_commands ${need_pair%=*}"
        case "$need_packages " in
        *" ${need_pair##*=} "*) ;;
        *) need_packages="$need_packages ${need_pair##*=}" ;;
        esac
    done
}

# A subshell, for the traps are its own. While it runs, policy-rc.d forbids
# packages to start their daemons; one that somebody else made stays untouched.
# Nor does systemd start them at the next boot.
need_install() (
    log=$(mktemp) || exit 1
    policy=/usr/sbin/policy-rc.d
    made=''
    trap 'rm -f "$log"; [ ! "$made" ] || rm -f "$policy"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    # One at a time: another's policy-rc.d goes when its installation ends. The
    # directory is the lock: it is there, and nothing is left behind.
    exec 9</usr/sbin && flock 9 || exit 1

    # Under -C (noclobber) the shell creates the file or fails: no race.
    if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
        made=yes
        (set -C && printf '#!/bin/sh\nexit 101\n' >"$policy") 2>/dev/null || made=''
        if [ "$made" ]; then
            chmod 755 "$policy" || exit 1
        elif [ ! -e "$policy" ]; then
            echo "$need_self: cannot create $policy, which keeps packages from starting daemons" >&2
            exit 1
        fi
    fi

    # What systemd starts at boot already stays as it is.
    wants=/etc/systemd/system/multi-user.target.wants
    before=$(ls "$wants" 2>/dev/null)

    # An index that cannot be had may not matter: the installation will tell.
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q -o DPkg::Lock::Timeout=300 update >"$log" 2>&1 </dev/null
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
        --no-install-recommends install "$@" >>"$log" 2>&1 </dev/null || {
        cat "$log" >&2
        echo "$need_self: apt-get could not install: $*" >&2
        exit 1
    }

    # Nobody has asked for daemons: half a dozen of these want port 80.
    command -v systemctl >/dev/null 2>&1 || exit 0
    for unit in "$wants"/*.service; do
        [ ! -L "$unit" ] || echo "$before" | grep -qxF -e "${unit##*/}" ||
            systemctl --quiet disable "${unit##*/}" >>"$log" 2>&1 </dev/null
    done
    exit 0
)

# unpack DIRECTORY PACKAGE: a package's files without installing it, for one
# that conflicts with another that is wanted too; but its libraries are installed.
unpack() {
    if [ ! -e "$1/.depends" ]; then
        if ! command -v apt-get >/dev/null 2>&1; then
            echo "${0##*/}: missing: $1: unpack the Debian package $2 there (there is no apt-get here)" >&2
            exit 1
        fi
        echo "${0##*/}: unpacking $2" >&2
        if ! need_unpack "$1" "$2"; then
            echo "${0##*/}: apt-get could not download $2" >&2
            exit 1
        fi
    fi
    # shellcheck disable=SC2046 # a list of words
    need $(tr ',' '\n' <"$1/.depends" | sed -n 's|^ *\(lib[^ :]*\).*|/usr/share/doc/\1/copyright=\1|p')
}

need_unpack() (
    rm -rf "$1" "$1.part"
    mkdir -p "$1.part" && directory=$(cd "$1.part" && pwd) || exit 1
    trap 'rm -rf "$directory"' EXIT
    cd "$directory" || exit 1
    # The sandbox user _apt cannot write here, and need not.
    download() { apt-get -q -o APT::Sandbox::User=root download "$1" >apt.log 2>&1 </dev/null; }
    if ! download "$2" && ! { apt-get -q update >/dev/null 2>&1 && download "$2"; }; then
        cat apt.log >&2
        exit 1
    fi
    dpkg-deb -x ./*.deb . && dpkg-deb -f ./*.deb Depends >.depends &&
        rm -f ./*.deb apt.log && mv "$directory" "${directory%.part}"
)
