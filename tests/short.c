/* Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 * For tests/inject.py: a library that LD_PRELOAD puts before the C library. One call
 * does less than it is asked for, as the kernel may do at any time. SHORT="recv 3 1":
 * the third recv is for one byte. SHORT="close 2 EINTR": the second close says so, and
 * has closed, which is how Linux does it. SHORT_LOG: a file with all calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum call { RECV, SEND, READ, WRITE, SPLICE, CLOSE, CALLS };
static const char *const names[CALLS] = { "recv", "send", "read", "write", "splice", "close" };

static char name[16];           /* of the call that is to be short */
static int number;              /* of such calls */
static size_t limit;            /* in bytes */
static int log_file = -1;

__attribute__((constructor))
static void start(void)
{
	if (strcmp(program_invocation_short_name, "relay") != 0)
		return;

	const char *what = getenv("SHORT"), *path = getenv("SHORT_LOG");
	int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

	log_file = fcntl(fd, F_DUPFD_CLOEXEC, 200);     /* in nobody's way */
	syscall(SYS_close, fd);
	if (what != NULL)
		sscanf(what, "%15s %d %zu", name, &number, &limit);
}

/* Whether this call is the one. */
static bool is_short(enum call call, int fd)
{
	static int calls[CALLS] = { 0 };
	bool yes = ++calls[call] == number && strcmp(name, names[call]) == 0;
	char line[64];
	int len = snprintf(line, sizeof line, "%s(%d%s\n", names[call], fd, yes ? ", short" : "");

	if (log_file >= 0)
		syscall(SYS_write, log_file, line, (size_t)len);
	return yes;
}

static size_t cut(enum call call, int fd, size_t size)
{
	return is_short(call, fd) && limit < size ? limit : size;
}

ssize_t recv(int fd, void *buf, size_t size, int flags)
{
	return syscall(SYS_recvfrom, fd, buf, cut(RECV, fd, size), flags, NULL, NULL);
}

ssize_t send(int fd, const void *buf, size_t size, int flags)
{
	return syscall(SYS_sendto, fd, buf, cut(SEND, fd, size), flags, NULL, 0);
}

ssize_t read(int fd, void *buf, size_t size)
{
	return syscall(SYS_read, fd, buf, cut(READ, fd, size));
}

ssize_t write(int fd, const void *buf, size_t size)
{
	return syscall(SYS_write, fd, buf, cut(WRITE, fd, size));
}

ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags)
{
	return syscall(SYS_splice, from, from_at, to, to_at, cut(SPLICE, from, size), flags);
}

int close(int fd)
{
	bool interrupted = is_short(CLOSE, fd);
	int answer = (int)syscall(SYS_close, fd);

	if (!interrupted)
		return answer;
	errno = EINTR;
	return -1;
}
