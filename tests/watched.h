/* Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 * Included before all else (-include) where relay is built to be watched: by
 * AddressSanitizer, which looks for leaks at the end, and by gcov, which then writes
 * down which lines have run. Both wait for exit(3), and relay may end by _exit(2) or
 * by a signal that it sends to itself. Of a signal that ends it at once they learn
 * nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void __gcov_dump(void);
void __lsan_do_leak_check(void);
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__lsan_default_options(void);
int __lsan_is_turned_off(void);
const char *__lsan_default_suppressions(void);

/* Where reports go if the environment does not say: some launchers pass on none of it. */
__attribute__((weak)) const char *__asan_default_options(void)
{
	return "log_path=" REPORTS;
}

__attribute__((weak)) const char *__ubsan_default_options(void)
{
	return "log_path=" REPORTS;
}

/* The sanitizer looks for leaks by ptrace(2), and says so where strace is there first. */
__attribute__((weak)) int __lsan_is_turned_off(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	int tracer = 0;

	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, "TracerPid:", 10) == 0)
			tracer = atoi(line + 10);
	if (file != NULL)
		fclose(file);
	return tracer != 0;
}

/* What stays to the end though nothing points to it any more: what a look-up was about
 * and what it has found, once for each name on the command line, for the thread may be
 * in it when nobody waits any more (start_lookup; in glibc's resolver the sanitizer does
 * not see who has called); the one list of the backends, and those that were tried beside the
 * first, which release forgets. */
__attribute__((weak)) const char *__lsan_default_suppressions(void)
{
	return "leak:start_lookup\nleak:getaddrinfo\nleak:res_context_send\nleak:order_backends\nleak:new_target\n";
}

__attribute__((weak)) const char *__lsan_default_options(void)
{
	return "print_suppressions=0";
}

/* gcov's files are shared with relays of other users: anybody may write them. */
static __attribute__((destructor)) void share_counts(void)
{
	umask(0);
}

static inline void have_it_seen(void)
{
	share_counts();
	__gcov_dump();
	__lsan_do_leak_check();
}

static inline _Noreturn void exit_seen(int status)
{
	have_it_seen();
	_exit(status);
}

#define _exit(status)    exit_seen(status)      /* what has come of it is seen, too */
#define kill(pid, sig)   (have_it_seen(), kill(pid, sig))

/* The sandbox forbids what either does at the end: all of it is set up but the filter. */
static inline long leave_out(long call, ...)
{
	(void)call;
	return 0;
}

#define syscall(...)     leave_out(__VA_ARGS__)
