/* relay that writes its seccomp filter to the file $FILTER, and gives it to no kernel.
 * Included before relay.c, which is otherwise as it is; for tests/filter.py.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* struct sock_fprog. */
struct given {
	unsigned short len;
	const struct {
		uint16_t code;
		uint8_t jt, jf;
		uint32_t k;
	} *filter;
};

/* seccomp(2), with the same arguments. A line of them, and one for each instruction. */
__attribute__((unused))       /* in proxyhdr.c */
static long write_filter(long number, unsigned operation, unsigned flags, const void *given)
{
	const struct given *program = given;
	FILE *file = fopen(getenv("FILTER"), "w");
	unsigned i;

	fprintf(file, "%ld %u %u %ld\n", number, operation, flags, (long)getpid());
	for (i = 0; i < program->len; i++)
		fprintf(file, "%u %u %u %u\n", program->filter[i].code, program->filter[i].jt,
		        program->filter[i].jf, program->filter[i].k);
	return fclose(file);
}

#define syscall write_filter
