/* relay.c inside a fuzz target, unchanged: its main is relay_main, and what ends the
 * process or reaches out of it goes through functions of the target's, those that are
 * declared here.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 * A macro does for one file what ld's --wrap does for all: libFuzzer's own exit and
 * write stay theirs. All headers that relay.c includes come first.
 */
#ifndef INSIDE_H
#define INSIDE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "fuzz.h"

__attribute__((noreturn))
static void inside_exit(int status);
static ssize_t inside_write(int fd, const void *buf, size_t size);
static int inside_close(int fd);
static pid_t inside_getpid(void);
static int inside_clock_gettime(clockid_t clock, struct timespec *t);
static int inside_ppoll(struct pollfd *p, nfds_t count, const struct timespec *t, const sigset_t *mask);

#define main relay_main
#define exit(status) inside_exit(status)
#define _exit(status) inside_exit(status)
#define write(fd, buf, size) inside_write(fd, buf, size)
#define close(fd) inside_close(fd)
#define getpid() inside_getpid()
#define clock_gettime(clock, t) inside_clock_gettime(clock, t)
#define ppoll(p, count, t, mask) inside_ppoll(p, count, t, mask)
/* ASan guards no common symbols, and the large buffers are one. */
#define common nocommon
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "../../relay.c"
#pragma GCC diagnostic pop
#undef main
#undef exit
#undef _exit
#undef write
#undef close
#undef getpid
#undef clock_gettime
#undef ppoll
#undef common

#endif
