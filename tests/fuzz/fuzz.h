/* What the fuzz targets share. A target is a LLVMFuzzerTestOneInput of libFuzzer's:
 * it reads its input as it likes, and aborts where a promise does not hold.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proxyhdr.h"

/* libFuzzer's. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

#define CHECK(condition) \
	((condition) ? (void)0 : broken(__FILE__, __LINE__, #condition))

/* What else is to be told then. */
static void (*when_broken)(void);

__attribute__((noreturn, unused))
static void broken(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	if (when_broken != NULL)
		when_broken();
	abort();
}

__attribute__((unused))
static void *allocate(size_t size)
{
	void *block = calloc(1, size > 0 ? size : 1);

	CHECK(block != NULL);
	return block;
}

/* Byte for byte, padding too: all of it was set to begin with. */
__attribute__((unused))
static int are_same(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

/* Of an input that is read as numbers: those behind its end are 0. */
struct input {
	const uint8_t *p;
	size_t left;
};

__attribute__((unused))
static unsigned take8(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->p++;
}

__attribute__((unused))
static unsigned take16(struct input *in)
{
	unsigned high = take8(in);

	return high << 8 | take8(in);
}

__attribute__((unused))
static unsigned get16be(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static const unsigned char signature[12] = {
	0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A
};

/* A v2 header's CRC32c, byte by byte (RFC 4960 appendix B), the four bytes at
 * `field` taken as zero. */
__attribute__((unused))
static uint32_t sum_by_bytes(const unsigned char *p, size_t len, size_t field)
{
	static uint32_t table[256];
	uint32_t crc = 0xFFFFFFFF;
	size_t i;
	int k;

	if (table[1] == 0)
		for (i = 0; i < 256; i++)
			for (table[i] = (uint32_t)i, k = 0; k < 8; k++)
				table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82F63B78 : 0);
	for (i = 0; i < len; i++) {
		unsigned byte = i - field < 4 ? 0 : p[i];

		crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF];
	}
	return ~crc;
}

#endif
