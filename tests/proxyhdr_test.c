/* Tests of proxyhdr. `proxyhdr_test NAME` runs one group of them: status 0, or 1
 * and a line for each check that failed. Without a name: the names.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 * Every vector is written down from the bytes that "PROXY spec" describes
 * (HAProxy's doc/proxy-protocol.txt of 2026-04-27), none from what proxyhdr
 * answered. A row of a table that fails is named by its own line.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proxyhdr.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define CHECK(what, expected, got) \
	check_int(__LINE__, what, (long long)(expected), (long long)(got))

/* A row's line, bytes and their number. NUL bytes count, the last one does not. */
#define BYTES(literal) __LINE__, literal, sizeof(literal) - 1

static int failures;

static void fail(int line, const char *format, ...)
{
	va_list arguments;

	failures++;
	printf("%s:%d: ", __FILE__, line);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

static int check_int(int line, const char *what, long long expected, long long got)
{
	if (expected == got)
		return 1;
	fail(line, "%s: expected %lld, got %lld", what, expected, got);
	return 0;
}

static void print_hex(const char *name, const unsigned char *bytes, size_t len, size_t at)
{
	size_t from = at < 8 ? 0 : at - 8;
	size_t i;

	printf("    %-8s (%zu bytes, from %zu):", name, len, from);
	for (i = from; i < len && i < from + 32; i++)
		printf(" %02x", bytes[i]);
	putchar('\n');
}

static int check_bytes(int line, const char *what, const void *expected,
                       size_t expected_len, const void *got, size_t got_len)
{
	const unsigned char *a = expected;
	const unsigned char *b = got;
	size_t at = 0;

	while (at < expected_len && at < got_len && a[at] == b[at])
		at++;
	if (at == expected_len && at == got_len)
		return 1;
	fail(line, "%s: differs at byte %zu", what, at);
	print_hex("expected", a, expected_len, at);
	print_hex("got", b, got_len, at);
	return 0;
}

/* Which of a row's vectors it was. */
static void show(const char *bytes, size_t len)
{
	size_t i;

	printf("    of: ");
	for (i = 0; i < len && i < 256; i++)
		if (bytes[i] >= ' ' && bytes[i] <= '~' && bytes[i] != '\\')
			putchar(bytes[i]);
		else
			printf("\\x%02x", (unsigned)(unsigned char)bytes[i]);
	putchar('\n');
}

/* A block of just this size, so that a sanitizer sees a read beyond it. */
static unsigned char *exactly(const void *bytes, size_t len)
{
	unsigned char *block = malloc(len);

	if (!block && len > 0)
		abort();
	if (block && len > 0)
		memcpy(block, bytes, len);
	return block;
}

/* What is behind a header, and must not matter: it looks like more of one. */
static const char payload[] = "\r\n 1 2\r\n\x04\x00\x01PROXY ";

/* head and tail, in a block of their own. */
static unsigned char *joined(const void *head, size_t head_len, const void *tail, size_t tail_len)
{
	unsigned char *block = malloc(head_len + tail_len);

	if (!block)
		abort();
	memcpy(block, head, head_len);
	memcpy(block + head_len, tail, tail_len);
	return block;
}

/* The prefix to try after that of i bytes: every one, but of 65551 bytes only
 * some in the middle, where each is a copy of many bytes like the one before. */
static size_t longer(size_t i, size_t len)
{
	return i < 2048 || len - i < 2048 ? i + 1 : i + 61;
}

/* Parses just these bytes. Without a length, *hdr must be as it was. */
static int parse_alone(int line, const void *bytes, size_t len)
{
	unsigned char *block = exactly(bytes, len);
	struct proxyhdr hdr, before;
	int got;

	memset(&before, 0xa5, sizeof(before));
	memset(&hdr, 0xa5, sizeof(hdr));
	got = proxyhdr_parse(&hdr, block, len);
	if (got <= 0)
		check_bytes(line, "*hdr without a header", &before, sizeof(before),
		            &hdr, sizeof(hdr));
	free(block);
	return got;
}

/* --- headers that are good --- */

enum { UNSAID = -1 };    /* for tlvs: the contract does not say */

struct good {
	int line;
	const char *bytes;
	size_t len;
	int version, command, transport, family;
	const char *src, *dst;    /* 4, 16 or 108 bytes, as of the family */
	unsigned src_port, dst_port;
	int tlvs;                 /* where they begin; 0: there are none */
};

static void check_in(int line, const union proxyhdr_addr *addr, const char *bytes, unsigned port)
{
	check_bytes(line, "IPv4 address", bytes, 4, &addr->in.sin_addr, 4);
	check_int(line, "port", port, ntohs(addr->in.sin_port));
}

static void check_in6(int line, const union proxyhdr_addr *addr, const char *bytes, unsigned port)
{
	check_bytes(line, "IPv6 address", bytes, 16, &addr->in6.sin6_addr, 16);
	check_int(line, "port", port, ntohs(addr->in6.sin6_port));
	check_int(line, "flow information", 0, addr->in6.sin6_flowinfo);
	check_int(line, "scope", 0, addr->in6.sin6_scope_id);
}

static void check_addr(int line, const union proxyhdr_addr *addr, int family,
                       const char *bytes, unsigned port)
{
	if (!check_int(line, "family", family, addr->sa.sa_family))
		return;
	if (family == AF_INET)
		check_in(line, addr, bytes, port);
	else if (family == AF_INET6)
		check_in6(line, addr, bytes, port);
	else if (family == AF_UNIX)
		check_bytes(line, "path", bytes, 108, addr->un.sun_path, sizeof(addr->un.sun_path));
}

static void check_tlvs(const struct good *good, const struct proxyhdr *hdr,
                       const unsigned char *block)
{
	size_t len = good->tlvs > 0 ? good->len - (size_t)good->tlvs : 0;

	if (good->tlvs == UNSAID)
		return;
	if (check_int(good->line, "tlvs_len", (long long)len, (long long)hdr->tlvs_len) && len > 0)
		check_int(good->line, "tlvs", good->tlvs, hdr->tlvs - block);
}

static void check_hdr(const struct good *good, const struct proxyhdr *hdr,
                      const unsigned char *block)
{
	check_int(good->line, "version", good->version, hdr->version);
	check_int(good->line, "command", good->command, hdr->command);
	check_int(good->line, "transport", good->transport, hdr->transport);
	check_addr(good->line, &hdr->src, good->family, good->src, good->src_port);
	check_addr(good->line, &hdr->dst, good->family, good->dst, good->dst_port);
	check_tlvs(good, hdr, block);
}

/* All of the header, and so many bytes behind it. */
static void expect_whole(const struct good *good, size_t behind)
{
	unsigned char *block = joined(good->bytes, good->len, payload, behind);
	struct proxyhdr hdr;
	int got;

	memset(&hdr, 0xa5, sizeof(hdr));
	got = proxyhdr_parse(&hdr, block, good->len + behind);
	if (check_int(good->line, "length", (long long)good->len, got))
		check_hdr(good, &hdr, block);
	free(block);
}

static void expect_good(const struct good *good)
{
	int before = failures;
	size_t i;
	int got;

	for (i = 0; i < good->len; i = longer(i, good->len)) {
		got = parse_alone(good->line, good->bytes, i);
		if (got != 0) {
			fail(good->line, "first %zu of %zu bytes: expected 0, got %d", i,
			     good->len, got);
			break;
		}
	}
	for (i = 0; i <= sizeof(payload); i++)
		expect_whole(good, i);
	if (failures > before)
		show(good->bytes, good->len);
}

/* --- headers that are not --- */

enum { ANY = 1 };    /* for reason: some error, the contract does not say which */

struct bad {
	int line;
	const char *bytes;
	size_t len;
	int reason;
	size_t by;    /* so many bytes must be enough to tell; 0: all of them */
};

/* The reason at i bytes, it being `reason` (0: none yet) with one byte less. */
static int expect_reason(const struct bad *bad, size_t i, int reason, int got)
{
	size_t by = bad->by ? bad->by : bad->len;

	if (got > 0)
		fail(bad->line, "first %zu bytes: expected an error, got length %d", i, got);
	else if (reason && got != reason)
		fail(bad->line, "first %zu bytes: expected %d as before, got %d", i, reason, got);
	else if (got && bad->reason != ANY && got != bad->reason)
		fail(bad->line, "first %zu bytes: expected %d, got %d", i, bad->reason, got);
	else if (!got && i >= by)
		fail(bad->line, "first %zu bytes: expected an error by now, got 0", i);
	else
		return 1;
	return 0;
}

static void expect_bad(const struct bad *bad)
{
	unsigned char *all = joined(bad->bytes, bad->len, payload, sizeof(payload));
	int reason = 0;
	size_t len = bad->len + sizeof(payload);
	size_t i;
	int got;

	for (i = 0; i <= len; i = longer(i, len)) {
		got = parse_alone(bad->line, all, i);
		if (!expect_reason(bad, i, reason, got)) {
			show(bad->bytes, bad->len);
			break;
		}
		reason = got;
	}
	free(all);
}

static void expect_all_good(const struct good *good, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		expect_good(&good[i]);
}

static void expect_all_bad(const struct bad *bad, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		expect_bad(&bad[i]);
}

/* --- version 1, PROXY spec 2.1 --- */

#define V1(family, src, dst, src_port, dst_port) \
	1, PROXYHDR_PROXY, PROXYHDR_STREAM, family, src, dst, src_port, dst_port, 0
#define V1_UNKNOWN 1, PROXYHDR_PROXY, PROXYHDR_UNSPEC, AF_UNSPEC, NULL, NULL, 0, 0, 0

#define BYTES4(byte) byte byte byte byte
#define BYTES16(byte) BYTES4(byte) BYTES4(byte) BYTES4(byte) BYTES4(byte)

/* The longest ones that the specification spells out. */
#define LONGEST4 "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"
#define FFFF "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
#define LONGEST6 "PROXY TCP6 " FFFF " " FFFF " 65535 65535\r\n"
#define LONGEST "PROXY UNKNOWN " FFFF " " FFFF " 65535 65535\r\n"

static_assert(sizeof(LONGEST4) - 1 == 56, "PROXY spec 2.1");
static_assert(sizeof(LONGEST6) - 1 == 104, "PROXY spec 2.1");
static_assert(sizeof(LONGEST) - 1 == 107, "PROXY spec 2.1");
static_assert(sizeof(LONGEST) - 1 == PROXYHDR_V1_MAX, "PROXY spec 2.1");

static void test_v1_forms(void)
{
	static const struct good good[] = {
		{ BYTES("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
		  V1(AF_INET, "\300\250\0\1", "\300\250\0\13", 56324, 443) },
		{ BYTES("PROXY TCP4 0.0.0.0 1.20.100.255 0 1\r\n"),
		  V1(AF_INET, "\0\0\0\0", "\1\24\144\377", 0, 1) },
		{ BYTES(LONGEST4), V1(AF_INET, BYTES4("\377"), BYTES4("\377"), 65535, 65535) },
		{ BYTES("PROXY TCP6 :: ::1 0 1\r\n"),
		  V1(AF_INET6, BYTES16("\0"), "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 0, 1) },
		{ BYTES("PROXY TCP6 2001:db8::1 fe80:0:0:0:1:2:3:4 56324 443\r\n"),
		  V1(AF_INET6, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1",
		     "\xfe\x80\0\0\0\0\0\0\0\1\0\2\0\3\0\4", 56324, 443) },
		{ BYTES(LONGEST6), V1(AF_INET6, BYTES16("\377"), BYTES16("\377"), 65535, 65535) },
		{ BYTES("PROXY UNKNOWN\r\n"), V1_UNKNOWN },
		{ BYTES("PROXY UNKNOWN \r\n"), V1_UNKNOWN },
		{ BYTES("PROXY UNKNOWN  \r\n"), V1_UNKNOWN },
		{ BYTES("PROXY UNKNOWN TCP4 1.2.3.4 1.2.3.4 99999 -1 what this means\r\n"),
		  V1_UNKNOWN },
		{ BYTES("PROXY UNKNOWN 1.2.3.4 ::1\t65536\r\n"), V1_UNKNOWN },
		{ BYTES(LONGEST), V1_UNKNOWN },
	};

	expect_all_good(good, COUNT(good));
}

static void test_v1_length(void)
{
	/* The last form of RFC 4291, 2.2 is longer than what the specification
	 * reckons with, so its limit shows with TCP6 too. */
	static const struct good good[] = {
		{ BYTES("PROXY UNKNOWN 34567890123456789012345678901234567890"
		        "12345678901234567890123456789012345678901234567890123\r\n"), V1_UNKNOWN },
		{ BYTES("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"
		        " ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.25 1 2\r\n"),
		  V1(AF_INET6, BYTES16("\377"), BYTES4("\377") BYTES4("\377") BYTES4("\377")
		     "\377\377\377\31", 1, 2) },
	};
	static const struct bad bad[] = {
		{ BYTES("PROXY UNKNOWN 34567890123456789012345678901234567890"
		        "123456789012345678901234567890123456789012345678901234\r\n"),
		  PROXYHDR_ELINE, 107 },
		{ BYTES("PROXY UNKNOWN 34567890123456789012345678901234567890"
		        "1234567890123456789012345678901234567890123456789012345\r\n"),
		  PROXYHDR_ELINE, 107 },
		{ BYTES("PROXY UNKNOWN 34567890123456789012345678901234567890"
		        "12345678901234567890123456789012345678901234567890123456\r\n"),
		  PROXYHDR_ELINE, 107 },
		{ BYTES("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"
		        " ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255 1 2\r\n"),
		  PROXYHDR_ELINE, 107 },
		/* Neither may a line be waited for that begins well and never ends. */
		{ BYTES("PROXY TCP4 11111111111111111111111111111111111111111"
		        "1111111111111111111111111111111111111111111111111111111"), ANY, 107 },
		{ BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 22222222222222222222222"
		        "2222222222222222222222222222222222222222222222222222222"), ANY, 107 },
	};

	assert(good[0].len == 107 && good[1].len == 107);
	assert(bad[0].len == 108 && bad[3].len == 108 && bad[4].len == 107 && bad[5].len == 107);
	expect_all_good(good, COUNT(good));
	expect_all_bad(bad, COUNT(bad));
}

/* A row that is refused by its end. */
#define LINE_OF(text, reason) { BYTES(text), reason, 0 }

/* An address as text: its bytes, or none if it is not one of that family. */
struct text {
	int line;
	const char *text;
	const char *bytes;
};

/* Makes a line with this source and destination; returns its length. */
static size_t print_line(char line[256], int family, const char *src, const char *dst)
{
	const char *protocol = family == AF_INET ? "TCP4" : "TCP6";

	return (size_t)snprintf(line, 256, "PROXY %s %s %s 1 2\r\n", protocol, src, dst);
}

static void expect_text_good(const struct text *text, int family)
{
	const char *other = family == AF_INET ? "0.0.0.0" : "::";
	char line[256];
	struct good good = {
		text->line, line, 0,
		V1(family, text->bytes, BYTES16("\0"), 1, 2)
	};

	good.len = print_line(line, family, text->text, other);
	expect_good(&good);
	good.src = good.dst;
	good.dst = text->bytes;
	good.len = print_line(line, family, other, text->text);
	expect_good(&good);
}

static void expect_text_bad(const struct text *text, int family)
{
	const char *other = family == AF_INET ? "0.0.0.0" : "::";
	char line[256];
	struct bad bad = { text->line, line, 0, PROXYHDR_EADDRESS, 0 };

	bad.len = print_line(line, family, text->text, other);
	expect_bad(&bad);
	bad.len = print_line(line, family, other, text->text);
	expect_bad(&bad);
}

/* As source, then as destination. */
static void expect_texts(const struct text *texts, size_t count, int family)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (texts[i].bytes)
			expect_text_good(&texts[i], family);
		else
			expect_text_bad(&texts[i], family);
}

/* One that is no address of this family. */
#define NONE(text) { __LINE__, text, NULL }

static void test_v1_ipv4(void)
{
	static const struct text texts[] = {
		{ __LINE__, "0.0.0.0", "\0\0\0\0" },
		{ __LINE__, "9.10.99.100", "\11\12\143\144" },
		{ __LINE__, "199.200.249.250", "\307\310\371\372" },
		{ __LINE__, "255.255.255.255", "\377\377\377\377" },
		{ __LINE__, "0.0.0.1", "\0\0\0\1" },
		NONE("256.0.0.0"), NONE("0.256.0.0"), NONE("0.0.256.0"), NONE("0.0.0.256"),
		NONE("1.2.3.260"), NONE("1.2.3.300"), NONE("1.2.3.999"), NONE("1.2.3.1000"),
		/* Those that a narrow variable would take for 4.3.2.1. */
		NONE("260.3.2.1"), NONE("65540.3.2.1"), NONE("4294967300.3.2.1"),
		NONE("18446744073709551620.3.2.1"), NONE(""), NONE("."), NONE("..."), NONE("1"),
		NONE("1.2"), NONE("1.2.3"), NONE("16909060"), NONE("1.2.3."), NONE(".1.2.3"),
		NONE("1..2.3"), NONE("1.2..3"), NONE("1.2.3.4."), NONE(".1.2.3.4"),
		NONE("1..2.3.4"), NONE("1.2.3..4"), NONE("1.2.3.4.5"), NONE("1.2.3.4.0"),
		NONE("-1.2.3.4"), NONE("+1.2.3.4"), NONE("1.2.3.-4"), NONE("1.2.3.+4"),
		NONE("1.2.-0.4"), NONE("0x1.2.3.4"), NONE("1.2.3.0x4"), NONE("a.b.c.d"),
		NONE("1.2.3.a"), NONE("1.2.3.4a"), NONE("1.2.3.4/32"), NONE("1,2,3,4"),
		NONE("1:2:3:4"), NONE("1.2.3.4:80"), NONE("[1.2.3.4]"), NONE("1.2.3.4%eth0"),
		NONE("localhost"), NONE("1.2.3./"), NONE("1.2.3.:"), NONE("1.2.3.\xb2"),
	};

	expect_texts(texts, COUNT(texts), AF_INET);
}

/* PROXY spec 2.1: "Heading zeroes are not permitted in front of numbers". */
static void test_v1_leading_zeros(void)
{
	static const struct text texts[] = {
		NONE("01.2.3.4"), NONE("1.02.3.4"), NONE("1.2.03.4"), NONE("1.2.3.04"),
		NONE("001.2.3.4"), NONE("1.2.3.004"), NONE("00.0.0.0"), NONE("0.00.0.0"),
		NONE("0.0.00.0"), NONE("0.0.0.00"), NONE("0.0.0.000"), NONE("1.2.3.0000000004"),
		NONE("010.2.3.4"), NONE("1.2.3.010"), NONE("1.2.3.0255"), NONE("08.09.1.1"),
	};
	/* Not so of IPv6: there a group has up to four digits, whichever. */
	static const struct text texts6[] = {
		{ __LINE__, "0001:0000::0002", "\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\2" },
		{ __LINE__, "0000:0000:0000:0000:0000:0000:0000:0000", BYTES16("\0") },
		{ __LINE__, "::00", BYTES16("\0") },
		/* But the IPv4 in it: RFC 3986's dec-octet, and every inet_pton. */
		NONE("::1.2.3.04"), NONE("::ffff:01.2.3.4"), NONE("::00.0.0.0"),
	};
	static const struct bad bad[] = {
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1 02\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 00 2\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1 00\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1 00000\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 065535 2\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP6 1::2 3::4 00080 2\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP6 1::2 3::4 1 010\r\n", PROXYHDR_EPORT),
	};

	expect_texts(texts, COUNT(texts), AF_INET);
	expect_texts(texts6, COUNT(texts6), AF_INET6);
	expect_all_bad(bad, COUNT(bad));
}

static void test_v1_ports(void)
{
	static const struct good good[] = {
		{ BYTES("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"),
		  V1(AF_INET, "\0\0\0\0", "\0\0\0\0", 0, 0) },
		{ BYTES("PROXY TCP4 0.0.0.0 0.0.0.0 65535 0\r\n"),
		  V1(AF_INET, "\0\0\0\0", "\0\0\0\0", 65535, 0) },
		{ BYTES("PROXY TCP4 0.0.0.0 0.0.0.0 0 65535\r\n"),
		  V1(AF_INET, "\0\0\0\0", "\0\0\0\0", 0, 65535) },
		{ BYTES("PROXY TCP4 0.0.0.0 0.0.0.0 65529 10\r\n"),
		  V1(AF_INET, "\0\0\0\0", "\0\0\0\0", 65529, 10) },
		{ BYTES("PROXY TCP6 :: :: 256 255\r\n"),
		  V1(AF_INET6, BYTES16("\0"), BYTES16("\0"), 256, 255) },
	};
	static const char *const ports[] = {
		"", "65536", "65540", "65600", "66535", "99999", "100000", "655350", "65537",
		"131072", "4294967295", "4294967296", "4294967297", "18446744073709551615",
		"18446744073709551617", "-1", "-0", "+1", "0x1", "1x", "a", "1a", "http", "1.0",
		"1,", "*", "/", ":", "\xb9",
	};
	char line[256];
	struct bad bad = { __LINE__, line, 0, PROXYHDR_EPORT, 0 };
	size_t i;

	expect_all_good(good, COUNT(good));
	for (i = 0; i < COUNT(ports); i++) {
		bad.len = (size_t)sprintf(line, "PROXY TCP4 1.2.3.4 5.6.7.8 %s 2\r\n", ports[i]);
		expect_bad(&bad);
		bad.len = (size_t)sprintf(line, "PROXY TCP4 1.2.3.4 5.6.7.8 1 %s\r\n", ports[i]);
		expect_bad(&bad);
		bad.len = (size_t)sprintf(line, "PROXY TCP6 1::2 3::4 1 %s\r\n", ports[i]);
		expect_bad(&bad);
	}
}

/* RFC 4291, 2.2, forms 1 and 2. */
static void test_v1_ipv6(void)
{
	static const struct text texts[] = {
		{ __LINE__, "1:2:3:4:5:6:7:8", "\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\10" },
		{ __LINE__, "0:0:0:0:0:0:0:0", BYTES16("\0") },
		{ __LINE__, "::", BYTES16("\0") },
		{ __LINE__, "::1", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1" },
		{ __LINE__, "1::", "\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0" },
		{ __LINE__, "1::8", "\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\10" },
		{ __LINE__, "1:2::7:8", "\0\1\0\2\0\0\0\0\0\0\0\0\0\7\0\10" },
		{ __LINE__, "1:2:3::8", "\0\1\0\2\0\3\0\0\0\0\0\0\0\0\0\10" },
		{ __LINE__, "1:2:3:4:5:6::", "\0\1\0\2\0\3\0\4\0\5\0\6\0\0\0\0" },
		{ __LINE__, "::3:4:5:6:7:8", "\0\0\0\0\0\3\0\4\0\5\0\6\0\7\0\10" },
		/* "One or more groups": a single one is good in what is read. */
		{ __LINE__, "1:2:3:4:5:6:7::", "\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\0" },
		{ __LINE__, "::2:3:4:5:6:7:8", "\0\0\0\2\0\3\0\4\0\5\0\6\0\7\0\10" },
		{ __LINE__, "1:2:3::5:6:7:8", "\0\1\0\2\0\3\0\0\0\5\0\6\0\7\0\10" },
		{ __LINE__, "0::0", BYTES16("\0") },
		{ __LINE__, "ABCD:EF01:2345:6789:abcd:ef01:aBcD:Ef90",
		  "\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef\x01\xab\xcd\xef\x90" },
		{ __LINE__, "FE80::A", "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\xa" },
		{ __LINE__, "1:20:300:4000::", "\0\1\0\x20\3\0\x40\0\0\0\0\0\0\0\0\0" },
		NONE(""), NONE(":"), NONE(":::"), NONE("::::"), NONE("1"), NONE("1:"), NONE(":1"),
		NONE("1::2::3"), NONE("::1::"), NONE("1::2:3::"), NONE("::1:2::3"),
		NONE("1:2:3:4:5::7::"), NONE("1:::2"), NONE(":::1"), NONE("1:::"), NONE("1::::2"),
		NONE("1:2:3:4:::6:7:8"), NONE("1:2:3:4:5:6:7:8::"), NONE("::1:2:3:4:5:6:7:8"),
		NONE("1:2:3:4::5:6:7:8"), NONE("1:2:3:4:5:6:7"), NONE("1:2:3:4:5:6:7:8:9"),
		NONE("1:2:3:4:5:6:7:8:"), NONE("1:2:3:4:5:6:7:"), NONE(":1:2:3:4:5:6:7:8"),
		NONE(":1:2:3:4:5:6:7"), NONE(":2:3:4:5:6:7:8"), NONE("1:2:3:4:5:6:7:8:9::"),
		NONE("::1:2:3:4:5:6:7:8:9"), NONE("1:2::3:4:5:6:7:8:9"), NONE("1::2:"),
		NONE("::1:"), NONE(":1::2"), NONE(":1::"), NONE("1:2:3:4:5:6::7:"),
		NONE("12345::"), NONE("::12345"), NONE("00001::"), NONE("::00000"),
		NONE("1:2:3:4:5:6:7:00008"), NONE("1:2:3:4:5:6:7:12345"),
		NONE("12345:2:3:4:5:6:7:8"), NONE("::fffff"), NONE("::100000001"), NONE("g::"),
		NONE("::g"), NONE("::fffg"), NONE("::G"), NONE("::0x1"), NONE("::-1"),
		NONE("::+1"), NONE("::@"), NONE("::`"), NONE("::/"), NONE("1;2::"), NONE("[::1]"),
		NONE("::1/128"), NONE("::\xb1"),
		/* RFC 4007: a zone means nothing on another host. */
		NONE("fe80::1%eth0"), NONE("fe80::1%1"), NONE("fe80::1%"), NONE("::%0"),
		NONE("fe80::1%25eth0"), NONE("1.2.3.4"), NONE("0.0.0.0"), NONE("localhost"),
	};
	/* PROXY spec 2.1: "The advertised protocol family dictates what format". */
	static const struct text texts4[] = {
		NONE("::"), NONE("::1"), NONE("::1.2.3.4"), NONE("::ffff:1.2.3.4"),
		NONE("1:2:3:4:5:6:7:8"),
	};

	expect_texts(texts, COUNT(texts), AF_INET6);
	expect_texts(texts4, COUNT(texts4), AF_INET);
}

/* RFC 4291, 2.2, form 3: the last 32 bits, and only these, as IPv4. */
static void test_v1_embedded_ipv4(void)
{
	static const struct text texts[] = {
		{ __LINE__, "::1.2.3.4", "\0\0\0\0\0\0\0\0\0\0\0\0\1\2\3\4" },
		{ __LINE__, "::ffff:1.2.3.4", "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4" },
		{ __LINE__, "::FFFF:255.255.255.255",
		  "\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff" },
		{ __LINE__, "64:ff9b::192.0.2.33", "\0\x64\xff\x9b\0\0\0\0\0\0\0\0\300\0\2\41" },
		{ __LINE__, "1:2:3:4:5:6:7.8.9.10", "\0\1\0\2\0\3\0\4\0\5\0\6\7\10\11\12" },
		{ __LINE__, "0:0:0:0:0:ffff:0.0.0.0", "\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0\0\0" },
		{ __LINE__, "1:2:3:4:5::7.8.9.10", "\0\1\0\2\0\3\0\4\0\5\0\0\7\10\11\12" },
		{ __LINE__, "::2:3:4:5:6:7.8.9.10", "\0\0\0\2\0\3\0\4\0\5\0\6\7\10\11\12" },
		{ __LINE__, "1::6:7.8.9.10", "\0\1\0\0\0\0\0\0\0\0\0\6\7\10\11\12" },
		NONE("1.2.3.4::"), NONE("1.2.3.4:5:6:7:8:9:a"), NONE("::1.2.3.4:5"),
		NONE("1:2:3:4:5:6.7.8.9:8"), NONE("::1.2.3.4:"), NONE("::1.2.3.4::"),
		NONE("1.2.3.4::5"), NONE("::1.2.3.4:5.6.7.8"), NONE("1:2:3:4:5:6:7:1.2.3.4"),
		NONE("1:2:3:4:5:6:7:8:1.2.3.4"), NONE("1:2:3:4:5:1.2.3.4"),
		NONE("1:2:3:4:5:6::7.8.9.10"), NONE("::1:2:3:4:5:6:7.8.9.10"),
		NONE("1:2:3:4:5:6:7::1.2.3.4"), NONE("1:1.2.3.4"), NONE(":1.2.3.4"),
		NONE(":::1.2.3.4"), NONE("::1::1.2.3.4"), NONE("1.2.3.4"), NONE("::1.2.3"),
		NONE("::1.2.3."), NONE("::1.2.3.4.5"), NONE("::1.2.3.4."), NONE("::1..3.4"),
		NONE("::.1.2.3"), NONE("::1."), NONE("::."), NONE("::256.2.3.4"),
		NONE("::1.2.3.256"), NONE("::1.2.3.0x4"), NONE("::a.2.3.4"), NONE("::1.2.3.a"),
		NONE("::ffff:01.2.3.4"), NONE("::1.2.3.1000"), NONE("::ffff.2.3.4"),
		NONE("::1.2.3.4%1"), NONE("::ffff:1.2.3.4/32"),
	};

	expect_texts(texts, COUNT(texts), AF_INET6);
}

/* PROXY spec 2.1: "exactly one space". */
static void test_v1_spaces(void)
{
	static const struct bad bad[] = {
		{ BYTES(" PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_ENOTPROXY, 1 },
		{ BYTES("PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 7 },
		LINE_OF("PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8  1 2\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1  2\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP6  1::2 3::4 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP6 1::2  3::4 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", ANY),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\t\r\n", ANY),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", ANY),
		LINE_OF("PROXY TCP6 1::2 3::4 1 2 \r\n", ANY),
		{ BYTES("PROXY\tTCP4 1.2.3.4 5.6.7.8 1 2\r\n"), ANY, 6 },
		{ BYTES("PROXY TCP4\t1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 11 },
		LINE_OF("PROXY TCP4 1.2.3.4\t5.6.7.8 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8\t1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1\t2\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP4 \t1.2.3.4 5.6.7.8 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 \v1 2\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP4 1.2.3.4\xa0" "5.6.7.8 1 2\r\n", PROXYHDR_EADDRESS),
		/* What ends too early. */
		{ BYTES("PROXY\r\n"), ANY, 6 },
		{ BYTES("PROXY \r\n"), ANY, 7 },
		{ BYTES("PROXY TCP4\r\n"), ANY, 11 },
		LINE_OF("PROXY TCP4 \r\n", ANY), LINE_OF("PROXY TCP4 1.2.3.4\r\n", ANY),
		LINE_OF("PROXY TCP4 1.2.3.4 \r\n", ANY),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8\r\n", ANY),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 \r\n", ANY),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", ANY),
		LINE_OF("PROXY TCP6 1::2 3::4 1\r\n", ANY), LINE_OF("PROXY TCP4     \r\n", ANY),
	};

	expect_all_bad(bad, COUNT(bad));
}

static void test_v1_keywords(void)
{
	static const struct bad bad[] = {
		{ BYTES("proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_ENOTPROXY, 1 },
		{ BYTES("Proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_ENOTPROXY, 2 },
		{ BYTES("PROXy TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_ENOTPROXY, 5 },
		{ BYTES("PROXX TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_ENOTPROXY, 5 },
		{ BYTES("PROXYTCP4 1.2.3.4 5.6.7.8 1 2\r\n"), ANY, 6 },
		{ BYTES("PROXY2 TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), ANY, 6 },
		{ BYTES("PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 7 },
		{ BYTES("PROXY tcp6 ::1 ::2 1 2\r\n"), PROXYHDR_EPROTOCOL, 7 },
		{ BYTES("PROXY TcP4 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 8 },
		{ BYTES("PROXY TCp6 ::1 ::2 1 2\r\n"), PROXYHDR_EPROTOCOL, 9 },
		{ BYTES("PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 10 },
		{ BYTES("PROXY TCP 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 10 },
		{ BYTES("PROXY TCP46 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 11 },
		{ BYTES("PROXY TCP41.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 11 },
		{ BYTES("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 8 },
		{ BYTES("PROXY UNIX /a /b 1 2\r\n"), PROXYHDR_EPROTOCOL, 9 },
		{ BYTES("PROXY HTTP\r\n"), PROXYHDR_EPROTOCOL, 7 },
		{ BYTES("PROXY unknown\r\n"), PROXYHDR_EPROTOCOL, 7 },
		{ BYTES("PROXY Unknown\r\n"), PROXYHDR_EPROTOCOL, 8 },
		{ BYTES("PROXY UNKNOWn\r\n"), PROXYHDR_EPROTOCOL, 13 },
		{ BYTES("PROXY UNKNOW\r\n"), PROXYHDR_EPROTOCOL, 13 },
		{ BYTES("PROXY UNKNOWNX\r\n"), PROXYHDR_EPROTOCOL, 14 },
		{ BYTES("PROXY UNKNOWNX 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 14 },
		{ BYTES("PROXY UNKNOWN\t\r\n"), PROXYHDR_EPROTOCOL, 14 },
		{ BYTES("PROXY UNKNOWN\0\r\n"), PROXYHDR_EPROTOCOL, 14 },
	};

	expect_all_bad(bad, COUNT(bad));
}

/* "PROXY TCP4 ..." with a piece put in before byte `at`. Refused when the piece
 * and one byte behind it are there. */
static void expect_bad_inside(const char *piece, size_t at)
{
	static const char whole[] = "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n";
	char line[64];
	struct bad bad = { __LINE__, line, 0, ANY, at + strlen(piece) };

	bad.len = (size_t)sprintf(line, "%.*s%s%s", (int)at, whole, piece, whole + at);
	expect_bad(&bad);
}

/* PROXY spec 2.1: "must not tolerate a single CR or LF character to end the line". */
static void test_v1_line_ends(void)
{
	static const struct good good[] = {
		{ BYTES("PROXY UNKNOWN \n\r\n"), V1_UNKNOWN },
		{ BYTES("PROXY UNKNOWN \r\r\n"), V1_UNKNOWN },
		{ BYTES("PROXY UNKNOWN a\rb\nc\n\rd\r\n"), V1_UNKNOWN },
		{ BYTES("PROXY UNKNOWN \r \n \r\r\r\n"), V1_UNKNOWN },
	};
	static const struct bad bad[] = {
		{ BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\nGET / HTTP/1.1\r\n"), PROXYHDR_ELINE, 31 },
		{ BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\r\n"), PROXYHDR_ELINE, 31 },
		{ BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\r"), PROXYHDR_ELINE, 31 },
		{ BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rGET / HTTP/1.1\r\n"), PROXYHDR_ELINE, 32 },
		{ BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n"), PROXYHDR_ELINE, 32 },
		{ BYTES("PROXY TCP6 1::2 3::4 1 2\nGET / HTTP/1.1\r\n"), PROXYHDR_ELINE, 25 },
		{ BYTES("PROXY TCP6 1::2 3::4 1 2\rGET / HTTP/1.1\r\n"), PROXYHDR_ELINE, 26 },
		{ BYTES("PROXY UNKNOWN\n"), ANY, 14 },
		{ BYTES("PROXY UNKNOWN\nGET / HTTP/1.1\r\n"), ANY, 14 },
		{ BYTES("PROXY UNKNOWN\rGET / HTTP/1.1\r\n"), ANY, 15 },
		{ BYTES("PROXY UNKNOWN\r\r\n"), ANY, 15 },
	};
	size_t end = strlen("PROXY TCP4 1.2.3.4 5.6.7.8 1 2");
	size_t at;

	expect_all_good(good, COUNT(good));
	expect_all_bad(bad, COUNT(bad));
	for (at = 1; at <= end; at++) {
		expect_bad_inside("\n", at);
		expect_bad_inside("\rx", at);
		expect_bad_inside("\r\r", at);
		if (at < end)
			expect_bad_inside("\r\n", at);
	}
}

static void test_v1_nul(void)
{
	static const struct good good[] = {
		{ BYTES("PROXY UNKNOWN \0\r\n"), V1_UNKNOWN },
		{ BYTES("PROXY UNKNOWN 1.2.3.4\0 5.6.7.8 1\0002\r\n"), V1_UNKNOWN },
	};
	static const struct bad bad[] = {
		{ BYTES("\0PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_ENOTPROXY, 1 },
		{ BYTES("PROXY\0TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), ANY, 6 },
		{ BYTES("PROXY TCP4\0 1.2.3.4 5.6.7.8 1 2\r\n"), PROXYHDR_EPROTOCOL, 11 },
		LINE_OF("PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 1.2.3.4\0.5 5.6.7.8 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 1.2.3\0.4 5.6.7.8 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 \0 5.6.7.8 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8\0 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1\0 2\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\0\r\n", ANY),
		LINE_OF("PROXY TCP4 1.2.3.4 5.6.7.8 1 \0002\r\n", PROXYHDR_EPORT),
		LINE_OF("PROXY TCP6 1::2\0 3::4 1 2\r\n", PROXYHDR_EADDRESS),
		LINE_OF("PROXY TCP6 1::2 3::4\0 1 2\r\n", PROXYHDR_EADDRESS),
	};

	expect_all_good(good, COUNT(good));
	expect_all_bad(bad, COUNT(bad));
}

/* --- version 2, PROXY spec 2.2 --- */

#define SIGNATURE "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
#define V2(family, transport, src, dst, src_port, dst_port, tlvs) \
	2, PROXYHDR_PROXY, transport, family, src, dst, src_port, dst_port, tlvs
#define V2_UNSPEC(tlvs) 2, PROXYHDR_PROXY, PROXYHDR_UNSPEC, AF_UNSPEC, NULL, NULL, 0, 0, tlvs
#define V2_LOCAL(tlvs) 2, PROXYHDR_LOCAL, PROXYHDR_UNSPEC, AF_UNSPEC, NULL, NULL, 0, 0, tlvs

/* 192.0.2.1 port 56324 to 198.51.100.2 port 443, and the same in IPv6. */
#define SRC4 "\xc0\x00\x02\x01"
#define DST4 "\xc6\x33\x64\x02"
#define PORTS "\xdc\x04\x01\xbb"
#define BLOCK4 SRC4 DST4 PORTS
#define SRC6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define DST6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2"
#define BLOCK6 SRC6 DST6 PORTS

/* A header over TCP, IPv4, up to its TLVs: length_hi, length_lo, addresses. */
#define TCP4(length) SIGNATURE "\x21\x11" length BLOCK4
#define IS_TCP4(tlvs) V2(AF_INET, PROXYHDR_STREAM, SRC4, DST4, 56324, 443, tlvs)
#define IS_UDP4(tlvs) V2(AF_INET, PROXYHDR_DGRAM, SRC4, DST4, 56324, 443, tlvs)
#define IS_TCP6(tlvs) V2(AF_INET6, PROXYHDR_STREAM, SRC6, DST6, 56324, 443, tlvs)
#define IS_UDP6(tlvs) V2(AF_INET6, PROXYHDR_DGRAM, SRC6, DST6, 56324, 443, tlvs)

static const char tcp4[] = TCP4("\x00\x0c");

/* PROXY spec 2.2: 16 bytes and twice 108, or any 16-bit length. */
static_assert(PROXYHDR_BUILD_MAX == 16 + 108 + 108, "PROXY spec 2.2");
static_assert(PROXYHDR_MAX == 65551, "PROXY spec 2.2");
static_assert(PROXYHDR_UNIQUE_ID_MAX == 128, "PROXY spec 2.2.5");
static_assert(PROXYHDR_ALPN == 0x01 && PROXYHDR_AUTHORITY == 0x02 && PROXYHDR_CRC32C == 0x03 &&
              PROXYHDR_NOOP == 0x04 && PROXYHDR_UNIQUE_ID == 0x05 && PROXYHDR_SSL == 0x20 &&
              PROXYHDR_NETNS == 0x30, "PROXY spec 2.2");
static_assert(PROXYHDR_CLIENT_SSL == 0x01 && PROXYHDR_CLIENT_CERT_CONN == 0x02 &&
              PROXYHDR_CLIENT_CERT_SESS == 0x04, "PROXY spec 2.2.6");

static void test_first_bytes(void)
{
	static const struct bad bad[] = {
		{ BYTES("GET / HTTP/1.1\r\n"), PROXYHDR_ENOTPROXY, 1 },
		{ BYTES("POST / HTTP/1.1\r\n"), PROXYHDR_ENOTPROXY, 2 },
		{ BYTES("SSH-2.0-x\r\n"), PROXYHDR_ENOTPROXY, 1 },
		{ BYTES("\x16\x03\x01\x02\x00\x01\x00"), PROXYHDR_ENOTPROXY, 1 },
		{ BYTES("\0"), PROXYHDR_ENOTPROXY, 1 },
		{ BYTES("\n"), PROXYHDR_ENOTPROXY, 1 },
		{ BYTES("\r\nPROXY UNKNOWN\r\n"), PROXYHDR_ENOTPROXY, 3 },
		{ BYTES("\r\n\r\n\r\n"), PROXYHDR_ENOTPROXY, 5 },
		{ BYTES("\r\n\r\n\0\r\nQUIT\r\n"), PROXYHDR_ENOTPROXY, 12 },
		{ BYTES("P\r\n\r\n\0\r\nQUIT\n"), PROXYHDR_ENOTPROXY, 2 },
	};
	char header[sizeof(tcp4) - 1];
	struct bad changed = { __LINE__, header, sizeof(header), PROXYHDR_ENOTPROXY, 0 };
	int bit;

	expect_all_bad(bad, COUNT(bad));
	for (changed.by = 1; changed.by <= 12; changed.by++)
		for (bit = 0; bit < 8; bit++) {
			memcpy(header, tcp4, sizeof(header));
			header[changed.by - 1] = (char)(header[changed.by - 1] ^ (1 << bit));
			expect_bad(&changed);
		}
}

/* The 13th byte: the version above, the command below. */
static void test_v2_versions(void)
{
	char header[sizeof(tcp4) - 1];
	struct bad bad = { __LINE__, header, sizeof(header), PROXYHDR_EVERSION, 13 };
	int version, command;

	memcpy(header, tcp4, sizeof(header));
	for (version = 0; version < 16; version++)
		for (command = 0; command < 16; command++) {
			if (version == 2)
				continue;
			header[12] = (char)(version << 4 | command);
			bad.reason = command < 2 ? PROXYHDR_EVERSION : ANY;
			expect_bad(&bad);
		}
}

static void test_v2_commands(void)
{
	static const struct good proxy = { BYTES(TCP4("\x00\x0c")), IS_TCP4(28) };
	static const struct good local = {
		BYTES(SIGNATURE "\x20\x11\x00\x0c" BLOCK4), V2_LOCAL(UNSAID)
	};
	char header[sizeof(tcp4) - 1];
	struct bad bad = { __LINE__, header, sizeof(header), PROXYHDR_ECOMMAND, 13 };
	int command;

	expect_good(&local);
	expect_good(&proxy);
	memcpy(header, tcp4, sizeof(header));
	for (command = 2; command < 16; command++) {
		header[12] = (char)(0x20 | command);
		expect_bad(&bad);
	}
}

/* 216 bytes of zeros: enough for every family, and TLVs behind the shorter ones. */
#define ZEROS216 BYTES16("\0\0\0\0\0\0\0\0\0\0\0\0") BYTES4("\0\0\0\0\0\0")

/* The 14th byte, whose upper half is the family and whose lower half the transport. */
static void expect_byte_14(const char header[232], int family, int transport)
{
	static const struct { int family, tlvs; } families[] = {
		{ AF_UNSPEC, 16 }, { AF_INET, 28 }, { AF_INET6, 52 }, { AF_UNIX, 0 }
	};
	static const int transports[] = { PROXYHDR_UNSPEC, PROXYHDR_STREAM, PROXYHDR_DGRAM };
	static const char zeros[108];
	struct good good = { __LINE__, header, 232, V2(0, 0, zeros, zeros, 0, 0, UNSAID) };
	struct bad bad = { __LINE__, header, 232, ANY, 14 };

	if (family > 3 || transport > 2) {
		if (transport <= 2)
			bad.reason = PROXYHDR_EFAMILY;
		else if (family <= 3)
			bad.reason = PROXYHDR_ETRANSPORT;
		expect_bad(&bad);
		return;
	}
	if (family == 0 || transport != 0)
		good.tlvs = families[family].tlvs;
	if (family != 0 && transport != 0) {
		good.family = families[family].family;
		good.transport = transports[transport];
	}
	expect_good(&good);
}

static void test_v2_byte_14_of_proxy(void)
{
	char header[] = SIGNATURE "\x21\x00\x00\xd8" ZEROS216;
	int byte;

	static_assert(sizeof(header) - 1 == 232, "as long as a UNIX header");
	for (byte = 0; byte < 256; byte++) {
		header[13] = (char)byte;
		expect_byte_14(header, byte >> 4, byte & 15);
	}
}

/* PROXY spec 2.2: "discard the protocol block including the family which is ignored". */
static void test_v2_byte_14_of_local(void)
{
	char header[] = SIGNATURE "\x20\x00\x00\x0c" BLOCK4;
	struct good good = { BYTES(header), V2_LOCAL(UNSAID) };
	int byte;

	for (byte = 0; byte < 256; byte++) {
		header[13] = (char)byte;
		expect_good(&good);
	}
}

#define PATH_A BYTES16("aaaaaa") "aaaaaaaaaaaa"
#define PATH_B BYTES16("bbbbbb") "bbbbbbbbbbbb"

static void test_v2_forms(void)
{
	static const struct good good[] = {
		{ BYTES(SIGNATURE "\x21\x11\x00\x0c" BLOCK4), IS_TCP4(28) },
		{ BYTES(SIGNATURE "\x21\x12\x00\x0c" BLOCK4), IS_UDP4(28) },
		{ BYTES(SIGNATURE "\x21\x21\x00\x24" BLOCK6), IS_TCP6(52) },
		{ BYTES(SIGNATURE "\x21\x22\x00\x24" BLOCK6), IS_UDP6(52) },
		{ BYTES(SIGNATURE "\x21\x31\x00\xd8" PATH_A PATH_B),
		  V2(AF_UNIX, PROXYHDR_STREAM, PATH_A, PATH_B, 0, 0, 0) },
		{ BYTES(SIGNATURE "\x21\x00\x00\x00"), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x20\x00\x00\x00"), V2_LOCAL(0) },
		{ BYTES(SIGNATURE "\x21\x11\x00\x0c" "\0\0\0\0" "\xff\xff\xff\xff" "\0\0"
		        "\xff\xff"),
		  V2(AF_INET, PROXYHDR_STREAM, "\0\0\0\0", "\xff\xff\xff\xff", 0, 65535, 0) },
		{ BYTES(SIGNATURE "\x21\x21\x00\x24" "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20"
		        "\21\22\23\24\25\26\27\30\31\32\33\34\35\36\37\40" "\41\42" "\43\44"),
		  V2(AF_INET6, PROXYHDR_STREAM, "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20",
		     "\21\22\23\24\25\26\27\30\31\32\33\34\35\36\37\40", 0x2122, 0x2324, 0) },
		/* Behind the addresses, TLVs. */
		{ BYTES(SIGNATURE "\x21\x11\x00\x14" BLOCK4 "\x02\x00\x05" "12345"), IS_TCP4(28) },
		{ BYTES(SIGNATURE "\x21\x12\x00\x0f" BLOCK4 "\x04\x00\x00"), IS_UDP4(28) },
		{ BYTES(SIGNATURE "\x21\x21\x00\x2b" BLOCK6 "\x05\x00\x01" "x" "\xe0\x00\x00"),
		  IS_TCP6(52) },
		{ BYTES(SIGNATURE "\x21\x22\x00\x29" BLOCK6 "\x01\x00\x02" "h2"), IS_UDP6(52) },
		{ BYTES(SIGNATURE "\x21\x31\x00\xdb" PATH_A PATH_B "\xff\x00\x00"),
		  V2(AF_UNIX, PROXYHDR_STREAM, PATH_A, PATH_B, 0, 0, 232) },
		/* 256 and 257: both bytes of the length count. */
		{ BYTES(TCP4("\x01\x00") "\x04\x00\xf1" ZEROS216 BYTES4("\0\0\0\0\0\0") "\0"),
		  IS_TCP4(28) },
		{ BYTES(TCP4("\x01\x01") "\x04\x00\xf2" ZEROS216 BYTES4("\0\0\0\0\0\0") "\0\0"),
		  IS_TCP4(28) },
	};

	expect_all_good(good, COUNT(good));
}

/* One byte short, or none at all. */
static void test_v2_too_short(void)
{
	static const struct bad bad[] = {
		{ BYTES(SIGNATURE "\x21\x11\x00\x0b" BLOCK4), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x12\x00\x0b" BLOCK4), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x21\x00\x23" BLOCK6), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x22\x00\x23" BLOCK6), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x31\x00\xd7" PATH_A PATH_B), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x32\x00\xd7" PATH_A PATH_B), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x11\x00\x00"), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x12\x00\x01"), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x21\x00\x00"), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x21\x00\x0c" BLOCK4), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x22\x00\x0c" BLOCK4), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x31\x00\x00"), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x31\x00\x24" BLOCK6), PROXYHDR_ELENGTH, 16 },
		{ BYTES(SIGNATURE "\x21\x32\x00\x6c" PATH_A), PROXYHDR_ELENGTH, 16 },
	};

	expect_all_bad(bad, COUNT(bad));
}

/* PROXY spec 2.2: "must not assume zero is presented for LOCAL connections". */
static void test_v2_local(void)
{
	static const struct good good[] = {
		{ BYTES(SIGNATURE "\x20\x00\x00\x00"), V2_LOCAL(0) },
		{ BYTES(SIGNATURE "\x20\x00\x00\x03" "\x04\x00\x00"), V2_LOCAL(16) },
		{ BYTES(SIGNATURE "\x20\x00\x00\x05" "\xff\xff\xff\xff\xff"), V2_LOCAL(0) },
		{ BYTES(SIGNATURE "\x20\x00\x00\x01" "\x04"), V2_LOCAL(0) },
		{ BYTES(SIGNATURE "\x20\x11\x00\x00"), V2_LOCAL(0) },
		{ BYTES(SIGNATURE "\x20\x11\x00\x03" "abc"), V2_LOCAL(UNSAID) },
		{ BYTES(SIGNATURE "\x20\x11\x00\x0c" BLOCK4), V2_LOCAL(UNSAID) },
		{ BYTES(SIGNATURE "\x20\x31\x00\x24" BLOCK6), V2_LOCAL(UNSAID) },
		{ BYTES(SIGNATURE "\x20\xff\x00\x05" "hello"), V2_LOCAL(UNSAID) },
		{ BYTES(SIGNATURE "\x20\xff\x00\x00"), V2_LOCAL(0) },
		{ BYTES(SIGNATURE "\x20\x47\x01\x00" ZEROS216
		        BYTES4("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
		  V2_LOCAL(UNSAID) },
	};

	expect_all_good(good, COUNT(good));
}

/* A block of which no family says what it is: TLVs if it can be, else nothing. */
static void test_v2_unspec(void)
{
	static const struct good good[] = {
		{ BYTES(SIGNATURE "\x21\x00\x00\x00"), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x00\x00\x03" "\x04\x00\x00"), V2_UNSPEC(16) },
		{ BYTES(SIGNATURE "\x21\x01\x00\x03" "\x04\x00\x00"), V2_UNSPEC(16) },
		{ BYTES(SIGNATURE "\x21\x02\x00\x03" "\x04\x00\x00"), V2_UNSPEC(16) },
		{ BYTES(SIGNATURE "\x21\x00\x00\x0b" "\x05\x00\x02" "id" "\x02\x00\x03" "a.b"),
		  V2_UNSPEC(16) },
		/* Cut at one and at two bytes, one byte over, one byte behind. */
		{ BYTES(SIGNATURE "\x21\x00\x00\x01" "\x04"), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x00\x00\x02" "\x04\x00"), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x00\x00\x04" "\x04\x00\x02" "x"), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x00\x00\x05" "\x04\x00\x01" "xx"), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x00\x00\x06" "\x04\x00\x00" "\x04\x00\x01"), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x00\x00\x0c" BLOCK4), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x01\x00\x24" BLOCK6), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x00\x00\xd8" PATH_A PATH_B), V2_UNSPEC(0) },
		/* Addresses of a transport that is not known: skipped. */
		{ BYTES(SIGNATURE "\x21\x10\x00\x0c" BLOCK4), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x20\x00\x24" BLOCK6), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x30\x00\xd8" PATH_A PATH_B), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x21\x10\x00\x0f" BLOCK4 "\x04\x00\x00"), V2_UNSPEC(UNSAID) },
	};

	expect_all_good(good, COUNT(good));
}

#define NULS100 BYTES16("\0\0\0\0\0\0") "\0\0\0\0"
#define EMPTY NULS100 "\0\0\0\0\0\0\0\0"

static void test_v2_unix(void)
{
	static const struct good good[] = {
		{ BYTES(SIGNATURE "\x21\x31\x00\xd8" "/run/abc" NULS100 "\0program" NULS100),
		  V2(AF_UNIX, PROXYHDR_STREAM, "/run/abc" NULS100, "\0program" NULS100, 0, 0, 0) },
		/* All of it, and no NUL to end it. */
		{ BYTES(SIGNATURE "\x21\x31\x00\xd8" PATH_A PATH_B),
		  V2(AF_UNIX, PROXYHDR_STREAM, PATH_A, PATH_B, 0, 0, 0) },
		{ BYTES(SIGNATURE "\x21\x31\x00\xd8" EMPTY EMPTY),
		  V2(AF_UNIX, PROXYHDR_STREAM, EMPTY, EMPTY, 0, 0, 0) },
		{ BYTES(SIGNATURE "\x21\x32\x00\xd8" EMPTY PATH_B),
		  V2(AF_UNIX, PROXYHDR_DGRAM, EMPTY, PATH_B, 0, 0, 0) },
		/* What is behind a NUL is part of an abstract name. */
		{ BYTES(SIGNATURE "\x21\x32\x00\xd8" "\0a\0b\0\0\0c" NULS100 "/a\0tail\0" NULS100),
		  V2(AF_UNIX, PROXYHDR_DGRAM, "\0a\0b\0\0\0c" NULS100, "/a\0tail\0" NULS100,
		     0, 0, 0) },
	};

	expect_all_good(good, COUNT(good));
}

/* PROXY spec 2.2: the header's length "is always exactly 16 + this value". */
static void test_v2_longest(void)
{
	static char header[PROXYHDR_MAX];
	struct good one = { __LINE__, header, sizeof(header), IS_TCP4(28) };
	struct good local = { __LINE__, header, sizeof(header), V2_LOCAL(0) };
	struct good unspec = { __LINE__, header, sizeof(header), V2_UNSPEC(0) };
	struct bad bad = { __LINE__, header, sizeof(header), PROXYHDR_ETLV, 0 };

	/* 12 bytes of addresses, then one TLV of 3 + 65520 = 0xfff0. */
	memset(header, 'x', sizeof(header));
	memcpy(header, TCP4("\xff\xff") "\x04\xff\xf0", 31);
	expect_good(&one);
	/* One byte over. */
	header[30] = '\xf1';
	expect_bad(&bad);
	/* Nothing in it reads as a TLV. */
	memcpy(header, SIGNATURE "\x20\x00\xff\xff" "\x04\xff\xff", 19);
	expect_good(&local);
	header[12] = '\x21';
	expect_good(&unspec);
}

/* --- TLVs, PROXY spec 2.2 --- */

static void test_tlv_bounds(void)
{
	static const struct good good[] = {
		{ BYTES(TCP4("\x00\x0f") "\x04\x00\x00"), IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x12") "\x04\x00\x00" "\x00\x00\x00"), IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x10") "\xff\x00\x01" "x"), IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x13") "\x04\x00\x01" "x" "\x04\x00\x00"), IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x13") "\x04\x00\x04" "\x04\xff\xff\xff"), IS_TCP4(28) },
	};
	static const struct bad bad[] = {
		{ BYTES(TCP4("\x00\x0d") "\x04"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x0e") "\x04\x00"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x0f") "\x04\x00\x01"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x10") "\x04\x00\x02" "x"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x10") "\x04\x01\x01" "x"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x10") "\x04\x00\x00" "\x04"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x11") "\x04\x00\x00" "\x04\x00"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x12") "\x04\x00\x00" "\x04\x00\x01"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x14") "\x04\x00\x00" "\x04\x00\x01" "xx"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x0f") "\x04\xff\xff"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x0f") "\x00\xff\x00"), PROXYHDR_ETLV, 0 },
		{ BYTES(SIGNATURE "\x21\x12\x00\x0d" BLOCK4 "\x04"), PROXYHDR_ETLV, 0 },
		{ BYTES(SIGNATURE "\x21\x21\x00\x26" BLOCK6 "\x04\x00"), PROXYHDR_ETLV, 0 },
		{ BYTES(SIGNATURE "\x21\x22\x00\x27" BLOCK6 "\x04\x00\x01"), PROXYHDR_ETLV, 0 },
		{ BYTES(SIGNATURE "\x21\x31\x00\xdb" PATH_A PATH_B "\x04\x00\x01"),
		  PROXYHDR_ETLV, 0 },
	};

	expect_all_good(good, COUNT(good));
	expect_all_bad(bad, COUNT(bad));
}

/* A TLV as it must be found, one after the other up to one with a line of 0. */
struct found {
	int line;
	unsigned type;
	const char *value;
	size_t len;
};

#define FOUND(type, value) { __LINE__, type, value, sizeof(value) - 1 }

/* The TLVs of all these bytes; returns the result that ended the walk. */
static int walk(const struct found *found, const unsigned char *tlvs, size_t len)
{
	struct proxyhdr_tlv tlv;
	size_t at = 0;
	int got;

	while ((got = proxyhdr_next_tlv(&tlv, tlvs + at, len - at)) > 0) {
		if (!found->line) {
			CHECK("TLVs", 0, got);
			break;
		}
		check_int(found->line, "length", (long long)found->len + 3, got);
		check_int(found->line, "type", found->type, tlv.type);
		check_bytes(found->line, "value", found->value, found->len, tlv.value, tlv.len);
		check_int(found->line, "place of the value", (long long)at + 3, tlv.value - tlvs);
		at += (size_t)got;
		found++;
	}
	if (found->line)
		fail(found->line, "not found");
	return got;
}

static void expect_walk(int line, const char *bytes, size_t len, int end, const struct found *found)
{
	unsigned char *tlvs = exactly(bytes, len);

	check_int(line, "end of the walk", end, walk(found, tlvs, len));
	free(tlvs);
}

static void test_tlv_walk(void)
{
	static const struct found none[] = { { 0, 0, "", 0 } };
	static const struct found empty[] = { FOUND(4, ""), { 0, 0, "", 0 } };
	static const struct found all[] = {
		FOUND(0x00, "\0\1"), FOUND(0x04, ""), FOUND(0x02, "example.org"),
		FOUND(0xff, "\xff"), FOUND(0x05, "0123456789abcdef"), FOUND(0x05, ""),
		{ 0, 0, "", 0 }
	};

	expect_walk(BYTES(""), 0, none);
	expect_walk(BYTES("\x04"), PROXYHDR_ETLV, none);
	expect_walk(BYTES("\x04\x00"), PROXYHDR_ETLV, none);
	expect_walk(BYTES("\x04\x00\x01"), PROXYHDR_ETLV, none);
	expect_walk(BYTES("\x04\x01\x00" "x"), PROXYHDR_ETLV, none);
	expect_walk(BYTES("\x04\xff\xff"), PROXYHDR_ETLV, none);
	expect_walk(BYTES("\x04\x00\x00"), 0, empty);
	expect_walk(BYTES("\x04\x00\x00" "\x04"), PROXYHDR_ETLV, empty);
	expect_walk(BYTES("\x04\x00\x00" "\x04\x00"), PROXYHDR_ETLV, empty);
	expect_walk(BYTES("\x04\x00\x00" "\x04\x00\x02" "x"), PROXYHDR_ETLV, empty);
	expect_walk(BYTES("\x00\x00\x02" "\0\1" "\x04\x00\x00" "\x02\x00\x0b" "example.org"
	                  "\xff\x00\x01" "\xff"
	                  "\x05\x00\x10" "0123456789abcdef" "\x05\x00\x00"), 0, all);
}

/* 3 + 256, and the longest that there is. */
static void test_tlv_long(void)
{
	static unsigned char bytes[3 + 65535];
	static const struct { int line; size_t len; unsigned char hi, lo; } rows[] = {
		{ __LINE__, 255, 0x00, 0xff }, { __LINE__, 256, 0x01, 0x00 },
		{ __LINE__, 32768, 0x80, 0x00 }, { __LINE__, 65535, 0xff, 0xff },
	};
	struct proxyhdr_tlv tlv;
	unsigned char *block;
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		bytes[1] = rows[i].hi;
		bytes[2] = rows[i].lo;
		block = exactly(bytes, 3 + rows[i].len);
		check_int(rows[i].line, "whole", 3 + (long long)rows[i].len,
		          proxyhdr_next_tlv(&tlv, block, 3 + rows[i].len));
		check_int(rows[i].line, "len", (long long)rows[i].len, (long long)tlv.len);
		free(block);
		block = exactly(bytes, 2 + rows[i].len);
		check_int(rows[i].line, "cut", PROXYHDR_ETLV,
		          proxyhdr_next_tlv(&tlv, block, 2 + rows[i].len));
		free(block);
	}
}

/* PROXY spec 2.2.6: bits, 4 bytes of verify, then TLVs. 5 + 119 = 0x7c bytes. */
#define SSL_SUBS \
	"\x21\x00\x07" "TLSv1.3" "\x22\x00\x0b" "example.com" \
	"\x23\x00\x1b" "ECDHE-RSA-AES128-GCM-SHA256" "\x24\x00\x0a" "RSA-SHA256" \
	"\x25\x00\x07" "RSA2048" "\x26\x00\x09" "secp256r1" \
	"\x27\x00\x13" "rsa_pss_rsae_sha256" "\x28\x00\x05" "\x30\x03\x02\x01\x05"
#define SSL_VALUE "\x07" "\0\0\0\1" SSL_SUBS

static void test_tlv_ssl(void)
{
	static const struct good good = {
		BYTES(TCP4("\x00\x97") "\x01\x00\x02" "h2" "\x20\x00\x7c" SSL_VALUE "\x30\x00\x04"
		      "blue"),
		IS_TCP4(28)
	};
	static const struct found outer[] = {
		FOUND(PROXYHDR_ALPN, "h2"), FOUND(PROXYHDR_SSL, SSL_VALUE),
		FOUND(PROXYHDR_NETNS, "blue"),
		{ 0, 0, "", 0 }
	};
	static const struct found inner[] = {
		FOUND(PROXYHDR_SSL_VERSION, "TLSv1.3"), FOUND(PROXYHDR_SSL_CN, "example.com"),
		FOUND(PROXYHDR_SSL_CIPHER, "ECDHE-RSA-AES128-GCM-SHA256"),
		FOUND(PROXYHDR_SSL_SIG_ALG, "RSA-SHA256"),
		FOUND(PROXYHDR_SSL_KEY_ALG, "RSA2048"), FOUND(PROXYHDR_SSL_GROUP, "secp256r1"),
		FOUND(PROXYHDR_SSL_SIG_SCHEME, "rsa_pss_rsae_sha256"),
		FOUND(PROXYHDR_SSL_CLIENT_CERT, "\x30\x03\x02\x01\x05"),
		{ 0, 0, "", 0 }
	};
	unsigned char *block = exactly(good.bytes, good.len);
	struct proxyhdr_tlv ssl = { 0, NULL, 0 };
	struct proxyhdr hdr;

	expect_good(&good);
	if (CHECK("length", good.len, proxyhdr_parse(&hdr, block, good.len))) {
		CHECK("end of the walk", 0, walk(outer, hdr.tlvs, hdr.tlvs_len));
		CHECK("length", 3 + 0x7c, proxyhdr_next_tlv(&ssl, hdr.tlvs + 5, hdr.tlvs_len - 5));
		CHECK("end of the inner walk", 0, walk(inner, ssl.value + 5, ssl.len - 5));
		/* Cut short, they do not run on into what is behind. */
		CHECK("cut", PROXYHDR_ETLV, proxyhdr_next_tlv(&ssl, ssl.value + 5, 9));
	}
	free(block);
}

/* Its bits and verify are there, or a walk of what is behind them would begin outside. */
static void test_tlv_ssl_short(void)
{
	static const struct good good[] = {
		{ BYTES(TCP4("\x00\x14") "\x20\x00\x05" "\x01" "\0\0\0\1"), IS_TCP4(28) },
		/* what is inside runs past its end, into the next: for who walks it */
		{ BYTES(TCP4("\x00\x1a") "\x20\x00\x08" "\x01" "\0\0\0\1" "\x21\x00\x01"
		        "\x04\x00\x00"), IS_TCP4(28) },
		/* of other types it may be short */
		{ BYTES(TCP4("\x00\x0f") "\x21\x00\x00"), IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x10") "\xe0\x00\x01" "x"), IS_TCP4(28) },
	};
	static const struct bad bad[] = {
		{ BYTES(TCP4("\x00\x0f") "\x20\x00\x00"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x10") "\x20\x00\x01" "\x01"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x13") "\x20\x00\x04" "\x01" "\0\0\0"), PROXYHDR_ETLV, 0 },
		{ BYTES(TCP4("\x00\x1a") "\x20\x00\x05" "\x01" "\0\0\0\1" "\x20\x00\x03" "\x01" "\0\0"),
		  PROXYHDR_ETLV, 0 },
		{ BYTES(SIGNATURE "\x21\x00\x00\x03" "\x20\x00\x00"), PROXYHDR_ETLV, 0 },
		{ BYTES(SIGNATURE "\x20\x00\x00\x07" "\x20\x00\x04" "\0\0\0\0"), PROXYHDR_ETLV, 0 },
	};
	unsigned char *block = exactly(good[1].bytes, good[1].len);
	struct proxyhdr_tlv ssl = { 0, NULL, 0 }, inner;
	struct proxyhdr hdr;

	expect_all_good(good, COUNT(good));
	expect_all_bad(bad, COUNT(bad));
	if (CHECK("length", good[1].len, proxyhdr_parse(&hdr, block, good[1].len)) &&
	    CHECK("ssl", 11, proxyhdr_next_tlv(&ssl, hdr.tlvs, hdr.tlvs_len)))
		CHECK("past its end", PROXYHDR_ETLV,
		      proxyhdr_next_tlv(&inner, ssl.value + 5, ssl.len - 5));
	free(block);
}

/* PROXY spec 2.2.3. The sums are those of another program, bit by bit after
 * RFC 4960, appendix B, which gives E3069283 for "123456789". */
static void test_crc32c(void)
{
	static const struct good good[] = {
		/* Nothing but the checksum. */
		{ BYTES(SIGNATURE "\x20\x00\x00\x07" "\x03\x00\x04" "\xa9\xb8\x7e\x8f"),
		  V2_LOCAL(16) },
		{ BYTES(SIGNATURE "\x21\x00\x00\x07" "\x03\x00\x04" "\x3e\xc9\x89\x4e"),
		  V2_UNSPEC(16) },
		{ BYTES(SIGNATURE "\x21\x01\x00\x07" "\x03\x00\x04" "\xf5\x9f\xf2\xeb"),
		  V2_UNSPEC(16) },
		{ BYTES(TCP4("\x00\x13") "\x03\x00\x04" "\x20\xec\x95\x49"), IS_TCP4(28) },
		{ BYTES(SIGNATURE "\x21\x12\x00\x13" BLOCK4 "\x03\x00\x04" "\xc4\xd2\xa6\x95"),
		  IS_UDP4(28) },
		{ BYTES(SIGNATURE "\x21\x21\x00\x2b" BLOCK6 "\x03\x00\x04" "\x95\xb3\x79\x3a"),
		  IS_TCP6(52) },
		/* First, last, and between others: it covers them all. */
		{ BYTES(TCP4("\x00\x16") "\x03\x00\x04" "\x34\xe2\xf8\x12" "\x04\x00\x00"),
		  IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x21") "\x02\x00\x0b" "example.org" "\x03\x00\x04"
		        "\x05\xd9\x87\x9d"), IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x1f") "\x04\x00\x09" "123456789" "\x03\x00\x04"
		        "\x84\x7b\x02\x7d"), IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x26") "\x02\x00\x0b" "example.org" "\x03\x00\x04"
		        "\x57\x6d\x52\xe1"
		        "\x01\x00\x02" "h2"), IS_TCP4(28) },
		/* Inside another TLV it is not one. */
		{ BYTES(TCP4("\x00\x22") "\x20\x00\x0c" "\x01\0\0\0\0" "\x03\x00\x04" "abcd"
		        "\x03\x00\x04" "\xfa\x0e\xaf\x9e"), IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x16") "\x04\x00\x07" "\x03\x00\x04" "abcd"), IS_TCP4(28) },
	};
	static const struct bad bad[] = {
		LINE_OF(SIGNATURE "\x20\x00\x00\x07" "\x03\x00\x04" "\xa9\xb8\x7e\x8e",
		        PROXYHDR_ECRC32C),
		LINE_OF(SIGNATURE "\x21\x00\x00\x07" "\x03\x00\x04" "\0\0\0\0", PROXYHDR_ECRC32C),
		LINE_OF(TCP4("\x00\x13") "\x03\x00\x04" "\0\0\0\0", PROXYHDR_ECRC32C),
		LINE_OF(TCP4("\x00\x13") "\x03\x00\x04" "\xff\xff\xff\xff", PROXYHDR_ECRC32C),
		/* The other byte order, and that of another header. */
		LINE_OF(TCP4("\x00\x13") "\x03\x00\x04" "\x49\x95\xec\x20", PROXYHDR_ECRC32C),
		LINE_OF(TCP4("\x00\x13") "\x03\x00\x04" "\xc4\xd2\xa6\x95", PROXYHDR_ECRC32C),
		/* Not of 4 bytes, whatever is in it. */
		LINE_OF(TCP4("\x00\x0f") "\x03\x00\x00", PROXYHDR_ECRC32C),
		LINE_OF(TCP4("\x00\x12") "\x03\x00\x03" "\x20\xec\x95", PROXYHDR_ECRC32C),
		LINE_OF(TCP4("\x00\x12") "\x03\x00\x03" "\xa7\x9d\x7a", PROXYHDR_ECRC32C),
		LINE_OF(TCP4("\x00\x14") "\x03\x00\x05" "\xa7\x93\x63\x2e\0", PROXYHDR_ECRC32C),
		LINE_OF(TCP4("\x00\x14") "\x03\x00\x05" "\x20\xec\x95\x49\0", PROXYHDR_ECRC32C),
		/* Twice: both right, each with the other as it is; the first one
		 * or the second one right; neither. */
		LINE_OF(TCP4("\x00\x1a") "\x03\x00\x04" "\x32\x1f\x3a\x58" "\x03\x00\x04"
		        "\x41\x71\x5b\x27", PROXYHDR_ECRC32C),
		LINE_OF(TCP4("\x00\x1a") "\x03\x00\x04" "\x2a\x68\xed\xaf" "\x03\x00\x04"
		        "\0\0\0\0", PROXYHDR_ECRC32C),
		LINE_OF(TCP4("\x00\x1a") "\x03\x00\x04" "\0\0\0\0" "\x03\x00\x04"
		        "\x2a\x68\xed\xaf", PROXYHDR_ECRC32C),
		LINE_OF(TCP4("\x00\x1a") "\x03\x00\x04" "\0\0\0\0" "\x03\x00\x04" "\0\0\0\0",
		        PROXYHDR_ECRC32C),
	};

	expect_all_good(good, COUNT(good));
	expect_all_bad(bad, COUNT(bad));
}

/* Any bit of a header that has its checksum. */
static void test_crc32c_bits(void)
{
	static const char with[] = TCP4("\x00\x21") "\x02\x00\x0b" "example.org"
		"\x03\x00\x04" "\x05\xd9\x87\x9d";
	char header[sizeof(with) - 1];
	struct bad bad = { __LINE__, header, sizeof(header), PROXYHDR_ECRC32C, 0 };
	size_t at;
	int bit;

	for (at = 16; at < sizeof(header); at++)
		for (bit = 0; bit < 8; bit++) {
			/* These would make other TLVs of it. */
			if ((at >= 28 && at <= 30) || (at >= 42 && at <= 44))
				continue;
			memcpy(header, with, sizeof(header));
			header[at] = (char)(header[at] ^ (1 << bit));
			expect_bad(&bad);
		}
}

/* CRC32c as RFC 4960, appendix B, describes it: bit by bit. */
static uint32_t crc32c_by_bits(const unsigned char *bytes, size_t len)
{
	uint32_t crc = 0xFFFFFFFF;
	size_t i;
	int bit;

	for (i = 0; i < len; i++) {
		crc ^= bytes[i];
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
	}
	return ~crc;
}

/* Of a type whose bits, should they not count, are missed. */
static size_t append_tlv(unsigned char *header, size_t at, size_t len)
{
	size_t i;

	header[at] = 0xFF;
	header[at + 1] = 0;
	header[at + 2] = (unsigned char)len;
	for (i = 0; i < len; i++)
		header[at + 3 + i] = (unsigned char)(0xA5 ^ (at + i) * 59);
	return at + 3 + len;
}

/* A checksum behind a TLV of `before` bytes, and before one of `behind` - 1 bytes if
 * that is not 0, read `shift` bytes from an aligned address. The last one is also
 * added there. */
static void check_sum_at(size_t before, size_t behind, size_t shift)
{
	unsigned char header[128] = SIGNATURE "\x21\x00\x00", *block, *copy;
	size_t len, field = append_tlv(header, 16, before) + 3;
	struct proxyhdr hdr;
	uint32_t sum;
	int i;

	memcpy(header + field - 3, "\x03\x00\x04\0\0\0", 7);
	len = behind == 0 ? field + 4 : append_tlv(header, field + 4, behind - 1);
	header[15] = (unsigned char)(len - 16);
	sum = crc32c_by_bits(header, len);
	for (i = 0; i < 4; i++)
		header[field + (size_t)i] = (unsigned char)(sum >> (24 - 8 * i));

	block = malloc(shift + len);
	if (!block)
		abort();
	copy = block + shift;
	memcpy(copy, header, len);
	check_int((int)before, "read", (long long)len, proxyhdr_parse(&hdr, copy, len));
	for (i = 0; i < 32; i++) {
		copy[field + (size_t)i / 8] ^= (unsigned char)(1 << i % 8);
		check_int((int)before, "bit", PROXYHDR_ECRC32C, proxyhdr_parse(&hdr, copy, len));
		copy[field + (size_t)i / 8] = header[field + (size_t)i / 8];
	}
	if (behind == 0) {
		memset(copy + field - 3, 0xff, 7);
		copy[15] = (unsigned char)(field - 3 - 16);
		check_int((int)before, "added", (long long)len, proxyhdr_add_crc32c(copy, len));
		check_bytes((int)before, "sum", header, len, copy, len);
	}
	free(block);
}

/* Wherever it begins and the header ends, by every number of bytes modulo 8. */
static void test_crc32c_places(void)
{
	size_t before, behind, shift;

	CHECK("of 123456789", 0xE3069283,
	      crc32c_by_bits((const unsigned char *)"123456789", 9));
	for (before = 0; before < 24; before++)
		for (behind = 0; behind < 24; behind++)
			for (shift = 0; shift < 8; shift++)
				check_sum_at(before, behind, shift);
}

#define ID100 BYTES16("idABid") "idAB"

static void test_unique_id(void)
{
	static const struct good good[] = {
		{ BYTES(TCP4("\x00\x0f") "\x05\x00\x00"), IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x8e") "\x05\x00\x7f" ID100 "123456789012345678901234567"),
		  IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x8f") "\x05\x00\x80" ID100 "1234567890123456789012345678"),
		  IS_TCP4(28) },
		{ BYTES(SIGNATURE "\x20\x00\x00\x83"
		        "\x05\x00\x80" ID100 "1234567890123456789012345678"), V2_LOCAL(16) },
		/* The limit is that of this type. */
		{ BYTES(TCP4("\x00\x90") "\x04\x00\x81" ID100 "12345678901234567890123456789"),
		  IS_TCP4(28) },
		{ BYTES(TCP4("\x00\x90") "\x02\x00\x81" ID100 "12345678901234567890123456789"),
		  IS_TCP4(28) },
	};
	static const struct bad bad[] = {
		LINE_OF(TCP4("\x00\x90") "\x05\x00\x81" ID100 "12345678901234567890123456789",
		        PROXYHDR_EUNIQUEID),
		LINE_OF(SIGNATURE "\x21\x21\x00\xa8" BLOCK6
		        "\x05\x00\x81" ID100 "12345678901234567890123456789",
		        PROXYHDR_EUNIQUEID),
		LINE_OF(SIGNATURE "\x21\x00\x00\x84"
		        "\x05\x00\x81" ID100 "12345678901234567890123456789",
		        PROXYHDR_EUNIQUEID),
		LINE_OF(TCP4("\x00\x94") "\x05\x00\x01" "x"
		        "\x05\x00\x81" ID100 "12345678901234567890123456789",
		        PROXYHDR_EUNIQUEID),
		LINE_OF(TCP4("\x01\x0f") "\x05\x01\x00" ZEROS216 BYTES4("1234567890"),
		        PROXYHDR_EUNIQUEID),
	};

	expect_all_good(good, COUNT(good));
	expect_all_bad(bad, COUNT(bad));
}

/* --- building --- */

static void set_addr(union proxyhdr_addr *addr, int family, const char *bytes, unsigned port)
{
	memset(addr, 0, sizeof(*addr));
	addr->sa.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		memcpy(&addr->in.sin_addr, bytes, 4);
		addr->in.sin_port = htons((uint16_t)port);
	} else if (family == AF_INET6) {
		memcpy(&addr->in6.sin6_addr, bytes, 16);
		addr->in6.sin6_port = htons((uint16_t)port);
	} else if (family == AF_UNIX) {
		memcpy(addr->un.sun_path, bytes, 108);
	}
}

/* The header that a row describes, other than by its bytes. */
static void set_hdr(struct proxyhdr *hdr, const struct good *row)
{
	memset(hdr, 0, sizeof(*hdr));
	hdr->version = row->version;
	hdr->command = (enum proxyhdr_command)row->command;
	hdr->transport = (enum proxyhdr_transport)row->transport;
	set_addr(&hdr->src, row->family, row->src, row->src_port);
	set_addr(&hdr->dst, row->family, row->dst, row->dst_port);
}

/* Builds into just so much space: `expected`, and nothing written on an error. */
static void expect_build(int line, const struct proxyhdr *hdr, size_t size, int expected,
                         const char *bytes)
{
	unsigned char *buf = malloc(size);
	unsigned char before[PROXYHDR_BUILD_MAX + 8];
	size_t written = expected > 0 ? (size_t)expected : 0;

	if (!buf && size > 0)
		abort();
	memset(before, 0xa5, sizeof(before));
	if (buf)
		memset(buf, 0xa5, size);
	if (check_int(line, "length", expected, proxyhdr_build(buf, size, hdr))) {
		check_bytes(line, "header", bytes, written, buf, written);
		check_bytes(line, "buffer behind it", before, size - written,
		            buf + written, size - written);
	}
	free(buf);
}

/* Builds what a row describes into every space up to 8 bytes too much. */
static void expect_built(const struct good *row)
{
	struct proxyhdr hdr;
	size_t size;

	set_hdr(&hdr, row);
	for (size = 0; size < row->len; size++)
		expect_build(row->line, &hdr, size, PROXYHDR_ESPACE, row->bytes);
	for (size = row->len; size <= row->len + 8; size++)
		expect_build(row->line, &hdr, size, (int)row->len, row->bytes);
}

static void expect_all_built(const struct good *rows, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		expect_built(&rows[i]);
}

static void test_build_v1(void)
{
	static const struct good rows[] = {
		{ BYTES("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
		  V1(AF_INET, "\300\250\0\1", "\300\250\0\13", 56324, 443) },
		{ BYTES("PROXY TCP4 0.0.0.0 9.10.99.100 0 9\r\n"),
		  V1(AF_INET, "\0\0\0\0", "\11\12\143\144", 0, 9) },
		{ BYTES("PROXY TCP4 101.200.1.0 1.2.3.4 10 9999\r\n"),
		  V1(AF_INET, "\145\310\1\0", "\1\2\3\4", 10, 9999) },
		{ BYTES("PROXY TCP4 101.200.1.0 1.2.3.4 999 1000\r\n"),
		  V1(AF_INET, "\145\310\1\0", "\1\2\3\4", 999, 1000) },
		{ BYTES(LONGEST4), V1(AF_INET, BYTES4("\377"), BYTES4("\377"), 65535, 65535) },
		{ BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"),
		  V1(AF_INET6, SRC6, DST6, 56324, 443) },
		{ BYTES("PROXY TCP6 :: ::1 0 10000\r\n"),
		  V1(AF_INET6, BYTES16("\0"), "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 0, 10000) },
		{ BYTES(LONGEST6), V1(AF_INET6, BYTES16("\377"), BYTES16("\377"), 65535, 65535) },
		{ BYTES("PROXY UNKNOWN\r\n"), V1_UNKNOWN },
	};

	expect_all_built(rows, COUNT(rows));
}

/* What version 1 has no words for. */
static void test_build_v1_unknown(void)
{
#define UNKNOWN_OF(command, transport, family, src, dst, src_port, dst_port) \
	{ BYTES("PROXY UNKNOWN\r\n"), \
	  1, command, transport, family, src, dst, src_port, dst_port, 0 }
	static const struct good rows[] = {
		UNKNOWN_OF(PROXYHDR_PROXY, PROXYHDR_DGRAM, AF_INET, SRC4, DST4, 56324, 443),
		UNKNOWN_OF(PROXYHDR_PROXY, PROXYHDR_DGRAM, AF_INET6, SRC6, DST6, 56324, 443),
		UNKNOWN_OF(PROXYHDR_PROXY, PROXYHDR_STREAM, AF_UNIX, PATH_A, PATH_B, 0, 0),
		UNKNOWN_OF(PROXYHDR_PROXY, PROXYHDR_DGRAM, AF_UNIX, PATH_A, PATH_B, 0, 0),
		UNKNOWN_OF(PROXYHDR_PROXY, PROXYHDR_UNSPEC, AF_UNSPEC, NULL, NULL, 0, 0),
		UNKNOWN_OF(PROXYHDR_LOCAL, PROXYHDR_UNSPEC, AF_UNSPEC, NULL, NULL, 0, 0),
		UNKNOWN_OF(PROXYHDR_LOCAL, PROXYHDR_STREAM, AF_INET, SRC4, DST4, 56324, 443),
		UNKNOWN_OF(PROXYHDR_LOCAL, PROXYHDR_STREAM, AF_INET6, SRC6, DST6, 56324, 443),
	};

	expect_all_built(rows, COUNT(rows));
}

static void test_build_v2(void)
{
	static const struct good rows[] = {
		{ BYTES(SIGNATURE "\x21\x11\x00\x0c" BLOCK4), IS_TCP4(0) },
		{ BYTES(SIGNATURE "\x21\x12\x00\x0c" BLOCK4), IS_UDP4(0) },
		{ BYTES(SIGNATURE "\x21\x21\x00\x24" BLOCK6), IS_TCP6(0) },
		{ BYTES(SIGNATURE "\x21\x22\x00\x24" BLOCK6), IS_UDP6(0) },
		{ BYTES(SIGNATURE "\x21\x11\x00\x0c" "\0\0\0\0" "\xff\xff\xff\xff" "\xff\xff"
		        "\0\0"),
		  V2(AF_INET, PROXYHDR_STREAM, "\0\0\0\0", "\xff\xff\xff\xff", 65535, 0, 0) },
		{ BYTES(SIGNATURE "\x21\x31\x00\xd8" PATH_A PATH_B),
		  V2(AF_UNIX, PROXYHDR_STREAM, PATH_A, PATH_B, 0, 0, 0) },
		{ BYTES(SIGNATURE "\x21\x32\x00\xd8" "/run/abc" NULS100 "\0program" NULS100),
		  V2(AF_UNIX, PROXYHDR_DGRAM, "/run/abc" NULS100, "\0program" NULS100, 0, 0, 0) },
		{ BYTES(SIGNATURE "\x21\x31\x00\xd8" EMPTY EMPTY),
		  V2(AF_UNIX, PROXYHDR_STREAM, EMPTY, EMPTY, 0, 0, 0) },
		{ BYTES(SIGNATURE "\x21\x00\x00\x00"), V2_UNSPEC(0) },
		{ BYTES(SIGNATURE "\x20\x00\x00\x00"), V2_LOCAL(0) },
	};

	expect_all_built(rows, COUNT(rows));
}

/* PROXY spec 2.2: with LOCAL a sender "should not present any address". */
static void test_build_local(void)
{
#define LOCAL_OF(transport, family, src, dst, src_port, dst_port) \
	{ BYTES(SIGNATURE "\x20\x00\x00\x00"), \
	  2, PROXYHDR_LOCAL, transport, family, src, dst, src_port, dst_port, 0 }
	static const struct good rows[] = {
		LOCAL_OF(PROXYHDR_UNSPEC, AF_UNSPEC, NULL, NULL, 0, 0),
		LOCAL_OF(PROXYHDR_STREAM, AF_INET, SRC4, DST4, 56324, 443),
		LOCAL_OF(PROXYHDR_STREAM, AF_INET6, SRC6, DST6, 56324, 443),
		LOCAL_OF(PROXYHDR_STREAM, AF_UNIX, PATH_A, PATH_B, 0, 0),
	};

	expect_all_built(rows, COUNT(rows));
}

/* RFC 5952, 4: the one text of each IPv6 address. */
static void test_build_ipv6_text(void)
{
	static const struct text texts[] = {
		{ __LINE__, "::", BYTES16("\0") },
		{ __LINE__, "::1", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1" },
		{ __LINE__, "1::", "\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0" },
		{ __LINE__, "1::8", "\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\10" },
		/* 4.1: no leading zeros; 4.3: lower case. */
		{ __LINE__, "1:20:300:4000:abcd:ef:fed:a",
		  "\0\1\0\x20\3\0\x40\0\xab\xcd\0\xef\x0f\xed\0\xa" },
		{ __LINE__, "1:2:3:4:5:6:7:8", "\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\10" },
		/* 4.2.1: as short as can be. */
		{ __LINE__, "2001:db8::2:1", "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\2\0\1" },
		{ __LINE__, "::7:8", "\0\0\0\0\0\0\0\0\0\0\0\0\0\7\0\10" },
		{ __LINE__, "1:2:3:4:5:6::", "\0\1\0\2\0\3\0\4\0\5\0\6\0\0\0\0" },
		{ __LINE__, "::3:4:5:6:7:8", "\0\0\0\0\0\3\0\4\0\5\0\6\0\7\0\10" },
		{ __LINE__, "1:2:3::6:7:8", "\0\1\0\2\0\3\0\0\0\0\0\6\0\7\0\10" },
		/* 4.2.2: not for just one group. */
		{ __LINE__, "2001:db8:0:1:1:1:1:1", "\x20\x01\x0d\xb8\0\0\0\1\0\1\0\1\0\1\0\1" },
		{ __LINE__, "0:2:3:4:5:6:7:8", "\0\0\0\2\0\3\0\4\0\5\0\6\0\7\0\10" },
		{ __LINE__, "1:2:3:4:5:6:7:0", "\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\0" },
		{ __LINE__, "0:2:0:4:0:6:0:8", "\0\0\0\2\0\0\0\4\0\0\0\6\0\0\0\10" },
		{ __LINE__, "1:0:3:0:5:0:7:0", "\0\1\0\0\0\3\0\0\0\5\0\0\0\7\0\0" },
		/* 4.2.3: the longest run, */
		{ __LINE__, "2001:0:0:1::1", "\x20\x01\0\0\0\0\0\1\0\0\0\0\0\0\0\1" },
		{ __LINE__, "1::5:0:0:8", "\0\1\0\0\0\0\0\0\0\5\0\0\0\0\0\10" },
		{ __LINE__, "0:0:3::", "\0\0\0\0\0\3\0\0\0\0\0\0\0\0\0\0" },
		{ __LINE__, "::6:0:0", "\0\0\0\0\0\0\0\0\0\0\0\6\0\0\0\0" },
		{ __LINE__, "0:2::5:0:7:0", "\0\0\0\2\0\0\0\0\0\5\0\0\0\7\0\0" },
		/* and the first one of equal runs. */
		{ __LINE__, "2001:db8::1:0:0:1", "\x20\x01\x0d\xb8\0\0\0\0\0\1\0\0\0\0\0\1" },
		{ __LINE__, "::3:0:0:6:7:8", "\0\0\0\0\0\3\0\0\0\0\0\6\0\7\0\10" },
		{ __LINE__, "1::4:5:6:0:0", "\0\1\0\0\0\0\0\4\0\5\0\6\0\0\0\0" },
		{ __LINE__, "::3:0:0:6:0:0", "\0\0\0\0\0\3\0\0\0\0\0\6\0\0\0\0" },
		{ __LINE__, "0:2::5:6:0:0", "\0\0\0\2\0\0\0\0\0\5\0\6\0\0\0\0" },
		/* Groups that have a zero byte are not zero. */
		{ __LINE__, "100::100", "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0" },
		{ __LINE__, "100:200:300:400:500:600:700:800",
		  "\1\0\2\0\3\0\4\0\5\0\6\0\7\0\10\0" },
		/* 5 has dotted decimal for known prefixes, PROXY spec 2.1 only
		 * hexadecimal digits: the latter is what every receiver reads. */
		{ __LINE__, "::ffff:102:304", "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4" },
		{ __LINE__, "::ffff:0:0", "\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0\0\0" },
		{ __LINE__, "::102:304", "\0\0\0\0\0\0\0\0\0\0\0\0\1\2\3\4" },
		{ __LINE__, "64:ff9b::c000:221", "\0\x64\xff\x9b\0\0\0\0\0\0\0\0\300\0\2\41" },
		{ __LINE__, FFFF, BYTES16("\377") },
	};
	char line[256];
	struct good row = { 0, line, 0, V1(AF_INET6, NULL, NULL, 1, 2) };
	size_t i;

	for (i = 0; i < COUNT(texts); i++) {
		row.line = texts[i].line;
		row.src = texts[i].bytes;
		row.dst = BYTES16("\0");
		row.len = print_line(line, AF_INET6, texts[i].text, "::");
		expect_built(&row);
		row.src = row.dst;
		row.dst = texts[i].bytes;
		row.len = print_line(line, AF_INET6, "::", texts[i].text);
		expect_built(&row);
	}
}

static void test_build_argument(void)
{
	static const struct {
		int line, version, transport, src, dst;
	} rows[] = {
		{ __LINE__, 0, PROXYHDR_STREAM, AF_INET, AF_INET },
		{ __LINE__, 3, PROXYHDR_STREAM, AF_INET, AF_INET },
		{ __LINE__, -1, PROXYHDR_STREAM, AF_INET, AF_INET },
		{ __LINE__, 0x21, PROXYHDR_STREAM, AF_INET, AF_INET },
		{ __LINE__, INT_MAX, PROXYHDR_STREAM, AF_INET6, AF_INET6 },
		{ __LINE__, INT_MIN, PROXYHDR_UNSPEC, AF_UNSPEC, AF_UNSPEC },
		{ __LINE__, 1, PROXYHDR_STREAM, AF_INET, AF_INET6 },
		{ __LINE__, 1, PROXYHDR_STREAM, AF_INET6, AF_INET },
		{ __LINE__, 2, PROXYHDR_STREAM, AF_INET, AF_INET6 },
		{ __LINE__, 2, PROXYHDR_STREAM, AF_INET6, AF_INET },
		{ __LINE__, 2, PROXYHDR_DGRAM, AF_INET, AF_INET6 },
		{ __LINE__, 2, PROXYHDR_STREAM, AF_UNIX, AF_INET },
		{ __LINE__, 2, PROXYHDR_STREAM, AF_INET6, AF_UNIX },
		{ __LINE__, 2, PROXYHDR_STREAM, AF_INET, AF_UNSPEC },
		{ __LINE__, 2, PROXYHDR_STREAM, AF_UNSPEC, AF_INET },
		{ __LINE__, 1, PROXYHDR_STREAM, AF_UNSPEC, AF_INET6 },
		{ __LINE__, 1, PROXYHDR_STREAM, 250, 250 },
		{ __LINE__, 2, PROXYHDR_STREAM, 250, 250 },
		{ __LINE__, 2, PROXYHDR_STREAM, 250, AF_INET },
		{ __LINE__, 2, PROXYHDR_UNSPEC, AF_INET, AF_INET },
		{ __LINE__, 2, PROXYHDR_UNSPEC, AF_INET6, AF_INET6 },
		{ __LINE__, 2, PROXYHDR_UNSPEC, AF_UNIX, AF_UNIX },
		{ __LINE__, 1, PROXYHDR_UNSPEC, AF_INET, AF_INET },
		{ __LINE__, 1, PROXYHDR_UNSPEC, AF_INET6, AF_INET6 },
	};
	struct proxyhdr hdr;
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		memset(&hdr, 0, sizeof(hdr));
		hdr.version = rows[i].version;
		hdr.command = PROXYHDR_PROXY;
		hdr.transport = (enum proxyhdr_transport)rows[i].transport;
		hdr.src.sa.sa_family = (sa_family_t)rows[i].src;
		hdr.dst.sa.sa_family = (sa_family_t)rows[i].dst;
		expect_build(rows[i].line, &hdr, PROXYHDR_BUILD_MAX, PROXYHDR_EARGUMENT, "");
	}
}

/* What is built reads as what it was built from. */
static void test_round_trip(void)
{
	static const struct good rows[] = {
		{ BYTES(""), V1(AF_INET, SRC4, DST4, 56324, 443) },
		{ BYTES(""), V1(AF_INET, BYTES4("\377"), BYTES4("\0"), 65535, 0) },
		{ BYTES(""), V1(AF_INET6, SRC6, DST6, 56324, 443) },
		{ BYTES(""), V1(AF_INET6, "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4",
		                "\0\1\0\0\0\0\0\4\0\5\0\6\0\0\0\0", 1, 2) },
		{ BYTES(""), V1_UNKNOWN },
		{ BYTES(""), IS_TCP4(0) }, { BYTES(""), IS_UDP4(0) },
		{ BYTES(""), IS_TCP6(0) }, { BYTES(""), IS_UDP6(0) },
		{ BYTES(""), V2(AF_UNIX, PROXYHDR_STREAM, PATH_A, PATH_B, 0, 0, 0) },
		{ BYTES(""), V2(AF_UNIX, PROXYHDR_DGRAM, "\0program" NULS100, EMPTY, 0, 0, 0) },
		{ BYTES(""), V2_UNSPEC(0) }, { BYTES(""), V2_LOCAL(0) },
	};
	char buf[PROXYHDR_BUILD_MAX];
	struct proxyhdr hdr;
	struct good row;
	size_t i;
	int got;

	for (i = 0; i < COUNT(rows); i++) {
		row = rows[i];
		set_hdr(&hdr, &row);
		got = proxyhdr_build(buf, sizeof(buf), &hdr);
		if (got <= 0) {
			fail(row.line, "expected a length, got %d", got);
			continue;
		}
		row.bytes = buf;
		row.len = (size_t)got;
		expect_good(&row);
	}
}

/* A header, and the same with one TLV more. */
struct added {
	int line;
	const char *before;
	size_t before_len;
	const char *after;
	size_t after_len;
	unsigned type;    /* of the TLV; of a checksum, PROXYHDR_CRC32C */
	const char *value;
	size_t value_len;
};

#define TWO(before, after) __LINE__, before, sizeof(before) - 1, after, sizeof(after) - 1
#define ADDED(before, after, type, value) { TWO(before, after), type, value, sizeof(value) - 1 }
#define SUMMED(before, after) { TWO(before, after), PROXYHDR_CRC32C, "", 0 }

static int add(const struct added *row, unsigned char *buf, size_t size, int sum)
{
	unsigned char *value;
	int got;

	if (sum)
		return proxyhdr_add_crc32c(buf, size);
	value = exactly(row->value, row->value_len);
	got = proxyhdr_add_tlv(buf, size, row->type, value, row->value_len);
	free(value);
	return got;
}

/* Into just so much space, the header being there. */
static void expect_add(const struct added *row, size_t size, int sum)
{
	int fits = size >= row->after_len;
	unsigned char *buf = malloc(size);
	unsigned char *expected = malloc(size);

	if (!buf || !expected)
		abort();
	memset(buf, 0xa5, size);
	memcpy(buf, row->before, row->before_len);
	memcpy(expected, buf, size);
	if (fits)
		memcpy(expected, row->after, row->after_len);
	check_int(row->line, "length", fits ? (long long)row->after_len : PROXYHDR_ESPACE,
	          add(row, buf, size, sum));
	check_bytes(row->line, "buffer", expected, size, buf, size);
	free(expected);
	free(buf);
}

static void expect_all_added(const struct added *rows, size_t count, int sum)
{
	size_t i, size;

	for (i = 0; i < count; i++)
		for (size = rows[i].before_len; size <= rows[i].after_len + 8; size++)
			expect_add(&rows[i], size, sum);
}

static void test_add_tlv(void)
{
	static const struct added rows[] = {
		ADDED(TCP4("\x00\x0c"), TCP4("\x00\x14") "\x02\x00\x05" "12345",
		      PROXYHDR_AUTHORITY, "12345"),
		ADDED(TCP4("\x00\x0c"), TCP4("\x00\x0f") "\x04\x00\x00", PROXYHDR_NOOP, ""),
		ADDED(TCP4("\x00\x0f") "\x04\x00\x00",
		      TCP4("\x00\x14") "\x04\x00\x00" "\x01\x00\x02" "h2",
		      PROXYHDR_ALPN, "h2"),
		ADDED(SIGNATURE "\x21\x22\x00\x24" BLOCK6,
		      SIGNATURE "\x21\x22\x00\x28" BLOCK6 "\xea\x00\x01" "\1",
		      0xea, "\1"),
		ADDED(SIGNATURE "\x21\x00\x00\x00",
		      SIGNATURE "\x21\x00\x00\x04" "\x00\x00\x01" "\0", 0, "\0"),
		ADDED(SIGNATURE "\x20\x00\x00\x00",
		      SIGNATURE "\x20\x00\x00\x05" "\xff\x00\x02" "ab", 255, "ab"),
		ADDED(SIGNATURE "\x21\x31\x00\xd8" PATH_A PATH_B,
		      SIGNATURE "\x21\x31\x00\xdf" PATH_A PATH_B "\x30\x00\x04" "blue",
		      PROXYHDR_NETNS, "blue"),
		/* 255, 256 and 257 behind the 16 bytes, then a value of 256. */
		ADDED(TCP4("\x00\x0c"),
		      TCP4("\x00\xff") "\x04\x00\xf0" ZEROS216 BYTES4("\0\0\0\0\0\0"), 4,
		      ZEROS216 BYTES4("\0\0\0\0\0\0")),
		ADDED(TCP4("\x00\x0c"),
		      TCP4("\x01\x00") "\x04\x00\xf1" ZEROS216 BYTES4("\0\0\0\0\0\0") "x", 4,
		      ZEROS216 BYTES4("\0\0\0\0\0\0") "x"),
		ADDED(TCP4("\x00\xff") "\x04\x00\xf0" ZEROS216 BYTES4("\0\0\0\0\0\0"),
		      TCP4("\x01\x02") "\x04\x00\xf0" ZEROS216 BYTES4("\0\0\0\0\0\0")
		      "\x04\x00\x00", 4, ""),
		ADDED(TCP4("\x00\x0c"),
		      TCP4("\x01\x0f") "\x04\x01\x00" ZEROS216 BYTES4("1234567890"), 4,
		      ZEROS216 BYTES4("1234567890")),
	};

	expect_all_added(rows, COUNT(rows), 0);
}

/* Up to 16 + 65535 bytes, whatever there is room for. */
static void test_add_tlv_longest(void)
{
	static unsigned char buf[PROXYHDR_MAX + 100], value[PROXYHDR_MAX];
	struct proxyhdr_tlv tlv;
	struct proxyhdr hdr;

	memset(value, 'v', sizeof(value));
	memcpy(buf, SIGNATURE "\x21\x00\x00\x00", 16);
	CHECK("one too many", PROXYHDR_ESPACE, proxyhdr_add_tlv(buf, sizeof(buf), 4, value, 65533));
	CHECK("no length", PROXYHDR_ESPACE, proxyhdr_add_tlv(buf, sizeof(buf), 4, value, 65535));
	CHECK("no length", PROXYHDR_ESPACE, proxyhdr_add_tlv(buf, sizeof(buf), 4, value, 65536));
	CHECK("far too many", PROXYHDR_ESPACE,
	      proxyhdr_add_tlv(buf, sizeof(buf), 4, value, SIZE_MAX));
	CHECK("far too many", PROXYHDR_ESPACE,
	      proxyhdr_add_tlv(buf, sizeof(buf), 4, value, SIZE_MAX - 2));
	CHECK("far too many", PROXYHDR_ESPACE,
	      proxyhdr_add_tlv(buf, sizeof(buf), 4, value, SIZE_MAX - 18));
	check_bytes(__LINE__, "unchanged", SIGNATURE "\x21\x00\x00\x00\0", 17, buf, 17);
	CHECK("one too many", PROXYHDR_ESPACE,
	      proxyhdr_add_tlv(buf, PROXYHDR_MAX + 1, 4, value, 65533));
	CHECK("no room", PROXYHDR_ESPACE, proxyhdr_add_tlv(buf, PROXYHDR_MAX - 1, 4, value, 65532));
	CHECK("whole", 65551, proxyhdr_add_tlv(buf, PROXYHDR_MAX, 4, value, 65532));
	memcpy(buf + 14, "\0\0", 2);
	CHECK("whole, with room to spare", 65551,
	      proxyhdr_add_tlv(buf, sizeof(buf), 4, value, 65532));
	check_bytes(__LINE__, "start", SIGNATURE "\x21\x00\xff\xff" "\x04\xff\xfc" "vv", 21,
	            buf, 21);
	check_bytes(__LINE__, "end", "v\0", 2, buf + 65550, 2);
	CHECK("nothing more", PROXYHDR_ESPACE, proxyhdr_add_tlv(buf, sizeof(buf), 4, "", 0));
	CHECK("nothing more", PROXYHDR_ESPACE, proxyhdr_add_crc32c(buf, sizeof(buf)));
	if (CHECK("parsed", 65551, proxyhdr_parse(&hdr, buf, sizeof(buf)))) {
		CHECK("TLV", 65535, proxyhdr_next_tlv(&tlv, hdr.tlvs, hdr.tlvs_len));
		CHECK("its length", 65532, tlv.len);
	}
}

/* The last checksum there is room for. Its sum is from the same other program. */
static void test_add_crc32c_longest(void)
{
	static unsigned char buf[PROXYHDR_MAX + 100];

	memcpy(buf, TCP4("\xff\xf8") "\x04\xff\xe9", 31);
	CHECK("no room", PROXYHDR_ESPACE, proxyhdr_add_crc32c(buf, PROXYHDR_MAX - 1));
	CHECK("whole", PROXYHDR_MAX, proxyhdr_add_crc32c(buf, PROXYHDR_MAX));
	check_bytes(__LINE__, "start", TCP4("\xff\xff") "\x04\xff\xe9", 31, buf, 31);
	check_bytes(__LINE__, "end", "\x03\x00\x04\x73\xa6\xff\x52\0", 8,
	            buf + PROXYHDR_MAX - 7, 8);
	memset(buf, 0, sizeof(buf));
	memcpy(buf, TCP4("\xff\xf9") "\x04\xff\xea", 31);
	CHECK("one too many", PROXYHDR_ESPACE, proxyhdr_add_crc32c(buf, sizeof(buf)));
}

static void test_add_crc32c(void)
{
	static const struct added rows[] = {
		SUMMED(SIGNATURE "\x20\x00\x00\x00",
		       SIGNATURE "\x20\x00\x00\x07" "\x03\x00\x04" "\xa9\xb8\x7e\x8f"),
		SUMMED(SIGNATURE "\x21\x00\x00\x00",
		       SIGNATURE "\x21\x00\x00\x07" "\x03\x00\x04" "\x3e\xc9\x89\x4e"),
		SUMMED(TCP4("\x00\x0c"), TCP4("\x00\x13") "\x03\x00\x04" "\x20\xec\x95\x49"),
		SUMMED(SIGNATURE "\x21\x12\x00\x0c" BLOCK4,
		       SIGNATURE "\x21\x12\x00\x13" BLOCK4 "\x03\x00\x04" "\xc4\xd2\xa6\x95"),
		SUMMED(SIGNATURE "\x21\x21\x00\x24" BLOCK6,
		       SIGNATURE "\x21\x21\x00\x2b" BLOCK6 "\x03\x00\x04" "\x95\xb3\x79\x3a"),
		SUMMED(SIGNATURE "\x21\x31\x00\xd8" "/run/a\0\0" NULS100 "/run/b\0\0" NULS100,
		       SIGNATURE "\x21\x31\x00\xdf" "/run/a\0\0" NULS100 "/run/b\0\0" NULS100
		       "\x03\x00\x04" "\x8b\x0b\x80\x83"),
		SUMMED(TCP4("\x00\x1a") "\x02\x00\x0b" "example.org",
		       TCP4("\x00\x21") "\x02\x00\x0b" "example.org" "\x03\x00\x04"
		       "\x05\xd9\x87\x9d"),
		SUMMED(TCP4("\x00\x18") "\x04\x00\x09" "123456789",
		       TCP4("\x00\x1f") "\x04\x00\x09" "123456789" "\x03\x00\x04"
		       "\x84\x7b\x02\x7d"),
	};

	expect_all_added(rows, COUNT(rows), 1);
}

/* Neither adds to what is no header of version 2, nor changes it. */
static void test_add_argument(void)
{
	static const struct {
		int line;
		const char *bytes;
		size_t len, size;
	} rows[] = {
		{ BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), 64 },
		{ BYTES("PROXY UNKNOWN\r\n"), 64 },
		{ BYTES(""), 64 },
		{ BYTES(""), 0 },
		{ BYTES("\r\n\r\n\0\r\nQUIT\r" "\x21\x00\x00\x00"), 64 },
		{ BYTES("\n\n\r\n\0\r\nQUIT\n" "\x21\x00\x00\x00"), 64 },
		{ BYTES(SIGNATURE "\x11\x00\x00\x00"), 64 },
		{ BYTES(SIGNATURE "\x31\x00\x00\x00"), 64 },
		{ BYTES(SIGNATURE "\x21\x00\x00"), 15 },
		{ BYTES(SIGNATURE), 12 },
	};
	unsigned char *buf, *before;
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		buf = calloc(1, rows[i].size);
		if (!buf)
			abort();
		memcpy(buf, rows[i].bytes, rows[i].len);
		before = exactly(buf, rows[i].size);
		check_int(rows[i].line, "add_tlv", PROXYHDR_EARGUMENT,
		          proxyhdr_add_tlv(buf, rows[i].size, 4, "x", 1));
		check_int(rows[i].line, "add_crc32c", PROXYHDR_EARGUMENT,
		          proxyhdr_add_crc32c(buf, rows[i].size));
		check_bytes(rows[i].line, "buffer", before, rows[i].size, buf, rows[i].size);
		free(before);
		free(buf);
	}
}

static void test_add_type(void)
{
	static const unsigned types[] = { 256, 257, 0x103, 0x10004, UINT_MAX };
	char buf[64] = SIGNATURE "\x21\x00\x00\x00";
	size_t i;

	for (i = 0; i < COUNT(types); i++)
		CHECK("type", PROXYHDR_EARGUMENT,
		      proxyhdr_add_tlv(buf, sizeof(buf), types[i], "x", 1));
	check_bytes(__LINE__, "buffer", SIGNATURE "\x21\x00\x00\x00\0", 17, buf, 17);
	/* A value without bytes needs none to point to. */
	CHECK("no value", 19, proxyhdr_add_tlv(buf, sizeof(buf), 4, NULL, 0));
	check_bytes(__LINE__, "buffer", SIGNATURE "\x21\x00\x00\x03\x04\0\0\0", 20, buf, 20);
}

/* All of it together, as a sender does it and a receiver reads it. */
static void test_everything(void)
{
	static const struct good row = { BYTES(""), IS_TCP6(0) };
	static const struct found tlvs[] = {
		FOUND(PROXYHDR_AUTHORITY, "example.org"), FOUND(PROXYHDR_UNIQUE_ID, "id"),
		FOUND(PROXYHDR_NOOP, ""), FOUND(PROXYHDR_CRC32C, "\xf8\x53\xa5\x0f"),
		{ 0, 0, "", 0 }
	};
	char buf[256];
	struct proxyhdr hdr;
	struct good built = row;

	set_hdr(&hdr, &row);
	CHECK("build", 52, proxyhdr_build(buf, sizeof(buf), &hdr));
	CHECK("add_tlv", 66,
	      proxyhdr_add_tlv(buf, sizeof(buf), PROXYHDR_AUTHORITY, "example.org", 11));
	CHECK("add_tlv", 71, proxyhdr_add_tlv(buf, sizeof(buf), PROXYHDR_UNIQUE_ID, "id", 2));
	CHECK("add_tlv", 74, proxyhdr_add_tlv(buf, sizeof(buf), PROXYHDR_NOOP, "", 0));
	CHECK("add_crc32c", 81, proxyhdr_add_crc32c(buf, sizeof(buf)));
	built.bytes = buf;
	built.len = 81;
	built.tlvs = 52;
	expect_good(&built);
	if (CHECK("parse", 81, proxyhdr_parse(&hdr, buf, sizeof(buf))))
		CHECK("end of the walk", 0, walk(tlvs, hdr.tlvs, hdr.tlvs_len));
}

static void test_strerror(void)
{
	const char *text[PROXYHDR_ENOTPROXY - PROXYHDR_EARGUMENT + 1];
	size_t i, j;

	for (i = 0; i < COUNT(text); i++) {
		text[i] = proxyhdr_strerror(-1 - (int)i);
		if (!text[i] || !text[i][0]) {
			fail(__LINE__, "%d: no text", -1 - (int)i);
			return;
		}
		for (j = 0; j < i; j++)
			if (strcmp(text[i], text[j]) == 0)
				fail(__LINE__, "%d and %d: both \"%s\"", -1 - (int)i, -1 - (int)j,
				     text[i]);
	}
	/* No error, or none that there is: but never a null pointer to print. */
	CHECK("0", 1, proxyhdr_strerror(0) != NULL);
	CHECK("1", 1, proxyhdr_strerror(1) != NULL);
	CHECK("-16", 1, proxyhdr_strerror(-16) != NULL);
	CHECK("INT_MIN", 1, proxyhdr_strerror(INT_MIN) != NULL);
	CHECK("INT_MAX", 1, proxyhdr_strerror(INT_MAX) != NULL);
}

/* --- addresses, against inet_pton --- */

static uint32_t seed;

/* Marsaglia's xorshift: the same numbers everywhere. 0 to below - 1. */
static uint32_t below(uint32_t limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % limit;
}

/* So short that with the other address of it the line stays below 107 bytes. */
struct made {
	char text[64];
	size_t len;
};

static void put(struct made *made, const char *piece)
{
	size_t len = strlen(piece);

	if (made->len + len > 60)
		return;
	memcpy(made->text + made->len, piece, len + 1);
	made->len += len;
}

static void put_number(struct made *made, const char *format, unsigned number)
{
	char piece[16];

	snprintf(piece, sizeof(piece), format, number);
	put(made, piece);
}

/* Four decimals, mostly. */
static void put_ipv4(struct made *made)
{
	static const uint32_t limits[] = { 2, 10, 100, 256, 256, 256, 257, 300, 1000 };
	uint32_t count = below(16) ? 4 : below(7);
	uint32_t i;

	for (i = 0; i < count; i++) {
		if (i > 0)
			put(made, ".");
		put_number(made, below(32) ? "%u" : "%02u", below(limits[below(COUNT(limits))]));
	}
}

static void put_group(struct made *made)
{
	static const char *const formats[] = { "%x", "%X", "%04x", "%02x", "%03X" };
	uint32_t kind = below(24);

	if (kind == 0)
		put_number(made, "%05x", below(0x20000));
	else if (kind < 6)
		put(made, "0");
	else
		put_number(made, formats[below(COUNT(formats))],
		           below(2) ? below(0x10000) : below(0x100));
}

/* Groups, mostly of the right number or with one "::", sometimes IPv4 at the end. */
static void put_ipv6(struct made *made)
{
	int ipv4 = !below(4);
	uint32_t whole = ipv4 ? 7 : 8;
	uint32_t count = below(2) ? whole : 1 + below(9);
	uint32_t gap = count != whole || !below(8) ? below(count + 1) : count + 1;
	uint32_t i;

	if (gap == 0)
		put(made, below(16) ? "::" : ":");
	for (i = 0; i < count; i++) {
		if (i > 0)
			put(made, i == gap || !below(64) ? "::" : ":");
		if (ipv4 && i + 1 == count)
			put_ipv4(made);
		else
			put_group(made);
	}
	if (gap == count)
		put(made, below(16) ? "::" : ":");
}

/* One character more, less, or another one. Never one that would end the field
 * or the line, or the string that inet_pton gets. */
static void damage(struct made *made)
{
	static const char others[] = "0123456789abcdefABCDEFgGzZ::::....%/x-+@`\x01\x7f\x80\xff";
	size_t at = below((uint32_t)made->len + 1);
	char other = others[below(sizeof(others) - 1)];

	switch (below(3)) {
	case 0:
		memmove(made->text + at + 1, made->text + at, made->len - at + 1);
		made->text[at] = other;
		made->len++;
		break;
	case 1:
		if (at < made->len)
			made->text[at] = other;
		break;
	default:
		if (at < made->len) {
			memmove(made->text + at, made->text + at + 1, made->len - at);
			made->len--;
		}
	}
}

/* Whether it is an address; as inet_pton says, of which also the bytes. */
static int expect_like_inet_pton(const struct made *made, int family)
{
	const char *other = family == AF_INET ? "0.0.0.0" : "::";
	unsigned char bytes[16];
	int is_address = inet_pton(family, made->text, bytes) == 1;
	int as_dst = (int)below(2);
	char line[256];
	struct good good = { __LINE__, line, 0,
	                     V1(family, (const char *)bytes, BYTES16("\0"), 1, 2) };
	int before = failures;

	if (as_dst) {
		good.src = good.dst;
		good.dst = (const char *)bytes;
	}
	good.len = print_line(line, family, as_dst ? other : made->text,
	                      as_dst ? made->text : other);
	if (is_address)
		expect_whole(&good, 0);
	else
		CHECK("refused", PROXYHDR_EADDRESS, parse_alone(__LINE__, line, good.len));
	if (failures > before)
		show(line, good.len);
	return is_address;
}

/* glibc's inet_pton takes what the contract takes, which is no accident: both
 * have RFC 4291, 2.2, and no leading zeros in IPv4. Others do not all agree on
 * zero groups for "::" and on five digits, so this is one for glibc. */
static void compare(int family, void (*put_address)(struct made *), int rounds)
{
	int addresses = 0;
	struct made made;
	int i;

	seed = 2463534242;
	for (i = 0; i < rounds && failures < 10; i++) {
		memset(&made, 0, sizeof(made));
		put_address(&made);
		if (!below(3))
			damage(&made);
		addresses += expect_like_inet_pton(&made, family);
	}
	/* Neither answer alone would do for a test. */
	CHECK("many are addresses", 1, failures || addresses > rounds / 4);
	CHECK("many are not", 1, failures || rounds - addresses > rounds / 4);
}

static void test_inet_pton_ipv4(void)
{
	compare(AF_INET, put_ipv4, 70000);
}

static void test_inet_pton_ipv6(void)
{
	compare(AF_INET6, put_ipv6, 140000);
}

/* --- the groups --- */

static const struct group {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "v1-forms", test_v1_forms },
	{ "v1-length", test_v1_length },
	{ "v1-ipv4", test_v1_ipv4 },
	{ "v1-leading-zeros", test_v1_leading_zeros },
	{ "v1-ports", test_v1_ports },
	{ "v1-ipv6", test_v1_ipv6 },
	{ "v1-embedded-ipv4", test_v1_embedded_ipv4 },
	{ "v1-spaces", test_v1_spaces },
	{ "v1-keywords", test_v1_keywords },
	{ "v1-line-ends", test_v1_line_ends },
	{ "v1-nul", test_v1_nul },
	{ "first-bytes", test_first_bytes },
	{ "v2-versions", test_v2_versions },
	{ "v2-commands", test_v2_commands },
	{ "v2-byte-14-of-proxy", test_v2_byte_14_of_proxy },
	{ "v2-byte-14-of-local", test_v2_byte_14_of_local },
	{ "v2-forms", test_v2_forms },
	{ "v2-too-short", test_v2_too_short },
	{ "v2-local", test_v2_local },
	{ "v2-unspec", test_v2_unspec },
	{ "v2-unix", test_v2_unix },
	{ "v2-longest", test_v2_longest },
	{ "tlv-bounds", test_tlv_bounds },
	{ "tlv-walk", test_tlv_walk },
	{ "tlv-long", test_tlv_long },
	{ "tlv-ssl", test_tlv_ssl },
	{ "tlv-ssl-short", test_tlv_ssl_short },
	{ "crc32c", test_crc32c },
	{ "crc32c-bits", test_crc32c_bits },
	{ "crc32c-places", test_crc32c_places },
	{ "unique-id", test_unique_id },
	{ "build-v1", test_build_v1 },
	{ "build-v1-unknown", test_build_v1_unknown },
	{ "build-v2", test_build_v2 },
	{ "build-local", test_build_local },
	{ "build-ipv6-text", test_build_ipv6_text },
	{ "build-argument", test_build_argument },
	{ "round-trip", test_round_trip },
	{ "add-tlv", test_add_tlv },
	{ "add-tlv-longest", test_add_tlv_longest },
	{ "add-crc32c-longest", test_add_crc32c_longest },
	{ "add-crc32c", test_add_crc32c },
	{ "add-argument", test_add_argument },
	{ "add-type", test_add_type },
	{ "everything", test_everything },
	{ "strerror", test_strerror },
	{ "inet-pton-ipv4", test_inet_pton_ipv4 },
	{ "inet-pton-ipv6", test_inet_pton_ipv6 },
};

static const struct group *find_group(const char *name)
{
	size_t i;

	for (i = 0; i < COUNT(groups); i++)
		if (strcmp(groups[i].name, name) == 0)
			return &groups[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const struct group *group;
	size_t i;

	if (argc < 2) {
		for (i = 0; i < COUNT(groups); i++)
			puts(groups[i].name);
		return 0;
	}
	group = find_group(argv[1]);
	if (!group || argc > 2) {
		fprintf(stderr, "usage: %s [NAME]\n", argv[0]);
		return 2;
	}
	group->run();
	return failures ? 1 : 0;
}
