#!/usr/bin/env bats
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# What relay is handed over as: a tarball, a Debian package, and what make install
# leaves. The package and an installation are tried on a machine with systemd, which
# boots once for all of these tests and has a network of its own.
#
# shellcheck disable=SC2154 # set by backend

load helper
load backend
load nspawn

export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
# make check passes its own on to make here.
unset MAKEFLAGS MAKEOVERRIDES MFLAGS MAKELEVEL CC CFLAGS CPPFLAGS LDFLAGS SOURCE_DATE_EPOCH

setup_file() {
    checkout
    make_deb
    mkdir -p "$BATS_FILE_TMPDIR"/{units,files/usr/sbin}
    # Whatever forbids daemons to start on this machine, there they may.
    printf '#!/bin/sh\nexit 0\n' >"$BATS_FILE_TMPDIR/files/usr/sbin/policy-rc.d"
    chmod 755 "$BATS_FILE_TMPDIR/files/usr/sbin/policy-rc.d"
    ln -s /lib/systemd/system/basic.target "$BATS_FILE_TMPDIR/units/default.target"
    machine_boot --private-network --bind-ro="$ROOT:/run/tree" \
        --bind-ro="$BATS_FILE_TMPDIR/tree/build:/run/build"
}

teardown_file() {
    machine_stop
}

setup() {
    tree=$BATS_FILE_TMPDIR/tree
    stage=$BATS_TEST_TMPDIR/stage
    cd "$BATS_TEST_TMPDIR" || return
    under=(nsenter --net --target "$(<"$BATS_FILE_TMPDIR/init")" --)
    journal_begins
}

teardown() {
    stop_all
}

booted() {
    journalctl -q -D "$BATS_FILE_TMPDIR/journal" UNIT=basic.target --grep '^Reached target'
}

# checkout: the tree, with what is not committed yet, as a clone has it.
checkout() {
    mkdir "$BATS_FILE_TMPDIR/tree"
    tar -C "$ROOT" -c --exclude=./.git --exclude=./relay --exclude='*.o' --exclude=./tests/build \
        --exclude=./build --exclude=__pycache__ . | tar -C "$BATS_FILE_TMPDIR/tree" -x
    cd "$BATS_FILE_TMPDIR/tree" || return
    git init -q
    git add -A
    git -c user.name=relay -c user.email= commit -q -m relay --date=@1700000000
}

make_deb() {
    make -C "$BATS_FILE_TMPDIR/tree" deb >"$BATS_FILE_TMPDIR/deb.log" 2>&1 || {
        cat "$BATS_FILE_TMPDIR/deb.log"
        return 1
    }
}

# version: as the source has it.
version() {
    sed -n 's/^#define VERSION "\(.*\)"$/\1/p' "$ROOT/relay.c"
}

# documents: the examples that are installed, and proxyhdr, below share/doc/relay; with
# their modes, one a line.
documents() {
    git -C "$tree" ls-files -s examples | awk '$4 != "examples/demo.sh" { print $4, substr($1, 4) }'
    printf 'examples/%s 644\n' proxyhdr.c proxyhdr.h
}

# files_and_modes DIRECTORY
files_and_modes() {
    find "$1" ! -type d -printf '%P %m\n' | sort
}

# --- make dist ---

@test "two checkouts make the same tarball and package, whoever does it, where and when" {
    local other file
    other=$(user_dir other)
    git clone -q "$tree" "$other"
    find "$other" -exec touch -d 2001-02-03 {} +
    chmod -R go= "$other"
    chown -R "$me" "$other"
    (cd "$other" && umask 077 && TZ=Asia/Tokyo LC_ALL=C "${as_user[@]}" make deb)
    for file in "$tree"/build/*.tar.* "$tree"/build/*.deb; do
        cmp "$file" "$other/build/${file##*/}"
    done
}

@test "the tarball is what git knows, as root's, of the date of the last commit" {
    local top
    top=relay-$(version)
    run diff <(tar -tf "$tree/build/$top.tar.gz" | sort) \
        <(cd "$tree" && { git ls-files; echo MANIFEST; } | sed "s|^|$top/|" | sort)
    assert_output ''
    run eval "tar --utc --full-time -tvf '$tree/build/$top.tar.gz' | awk '{ print \$2, \$4, \$5 }' | sort -u"
    assert_output "root/root $(TZ=UTC git -C "$tree" log -1 --format=%cd --date=format-local:'%Y-%m-%d %H:%M:%S')"
}

@test "SOURCE_DATE_EPOCH is the tarball's date where it is set" {
    git clone -q "$tree" other
    SOURCE_DATE_EPOCH=1000000000 make -C other dist
    run tar --utc --full-time -tvf "other/build/relay-$(version).tar.gz" --wildcards '*/relay.c'
    assert_output --partial ' 2001-09-09 01:46:40 '
}

@test "the tarball builds relay, and makes the same tarball again" {
    local name
    name=relay-$(version)
    tar -xf "$tree/build/$name.tar.gz"
    make -C "$name" all dist
    run "$name/relay" --version
    assert_output "relay $(version)"
    cmp "$name/build/$name.tar.gz" "$tree/build/$name.tar.gz"
}

# --- one version ---

@test "the version is in relay.c, and else in debian/changelog alone" {
    run dpkg-parsechangelog -l "$tree/debian/changelog" -S Version
    assert_output "$(version)"
    run git -C "$tree" grep -lE "(^|[^0-9.])$(version | sed 's/\./\\./g')([^0-9.]|\.?$)" -- \
        ':!tests/bench/results.tsv' # the one that was measured
    assert_output 'debian/changelog
relay.c'
}

@test "a package whose changelog has another version than relay.c does not build" {
    git clone -q "$tree" other
    sed -i 's/^#define VERSION .*/#define VERSION "9.8.7"/' other/relay.c
    make -C other dist all
    assert [ -e other/build/relay-9.8.7.tar.gz ]
    run make -C other -f debian/rules override_dh_auto_test
    assert_failure
    assert_output --partial "= 'relay $(version)'"
}

# --- make install ---

@test "make install installs relay, its manual page, units, README and examples" {
    make -C "$tree" install DESTDIR="$stage"
    run diff <(files_and_modes "$stage/usr/local") <({
        echo 'bin/relay 755'
        echo 'share/man/man1/relay.1 644'
        printf 'lib/systemd/system/%s 644\n' relay.socket relay@.service
        echo 'share/doc/relay/README.md 644'
        documents | sed 's|^|share/doc/relay/|'
    } | sort)
    assert_output ''
    cmp "$tree/relay" "$stage/usr/local/bin/relay"
    cmp "$ROOT/relay.1" "$stage/usr/local/share/man/man1/relay.1"
    cmp "$ROOT/README.md" "$stage/usr/local/share/doc/relay/README.md"
    cmp "$ROOT/examples/systemd/relay@.service" "$stage/usr/local/lib/systemd/system/relay@.service"
    cmp "$ROOT/examples/s6/relay/run" "$stage/usr/local/share/doc/relay/examples/s6/relay/run"
    cmp "$ROOT/proxyhdr.c" "$stage/usr/local/share/doc/relay/examples/proxyhdr.c"
}

@test "what is installed elsewhere names relay where it is" {
    make -C "$tree" install PREFIX="$stage/opt" BINDIR="$stage/opt/sbin"
    "$stage/opt/sbin/relay" --version
    run grep -rl /usr/local/bin "$stage"
    assert_output ''
    grep "^ExecStart=$stage/opt/sbin/relay " "$stage/opt/lib/systemd/system/relay@.service"
    grep "$stage/opt/sbin/relay" "$stage/opt/share/man/man1/relay.1"
    # Nothing else is changed.
    sed "s|$stage/opt/sbin/relay|/usr/local/bin/relay|" "$stage/opt/share/doc/relay/examples/xinetd.conf" |
        cmp - "$ROOT/examples/xinetd.conf"
}

@test "make uninstall leaves nothing of relay's and all of others'" {
    local other
    make -C "$tree" install DESTDIR="$stage"
    make -C "$tree" uninstall DESTDIR="$stage"
    run find "$stage" ! -type d
    assert_output ''
    run find "$stage" -name '*relay*'
    assert_output ''

    # Over an older one; beside the files of others.
    make -C "$tree" install DESTDIR="$stage"
    others=(bin/relay-other share/man/man1/other.1 lib/systemd/system/relay-fd3.socket
        share/doc/relay/examples/mine.conf)
    for other in "${others[@]}"; do
        echo other >"$stage/usr/local/$other"
    done
    echo old >"$stage/usr/local/bin/relay"
    ln -sf /dev/null "$stage/usr/local/lib/systemd/system/relay.socket"
    make -C "$tree" install DESTDIR="$stage"
    cmp "$tree/relay" "$stage/usr/local/bin/relay"
    cmp "$ROOT/examples/systemd/relay.socket" "$stage/usr/local/lib/systemd/system/relay.socket"
    make -C "$tree" uninstall DESTDIR="$stage"
    run diff <(files_and_modes "$stage/usr/local") <(printf '%s 644\n' "${others[@]}" | sort)
    assert_output ''
    make -C "$tree" uninstall DESTDIR="$stage"
}

# --- make deb ---

@test "lintian has nothing to say about the package and its source" {
    run lintian --no-cfg --allow-root --info --fail-on error,warning "$tree"/build/*.changes
    assert_output ''
    assert_success
}

@test "the package has relay, its manual page, units, README and examples, and needs no other package" {
    local deb
    deb=$(echo "$tree/build/relay_$(version)"_*.deb)
    run dpkg-deb -f "$deb" Package Version Depends Pre-Depends Recommends Conflicts
    assert_output "Package: relay
Version: $(version)"
    dpkg-deb -x "$deb" "$stage"
    run diff <(files_and_modes "$stage") <({
        echo 'usr/bin/relay 755'
        echo 'usr/share/man/man1/relay.1.gz 644'
        printf 'lib/systemd/system/%s 644\n' relay.socket relay@.service
        printf 'usr/share/doc/relay/%s 644\n' README.Debian README.md.gz changelog.gz copyright
        echo 'usr/share/lintian/overrides/relay 644'
        documents | sed 's|^|usr/share/doc/relay/|'
    } | sort)
    assert_output ''
    run "$stage/usr/bin/relay" --version
    assert_output "relay $(version)"
    run ldd "$stage/usr/bin/relay"
    assert_output --partial 'not a dynamic executable'
    run grep -rl /usr/local/bin "$stage"
    assert_output ''
    run zgrep /usr/local/bin "$stage/usr/share/man/man1/relay.1.gz" "$stage/usr/share/doc/relay/README.md.gz"
    assert_output ''
}

# sections FILE: those in memory, their sizes; but for the number that -dbgsym goes by.
sections() {
    size -A "$1" | awk '/^\./ && $3 > 0 && !/build-id/ { print $1, $2 }'
}

@test "the package's relay is a plain make's" {
    make -C "$tree" all
    dpkg-deb -x "$tree/build/relay_$(version)"_*.deb "$stage"
    run diff <(sections "$tree/relay") <(sections "$stage/usr/bin/relay")
    assert_output ''
}

@test "proxyhdr compiles where the package has put it" {
    dpkg-deb -x "$tree/build/relay_$(version)"_*.deb "$stage"
    cd "$stage/usr/share/doc/relay/examples" || return
    run cc -Wall -Wextra -Werror -c -o "$BATS_TEST_TMPDIR/proxyhdr.o" proxyhdr.c
    assert_output ''
    assert_success
}

# --- on a machine with systemd ---

# changes: what is not as it was when the machine came, one a line; but for logs, caches,
# and the package system's own account.
changes() {
    local type path
    {
        nsenter --mount --target "$(<"$BATS_FILE_TMPDIR/machine.pid")" -- \
            find "$BATS_FILE_TMPDIR/fs/upper" -printf '%y /%P\n'
        find "$BATS_FILE_TMPDIR/units" ! -type d -printf 'f /etc/systemd/system/%P\n'
    } | while read -r type path; do
        # A directory of others in which there was something.
        [[ $type == d && -d $path ]] || echo "$path"
    done | grep -vE '^/(var/(log|cache|tmp|lib/dpkg|lib/systemd)|run|tmp)(/|$)' | sort
}

# works UNITS RELAY [PORT]: with one line edited, as a comment there says, and where the
# port is not 80 with another one, the units that are installed pass a connection on.
works() {
    local from port=${3:-80}
    inside env SYSTEMD_EDITOR='sed -i s/127.0.0.1:8080$/127.0.0.1:9000/' \
        script -qec 'systemctl edit --full relay@.service' /dev/null </dev/null
    run inside grep -vxF -f "$1/relay@.service" /etc/systemd/system/relay@.service
    assert_output "ExecStart=$2 --verbose 127.0.0.1:9000"
    if [[ $port != 80 ]]; then
        inside env SYSTEMD_EDITOR="sed -i s/^ListenStream=80\$/ListenStream=$port/" \
            script -qec 'systemctl edit --full relay.socket' /dev/null </dev/null
        run inside grep -vxF -f "$1/relay.socket" /etc/systemd/system/relay.socket
        assert_output "ListenStream=$port"
    fi
    inside systemctl enable --now relay.socket
    record_inside 127.0.0.1:9000 --say 'good day'
    from=$(free_port)
    run "${under[@]}" socat -t 30 - "TCP:127.0.0.1:$port,bind=127.0.0.2:$from" </dev/null
    assert_output 'good day'
    assert_equal "$(cat -A "$(first_segment)")" "PROXY TCP4 127.0.0.2 127.0.0.1 $from $port^M\$"
    wait_for eval "journal SYSLOG_IDENTIFIER=relay | grep '^relay: closed client=127\.0\.0\.2:$from .* end=done\$'"
}

# forget: as its administrator does it, before relay is removed.
forget() {
    inside systemctl disable --now relay.socket
    inside systemctl revert relay@.service relay.socket
}

@test "a package that is installed listens only when it is told, works with one line edited, and is purged" {
    local deb before since
    deb=relay_$(version)_$(dpkg --print-architecture).deb
    before=$(changes)
    run inside dpkg -i "/run/build/$deb"
    assert_success
    run inside systemctl is-enabled relay.socket
    assert_output disabled
    run inside systemctl is-active relay.socket
    assert_output inactive
    run inside relay --version
    assert_output "relay $(version)"
    works /lib/systemd/system /usr/bin/relay
    # An upgrade leaves it listening. Its removal ends that, though nobody has disabled it.
    since=$(inside systemctl show -P ActiveEnterTimestampMonotonic relay.socket)
    inside dpkg -i "/run/build/$deb"
    run inside systemctl show -P ActiveState -P ActiveEnterTimestampMonotonic relay.socket
    assert_output "active
$since"
    inside systemctl revert relay@.service
    run inside dpkg --purge relay
    assert_success
    # A child that systemd has just forked may have the socket for a moment.
    # shellcheck disable=SC2016 # for eval
    wait_for eval '[[ ! $("${under[@]}" ss -Hltn "sport = :80") ]]'
    assert_equal "$(changes)" "$before"
    run inside dpkg-query -W relay
    assert_failure
    run inside dpkg --audit
    assert_output ''
    run inside find /var/lib/dpkg /var/lib/systemd -name 'relay*'
    assert_output ''
}

@test "what make install has left works with one line edited, and make uninstall leaves nothing" {
    local before
    # Directories that others use too: they stay.
    inside mkdir -p /usr/local/{lib/systemd/system,share/doc,share/man/man1}
    before=$(changes)
    inside make -C /run/tree install
    inside systemctl daemon-reload
    works /usr/local/lib/systemd/system /usr/local/bin/relay 8025
    forget
    inside make -C /run/tree uninstall
    run changes
    assert_output "$before"
}

@test "what make install has left has a mail host's units made and started, once all their ports are free" {
    local from sockets
    inside mkdir -p /usr/local/lib/systemd/system
    inside make -C /run/tree install
    units=/usr/local/share/doc/relay/examples/chains/mail/units.sh
    sockets=(relay-smtp.socket relay-submission.socket relay-imap.socket relay-imaps.socket)
    # One of them is another socket's of systemd.
    inside systemctl daemon-reload
    inside env SYSTEMD_EDITOR='sed -i s/^ListenStream=80$/ListenStream=143/' \
        script -qec 'systemctl edit --full relay.socket' /dev/null </dev/null
    inside systemctl start relay.socket
    run inside sh "$units"
    assert_failure 1
    assert_line --partial '"systemd"'
    assert_line --partial 'port 143 is taken; where that is by systemd, systemctl list-sockets says for whom'
    run inside sh -c 'ls /etc/systemd/system | grep "^relay-"'
    assert_output ''
    run inside systemctl list-sockets
    assert_line --regexp ':143 +relay\.socket '
    inside systemctl stop relay.socket
    # And again, with its own.
    inside sh "$units"
    inside sh "$units"
    run inside systemctl is-active "${sockets[@]}"
    assert_output $'active\nactive\nactive\nactive'
    record_inside 127.0.0.1:10143 --say 'good day'
    from=$(free_port)
    run "${under[@]}" socat -t 30 - "TCP:127.0.0.1:143,bind=127.0.0.2:$from" </dev/null
    assert_output 'good day'
    assert_equal "$(hexdump_of "$(first_segment)")" \
        "0d0a0d0a000d0a515549540a2111000c7f0000027f000001$(printf '%04x%04x' "$from" 143)"
    inside systemctl disable --now "${sockets[@]}"
    inside sh -c 'rm /etc/systemd/system/relay-*'
    forget
    inside make -C /run/tree uninstall
}
