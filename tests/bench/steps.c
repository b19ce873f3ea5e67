/* steps: what a program does from execve to the first bytes that it sends to the
 * backend, counted.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 *   steps calls FILE PORT COMMAND...          the backend is at 127.0.0.1:PORT
 *   steps instructions FILE PORT COMMAND...
 *
 * Writes to FILE how many, and the page faults (/proc/PID/stat) until then. The
 * system call that sends is counted, execve is not. Instructions are those of user
 * space; one with a `rep` counts for each time round. They are stepped through, some
 * ten thousand a second. Linux on x86-64.
 */
#include <arpa/inet.h>
#include <err.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SYSCALL_INSTRUCTION = 0x050f };

/* Its page faults so far. Before the tenth field there is one in brackets. */
static long faults(pid_t pid)
{
	char path[64];
	long n = -1;
	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	FILE *file = fopen(path, "r");
	if (file == NULL || fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %ld", &n) != 1)
		errx(111, "cannot read %s", path);
	fclose(file);
	return n;
}

/* Is that descriptor of the process a connection to the port? */
static bool leads_to(int pidfd, int descriptor, int port)
{
	struct sockaddr_in peer = { 0 };
	socklen_t size = sizeof peer;
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, descriptor, 0);
	if (fd < 0)
		return false;
	bool it_is = getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
	             peer.sin_family == AF_INET && ntohs(peer.sin_port) == port;
	close(fd);
	return it_is;
}

/* The descriptor that a system call about to be made writes to; -1: none. */
static int written_to(const struct user_regs_struct *regs)
{
	switch (regs->rax) {
	case SYS_write:
	case SYS_writev:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
		return (int)regs->rdi;
	case SYS_splice:
		return (int)regs->rdx;
	default:
		return -1;
	}
}

enum { INSTRUCTION = SIGTRAP, CALL = SIGTRAP | 0x80 };

/* Lets it run until it stops behind the next instruction, or before or behind a
 * call. It may stop on the way: signals for it, or an execve that has been done. */
static void go_on(pid_t pid, int stop, struct user_regs_struct *regs)
{
	int status = 0;
	intptr_t sig = 0;
	do {
		long result = stop == INSTRUCTION ? ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)sig)
		                              : ptrace(PTRACE_SYSCALL, pid, NULL, (void *)sig);
		if (result < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			errx(111, "it ended before it sent anything to the backend");
		sig = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
	} while (WSTOPSIG(status) != stop);
	ptrace(PTRACE_GETREGS, pid, NULL, regs);
}

static long count_calls(pid_t pid, int pidfd, int port)
{
	struct user_regs_struct before, after;
	for (long calls = 1;; calls++) {
		go_on(pid, CALL, &before);
		before.rax = before.orig_rax;
		go_on(pid, CALL, &after);
		if ((long)after.rax > 0 && leads_to(pidfd, written_to(&before), port))
			return calls;
	}
}

static long count_instructions(pid_t pid, int pidfd, int port)
{
	struct user_regs_struct before, after;
	ptrace(PTRACE_GETREGS, pid, NULL, &before);
	for (long instructions = 1;; instructions++) {
		long text = ptrace(PTRACE_PEEKTEXT, pid, before.rip, NULL);
		go_on(pid, INSTRUCTION, &after);
		if ((text & 0xffff) == SYSCALL_INSTRUCTION && (long)after.rax > 0 &&
		    leads_to(pidfd, written_to(&before), port))
			return instructions;
		before = after;
	}
}

int main(int argc, char **argv)
{
	int status;
	if (argc < 5)
		errx(100, "usage: steps calls|instructions FILE PORT COMMAND...");
	FILE *out = fopen(argv[2], "we");
	if (out == NULL)
		err(111, "%s", argv[2]);
	pid_t pid = fork();
	if (pid < 0)
		err(111, "fork");
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execvp(argv[4], argv + 4);
		err(111, "%s", argv[4]);
	}
	/* The program is about to run its first instruction. */
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		errx(111, "%s did not start", argv[4]);

	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	long before = faults(pid);
	bool calls = *argv[1] == 'c';
	long n = (calls ? count_calls : count_instructions)(pid, pidfd, atoi(argv[3]));
	fprintf(out, "%ld %ld\n", n, faults(pid) - before);
	fclose(out);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	waitpid(pid, &status, 0);
	return 0;
}
