/* relay as if a hostile byte had taken it over: of what comes in, "call NAME" is done.
 * Included before relay.c, which is otherwise as it is (see the Makefile).
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Each fails, or does no harm, if it is not stopped. */
static long call(const char *name)
{
	static const char *const none[] = { NULL };
	static char page[4096];
	const struct {
		const char *name;
		long number, arguments[6];
	} calls[] = {
		{ "openat", SYS_openat, { AT_FDCWD, (long)"/etc/passwd", O_RDONLY } },
		{ "socket", SYS_socket, { AF_INET, SOCK_STREAM } },
		{ "connect", SYS_connect, { 0, (long)page, 0 } },
		{ "bind", SYS_bind, { 0, (long)page, 0 } },
		{ "listen", SYS_listen, { 0, 1 } },
		{ "accept4", SYS_accept4, { 0 } },
		{ "sendmsg", SYS_sendmsg, { 0 } },
		{ "execve", SYS_execve, { (long)"/nonexistent", (long)none, (long)none } },
		{ "execveat", SYS_execveat, { -1, (long)"/nonexistent", (long)none, (long)none } },
		{ "clone", SYS_clone, { CLONE_THREAD } },
		{ "clone3", SYS_clone3, { 0 } },
		{ "mmap", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 } },
		{ "mprotect", SYS_mprotect, { 0, 4096, PROT_READ | PROT_EXEC } },
		{ "brk", SYS_brk, { 0 } },
		{ "kill", SYS_kill, { 1, 0 } },
		{ "tgkill", SYS_tgkill, { 1, 1, 0 } },
		{ "ptrace", SYS_ptrace, { -1 } },
		{ "ioctl", SYS_ioctl, { 0, TIOCSTI, (long)page } },
		{ "unlinkat", SYS_unlinkat, { AT_FDCWD, (long)"/nonexistent" } },
		{ "setuid", SYS_setuid, { -1 } },
		{ "prctl", SYS_prctl, { -1 } },
		{ "seccomp", SYS_seccomp, { -1 } },
		{ "memfd_create", SYS_memfd_create, { (long)"", 0 } },
		{ "process_vm_writev", SYS_process_vm_writev, { 1 } },
		{ "io_uring_setup", SYS_io_uring_setup, { 0, 0 } },
		{ "sendto to connect", SYS_sendto, { -1, (long)page, 1, MSG_FASTOPEN, (long)page, 16 } },
		{ "fcntl to kill", SYS_fcntl, { -1, F_SETOWN, 1 } },
		{ "another number", 5000, { 0 } },
		/* and what is allowed */
		{ "kill itself", SYS_kill, { (long)getpid(), 0 } },
		{ "no call", -1, { 0 } },
	};
	size_t i;

	for (i = 0; i < sizeof calls / sizeof *calls; i++)
		if (strcmp(calls[i].name, name) == 0)
			return syscall(calls[i].number, calls[i].arguments[0], calls[i].arguments[1],
			               calls[i].arguments[2], calls[i].arguments[3],
			               calls[i].arguments[4], calls[i].arguments[5]);
	dprintf(STDERR_FILENO, "relay: no call has the name %s\n", name);
	return -1;
}

__attribute__((unused))       /* in proxyhdr.c */
static ssize_t recv_and_obey(int fd, void *buf, size_t size, int flags)
{
	ssize_t n = recv(fd, buf, size, flags);
	char name[32] = "";

	if (n > 5 && (size_t)n - 5 < sizeof name && memcmp(buf, "call ", 5) == 0) {
		memcpy(name, (char *)buf + 5, (size_t)n - 5);
		call(name);
	}
	return n;
}

#define recv recv_and_obey
