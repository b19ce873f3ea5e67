/* proxyhdr: build and parse PROXY protocol headers. See proxyhdr.h.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC, in full at the end
 *
 * Addresses are read and written here, not by inet_pton and inet_ntop: what is
 * accepted must not depend on the C library, and musl's inet_ntop is a printf.
 */
#include "proxyhdr.h"

#include <stdint.h>
#include <string.h>

enum {
	UNIX_LEN = 108,     /* PROXY spec 2.2: of a UNIX address, always */
	UNIX_PAIR = 216,    /* source and destination */
	TLV_FIXED = 3,      /* type, length */
	SSL_FIXED = 5       /* PROXY spec 2.2.6: client, verify */
};

static const unsigned char v2_signature[12] = {
	0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A
};
static const char v1_signature[] = "PROXY ";

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static unsigned get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(unsigned char *p, size_t n)
{
	p[0] = (unsigned char)(n >> 8);
	p[1] = (unsigned char)n;
}

static uint32_t get32(const unsigned char *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* Little-endian: the order in which a checksum takes its bits. */
static uint64_t get64le(const unsigned char *p)
{
	return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 |
	       (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 |
	       (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* CRC32c (Castagnoli, reflected; RFC 4960 appendix B) by words of eight bytes: row i has
 * the sums of the 16 values of a word's bits 4i to 4i + 3, from those of single bits.
 * That of bit 63 is the polynomial, each before it is the next one after one more step
 * of the division. 1 KiB in all, where rows for whole bytes take 8. */
#define FOUR(a, b, x) (x), (x) ^ (a), (x) ^ (b), (x) ^ (a) ^ (b)
#define ROW(a, b, c, d) { FOUR(a, b, 0), FOUR(a, b, c), FOUR(a, b, d), FOUR(a, b, (c) ^ (d)) }
static const uint32_t crc32c_rows[16][16] = {
	ROW(0x493C7D27, 0x9278FA4E, 0x211D826D, 0x423B04DA),
	ROW(0x847609B4, 0x0D006599, 0x1A00CB32, 0x34019664),
	ROW(0x68032CC8, 0xD0065990, 0xA5E0C5D1, 0x4E2DFD53),
	ROW(0x9C5BFAA6, 0x3D5B83BD, 0x7AB7077A, 0xF56E0EF4),
	ROW(0xEF306B19, 0xDB8CA0C3, 0xB2F53777, 0x6006181F),
	ROW(0xC00C303E, 0x85F4168D, 0x0E045BEB, 0x1C08B7D6),
	ROW(0x38116FAC, 0x7022DF58, 0xE045BEB0, 0xC5670B91),
	ROW(0x8F2261D3, 0x1BA8B557, 0x37516AAE, 0x6EA2D55C),
	ROW(0xDD45AAB8, 0xBF672381, 0x7B2231F3, 0xF64463E6),
	ROW(0xE964B13D, 0xD725148B, 0xABA65FE7, 0x52A0C93F),
	ROW(0xA541927E, 0x4F6F520D, 0x9EDEA41A, 0x38513EC5),
	ROW(0x70A27D8A, 0xE144FB14, 0xC76580D9, 0x8B277743),
	ROW(0x13A29877, 0x274530EE, 0x4E8A61DC, 0x9D14C3B8),
	ROW(0x3FC5F181, 0x7F8BE302, 0xFF17C604, 0xFBC3FAF9),
	ROW(0xF26B8303, 0xE13B70F7, 0xC79A971F, 0x8AD958CF),
	ROW(0x105EC76F, 0x20BD8EDE, 0x417B1DBC, 0x82F63B78)
};

/* The sum of half a word. */
static uint32_t crc32c_half(const uint32_t (*rows)[16], uint32_t n)
{
	return rows[0][n & 15] ^ rows[1][n >> 4 & 15] ^
	       rows[2][n >> 8 & 15] ^ rows[3][n >> 12 & 15] ^
	       rows[4][n >> 16 & 15] ^ rows[5][n >> 20 & 15] ^
	       rows[6][n >> 24 & 15] ^ rows[7][n >> 28];
}

/* Of the v2 header p[0..len), its own four bytes at `field` taken as zero. */
static uint32_t crc32c(const unsigned char *p, size_t len, size_t field)
{
	/* of the first 5 to 12 bytes, which all headers share: begun behind as many
	 * as leave whole words */
	static const uint32_t sums[8] = {
		0x5702E8D7, 0xB866CB7B, 0x834BB1C5, 0x55B120B9,
		0xAE26D6EA, 0xB1B56084, 0xD36254CB, 0x3135C793
	};
	size_t i = 5 + (len - 5) % 8;
	uint32_t crc = sums[i - 5];

	for (; i < len; i += 8) {
		uint64_t word = get64le(p + i);

		if (field + 3 - i < 11)    /* some of its bytes are in the word */
			word &= ~(field < i ? (uint64_t)0xFFFFFFFF >> 8 * (i - field)
			                    : (uint64_t)0xFFFFFFFF << 8 * (field - i));
		crc = crc32c_half(crc32c_rows, (uint32_t)word ^ crc) ^
		      crc32c_half(crc32c_rows + 8, (uint32_t)(word >> 32));
	}
	return ~crc;
}

/* ---- reading text with a NUL behind it: each returns where it stopped, or NULL ---- */

/* A decimal number without leading zeros, up to max. */
static const char *read_number(const char *p, unsigned max, unsigned *n)
{
	unsigned digit, value = (unsigned)*p - '0';

	if (value > 9)
		return NULL;
	while ((digit = (unsigned)*++p - '0') <= 9)
		if (value == 0 || (value = value * 10 + digit) > max)
			return NULL;
	*n = value;
	return p;
}

static const char *read_ip4(const char *p, unsigned char *ip)
{
	unsigned n;
	int i;

	for (i = 0; i < 4; i++) {
		if (i > 0 && *p++ != '.')
			return NULL;
		if ((p = read_number(p, 255, &n)) == NULL)
			return NULL;
		ip[i] = (unsigned char)n;
	}
	return p;
}

/* 16 or more: none. */
static unsigned hex_digit(char c)
{
	static const unsigned char digits['f' - '0' + 1] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 16, 16, 16, 16, 16,
		16, 10, 11, 12, 13, 14, 15, 16, 16, 16, 16, 16, 16, 16, 16, 16,
		16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
		16, 10, 11, 12, 13, 14, 15
	};
	unsigned i = (unsigned)c - '0';

	return i < sizeof digits ? digits[i] : 16;
}

/* RFC 4291 2.2: eight groups of up to four digits, one `::` for one or more of
 * zeros, the last two groups perhaps as an IPv4 address. */
static const char *read_ip6(const char *p, unsigned char *ip)
{
	int len = 0, gap = -1;

	if (p[0] == ':' && p[1] == ':') {
		gap = 0;
		p += 2;
	}
	while (len < 16) {
		const char *start = p;
		unsigned digit, group = 0;

		for (; p - start < 4 && (digit = hex_digit(*p)) < 16; p++)
			group = group << 4 | digit;
		if (p == start) {
			if (gap != len)
				return NULL;
			break;
		}
		if (*p == '.') {
			if (len > 12 || (p = read_ip4(start, ip + len)) == NULL)
				return NULL;
			len += 4;
			break;
		}
		put16(ip + len, group);
		len += 2;
		if (*p != ':' || len == 16)
			break;
		if (*++p == ':') {
			if (gap >= 0)
				return NULL;
			gap = len;
			p++;
		}
	}
	if ((len == 16) != (gap < 0))
		return NULL;
	if (gap >= 0) {
		memmove(ip + 16 - (len - gap), ip + gap, (size_t)(len - gap));
		memset(ip + gap, 0, (size_t)(16 - len));
	}
	return p;
}

/* ---- writing text: each returns where it stopped ---- */

static char *write_number(char *p, unsigned n)
{
	int i = 1 + (n > 9) + (n > 99) + (n > 999) + (n > 9999);
	char *end = p + i;

	for (; i > 0; n /= 10)
		p[--i] = (char)('0' + n % 10);
	return end;
}

static char *write_ip4(char *p, const unsigned char *ip)
{
	int i;

	for (i = 0; i < 4; i++) {
		if (i > 0)
			*p++ = '.';
		p = write_number(p, ip[i]);
	}
	return p;
}

/* RFC 5952, but IPv4-mapped addresses in hex too: PROXY spec 2.1 knows only
 * groups of hexadecimal digits. */
static char *write_ip6(char *p, const unsigned char *ip)
{
	static const char hex[] = "0123456789abcdef";
	int i, shift, gap = -1, gap_len = 1, run = 0;
	unsigned group[8];

	for (i = 0; i < 8; i++, ip += 2) {
		group[i] = get16(ip);
		run = group[i] == 0 ? run + 1 : 0;
		if (run > gap_len) {
			gap_len = run;
			gap = i + 1 - run;
		}
	}
	for (i = 0; i < 8; i++) {
		if (i == gap) {
			*p++ = ':';
			i += gap_len - 1;
			if (i == 7)
				*p++ = ':';
			continue;
		}
		if (i > 0)
			*p++ = ':';
		for (shift = 12; shift > 0 && group[i] >> shift == 0; shift -= 4)
			;
		for (; shift >= 0; shift -= 4)
			*p++ = hex[group[i] >> shift & 15];
	}
	return p;
}

/* ---- parsing ---- */

/* Fills *hdr, all else zero, from a block of a family's addresses as PROXY spec 2.2 has
 * it. Zeros are copied, for gcc makes stores of that, but of a memset of this size
 * `rep stos`, which takes longer than all the rest. */
static void fill(struct proxyhdr *hdr, int family, const unsigned char *block)
{
	static const unsigned char zeros[sizeof *hdr] = { 0 };

	memcpy(hdr, zeros, sizeof zeros);
	hdr->src.sa.sa_family = hdr->dst.sa.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		memcpy(&hdr->src.in.sin_addr, block, 4);
		memcpy(&hdr->dst.in.sin_addr, block + 4, 4);
		memcpy(&hdr->src.in.sin_port, block + 8, 2);
		memcpy(&hdr->dst.in.sin_port, block + 10, 2);
	} else if (family == AF_INET6) {
		memcpy(&hdr->src.in6.sin6_addr, block, 16);
		memcpy(&hdr->dst.in6.sin6_addr, block + 16, 16);
		memcpy(&hdr->src.in6.sin6_port, block + 32, 2);
		memcpy(&hdr->dst.in6.sin6_port, block + 34, 2);
	} else if (family == AF_UNIX) {
		/* sun_path has 108 bytes on Linux, fewer elsewhere */
		size_t len = min(sizeof hdr->src.un.sun_path, UNIX_LEN);

		memcpy(hdr->src.un.sun_path, block, len);
		memcpy(hdr->dst.un.sun_path, block + UNIX_LEN, len);
	}
}

/* Reads a TCP4 or TCP6 line, from the addresses on, into such a block. Returns the
 * line's length. */
static int parse_v1_tcp(unsigned char *block, int family, const char *line, size_t len,
                        size_t start)
{
	char text[PROXYHDR_V1_MAX + 1];
	const char *p = text + start;
	unsigned port;
	int i;

	len = min(len, PROXYHDR_V1_MAX);
	memcpy(text, line, len);
	text[len] = '\0';
	for (i = 0; i < 2; i++) {
		p = family == AF_INET ? read_ip4(p, block) : read_ip6(p, block);
		if (p == NULL || *p++ != ' ')
			return PROXYHDR_EADDRESS;
		block += family == AF_INET ? 4 : 16;
	}
	for (i = 0; i < 2; i++, block += 2) {
		if ((p = read_number(p, 65535, &port)) == NULL || *p++ != " \r"[i])
			return PROXYHDR_EPORT;
		put16(block, port);
	}
	return *p == '\n' ? (int)(p + 1 - text) : PROXYHDR_EPORT;
}

/* The length of the line with its CR LF. PROXY spec 2.1: a CR or LF alone ends
 * no line. No address can hold one either, so there it is refused at once;
 * what follows UNKNOWN is ignored, whatever it is. */
static int v1_line(const char *line, size_t len, int unknown)
{
	size_t i, max = min(len, PROXYHDR_V1_MAX);

	for (i = 0; i < max; i++) {
		if (line[i] == '\r' && i + 1 < max && line[i + 1] == '\n')
			return (int)i + 2;
		if (!unknown && (line[i] == '\n' || (line[i] == '\r' && i + 1 < max)))
			return PROXYHDR_ELINE;
	}
	return len < PROXYHDR_V1_MAX ? 0 : PROXYHDR_ELINE;
}

static int parse_v1(struct proxyhdr *hdr, const char *line, size_t len)
{
	static const struct { char text[8]; unsigned char len, family; } protocols[] = {
		{ "TCP4 ", 5, AF_INET },
		{ "TCP6 ", 5, AF_INET6 },
		{ "UNKNOWN", 7, AF_UNSPEC }
	};
	size_t i, start = sizeof v1_signature - 1, have = len - start;
	unsigned char block[UNIX_PAIR];
	int n = 0, family;

	for (i = 0; i < 3; i++)
		if (memcmp(line + start, protocols[i].text,
		           min(have, protocols[i].len)) == 0)
			break;
	if (i == 3)
		return PROXYHDR_EPROTOCOL;
	if (have <= protocols[i].len)
		return 0;
	family = protocols[i].family;
	start += protocols[i].len;
	if (family == AF_UNSPEC && line[start] != ' ') {
		/* either the line ends here, or it says more behind a space */
		if (line[start] != '\r')
			return PROXYHDR_EPROTOCOL;
		if (have - 1 > protocols[i].len && line[start + 1] != '\n')
			return PROXYHDR_ELINE;
	}

	if (family != AF_UNSPEC)
		n = parse_v1_tcp(block, family, line, len, start);
	if (n <= 0) {
		/* not right, or not whole yet: only in a whole line is an address wrong */
		int line_len = v1_line(line, len, family == AF_UNSPEC);

		if (line_len <= 0 || n == 0)
			n = line_len;
	}
	if (n > 0) {
		fill(hdr, family, block);
		hdr->version = 1;
		hdr->command = PROXYHDR_PROXY;
		hdr->transport = family == AF_UNSPEC ? PROXYHDR_UNSPEC : PROXYHDR_STREAM;
	}
	return n;
}

/* The bytes that a family's two addresses take. */
static size_t v2_addresses_len(int family)
{
	switch (family) {
	case AF_INET:
		return 12;
	case AF_INET6:
		return 36;
	case AF_UNIX:
		return UNIX_PAIR;
	default:
		return 0;
	}
}

/* Whether these bytes are TLVs to the end. */
static int are_tlvs(const unsigned char *p, size_t len)
{
	struct proxyhdr_tlv tlv;
	int n;

	for (; (n = proxyhdr_next_tlv(&tlv, p, len)) > 0; p += n)
		len -= (size_t)n;
	return n == 0;
}

/* Checks the TLVs of the header buf[0..len), which begin at `at`. Returns 0 or
 * what is wrong. */
static int check_tlvs(const unsigned char *buf, size_t at, size_t len)
{
	struct proxyhdr_tlv tlv;
	int n, checksums = 0;

	while ((n = proxyhdr_next_tlv(&tlv, buf + at, len - at)) > 0) {
		if (tlv.type == PROXYHDR_CRC32C) {
			if (tlv.len != 4 || ++checksums > 1 || get32(tlv.value) !=
			    crc32c(buf, len, at + TLV_FIXED))
				return PROXYHDR_ECRC32C;
		} else if (tlv.type == PROXYHDR_UNIQUE_ID) {
			if (tlv.len > PROXYHDR_UNIQUE_ID_MAX)
				return PROXYHDR_EUNIQUEID;
		} else if (tlv.type == PROXYHDR_SSL) {
			/* whoever walks its TLVs begins behind those bytes */
			if (tlv.len < SSL_FIXED)
				return PROXYHDR_ETLV;
		}
		at += (size_t)n;
	}
	return n;
}

static int parse_v2(struct proxyhdr *hdr, const unsigned char *buf, size_t len)
{
	static const int families[4] = { AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX };
	size_t total, tlvs;
	unsigned command, family, transport;
	int n;

	if (len > 12 && buf[12] >> 4 != 2)
		return PROXYHDR_EVERSION;
	if (len > 12 && (buf[12] & 15) > PROXYHDR_PROXY)
		return PROXYHDR_ECOMMAND;
	if (len <= 13)
		return 0;
	command = buf[12] & 15;
	family = buf[13] >> 4;
	transport = buf[13] & 15;
	if (command == PROXYHDR_PROXY && family > 3)
		return PROXYHDR_EFAMILY;
	if (command == PROXYHDR_PROXY && transport > PROXYHDR_DGRAM)
		return PROXYHDR_ETRANSPORT;
	if (len < PROXYHDR_V2_FIXED)
		return 0;
	total = PROXYHDR_V2_FIXED + get16(buf + 14);
	/* PROXY spec 2.2: LOCAL's family is ignored, its block discarded */
	if (command == PROXYHDR_LOCAL && buf[13] != 0)
		tlvs = total;
	else
		tlvs = PROXYHDR_V2_FIXED + v2_addresses_len(families[family]);
	if (total < tlvs)
		return PROXYHDR_ELENGTH;
	if (len < total)
		return 0;

	if (tlvs == PROXYHDR_V2_FIXED && !are_tlvs(buf + tlvs, total - tlvs))
		tlvs = total;
	if ((n = check_tlvs(buf, tlvs, total)) < 0)
		return n;
	if (command == PROXYHDR_LOCAL || family == 0 || transport == 0)
		family = transport = 0;
	fill(hdr, families[family], buf + PROXYHDR_V2_FIXED);
	hdr->version = 2;
	hdr->command = (enum proxyhdr_command)command;
	hdr->transport = (enum proxyhdr_transport)transport;
	hdr->tlvs = buf + tlvs;
	hdr->tlvs_len = total - tlvs;
	return (int)total;
}

int proxyhdr_parse(struct proxyhdr *hdr, const void *buf, size_t len)
{
	size_t v1 = sizeof v1_signature - 1, v2 = sizeof v2_signature;

	if (len == 0)
		return 0;
	if (len >= v2 && memcmp(buf, v2_signature, v2) == 0)
		return parse_v2(hdr, (const unsigned char *)buf, len);
	if (len >= v1 && memcmp(buf, v1_signature, v1) == 0)
		return parse_v1(hdr, (const char *)buf, len);
	return (len < v2 && memcmp(buf, v2_signature, len) == 0) ||
	       (len < v1 && memcmp(buf, v1_signature, len) == 0) ? 0 : PROXYHDR_ENOTPROXY;
}

int proxyhdr_next_tlv(struct proxyhdr_tlv *tlv, const void *tlvs, size_t len)
{
	const unsigned char *p = (const unsigned char *)tlvs;

	if (len == 0)
		return 0;
	if (len < TLV_FIXED || len - TLV_FIXED < get16(p + 1))
		return PROXYHDR_ETLV;
	tlv->type = p[0];
	tlv->len = get16(p + 1);
	tlv->value = p + TLV_FIXED;
	return (int)(TLV_FIXED + tlv->len);
}

/* ---- building ---- */

static char *write_address(char *p, const union proxyhdr_addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		return write_ip6(p, a->in6.sin6_addr.s6_addr);
	return write_ip4(p, (const unsigned char *)&a->in.sin_addr);
}

static char *write_port(char *p, const union proxyhdr_addr *a)
{
	const in_port_t *port = a->sa.sa_family == AF_INET6 ? &a->in6.sin6_port : &a->in.sin_port;

	return write_number(p, get16((const unsigned char *)port));
}

static int build_v1(char *buf, const struct proxyhdr *hdr)
{
	int family = hdr->src.sa.sa_family;
	char *p = buf + sizeof v1_signature - 1;

	memcpy(buf, v1_signature, sizeof v1_signature - 1);
	if (hdr->command == PROXYHDR_LOCAL || hdr->transport != PROXYHDR_STREAM ||
	    (family != AF_INET && family != AF_INET6)) {
		memcpy(p, "UNKNOWN\r\n", 9);
		return (int)(p + 9 - buf);
	}
	memcpy(p, family == AF_INET6 ? "TCP6 " : "TCP4 ", 5);
	p = write_address(p + 5, &hdr->src);
	*p++ = ' ';
	p = write_address(p, &hdr->dst);
	*p++ = ' ';
	p = write_port(p, &hdr->src);
	*p++ = ' ';
	p = write_port(p, &hdr->dst);
	*p++ = '\r';
	*p++ = '\n';
	return (int)(p - buf);
}

static int build_v2(unsigned char *buf, const struct proxyhdr *hdr)
{
	int family = hdr->command == PROXYHDR_LOCAL ? AF_UNSPEC : hdr->src.sa.sa_family;
	unsigned char *p = buf + PROXYHDR_V2_FIXED;
	unsigned code = 0;

	memcpy(buf, v2_signature, sizeof v2_signature);
	buf[12] = (unsigned char)(0x20 | hdr->command);
	put16(buf + 14, v2_addresses_len(family));
	if (family == AF_INET) {
		code = 1;
		memcpy(p, &hdr->src.in.sin_addr, 4);
		memcpy(p + 4, &hdr->dst.in.sin_addr, 4);
		memcpy(p + 8, &hdr->src.in.sin_port, 2);
		memcpy(p + 10, &hdr->dst.in.sin_port, 2);
	} else if (family == AF_INET6) {
		code = 2;
		memcpy(p, &hdr->src.in6.sin6_addr, 16);
		memcpy(p + 16, &hdr->dst.in6.sin6_addr, 16);
		memcpy(p + 32, &hdr->src.in6.sin6_port, 2);
		memcpy(p + 34, &hdr->dst.in6.sin6_port, 2);
	} else if (family == AF_UNIX) {
		size_t len = min(sizeof hdr->src.un.sun_path, UNIX_LEN);

		code = 3;
		memcpy(p, hdr->src.un.sun_path, len);
		memset(p + len, 0, UNIX_LEN - len);
		memcpy(p + UNIX_LEN, hdr->dst.un.sun_path, len);
		memset(p + UNIX_LEN + len, 0, UNIX_LEN - len);
	}
	buf[13] = (unsigned char)(code == 0 ? 0 : code << 4 | hdr->transport);
	return (int)(PROXYHDR_V2_FIXED + v2_addresses_len(family));
}

int proxyhdr_build(void *buf, size_t size, const struct proxyhdr *hdr)
{
	unsigned char small[PROXYHDR_BUILD_MAX];
	unsigned char *p = size < sizeof small ? small : (unsigned char *)buf;
	int n, family = hdr->src.sa.sa_family;

	if ((hdr->version != 1 && hdr->version != 2) || family != hdr->dst.sa.sa_family ||
	    (family != AF_UNSPEC &&
	     (v2_addresses_len(family) == 0 || hdr->transport == PROXYHDR_UNSPEC)))
		return PROXYHDR_EARGUMENT;
	n = hdr->version == 1 ? build_v1((char *)p, hdr) : build_v2(p, hdr);
	if ((size_t)n > size)
		return PROXYHDR_ESPACE;
	if (p == small)
		memcpy(buf, small, (size_t)n);
	return n;
}

int proxyhdr_add_tlv(void *buf, size_t size, unsigned type, const void *value, size_t len)
{
	unsigned char *p = (unsigned char *)buf;
	size_t total;

	if (type > 255 || size < PROXYHDR_V2_FIXED ||
	    memcmp(p, v2_signature, sizeof v2_signature) != 0 || p[12] >> 4 != 2)
		return PROXYHDR_EARGUMENT;
	total = PROXYHDR_V2_FIXED + get16(p + 14);
	if (size > PROXYHDR_MAX)
		size = PROXYHDR_MAX;
	if (size < total + TLV_FIXED || size - total - TLV_FIXED < len)
		return PROXYHDR_ESPACE;
	p[total] = (unsigned char)type;
	put16(p + total + 1, len);
	if (len > 0)
		memcpy(p + total + TLV_FIXED, value, len);
	total += TLV_FIXED + len;
	put16(p + 14, total - PROXYHDR_V2_FIXED);
	return (int)total;
}

int proxyhdr_add_crc32c(void *buf, size_t size)
{
	unsigned char *p = (unsigned char *)buf;
	int n = proxyhdr_add_tlv(buf, size, PROXYHDR_CRC32C, "\0\0\0", 4);
	uint32_t crc;

	if (n < 0)
		return n;
	p += n - 4;
	crc = crc32c((const unsigned char *)buf, (size_t)n, (size_t)n - 4);
	put16(p, crc >> 16);
	put16(p + 2, crc & 0xFFFF);
	return n;
}

const char *proxyhdr_strerror(int error)
{
	switch (error) {
	case PROXYHDR_ENOTPROXY:
		return "not a PROXY header";
	case PROXYHDR_ELINE:
		return "no CR LF within 107 bytes, or a CR or LF alone";
	case PROXYHDR_EPROTOCOL:
		return "protocol is none of TCP4, TCP6, UNKNOWN";
	case PROXYHDR_EADDRESS:
		return "malformed address";
	case PROXYHDR_EPORT:
		return "malformed port";
	case PROXYHDR_EVERSION:
		return "version is not 2";
	case PROXYHDR_ECOMMAND:
		return "command is neither LOCAL nor PROXY";
	case PROXYHDR_EFAMILY:
		return "unknown address family";
	case PROXYHDR_ETRANSPORT:
		return "unknown transport protocol";
	case PROXYHDR_ELENGTH:
		return "too short for its addresses";
	case PROXYHDR_ETLV:
		return "a TLV runs past the header's end, or SSL is under 5 bytes";
	case PROXYHDR_ECRC32C:
		return "wrong CRC32C";
	case PROXYHDR_EUNIQUEID:
		return "unique id is over 128 bytes";
	case PROXYHDR_ESPACE:
		return "header does not fit";
	case PROXYHDR_EARGUMENT:
		return "these arguments make no header";
	default:
		return error < 0 ? "unknown error" : "no error";
	}
}

/* ISC License
 *
 * Permission to use, copy, modify, and/or distribute this software for any
 * purpose with or without fee is hereby granted, provided that the above
 * copyright notice and this permission notice appear in all copies.
 *
 * THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES
 * WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF
 * MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR
 * ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
 * WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN
 * ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF
 * OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
 */
