#!/usr/bin/env bats
# shellcheck shell=bash
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
#
# proxyhdr.c by itself: what it reads and writes, byte for byte, by the groups of
# tests/proxyhdr_test.c; and that it is two files for any C or C++ program.

load helper

warnings=(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Werror)

setup_file() {
    cd "$ROOT" || return
    # Where make coverage looks for what gcov needs.
    mkdir -p tests/build/asan
    gcc -std=c11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all --coverage \
        "${warnings[@]}" -o tests/build/asan/proxyhdr_test tests/proxyhdr_test.c proxyhdr.c
}

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
