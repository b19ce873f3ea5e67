/* proxyhdr_parse: any bytes, cut anywhere. Beside it a second reader, which knows
 * regular expressions and inet_pton and sums byte by byte: what the one takes the
 * other must, with the same addresses. What is taken is built again, and must read
 * the same.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 */
#include <arpa/inet.h>
#include <regex.h>

#include "fuzz.h"

/* ---- the second reader: it is given all that there is ---- */

struct reading {
	size_t len;             /* of the header; 0: it is none, or not whole */
	int final;              /* more bytes would not change that */
	struct proxyhdr hdr;    /* tlvs not set */
	size_t tlvs;            /* where they begin */
};

/* One of a line's words. */
static void copy_word(char *word, size_t size, const char *line, regmatch_t match)
{
	size_t len = (size_t)(match.rm_eo - match.rm_so);

	CHECK(len < size);
	memcpy(word, line + match.rm_so, len);
	word[len] = '\0';
}

static int read_address(union proxyhdr_addr *a, int family, const char *line,
                        regmatch_t address, regmatch_t port)
{
	char word[128];
	long number;

	a->sa.sa_family = (sa_family_t)family;
	copy_word(word, sizeof word, line, address);
	if (inet_pton(family, word, family == AF_INET ? (void *)&a->in.sin_addr :
	              (void *)&a->in6.sin6_addr) != 1)
		return 0;
	copy_word(word, sizeof word, line, port);
	number = strtol(word, NULL, 10);
	if (family == AF_INET)
		a->in.sin_port = htons((in_port_t)number);
	else
		a->in6.sin6_port = htons((in_port_t)number);
	return number <= 65535;
}

/* PROXY spec 2.1. */
static void read_v1(struct reading *r, const char *line, size_t len)
{
	static const char pattern[] =
		"^PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) "
		"(0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n$";
	static regex_t regex;
	static int compiled;
	size_t max = len < 107 ? len : 107;
	const char *end = memmem(line, max, "\r\n", 2);
	char text[108];
	regmatch_t m[6];
	int family;

	if (!compiled)
		CHECK(regcomp(&regex, pattern, REG_EXTENDED) == 0);
	compiled = 1;
	r->final = end != NULL || len >= 107;
	if (end == NULL)
		return;
	r->hdr.version = 1;
	r->hdr.command = PROXYHDR_PROXY;
	len = (size_t)(end - line) + 2;
	if (len >= 15 && memcmp(line, "PROXY UNKNOWN", 13) == 0 && (line[13] == ' ' || len == 15)) {
		r->len = len;
		return;
	}
	memcpy(text, line, len);
	text[len] = '\0';
	if (strlen(text) < len || regexec(&regex, text, 6, m, 0) != 0)
		return;
	family = line[m[1].rm_so] == '4' ? AF_INET : AF_INET6;
	r->hdr.transport = PROXYHDR_STREAM;
	if (read_address(&r->hdr.src, family, line, m[2], m[4]) &&
	    read_address(&r->hdr.dst, family, line, m[3], m[5]))
		r->len = len;
}

/* Whether p[0..len) is TLVs to its end. */
static int walks(const unsigned char *p, size_t len)
{
	size_t at = 0;

	while (at + 3 <= len)
		at += 3 + get16be(p + at + 1);
	return at == len;
}

/* PROXY spec 2.2.3, 2.2.5, 2.2.6: of a header whose TLVs walk. */
static int tlvs_are_right(const unsigned char *p, size_t at, size_t len)
{
	int sums = 0;

	for (; at < len; at += 3 + get16be(p + at + 1)) {
		unsigned size = get16be(p + at + 1);

		if ((p[at] == 0x05 && size > 128) || (p[at] == 0x20 && size < 5))
			return 0;
		if (p[at] == 0x03) {
			uint32_t sum = sum_by_bytes(p, len, at + 3);

			if (size != 4 || sums++ > 0 ||
			    sum != ((uint32_t)get16be(p + at + 3) << 16 | get16be(p + at + 5)))
				return 0;
		}
	}
	return 1;
}

/* PROXY spec 2.2. */
static void read_v2(struct reading *r, const unsigned char *p, size_t len)
{
	static const unsigned sizes[4] = { 0, 12, 36, 216 };
	static const sa_family_t families[4] = { AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX };
	unsigned family, transport, size;
	size_t total;
	int local;

	if (len < 16 || len < (total = 16 + get16be(p + 14)))
		return;
	r->final = 1;
	local = p[12] == 0x20;
	family = p[13] >> 4;
	transport = p[13] & 15;
	if ((!local && p[12] != 0x21) || (!local && (family > 3 || transport > 2)))
		return;
	r->hdr.version = 2;
	r->hdr.command = local ? PROXYHDR_LOCAL : PROXYHDR_PROXY;
	if (local && p[13] != 0) {      /* whatever it is, it is skipped */
		r->len = r->tlvs = total;
		return;
	}
	size = sizes[family];
	if (total - 16 < size)
		return;
	r->tlvs = 16 + size;
	if (!walks(p + r->tlvs, total - r->tlvs)) {
		if (size > 0)
			return;
		r->tlvs = total;        /* of no family: neither addresses nor TLVs */
	}
	if (!tlvs_are_right(p, r->tlvs, total))
		return;
	r->len = total;
	if (local || family == 0 || transport == 0)
		return;
	r->hdr.transport = transport == 1 ? PROXYHDR_STREAM : PROXYHDR_DGRAM;
	r->hdr.src.sa.sa_family = r->hdr.dst.sa.sa_family = families[family];
	if (family == 1) {
		memcpy(&r->hdr.src.in.sin_addr, p + 16, 4);
		memcpy(&r->hdr.dst.in.sin_addr, p + 20, 4);
		memcpy(&r->hdr.src.in.sin_port, p + 24, 2);
		memcpy(&r->hdr.dst.in.sin_port, p + 26, 2);
	} else if (family == 2) {
		memcpy(&r->hdr.src.in6.sin6_addr, p + 16, 16);
		memcpy(&r->hdr.dst.in6.sin6_addr, p + 32, 16);
		memcpy(&r->hdr.src.in6.sin6_port, p + 48, 2);
		memcpy(&r->hdr.dst.in6.sin6_port, p + 50, 2);
	} else {
		memcpy(r->hdr.src.un.sun_path, p + 16, 108);
		memcpy(r->hdr.dst.un.sun_path, p + 124, 108);
	}
}

static struct reading second_reading(const uint8_t *data, size_t size)
{
	struct reading r;

	memset(&r, 0, sizeof r);
	if (size >= 6 && memcmp(data, "PROXY ", 6) == 0)
		read_v1(&r, (const char *)data, size);
	else if (size >= 12 && memcmp(data, signature, 12) == 0)
		read_v2(&r, data, size);
	else    /* of no version's first bytes, or of too few to tell */
		r.final = memcmp(data, signature, size < 12 ? size : 12) != 0 &&
		          memcmp(data, "PROXY ", size < 6 ? size : 6) != 0;
	return r;
}

/* ---- proxyhdr beside it ---- */

/* All but the TLVs. */
static int same_addresses(const struct proxyhdr *a, const struct proxyhdr *b)
{
	return a->version == b->version && a->command == b->command &&
	       a->transport == b->transport && are_same(&a->src, &b->src, sizeof a->src) &&
	       are_same(&a->dst, &b->dst, sizeof a->dst);
}

/* Parses the last k bytes of a block: behind them there is nothing to read. Without
 * a length, *hdr must stay as it was. */
static int parse(struct proxyhdr *hdr, const uint8_t *p, size_t k)
{
	struct proxyhdr before;
	int n;

	memset(hdr, 0xA5, sizeof *hdr);
	before = *hdr;
	n = proxyhdr_parse(hdr, p, k);
	CHECK(n <= (int)k);
	if (n <= 0)
		CHECK(are_same(hdr, &before, sizeof before));
	return n;
}

/* How it was cut into pieces does not matter: every beginning of the bytes says
 * "more" until the answer shows, and from there on that answer. Of long inputs
 * only some beginnings. */
static void check_beginnings(const uint8_t *data, size_t size, const struct proxyhdr *whole, int n)
{
	uint8_t *block = allocate(size), *p;
	struct proxyhdr hdr;
	int answered = 0;
	size_t k;

	for (k = 0; k < size; k += k < 256 || size - k < 32 ? 1 : 1 + size / 64) {
		int got;

		p = block + size - k;
		memcpy(p, data, k);
		got = parse(&hdr, p, k);
		if (n > 0)
			CHECK(got == (k < (size_t)n ? 0 : n));
		else
			CHECK(got == n || (got == 0 && !answered));
		answered = got != 0;
		if (got > 0)
			CHECK(same_addresses(&hdr, whole) && hdr.tlvs_len == whole->tlvs_len);
	}
	free(block);
}

/* The TLVs inside an SSL TLV: from its byte 5 there is nothing to fear, whatever is there. */
static void check_inside(const struct proxyhdr_tlv *ssl)
{
	const unsigned char *p = ssl->value + 5;
	size_t left = ssl->len - 5;
	struct proxyhdr_tlv tlv;
	int step;

	CHECK(ssl->len >= 5);
	while ((step = proxyhdr_next_tlv(&tlv, p, left)) > 0) {
		CHECK(tlv.value == p + 3 && tlv.len + 3 == (size_t)step && (size_t)step <= left);
		p += step;
		left -= (size_t)step;
	}
	CHECK(step == (walks(p, left) ? 0 : PROXYHDR_ETLV));
}

/* Appends the TLVs to the header at buf, the checksum last and computed anew. */
static int add_tlvs(unsigned char *buf, int n, const struct proxyhdr *hdr, int *reordered)
{
	const unsigned char *p = hdr->tlvs;
	size_t len = hdr->tlvs_len;
	struct proxyhdr_tlv tlv;
	int step, sum = 0;

	*reordered = 0;
	while ((step = proxyhdr_next_tlv(&tlv, p, len)) > 0) {
		CHECK(tlv.value == p + 3 && tlv.type == p[0] && tlv.len == get16be(p + 1));
		CHECK(step == (int)tlv.len + 3 && (size_t)step <= len);
		p += step;
		len -= (size_t)step;
		*reordered |= sum;
		if (tlv.type == PROXYHDR_SSL)
			check_inside(&tlv);
		if (tlv.type == PROXYHDR_CRC32C)
			sum = 1;
		else
			CHECK((n = proxyhdr_add_tlv(buf, PROXYHDR_MAX, tlv.type, tlv.value, tlv.len)) > 0);
	}
	CHECK(step == 0 && len == 0);
	if (sum)
		CHECK((n = proxyhdr_add_crc32c(buf, PROXYHDR_MAX)) > 0);
	return n;
}

static void check_built(const uint8_t *data, const struct proxyhdr *hdr, int n)
{
	static unsigned char buf[PROXYHDR_MAX];
	unsigned char *exact;
	struct proxyhdr again;
	int built, reordered = 0;

	CHECK((built = proxyhdr_build(buf, sizeof buf, hdr)) > 0 && built <= PROXYHDR_BUILD_MAX);
	/* it fits where it just fits, and not where it does not */
	exact = allocate((size_t)built);
	CHECK(proxyhdr_build(exact, (size_t)built, hdr) == built);
	CHECK(memcmp(exact, buf, (size_t)built) == 0);
	CHECK(proxyhdr_build(exact, (size_t)built - 1, hdr) == PROXYHDR_ESPACE);
	free(exact);
	if (hdr->version == 2)
		built = add_tlvs(buf, built, hdr, &reordered);
	CHECK(proxyhdr_parse(&again, buf, (size_t)built) == built);
	CHECK(same_addresses(hdr, &again) && again.tlvs_len == hdr->tlvs_len);
	CHECK(second_reading(buf, (size_t)built).len == (size_t)built);
	/* what is in the order that we build in is the same byte for byte */
	if (hdr->version == 2 && hdr->src.sa.sa_family != AF_UNSPEC && !reordered)
		CHECK(built == n && memcmp(buf, data, (size_t)n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reading second = second_reading(data, size);
	struct proxyhdr hdr;
	int n = parse(&hdr, data, size);

	CHECK((n > 0 ? (size_t)n : 0) == second.len);
	CHECK(n != 0 || !second.final);
	if (n < 0)
		CHECK(strcmp(proxyhdr_strerror(n), "unknown error") != 0);
	check_beginnings(data, size, &hdr, n);
	if (n <= 0)
		return 0;
	CHECK(same_addresses(&hdr, &second.hdr));
	if (hdr.version == 2)
		CHECK(hdr.tlvs == data + second.tlvs && hdr.tlvs_len == (size_t)n - second.tlvs);
	else
		CHECK(hdr.tlvs == NULL && hdr.tlvs_len == 0);
	check_built(data, &hdr, n);
	return 0;
}

/* ---- mutations that no chance would find: a length, a checksum that is right ---- */

static void mend_sum(uint8_t *p, size_t at, size_t len)
{
	for (; at + 7 <= len; at += 3 + get16be(p + at + 1))
		if (p[at] == 0x03) {
			uint32_t sum = sum_by_bytes(p, len, at + 3);

			p[at + 3] = (uint8_t)(sum >> 24);
			p[at + 4] = (uint8_t)(sum >> 16);
			p[at + 5] = (uint8_t)(sum >> 8);
			p[at + 6] = (uint8_t)sum;
			return;
		}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	static const unsigned sizes[16] = { 0, 12, 36, 216 };
	size_t len;

	size = LLVMFuzzerMutate(data, size, max_size);
	if (size < 16 || memcmp(data, signature, 11) != 0)
		return size;
	if (seed & 1) {
		memcpy(data, signature, 12);
		len = size - 16 - (seed & 2 ? (seed >> 8) % (size - 15) : 0);
		data[14] = (uint8_t)(len >> 8);
		data[15] = (uint8_t)len;
	}
	len = 16 + get16be(data + 14);
	if (seed & 4 && len <= size)
		mend_sum(data, 16 + sizes[data[13] >> 4], len);
	return size;
}
