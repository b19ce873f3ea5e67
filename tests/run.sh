#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# sh tests/run.sh [BATS-OPTION...] [SUITE.bats...]: installs what the tests
# need, builds, and runs every suite, or those that are named.

here=$(cd "$(dirname "$0")" && pwd) || exit 1
# shellcheck source=tests/need.sh
. "$here/need.sh"

# Suites are named from where the caller stands, or from the project's root.
suites=''
for argument; do
    shift
    case $argument in
    *.bats)
        suites=yes
        case $argument in
        /*) ;;
        *) if [ -e "$argument" ]; then argument=$PWD/$argument; fi ;;
        esac
        ;;
    esac
    set -- "$@" "$argument"
done
cd "$here/.." || exit 1
# Of all suites, or where make coverage asks: which lines they have run.
[ $# -gt 0 ] || COVERAGE=yes
# The long ones early: none is to run alone at the end. Before them a short one, so that
# there is something to see.
all_suites() {
    {
        printf 'tests/%s.bats\n' backends build promises-asan package fuzz load inject faults \
            systemd usage-asan promises promises-glibc promises-piped promises-portable
        printf '%s\n' tests/*.bats
    } | awk '!seen[$0]++'
}
# shellcheck disable=SC2046 # a list of words
[ "$suites" ] || set -- "$@" $(all_suites)

need parallel=parallel make=make gcc=gcc g++=g++ clang=clang musl-gcc=musl-tools \
    /usr/lib/llvm-14/lib/clang/14.0.6/lib/linux=libclang-rt-14-dev \
    /usr/include/stdio.h=libc6-dev \
    bats=bats /usr/lib/bats/bats-support/load.bash=bats-support \
    /usr/lib/bats/bats-assert/load.bash=bats-assert \
    tcpserver=ucspi-tcp tcpsvd=ipsvd inetd=openbsd-inetd s6-ipcserver=s6 \
    systemd-socket-activate=systemd systemd-nspawn=systemd-container \
    nginx=nginx haproxy=haproxy apache2=apache2-bin \
    /usr/lib/nginx/modules/ngx_stream_module.so=libnginx-mod-stream \
    /usr/lib/nginx/modules/ngx_mail_module.so=libnginx-mod-mail \
    varnishd=varnish varnishtest=varnish lighttpd=lighttpd squid=squid hitch=hitch gunicorn=gunicorn \
    mariadbd=mariadb-server-core mariadb=mariadb-client-core h2o=h2o traffic_server=trafficserver \
    uwsgi-core=uwsgi-core /usr/lib/uwsgi/plugins/python3_plugin.so=uwsgi-plugin-python3 \
    dovecot=dovecot-core /usr/lib/dovecot/imap=dovecot-imapd \
    socat=socat ncat=ncat curl=curl tshark=tshark text2pcap=wireshark-common \
    tcpdump=tcpdump python3=python3 \
    openssl=openssl stunnel=stunnel4 tlswrapper=tlswrapper ssh=openssh-client \
    strace=strace setcap=libcap2-bin ps=procps ss=iproute2 nft=nftables xz=xz-utils \
    dnsmasq=dnsmasq-base faketime=faketime valgrind=valgrind gcov=gcc \
    dh=debhelper dpkg-buildpackage=dpkg-dev lintian=lintian /usr/share/build-essential/list=build-essential \
    git=git man=man-db mandoc=mandoc col=bsdextrautils shellcheck=shellcheck clang-tidy=clang-tidy cppcheck=cppcheck \
    git-clang-format=clang-format
# For other machines: to compile for them, and to play them. Debian has these for x86-64.
if [ "$(uname -m)" = x86_64 ]; then
    need qemu-aarch64=qemu-user \
        aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/lib/libc.a=libc6-dev-arm64-cross \
        arm-linux-gnueabihf-gcc=gcc-arm-linux-gnueabihf /usr/arm-linux-gnueabihf/lib/libc.a=libc6-dev-armhf-cross \
        i686-linux-gnu-gcc=gcc-i686-linux-gnu /usr/i686-linux-gnu/lib/libc.a=libc6-dev-i386-cross \
        riscv64-linux-gnu-gcc=gcc-riscv64-linux-gnu /usr/riscv64-linux-gnu/lib/libc.a=libc6-dev-riscv64-cross \
        s390x-linux-gnu-gcc=gcc-s390x-linux-gnu /usr/s390x-linux-gnu/lib/libc.a=libc6-dev-s390x-cross
fi
# These conflict with what is installed above, or with each other; a machine may
# have a mail system of its own; and sshd, installed, would make keys for it. Exim
# has no need to be setuid here.
unpack tests/build/ucspi-tcp-ipv6 ucspi-tcp-ipv6
unpack tests/build/inetutils-inetd inetutils-inetd
unpack tests/build/xinetd xinetd
unpack tests/build/postfix postfix
unpack tests/build/opensmtpd opensmtpd
unpack tests/build/go-mmproxy go-mmproxy
unpack tests/build/openssh-server openssh-server
unpack tests/build/exim exim4-daemon-heavy
chmod u-s tests/build/exim/usr/sbin/exim4

builds=''
for build in piped portable glibc asan memcheck hostile freed; do
    builds="$builds tests/build/$build/relay"
done
# shellcheck disable=SC2086 # a list of words
make all $builds >&2 || exit 1

# For the tests, what is Debian's before what a user has put in its place: a shim may take
# ten times as long to start a program.
export PATH="/usr/sbin:/usr/bin:/sbin:/bin:$PATH"
export LC_ALL=C.UTF-8
export BATS_LIB_PATH=/usr/lib/bats
export BATS_TEST_TIMEOUT="${BATS_TEST_TIMEOUT:-180}"
# Where gcov counts, whoever relay runs as; beside its program where a launcher passes
# on no environment.
GCOV_PREFIX=$(mktemp -d) && chmod 1777 "$GCOV_PREFIX" tests/build/asan || exit 1
rm -f tests/build/asan/*.gcda tests/build/asan/report.*
export GCOV_PREFIX GCOV_PREFIX_STRIP=99
trap 'rm -rf "$GCOV_PREFIX"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
# Suites side by side, one more than there are cores, for they wait half of their time;
# the tests of a suite in turn.
set -- --jobs $(($(nproc) + 1)) --no-parallelize-within-files "$@"

{
    bats --formatter tap "$@"
    echo "bats exit $?"
} | {
    plan=0 passed=0 failed=0 skipped=0 status=crashed
    while IFS= read -r line; do
        case $line in
        'bats exit '*) status=${line##* } ; continue ;;
        1..*) plan=${line#1..} ;;
        'not ok '*) failed=$((failed + 1)) ;;
        'ok '*' # skip'*) skipped=$((skipped + 1)) ;;
        'ok '*) passed=$((passed + 1)) ;;
        esac
        printf '%s\n' "$line"
    done

    ran=$((passed + failed + skipped))
    good=yes
    complain() { good=''; echo "run.sh: $*" >&2; }
    [ "$ran" -gt 0 ] || complain "no test ran"
    [ "$ran" = "$plan" ] || complain "$ran tests ran, $plan were planned"
    [ "$failed" -eq 0 ] || good=''
    [ "$status" = 0 ] || [ "$failed" -gt 0 ] || complain "bats ended with status $status"
    if [ "${COVERAGE:-}" ]; then
        python3 tests/coverage.py "$GCOV_PREFIX" || complain "lines that no test runs, and tests/coverage.txt does not name"
    fi
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$good" ]
}
