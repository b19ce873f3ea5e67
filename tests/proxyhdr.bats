#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# proxyhdr.c by itself: what it reads and writes, byte for byte, by the groups of
# tests/proxyhdr_test.c; that it is two files for any C or C++ program; and a server
# made of them, examples/receiver.c, with real senders.
#
# shellcheck disable=SC2154 # set by connection

load helper
load connection

warnings=(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Werror)

setup_file() {
    cd "$ROOT" || return
    # Where make coverage looks for what gcov needs.
    mkdir -p tests/build/asan
    gcc -std=c11 -O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all --coverage \
        "${warnings[@]}" -o tests/build/asan/proxyhdr_test tests/proxyhdr_test.c proxyhdr.c
}

teardown() { stop_all; }

# group NAME: its checks hold.
group() {
    "$ROOT/tests/build/asan/proxyhdr_test" "$1"
}

# object COMPILER [OPTION...]: proxyhdr.c alone, without a warning.
object() {
    "$1" -std=c11 -O2 "${warnings[@]}" "${@:2}" -c -o "$BATS_TEST_TMPDIR/$1.o" "$ROOT/proxyhdr.c"
}

# lean_object COMPILER: what some distributions have their compiler add is no
# part of what the file asks for.
lean_object() {
    object "$1" -fno-stack-protector -U_FORTIFY_SOURCE
}

# --- version 1 ---

@test "version 1 has lines for TCP4, TCP6 and UNKNOWN, up to the specification's longest" {
    group v1-forms
}

@test "a version 1 line may have 107 bytes, not 108" {
    group v1-length
}

@test "an IPv4 address is four decimals up to 255" {
    group v1-ipv4
}

@test "no number in a version 1 line has a leading zero" {
    group v1-leading-zeros
}

@test "a port is a decimal up to 65535, and is there" {
    group v1-ports
}

@test "an IPv6 address is eight groups of four digits, or has one '::', and no zone" {
    group v1-ipv6
}

@test "an IPv6 address may end as IPv4, and nowhere else hold it" {
    group v1-embedded-ipv4
}

@test "a version 1 line has exactly one space between its words, and no tab" {
    group v1-spaces
}

@test "a version 1 line is in upper case and names no other protocol" {
    group v1-keywords
}

@test "a CR or LF alone ends no line, and is refused at once but behind UNKNOWN" {
    group v1-line-ends
}

@test "a NUL byte ends nothing in a version 1 line" {
    group v1-nul
}

@test "IPv4 addresses are read as inet_pton reads them" {
    group inet-pton-ipv4
}

@test "IPv6 addresses are read as inet_pton reads them" {
    group inet-pton-ipv6
}

# --- version 2 ---

@test "what begins like neither version is refused with the first byte that differs" {
    group first-bytes
}

@test "version 2 is the only binary version" {
    group v2-versions
}

@test "LOCAL and PROXY are the only commands" {
    group v2-commands
}

@test "PROXY takes four families and three transports, and refuses every other" {
    group v2-byte-14-of-proxy
}

@test "LOCAL takes any family and transport" {
    group v2-byte-14-of-local
}

@test "version 2 brings TCP and UDP over IPv4 and IPv6, UNIX, and TLVs behind them" {
    group v2-forms
}

@test "a length that is one short of the addresses is refused" {
    group v2-too-short
}

@test "what LOCAL brings is skipped, whatever its length" {
    group v2-local
}

@test "what UNSPEC brings is TLVs if it reads as such, and is skipped if not" {
    group v2-unspec
}

@test "a UNIX path may have all 108 bytes, begin with NUL, or be empty" {
    group v2-unix
}

@test "a version 2 header may be as long as its length field can say" {
    group v2-longest
}

# --- TLVs ---

@test "a TLV that ends one byte beyond the header makes it invalid" {
    group tlv-bounds
}

@test "TLVs are walked one by one, to the end or to the one that is cut" {
    group tlv-walk
}

@test "a TLV may have 65535 bytes" {
    group tlv-long
}

@test "TLVs within the SSL TLV are walked alike" {
    group tlv-ssl
}

@test "an SSL TLV has 5 bytes at least, and the TLVs within end where it does" {
    group tlv-ssl-short
}

@test "a CRC32C is right, of four bytes, and there only once" {
    group crc32c
}

@test "a CRC32C notices any bit that changed" {
    group crc32c-bits
}

@test "a CRC32C may begin and the header may end at any byte of a word" {
    group crc32c-places
}

@test "a unique id may have 128 bytes, not 129" {
    group unique-id
}

# --- building ---

@test "version 1 lines are built as the specification has them" {
    group build-v1
}

@test "what version 1 cannot say is built as UNKNOWN" {
    group build-v1-unknown
}

@test "version 2 headers are built as the specification has them" {
    group build-v2
}

@test "LOCAL is built without addresses" {
    group build-local
}

@test "IPv6 addresses are written as RFC 5952 asks, all in hexadecimal" {
    group build-ipv6-text
}

@test "addresses that do not go together are not built" {
    group build-argument
}

@test "what is built reads as what it was built from" {
    group round-trip
}

@test "a TLV is added where there is room for it, and else nothing is changed" {
    group add-tlv
}

@test "TLVs are added up to 65551 bytes in all, not one more" {
    group add-tlv-longest
}

@test "a checksum is added over the whole header" {
    group add-crc32c
}

@test "a checksum is added up to 65551 bytes in all, not one more" {
    group add-crc32c-longest
}

@test "nothing is added to what is no version 2 header" {
    group add-argument
}

@test "a TLV's type is one byte, and its value may be empty" {
    group add-type
}

@test "a header with addresses, TLVs and checksum reads as it was put together" {
    group everything
}

@test "every error has a text of its own" {
    group strerror
}

# --- the two files ---

@test "every group of proxyhdr_test is one test here, and no other name is one" {
    run -0 "$ROOT/tests/build/asan/proxyhdr_test"
    assert_equal "$(sort <<<"$output")" "$(sed -n 's/^    group \([a-z0-9-]*\)$/\1/p' "$BATS_TEST_FILENAME" | sort)"
    run -2 "$ROOT/tests/build/asan/proxyhdr_test" no-such-group
}

@test "proxyhdr.c compiles with gcc, clang and musl-gcc, without a warning" {
    object gcc
    object clang
    object musl-gcc
}

@test "proxyhdr.c is C++ too" {
    g++ -Wall -Wextra -Werror -x c++ -c -o "$BATS_TEST_TMPDIR/cxx.o" "$ROOT/proxyhdr.c"
}

@test "a C++ program links with proxyhdr.c as C" {
    cat >"$BATS_TEST_TMPDIR/program.cc" <<'END'
#include "proxyhdr.h"

int main()
{
	struct proxyhdr hdr = {};
	struct proxyhdr_tlv tlv;
	char buf[PROXYHDR_BUILD_MAX];

	hdr.version = 2;
	hdr.command = PROXYHDR_LOCAL;
	if (proxyhdr_build(buf, sizeof(buf), &hdr) != 16)
		return 1;
	if (proxyhdr_add_tlv(buf, sizeof(buf), PROXYHDR_NOOP, "", 0) != 19)
		return 2;
	if (proxyhdr_add_crc32c(buf, sizeof(buf)) != 26)
		return 3;
	if (proxyhdr_parse(&hdr, buf, sizeof(buf)) != 26)
		return 4;
	if (proxyhdr_next_tlv(&tlv, hdr.tlvs, hdr.tlvs_len) != 3)
		return 5;
	return proxyhdr_strerror(PROXYHDR_ETLV) == nullptr;
}
END
    object gcc
    g++ -Wall -Wextra -Wpedantic -Werror -I "$ROOT" -o "$BATS_TEST_TMPDIR/program" \
        "$BATS_TEST_TMPDIR/program.cc" "$BATS_TEST_TMPDIR/gcc.o"
    "$BATS_TEST_TMPDIR/program"
}

@test "proxyhdr.c has no data that could change" {
    local compiler
    for compiler in gcc clang musl-gcc; do
        lean_object "$compiler"
        run nm "$BATS_TEST_TMPDIR/$compiler.o"
        assert_success
        assert_line --regexp ' T proxyhdr_parse$'
        # Initialised, zeroed, common, small, weak: data of any kind but read-only.
        refute_line --regexp ' [BbCcDdGgSsVv] '
    done
}

@test "proxyhdr.c needs nothing but memcpy, memmove, memset and memcmp" {
    local compiler
    for compiler in gcc clang musl-gcc; do
        lean_object "$compiler"
        # Where only equality counts, clang calls memcmp by its older name.
        assert_equal "$compiler:$(nm -u "$BATS_TEST_TMPDIR/$compiler.o" |
            grep -vwE 'mem(cpy|move|set|cmp)|bcmp')" "$compiler:"
    done
}

# example_program: $program, what proxyhdr.h's comment has, called over TCP on loopback:
# what a proxy writes is read from a socket that does not block, and from one that does.
example_program() {
    program=$BATS_TEST_TMPDIR/program.c
    {
        cat <<'END'
#include "proxyhdr.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

END
        sed -n 's/^ \*\t//p' "$ROOT/proxyhdr.h"
        cat <<'END'

static int client, server;

/* A connection, but for its buffer. */
static void connection(int flags)
{
	union proxyhdr_addr door_addr;
	socklen_t size = sizeof door_addr;
	int door = socket(AF_INET, SOCK_STREAM, 0);

	assert(listen(door, 1) == 0 && getsockname(door, &door_addr.sa, &size) == 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	assert(connect(client, &door_addr.sa, size) == 0);
	server = accept(door, NULL, NULL);
	assert(server >= 0 && fcntl(server, F_SETFL, flags) == 0);
	close(door);
}

static void send_bytes(const unsigned char *from, size_t n)
{
	assert(send(client, from, n, MSG_NOSIGNAL) == (ssize_t)n);
}

/* What was sent has arrived, or the end has. */
static void wait_for_bytes(void)
{
	char byte;

	fcntl(server, F_SETFL, 0);
	assert(recv(server, &byte, 1, MSG_PEEK) >= 0);
	fcntl(server, F_SETFL, O_NONBLOCK);
}

int main(void)
{
	static unsigned char buf[PROXYHDR_MAX];
	unsigned char made[PROXYHDR_BUILD_MAX];
	struct proxyhdr hdr;
	struct proxyhdr_tlv tlv;
	union proxyhdr_addr src, dst;
	socklen_t src_size = sizeof src, dst_size = sizeof dst;
	size_t len = 0;
	int n;

	connection(O_NONBLOCK);
	n = write_header(server, made, sizeof made, "example.com");
	assert(n == 16 + 12 + 3 + 11 + 3 + 4);
	assert(read_header(server, &hdr, buf, &len) == 0 && len == 0);  /* EAGAIN */
	send_bytes(made, 20);
	wait_for_bytes();
	assert(read_header(server, &hdr, buf, &len) == 0 && len == 20);
	assert(read_header(server, &hdr, buf, &len) == 0 && len == 20);
	send_bytes(made + 20, (size_t)n - 20);
	wait_for_bytes();
	assert(read_header(server, &hdr, buf, &len) == n && len == (size_t)n);
	assert(hdr.version == 2 && hdr.command == PROXYHDR_PROXY && hdr.transport == PROXYHDR_STREAM);
	memset(&src, 0, sizeof src);
	memset(&dst, 0, sizeof dst);
	assert(getpeername(server, &src.sa, &src_size) == 0 && getsockname(server, &dst.sa, &dst_size) == 0);
	assert(memcmp(&hdr.src.in, &src.in, sizeof src.in) == 0 && memcmp(&hdr.dst.in, &dst.in, sizeof dst.in) == 0);
	assert(proxyhdr_next_tlv(&tlv, hdr.tlvs, hdr.tlvs_len) == 14 && tlv.type == PROXYHDR_AUTHORITY);
	assert(memcmp(tlv.value, "example.com", 11) == 0);
	assert(proxyhdr_next_tlv(&tlv, hdr.tlvs + 14, hdr.tlvs_len - 14) == 7 && tlv.type == PROXYHDR_CRC32C);
	close(client);
	close(server);

	for (n = 0; n < 2; n++) {       /* the end comes before the header's */
		connection(n == 0 ? O_NONBLOCK : 0);
		len = 0;
		send_bytes(made, 20);
		wait_for_bytes();
		assert(read_header(server, &hdr, buf, &len) == 0);
		close(client);
		wait_for_bytes();
		assert(read_header(server, &hdr, buf, &len) < 0);
		close(server);
	}

	connection(0);
	send_bytes((const unsigned char *)"PROXY UNKNOWN\r\nand more", 23);
	len = 0;
	while ((n = read_header(server, &hdr, buf, &len)) == 0)
		;
	assert(n == 15 && len == 23 && memcmp(buf + n, "and more", 8) == 0);
	assert(write_header(-1, made, sizeof made, "") < 0 && write_header(server, made, 20, "") < 0);
	return 0;
}
END
    } >"$program"
}

@test "the examples in proxyhdr.h's comment do what it says, on sockets that block and not, in C and in C++" {
    local program
    example_program
    grep read_header "$program"
    gcc -std=c11 -D_POSIX_C_SOURCE=200809L -g -fsanitize=address,undefined -fno-sanitize-recover=all \
        "${warnings[@]}" -I "$ROOT" -o "$BATS_TEST_TMPDIR/c" "$program" "$ROOT/proxyhdr.c"
    "$BATS_TEST_TMPDIR/c"
    object gcc
    g++ -Wall -Wextra -Wpedantic -Werror -I "$ROOT" -o "$BATS_TEST_TMPDIR/cxx" \
        -x c++ "$program" -x none "$BATS_TEST_TMPDIR/gcc.o"
    "$BATS_TEST_TMPDIR/cxx"
}

@test "proxyhdr.c and proxyhdr.h carry their licence" {
    local file
    for file in proxyhdr.c proxyhdr.h; do
        assert_equal "$(sed -n '/^\/\* ISC License/,$ { s/^ \*\/$//; s/^\/\* //; s/^ \* \{0,1\}//; p }' "$ROOT/$file")" \
            "$(grep -v Copyright "$ROOT/LICENSE" | cat -s)"
        grep -F "$(grep Copyright "$ROOT/LICENSE")" "$ROOT/$file"
    done
}

@test "README.md has proxyhdr's lines and bytes as they are" {
    local lines size
    lines="$(wc -l <"$ROOT/proxyhdr.c") + $(wc -l <"$ROOT/proxyhdr.h")"
    grep -F "| lines of .c and .h | $lines |" "$ROOT/README.md"
    [[ $(uname -m) == x86_64 ]] || skip "the size is that on x86-64"
    object gcc
    size=$(size "$BATS_TEST_TMPDIR/gcc.o" | awk 'NR == 2 { printf "%.1f kB", $4 / 1000 }')
    grep -F "| object code, gcc -O2 | $size |" "$ROOT/README.md"
}

@test "git tells which copy of proxyhdr.c one has, as proxyhdr.h says" {
    local tree=$BATS_TEST_TMPDIR/tree file command
    git clone -q "$ROOT" "$tree"
    cd "$tree"
    for file in proxyhdr.c proxyhdr.h; do
        command=$(sed -n 's/.*"\(git log .*\)".*/\1/p' "$ROOT/proxyhdr.h")
        run -0 sh -c "${command//FILE/$file}"
        assert_regex "$output" '^commit [0-9a-f]{40}'
        # the last one brought it
        assert_equal "$(git rev-parse "$(sed -n 's/^commit //p' <<<"$output" | tail -n 1):$file")" \
            "$(git rev-parse "HEAD:$file")"
    done
}

# --- a server made of them: examples/receiver.c ---

# receives: it does, at $port, and is known as "receiver".
receives() {
    connection
    front=$(free_port)
    cc -std=c11 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
        "${warnings[@]}" -I "$ROOT" -o "$BATS_TEST_TMPDIR/receiver" "$ROOT/examples/receiver.c" "$ROOT/proxyhdr.c"
    start receiver "$BATS_TEST_TMPDIR/receiver" "$port"
    wait_listening "$port"
}

# learns REGEX CLIENT: what the receiver tells of a client that asks at $front.
learns() {
    local said
    # It ends after the answer: HAProxy takes an end that overtakes its connection for an abort.
    said=$(socat -u "TCP:$(bracket "${3:-127.0.0.1}"):$front,bind=$(bracket "$2"):$from" -)
    assert_equal "$said" "hello $2"
    learnt "client=$2 port=$from payload=0$1"
    from=$(free_port)
}

# learnt REGEX: it has written such a line.
learnt() {
    wait_for grep -Ex -e "$1" "$(log_file receiver)"
}

@test "the receiver compiles as C11, with gcc, clang and musl-gcc, without a warning" {
    local compiler
    for compiler in gcc clang musl-gcc; do
        "$compiler" -std=c11 "${warnings[@]}" -I "$ROOT" \
            -o "$BATS_TEST_TMPDIR/receiver" "$ROOT/examples/receiver.c" "$ROOT/proxyhdr.c"
    done
}

@test "the receiver learns from relay who the client is, and the TLVs" {
    receives
    tcpserver_relay "$front" -1 "127.0.0.1:$port"
    learns '' 127.0.0.2
    stop tcpserver
    tcpserver_relay "$front" -2 -u -c -x authority=relay.example -x 0xE0= "127.0.0.1:$port"
    learns " 0x02=$(hex_text relay.example) 0xE0= 0x05=[0-9a-f]{64} 0x03=[0-9a-f]{8}" 127.0.0.2
    stop tcpserver
    LISTEN=::1 tcpserver_relay "$front" -2 "127.0.0.1:$port"
    learns '' ::1 ::1
}

@test "the receiver takes what comes behind the header for the client's" {
    receives
    printf 'PROXY TCP4 203.0.113.7 198.51.100.2 51234 443\r\nto you' | ask "$port" >"$answer"
    assert_equal "$(cat "$answer")" 'hello 203.0.113.7'
    learnt 'client=203\.0\.113\.7 port=51234 payload=6'
}

@test "the receiver takes the connection's own address where the header names none" {
    local said
    receives
    said=$("$RELAY" -1 "127.0.0.1:$port" </dev/null | cat)
    assert_equal "$said" 'hello 127.0.0.1'
    said=$("$RELAY" -2 "127.0.0.1:$port" </dev/null | cat)
    assert_equal "$said" 'hello 127.0.0.1'
    run "$RELAY" -2 --check "127.0.0.1:$port"
    assert_failure 111 # it closes, too
    assert_output --partial 'answer="hello 127.0.0.1"'
}

@test "the receiver learns from HAProxy who the client is, in both versions" {
    local second
    receives
    second=$(free_port)
    cat >"$BATS_TEST_TMPDIR/haproxy.cfg" <<END
$(haproxy_defaults tcp)
listen v1
    bind 127.0.0.1:$front
    server receiver 127.0.0.1:$port send-proxy
listen v2
    bind 127.0.0.1:$second
    unique-id-format of-%cp
    server receiver 127.0.0.1:$port send-proxy-v2 proxy-v2-options crc32c,unique-id
END
    start haproxy haproxy -f "$BATS_TEST_TMPDIR/haproxy.cfg"
    wait_listening "$front"
    wait_listening "$second"
    learns '' 127.0.0.2
    front=$second
    learns " 0x03=[0-9a-f]{8} 0x05=$(hex_text "of-$from")" 127.0.0.2
}

@test "the receiver learns from curl's --haproxy-protocol who the client is" {
    receives
    run curl -sS -m 30 --noproxy '*' --http0.9 --haproxy-protocol --local-port "$from" "http://127.0.0.1:$port/"
    assert_output 'hello 127.0.0.1'
    learnt "client=127\.0\.0\.1 port=$from payload=[0-9]+"
}

@test "the receiver reads a header that comes byte by byte" {
    local header
    receives
    for header in "$(hex_text 'PROXY TCP6 2001:db8::7 2001:db8::1 1 2')0d0a" \
        "0d0a0d0a000d0a515549540a211100140102030405060708000100020500056576657279"; do
        python3 - "$port" "$header" <<'PYTHON' >"$answer"
import socket, sys, time
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for byte in bytes.fromhex(sys.argv[2]):
    client.sendall(bytes([byte]))
    time.sleep(0.002)   # or the kernel makes one read of many
print(client.recv(100).decode(), end="")
PYTHON
        cat "$answer"
    done
    learnt 'client=2001:db8::7 port=1 payload=0'
    learnt 'client=1\.2\.3\.4 port=1 payload=0 0x05=6576657279'
}

@test "the receiver refuses what is no header, or not all of one" {
    local sent
    receives
    printf 'GET / HTTP/1.0\r\n\r\n' | ask "$port" "$from" 127.0.0.2 >"$answer" || true # reset
    assert_nothing_sent
    learnt "refused client=127\.0\.0\.2 port=$from: not a PROXY header"
    printf 'PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n' | ask "$port" >"$answer" || true
    assert_nothing_sent
    learnt 'refused client=127\.0\.0\.1 port=[0-9]+: malformed port'
    printf 'PROXY TCP4 1.2.3.4 5.6.7.8' | ask "$port" >"$answer" || true
    assert_nothing_sent
    sent=$(grep -c '' "$(log_file receiver)")
    assert_equal "$sent" 2
}

# unix_header PATH-IN-HEX: of a client there.
unix_header() {
    unhex "$(printf '0d0a0d0a000d0a515549540a213100d8%-216s%0216d' "$1" 0 | tr ' ' 0)"
}

@test "the receiver shows a UNIX client's path, without what could break a line" {
    local long
    receives
    unix_header "$(hex_text /run/client.sock)" | ask "$port" >"$answer"
    assert_equal "$(cat "$answer")" 'hello /run/client.sock'
    learnt 'client=/run/client\.sock port=\? payload=0'
    long=$(printf '%0108d' 7)
    unix_header "$(hex_text "$long")" | ask "$port" >"$answer"
    assert_equal "$(cat "$answer")" "hello $long"
    unix_header "00$(hex_text abstract)0aff20$(hex_text x)" | ask "$port" >"$answer"
    assert_equal "$(cat "$answer")" 'hello ?abstract???x'
    unix_header '' | ask "$port" >"$answer"
    assert_equal "$(cat "$answer")" 'hello '
}

@test "the receiver waits where it has no descriptor left, says so, and goes on" {
    receives
    prlimit --pid "$(pid_of receiver)" --nofile=3:64
    # The kernel takes the descriptor before it waits: the first client still has one.
    printf 'PROXY UNKNOWN\r\n' | ask "$port" >"$answer"
    assert_equal "$(cat "$answer")" 'hello 127.0.0.1'
    printf 'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n' | ask "$port" >"$answer" &
    learnt 'receiver: Too many open files'
    prlimit --pid "$(pid_of receiver)" --nofile=64:64
    wait $!
    assert_equal "$(cat "$answer")" 'hello 1.2.3.4'
}

@test "the receiver ends clients that say nothing, or a little for ever, and serves others meanwhile" {
    receives
    python3 - "$port" <<'PYTHON'
import socket, sys, time
to = ("127.0.0.1", int(sys.argv[1]))
silent, slow, other = (socket.create_connection(to, 20) for _ in range(3))
slow.settimeout(0.5)
began = time.monotonic()
other.sendall(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n")
assert other.recv(100) == b"hello 1.2.3.4\n"
assert time.monotonic() - began < 4, "had to wait"
slow.sendall(b"PROXY UNKNOWN ")
while time.monotonic() - began < 20:
    try:
        slow.sendall(b".")
        ended = slow.recv(1)
    except TimeoutError:
        continue
    except OSError:
        ended = b""
    assert ended == b""
    break
else:
    raise AssertionError("it waits for ever")
try:
    assert silent.recv(1) == b""
except ConnectionResetError:
    pass
PYTHON
}
