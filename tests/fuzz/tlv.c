/* TLVs: proxyhdr_next_tlv over any bytes; and proxyhdr_add_tlv and _add_crc32c with
 * any types, lengths and sizes of the buffer, beside a model that knows what the
 * header must be, byte for byte, after each.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 */
#include "fuzz.h"

/* Walks any bytes, as a plain loop over lengths does. */
static void check_walk(const uint8_t *data, size_t size)
{
	uint8_t *block = allocate(size);    /* nothing to read behind it */
	struct proxyhdr_tlv tlv, before;
	size_t at = 0;
	int n;

	if (size > 0)
		memcpy(block, data, size);
	for (;;) {
		memset(&tlv, 0xA5, sizeof tlv);
		before = tlv;
		n = proxyhdr_next_tlv(&tlv, block + at, size - at);
		if (size - at < 3 || size - at - 3 < get16be(data + at + 1))
			break;
		CHECK(n == 3 + (int)get16be(data + at + 1));
		CHECK(tlv.type == data[at] && tlv.len == get16be(data + at + 1));
		CHECK(tlv.value == block + at + 3);
		at += (size_t)n;
	}
	CHECK(n == (at == size ? 0 : PROXYHDR_ETLV));
	CHECK(are_same(&tlv, &before, sizeof tlv));
	free(block);
}

/* What the header at hand must be, and the room that it has. */
static struct model {
	unsigned char bytes[PROXYHDR_MAX];
	size_t len, size;
	int sums;                   /* how many checksums were added */
	int broken;                 /* a TLV of theirs, or a unique id, that no reader takes */
	int short_ssl;              /* an SSL TLV that no reader takes */
} model;

static const unsigned sizes[4] = { 0, 12, 36, 216 };

/* Some header, at buf and in the model. Returns whether it is one of version 2. */
static int begin(unsigned char *buf, struct input *in)
{
	struct proxyhdr hdr = { .version = 2, .command = PROXYHDR_PROXY, .transport = PROXYHDR_STREAM };
	static const sa_family_t families[4] = { AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX };
	unsigned kind = take8(in), family = kind & 3;
	int n, expected = 16 + (int)sizes[family];

	hdr.src.sa.sa_family = hdr.dst.sa.sa_family = families[family];
	memset((char *)&hdr.src + sizeof(sa_family_t), (int)take8(in), 18);
	memset((char *)&hdr.dst + sizeof(sa_family_t), (int)take8(in), 18);
	n = proxyhdr_build(buf, model.size, &hdr);
	if (model.size < (size_t)expected) {
		CHECK(n == PROXYHDR_ESPACE);
		return 0;
	}
	CHECK(n == expected && buf[12] == 0x21 && memcmp(buf, signature, 12) == 0);
	CHECK(buf[13] == (family << 4 | (family > 0)) && (int)get16be(buf + 14) == expected - 16);
	if (kind & 0x10 && kind >> 5 == 0)      /* no header of version 2 any more */
		buf[take8(in) % 12] ^= (unsigned char)(1 + take8(in) % 255);
	memcpy(model.bytes, buf, (size_t)n);
	model.len = (size_t)n;
	return memcmp(buf, signature, 12) == 0;
}

/* What an addition must return, and do to the model. */
static int expect_added(int is_header, unsigned type, const unsigned char *value, size_t len)
{
	if (type > 255 || !is_header)
		return PROXYHDR_EARGUMENT;
	if (model.len + 3 + len > model.size || model.len + 3 + len > 65551)
		return PROXYHDR_ESPACE;
	model.bytes[model.len] = (unsigned char)type;
	model.bytes[model.len + 1] = (unsigned char)(len >> 8);
	model.bytes[model.len + 2] = (unsigned char)len;
	memcpy(model.bytes + model.len + 3, value, len);
	model.len += 3 + len;
	model.bytes[14] = (unsigned char)((model.len - 16) >> 8);
	model.bytes[15] = (unsigned char)(model.len - 16);
	return (int)model.len;
}

/* PROXY spec 2.2.3: over all of it as it is now. */
static void sum_up(void)
{
	uint32_t sum = sum_by_bytes(model.bytes, model.len, model.len - 4);
	int i;

	for (i = 0; i < 4; i++)
		model.bytes[model.len - 4 + (size_t)i] = (unsigned char)(sum >> (24 - 8 * i));
}

static void add_one(unsigned char *buf, int is_header, struct input *in)
{
	static unsigned char values[4 * 65536];
	unsigned how = take8(in), type = take8(in), fill = take8(in);
	size_t len;
	int n, expected;

	if ((how & 15) == 15) {
		expected = expect_added(is_header, 3, (const unsigned char *)"\0\0\0", 4);
		if (expected > 0) {
			sum_up();
			model.broken |= model.sums++ > 0;
		}
		n = proxyhdr_add_crc32c(buf, model.size);
	} else {
		len = how & 0x40 ? take16(in) * (how & 0x80 ? 3 : 1) : take8(in);
		if ((how & 15) == 14)           /* just as much as fits, or so */
			len = model.size - model.len - (how >> 4 & 3) - 1;
		if (len > sizeof values)
			len = sizeof values;
		if ((how & 15) == 13)
			type |= 256;
		memset(values, (int)fill, len);
		expected = expect_added(is_header, type, values, len);
		/* a checksum that is anybody's, or covers no longer all; and this limit */
		if (expected > 0) {
			model.broken |= type == 3 || model.sums > 0 || (type == 5 && len > 128);
			model.short_ssl |= type == 0x20 && len < 5;
		}
		n = proxyhdr_add_tlv(buf, model.size, type, values, len);
	}
	CHECK(n == expected);
	/* after an error too: the header is as it was */
	CHECK(memcmp(buf, model.bytes, model.len) == 0);
}

static void check_added(struct input *in)
{
	unsigned how = take8(in);
	unsigned char *buf;
	struct proxyhdr hdr;
	int is_header;

	model.size = how & 1 ? 65530 + take8(in) : how & 2 ? take16(in) : take8(in);
	model.sums = model.broken = model.short_ssl = 0;
	model.len = 0;
	buf = allocate(model.size);         /* nothing to write behind it */
	memset(buf, 0, model.size);
	is_header = begin(buf, in);
	if (model.len > 0)
		while (in->left > 0)
			add_one(buf, is_header, in);
	if (is_header) {
		int n = proxyhdr_parse(&hdr, buf, model.len);

		if (model.broken || model.short_ssl)
			CHECK((model.broken && (n == PROXYHDR_ECRC32C || n == PROXYHDR_EUNIQUEID)) ||
			      (model.short_ssl && n == PROXYHDR_ETLV));
		else
			CHECK(n == (int)model.len);
		if (n > 0)
			CHECK(hdr.tlvs + hdr.tlvs_len == buf + n);
		check_walk(buf + 16 + sizes[buf[13] >> 4], model.len - 16 - sizes[buf[13] >> 4]);
	}
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	check_walk(data, size);
	check_added(&in);
	return 0;
}
