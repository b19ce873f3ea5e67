/* For targets that call relay's functions one by one: its end is only a way out of
 * them, and what it logs is kept, and must be as promised.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 */
#ifndef ALONE_H
#define ALONE_H

#include <setjmp.h>

#include "inside.h"

enum { PROCESS = 4711 };        /* relay's process id, as an input can name it */

static jmp_buf way_out;
static int ended_with;          /* the exit status */
static char logged[4096];       /* what went to descriptor 2 */
static size_t logged_len;

static void inside_exit(int status)
{
	ended_with = status;
	longjmp(way_out, 1);
}

static ssize_t inside_write(int fd, const void *buf, size_t size)
{
	if (fd == STDOUT_FILENO)        /* --help, --version */
		return (ssize_t)size;
	CHECK(fd == STDERR_FILENO && logged_len + size < sizeof logged);
	memcpy(logged + logged_len, buf, size);
	logged_len += size;
	return (ssize_t)size;
}

/* Nothing is relay's to close here: it closes both ends before it logs. */
static int inside_close(int fd)
{
	(void)fd;
	return 0;
}

static pid_t inside_getpid(void)
{
	return PROCESS;
}

static int inside_clock_gettime(clockid_t clock, struct timespec *t)
{
	return clock_gettime(clock, t);
}

static int inside_ppoll(struct pollfd *p, nfds_t count, const struct timespec *t, const sigset_t *mask)
{
	return ppoll(p, count, t, mask);
}

/* Calls a function of relay's. Returns its process's exit status if that would have
 * ended here, else -1. */
static int run(void (*function)(void *arg), void *arg)
{
	logged_len = 0;
	if (setjmp(way_out) != 0)
		return ended_with;
	function(arg);
	return -1;
}

/* relay's one connection as it is at the start, but for descriptors: the fuzzer's
 * own are none of its business. */
static void begin_anew(int in, int out)
{
	static __typeof__(conn) fresh;
	static bool kept;

	if (!kept)
		memcpy(&fresh, &conn, sizeof conn);
	kept = true;
	memcpy(&conn, &fresh, sizeof conn);
	conn.ends[CLIENT] = (struct end){ in, out, -1 };
	optind = 0;     /* glibc: getopt begins anew */
}

/* A logfmt value at *p, moved behind it. */
static void check_value(const char **p, const char *end)
{
	const char *start = *p;

	if (*p < end && **p == '"') {
		for (++*p; *p < end && **p != '"'; ++*p)
			if (**p == '\\')
				++*p;
		CHECK(*p < end);
		++*p;
		return;
	}
	while (*p < end && **p != ' ')
		CHECK(strchr("=\"\\", *(*p)++) == NULL);
	CHECK(*p > start);
}

/* S10: one line, "relay: error" and pairs of key and value, nothing in it that is
 * not printable. */
static void check_logged(void)
{
	static const char beginning[] = "relay: error msg=";
	const char *p = logged, *end = logged + logged_len - 1;
	size_t i;

	CHECK(logged_len > sizeof beginning && memcmp(logged, beginning, sizeof beginning - 1) == 0);
	CHECK(*end == '\n');
	for (i = 0; i + 1 < logged_len; i++)
		CHECK(logged[i] >= ' ' && logged[i] <= '~');
	for (p += strlen("relay: error"); p < end; ) {
		const char *key = ++p;

		CHECK(p[-1] == ' ');
		while (p < end && *p >= 'a' && *p <= 'z')
			p++;
		CHECK(p > key && p < end && *p == '=');
		p++;
		check_value(&p, end);
	}
}

/* The inputs' texts: each ends with a NUL, or with the input. */
enum { TEXTS_MAX = 64 };

struct texts {
	char *text[TEXTS_MAX + 1];      /* in blocks of just their size; NULL behind them */
	int count;
};

/* Takes texts from the input, up to an empty one or its end. */
static void take_texts(struct texts *t, struct input *in)
{
	t->count = 0;
	while (t->count < TEXTS_MAX && in->left > 0) {
		size_t len = strnlen((const char *)in->p, in->left);
		char *text = allocate(len + 1);

		memcpy(text, in->p, len);
		text[len] = '\0';
		in->p += len < in->left ? len + 1 : len;
		in->left -= len < in->left ? len + 1 : len;
		if (len == 0) {
			free(text);
			break;
		}
		t->text[t->count++] = text;
	}
	t->text[t->count] = NULL;
}

static void free_texts(struct texts *t)
{
	while (t->count > 0)
		free(t->text[--t->count]);
}


#endif
