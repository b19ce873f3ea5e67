#!/bin/sh
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# sh tests/bench/run.sh [--quick]: installs what the benchmark needs, builds, and
# measures relay beside what a user would take instead of it: see bench.py.
#
# LIBPROXYPROTOCOL=DIRECTORY, a checkout of github.com/kosmas-valianos/libproxyprotocol:
# measures that library's headers too. Debian has no package of it.

here=$(cd "$(dirname "$0")" && pwd) || exit 1
# shellcheck source=tests/need.sh
. "$here/../need.sh"
cd "$here/../.." || exit 1

need make=make gcc=gcc musl-gcc=musl-tools /usr/include/stdio.h=libc6-dev python3=python3 \
    ss=iproute2 strace=strace perf=linux-perf gnuplot=gnuplot-nox \
    tcpserver=ucspi-tcp tcpsvd=ipsvd inetd=openbsd-inetd \
    systemd-socket-activate=systemd systemd-nspawn=systemd-container \
    socat=socat nc.openbsd=netcat-openbsd ncat=ncat s6-ioconnect=s6 redir=redir \
    haproxy=haproxy nginx=nginx /usr/lib/nginx/modules/ngx_stream_module.so=libnginx-mod-stream

build=$PWD/tests/build/bench
mkdir -p "$build" && make >&2 || exit 1

# compile PROGRAM ARGUMENT...
compile() {
    program=$1
    shift
    gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
        -I. -o "$build/$program" "tests/bench/$program.c" "$@" || exit 1
}

# relay built otherwise, to see what each flag costs: built NAME MAKE-ARGUMENT...
built() {
    name=$1
    shift
    make -s "tests/build/bench/$name/relay" "$@" || exit 1
}

# As musl-gcc does not: a static program at a random address.
static_pie() {
    musl=/usr/lib/$(uname -m)-linux-musl
    mkdir -p "$build/pie" || exit 1
    for unit in relay proxyhdr; do
        musl-gcc -std=c11 -D_GNU_SOURCE -Os -fPIE -ffunction-sections -fdata-sections \
            -c -o "$build/pie/$unit.o" "$unit.c" || exit 1
    done
    gcc -static-pie -nostdlib -s -Wl,--gc-sections -o "$build/pie/relay" "$musl/rcrt1.o" "$musl/crti.o" \
        "$build/pie/relay.o" "$build/pie/proxyhdr.o" "$musl/libc.a" -lgcc "$musl/crtn.o" || exit 1
}

built O2 CFLAGS=-O2
built open VARIANT=-DNO_SANDBOX
built unprotected PROTECT=
built copying VARIANT=-DPORTABLE
built relro LINK='-static -no-pie -Wl,--gc-sections'
built glibc CC=gcc LINK=-static 2>/dev/null # ld warns that names need glibc's files
built debian CC=gcc CFLAGS='-O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE' LDFLAGS='-s -pie -Wl,-z,relro,-z,now'
static_pie
musl-gcc -std=c11 -D_GNU_SOURCE -Os -fno-pie -static -no-pie -s -Wl,--gc-sections,-z,noseparate-code,-z,norelro \
    -I. -o "$build/least" tests/bench/least.c proxyhdr.c || exit 1

# As installed: a file that was copied lies in larger pieces of the page cache than what
# the linker has left, and starts faster.
install -m 755 relay "$build/relay" || exit 1
for program in "$build"/least "$build"/*/relay; do
    install -m 755 "$program" "$program.copy" && mv "$program.copy" "$program" || exit 1
done

compile load -O2 -pthread proxyhdr.c
compile floor -Os -static -nostdlib -fno-stack-protector -fno-pie -no-pie
compile steps -O2
gcc -std=c11 -D_GNU_SOURCE -O2 -c -o "$build/proxyhdr.o" proxyhdr.c || exit 1
if [ "${LIBPROXYPROTOCOL:-}" ]; then
    gcc -O2 -w -c -o "$build/libproxyprotocol.o" "$LIBPROXYPROTOCOL/src/proxy_protocol.c" || exit 1
    compile headers -O2 -DLIBPROXYPROTOCOL -I "$LIBPROXYPROTOCOL/src" "$build/proxyhdr.o" "$build/libproxyprotocol.o"
else
    compile headers -O2 "$build/proxyhdr.o"
fi

exec python3 tests/bench/bench.py "$@"
