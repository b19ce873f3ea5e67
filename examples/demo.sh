#!/bin/sh
# sh examples/demo.sh: a client, tcpserver, relay and nginx on this machine, and
# the client's own address in nginx's log.
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# On Debian, as root, it installs what is missing. It takes loopback ports that
# are free, and leaves nothing running and no files but what make has built.

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
# shellcheck source=tests/need.sh
. "$root/tests/need.sh"

dir='' nginx='' tcpservers=''

clean_up() {
    trap '' HUP INT TERM
    [ ! "$nginx" ] || kill "$nginx"
    # Neither client nor backend is left: each relay ends by itself.
    for pid in $tcpservers; do
        soon idle "$pid"
        kill "$pid"
    done
    wait
    [ ! "$dir" ] || rm -rf "$dir"
}
trap 'clean_up 2>/dev/null' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 141' PIPE      # of `sh demo.sh | head`

step() { printf '\n== %s\n' "$*"; }

# fail REASON [LOG]
fail() {
    [ ! "${2:-}" ] || cat "$2" >&2
    echo "demo.sh: $1" >&2
    exit 1
}

# soon COMMAND...: whether it succeeds within some 10 seconds.
soon() {
    tries=200
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
}

# idle PID: it has no child; of a tcpserver: no connection.
idle() { [ -z "$(cat "/proc/$1/task/$1/children" 2>/dev/null)" ]; }

# What the kernel knows: the barest machine has no other list.
sockets() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; }
in_use() { sockets | grep -q ":$(printf %04X "$1") "; }
listeners() { sockets | grep -c ":$(printf %04X "$1") 0*:0000 0A "; }

# port_listens PORT COUNT: on so many addresses.
port_listens() { [ "$(listeners "$1")" -ge "$2" ]; }

# Sets port to one that nobody uses, another one each time.
port=$((20000 + $$ % 10000))
next_port() {
    port=$((port + 1))
    while in_use "$port"; do port=$((port + 1)); done
}

# logged ADDRESS: nginx has a line of this client, from relay.
logged() { grep -q "^$1 [0-9]* via 127.0.0.1 " "$dir/access.log"; }

# fetch CLIENT-ADDRESS URL
fetch() {
    echo "curl --interface $1 $2"
    curl -sS -g -m 10 --noproxy '*' --interface "$1" "$2" || fail "no answer from $2" "$dir/tcpserver.log"
    soon logged "$1" || fail "nginx did not see $1" "$dir/access.log"
}

step 'What it needs'
need gcc=gcc /usr/include/stdio.h=libc6-dev make=make musl-gcc=musl-tools \
    tcpserver=ucspi-tcp-ipv6 nginx=nginx curl=curl
dir=$(mktemp -d) || fail 'there is no room for temporary files'
chmod 755 "$dir" # nginx gives up root
echo 'A compiler, tcpserver, nginx and curl: they are here.'

# IPv6 takes a loopback interface that has it, and a tcpserver that knows it:
# that of ucspi-tcp-ipv6, which cannot be installed beside ucspi-tcp.
tcpserver6=tcpserver why_not=''
if ! grep -q '^0*1 ' /proc/net/if_inet6 2>/dev/null; then
    why_not='this machine has no IPv6 loopback address'
elif ! tcpserver 2>&1 | grep -q '\[ -46'; then
    tcpserver6=$root/tests/build/ucspi-tcp-ipv6/usr/bin/tcpserver
    if [ ! -x "$tcpserver6" ]; then
        tcpserver6=$dir/ucspi-tcp-ipv6/usr/bin/tcpserver
        (unpack "$dir/ucspi-tcp-ipv6" ucspi-tcp-ipv6) || why_not='this tcpserver knows IPv4 only'
    fi
fi
[ ! "$why_not" ] || echo "IPv6 is left out: $why_not."

step 'Build relay: make'
make -s -C "$root" >"$dir/make.log" 2>&1 || fail 'relay cannot be built' "$dir/make.log"
cat "$dir/make.log"
echo "It is ./relay"

next_port
back=$port
step "Start nginx, with examples/nginx.conf, on 127.0.0.1:$back"
sed "s/8080/$back/; /listen \[::1\]/d" "$root/examples/nginx.conf" >"$dir/nginx.conf"
nginx -p "$dir" -c "$dir/nginx.conf" -g 'daemon off;' >"$dir/nginx.log" 2>&1 &
nginx=$!
soon port_listens "$back" 1 || fail 'nginx does not start' "$dir/nginx.log"
echo 'It knows clients by the PROXY header that a connection begins with, and'
echo 'believes it from 127.0.0.1: from relay.'

next_port
front=$port
addresses=127.0.0.1:$front
[ "$why_not" ] || addresses="$addresses and [::1]:$front"
step "Start tcpserver on $addresses"
echo "For each connection it starts: relay 127.0.0.1:$back"
tcpserver -H -R -l0 127.0.0.1 "$front" "$root/relay" "127.0.0.1:$back" >"$dir/tcpserver.log" 2>&1 &
tcpservers=$!
soon port_listens "$front" 1 || fail 'tcpserver does not start' "$dir/tcpserver.log"
if [ ! "$why_not" ]; then
    "$tcpserver6" -6 -H -R -l0 ::1 "$front" "$root/relay" "127.0.0.1:$back" >"$dir/tcpserver6.log" 2>&1 &
    tcpservers="$tcpservers $!"
    soon port_listens "$front" 2 || fail 'tcpserver does not start for IPv6' "$dir/tcpserver6.log"
fi

step 'Fetch a page, in which nginx says what address and port it saw'
fetch 127.0.0.2 "http://127.0.0.1:$front/client"
[ "$why_not" ] || fetch ::1 "http://[::1]:$front/client"

step "nginx's access log"
cat "$dir/access.log"

step 'What you see'
echo 'Each line begins with the address and port of the client, not of relay. "via"'
echo 'is who connected to nginx: relay, from 127.0.0.1. Without the header that'
echo 'relay sends, nginx would know no other address.'
[ "$why_not" ] || echo 'The client ::1 came over IPv6, to an nginx that listens on IPv4 only.'

clean_up 2>/dev/null
trap - EXIT
echo 'All of it is stopped now, and its files are removed.'
