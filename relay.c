/* relay: hands one connection on to a backend, with its client's real address.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 * A super-server accepts the connection and starts relay for it. relay asks the
 * socket who the client is, connects to the backend, writes a PROXY protocol
 * header and moves bytes both ways until both directions have ended. It never
 * reads the bytes that it carries.
 *
 * This file goes in the order in which a connection lives: options, who is the
 * client, its own header, what the backend is told, which backend, connect, relay,
 * report. S1 to S10 are the promises of the man page's section PROMISES.
 */
#include "proxyhdr.h"

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
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define VERSION "0.1.0"

/* What only Linux has; -DPORTABLE does without. */
#if defined __linux__ && !defined PORTABLE
#define LINUX
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

/* What macOS lacks, or calls otherwise. Nobody has run relay there or on a BSD yet:
 * tests/elsewhere.h takes these things away on Linux, and that is all that is known. */
#ifdef __APPLE__
#include <sys/random.h>         /* getentropy */
#define TCP_KEEPIDLE TCP_KEEPALIVE
#define SOCK_NONBLOCK 0         /* start_connect asks for it */
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0          /* main ignores SIGPIPE */
#endif
#endif

/* A read that brings so many bytes belongs to a bulk flow; -DBULK=0: all do. */
#ifndef BULK
#define BULK 65536
#endif

enum { BUFFER_SIZE = 256 * 1024, PIPE_SIZE = 1024 * 1024 };
enum { PAGE = 4096 };           /* of memory, at least */
enum { VALUE_MAX = 300 };       /* bytes of a value in the log, of six that a line may have */
enum { AT_ONCE = 50 };          /* milliseconds: longer than to a backend nearby */

/* Exit statuses, after the UCSPI custom: 100 stays wrong until somebody mends
 * the configuration, 111 may pass. */
enum { EXIT_REFUSED = 1, EXIT_USAGE = 100, EXIT_SYSTEM = 111 };

/* One side of the relay. */
struct end {
	int in, out;            /* descriptors, often the same */
	int socket;             /* the one that is a socket, or -1 */
};

/* A backend as the command line names it. */
struct backend {
	const char *text;
	char host[256], port[16];           /* a name to look up, or host is "" */
	struct addrinfo address;            /* else where it is, or, */
	union proxyhdr_addr sockaddr;
	struct end descriptors;             /* with fd:, connected already */
};

struct options {
	int version;                        /* of the header; 0: send none */
	const char *accept_from;            /* whose header is read; NULL: nobody's */
	bool crc32c, unique_id, ssl;
	int timeout, idle;                  /* milliseconds; idle 0: never */
	union proxyhdr_addr bind;           /* AF_UNSPEC: the system chooses */
	bool bind_client;                   /* the client's own address, instead */
	enum balance { FIRST, HASH, RANDOM } balance;
	bool check, verbose, quiet;
	char **backends;
	int count;                          /* of them */
	bool has_fd;                        /* one of them is fd: */
};

/* Bytes on their way from one end to the other. */
struct direction {
	int from, to;
	unsigned char *buf;                 /* of BUFFER_SIZE bytes, chosen for each read */
	size_t start;                       /* in buf, of what is held there */
	size_t held;                        /* bytes read from `from`, not yet written */
	enum { SMALL, BULKY, NO_PIPE } flow;    /* as the last read was; or it is copied */
	int pipe[2];                        /* of a bulky one; -1: none is open */
	bool piped;                         /* what is held is in the pipe */
	bool used;                          /* memory that an idle one does not need */
	size_t header;                      /* of what goes to `to`, not the peer's */
	unsigned long long bytes;           /* written to `to` */
	bool ended;                         /* EOF has come in and gone out */
	bool hung_up[2];                    /* FROM, TO: its other side is closed */
};

enum { ATTEMPTS = 32 };         /* of connections to backends, at once */

/* A backend that is being tried. */
struct target {
	struct backend backend;
	int rank;
	const struct addrinfo *next;        /* its addresses that are not yet tried */
	int under_way;                      /* attempts; 0, and no next: it is free */
	long long deadline;
	char why[VALUE_MAX + 1];            /* the last attempt failed */
};

/* getaddrinfo(3) knows no time limit: it has a thread of its own, which is left
 * behind when the time is over. */
struct lookup {
	char host[256], port[16];
	struct addrinfo *found;
	const char *error;      /* why there is none */
	int done[2];            /* a pipe: it ends when there is an answer */
};

/* A connection that is being made, or a name that is looked up. */
struct attempt {
	struct target *target;
	const struct addrinfo *to;          /* NULL: it is a look-up */
	struct lookup *lookup;              /* this one */
};

/* All that is under way. Times are in milliseconds since it began. The clock is
 * not read before it has to be: for a connection made AT_ONCE never. */
struct race {
	const struct choice *next, *end;    /* backends that are not yet tried */
	long long began;                    /* 0: the clock has not been read */
	struct end *won;
	int count;                          /* of attempts */
	int used;                           /* of targets: more were never needed */
	struct pollfd p[1 + ATTEMPTS];      /* the client's, then the attempts' */
	struct attempt attempts[ATTEMPTS];
	struct target *targets[ATTEMPTS];
	struct target first;                /* of them, often the only one */
};

enum ending { NOT_YET, DONE, CLIENT_RESET, BACKEND_RESET, IDLE, SIGNAL };

/* The one connection of this process: what is known of it by now. */
static struct {
	struct options options;
	struct end ends[2];                 /* the client, the backend */
	struct direction directions[2];     /* from the client, from the backend */
	union proxyhdr_addr client, server; /* AF_UNSPEC: not known */
	union proxyhdr_addr via;            /* who sent `inbound`, the client's header */
	struct proxyhdr inbound;
	size_t own_len;                     /* of relay's own TLVs; 0: there are none */
	char id[2 + 2 * PROXYHDR_UNIQUE_ID_MAX + 1];    /* "": none */
	const char *text;                   /* the backend, as the command line has it */
	union proxyhdr_addr backend;        /* where it is connected to */
	long long started;                  /* milliseconds, with -v */
} conn = {
	.ends = { { STDIN_FILENO, STDOUT_FILENO, -1 }, { -1, -1, -1 } },
	.directions = {
		{ .pipe = { -1, -1 }, .flow = BULK == 0 ? BULKY : SMALL },
		{ .pipe = { -1, -1 }, .flow = BULK == 0 ? BULKY : SMALL }
	}
};

enum { CLIENT, BACKEND };          /* of ends, and of directions by where they come from */
enum { FROM, TO };

/* What is large, or of no use to a connection that rests: release gives it back. GNU ld
 * puts what is common behind all other data, the C library's too: so what every
 * connection needs is in few pages, and each page that is touched costs more than a
 * system call. */
__attribute__((common)) struct {
	struct race race;
	unsigned char buffers[2][BUFFER_SIZE];
	/* The TLVs that relay adds, as a header without addresses, of conn.own_len
	 * bytes. Far from PROXYHDR_MAX, so that addresses always fit. */
	unsigned char own[32 * 1024];
	/* All of this are whole pages. GNU ld begins the data on a new page where that
	 * makes a page fewer in all: so it does where what comes before would cross one. */
	unsigned char padding[PAGE - sizeof(struct race) % PAGE];
} large;
_Static_assert(sizeof large % PAGE == 0, "whole pages");

static struct race *const race = &large.race;

/* ---- messages ---- */

enum log_target { UNDECIDED, STDERR, JOURNAL, SYSLOG };

struct line {
	char text[2048];
	size_t len;
};

__attribute__((format(printf, 2, 3)))
static void add(struct line *line, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line->text + line->len, sizeof line->text - line->len, format, args);
	va_end(args);
	if (n > 0)
		line->len += (size_t)n;
	if (line->len > sizeof line->text - 2)      /* room for the newline */
		line->len = sizeof line->text - 2;
}

/* key=value, quoted where logfmt asks for it. A value may come from the command
 * line, the environment or a client: nothing but printable ASCII gets out, and
 * not so much of it that there is no room for the next. */
static void add_pair(struct line *line, const char *key, const char *value)
{
	bool quote = *value == '\0';
	size_t start;
	const char *p;

	for (p = value; *p != '\0'; p++)
		quote |= *p <= ' ' || *p > '~' || strchr("=\"\\", *p) != NULL;
	add(line, " %s=%s", key, quote ? "\"" : "");
	for (start = line->len; *value != '\0'; value++) {
		if (line->len - start >= VALUE_MAX) {
			add(line, "...");
			break;
		}
		if (*value == '"' || *value == '\\')
			add(line, "\\%c", *value);
		else if (*value < ' ' || *value > '~')
			add(line, "\\x%02x", (unsigned char)*value);
		else
			add(line, "%c", *value);
	}
	if (quote)
		add(line, "\"");
}

static void add_address(struct line *line, const char *key, const union proxyhdr_addr *a)
{
	char ip[INET6_ADDRSTRLEN], text[sizeof a->un.sun_path + 2] = "unknown";

	if (a->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof ip);
		snprintf(text, sizeof text, "%s:%d", ip, ntohs(a->in.sin_port));
	} else if (a->sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof ip);
		snprintf(text, sizeof text, "[%s]:%d", ip, ntohs(a->in6.sin6_port));
	} else if (a->sa.sa_family == AF_UNIX) {
		const char *path = a->un.sun_path;
		int size = sizeof a->un.sun_path;

		if (path[0] == '\0' && path[1] != '\0')
			snprintf(text, sizeof text, "@%.*s", size - 1, path + 1);
		else
			snprintf(text, sizeof text, "%.*s", size, path[0] ? path : "unix");
	}
	add_pair(line, key, text);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* unix(7): a socketpair's end has no name, and its address no room for one. The BSDs
 * give 16 bytes all the same, but have no names that begin with NUL. */
static bool has_name(const union proxyhdr_addr *a, socklen_t len)
{
#ifdef __linux__
	return a->sa.sa_family != AF_UNIX || len > offsetof(struct sockaddr_un, sun_path);
#else
	(void)len;
	return a->sa.sa_family != AF_UNIX || a->un.sun_path[0] != '\0';
#endif
}

/* A socket that a listener has accepted: it has a name. Nobody logs to one. */
static bool is_accepted(int fd)
{
	union proxyhdr_addr a;
	socklen_t len = sizeof a;

	memset(&a, 0, sizeof a);
	if (getsockname(fd, &a.sa, &len) < 0)
		return true;            /* who knows: the system's log is never wrong */
	return has_name(&a, len);
}

/* S9: inetd, and systemd with StandardInput=socket, put the client on
 * descriptor 2 as well; there it stays, whatever a filter makes of 0 and 1. A
 * pipe on 1 and 2 counts if 0 can be a client too: else it is somebody who tries
 * relay in a shell. */
static bool stderr_is_client(const struct stat *err)
{
	struct stat in, out;
	bool has_in = fstat(conn.ends[CLIENT].in, &in) == 0, unknown = !has_in && errno != EBADF;
	bool has_out = fstat(conn.ends[CLIENT].out, &out) == 0;
	bool same = (has_in && is_same_file(err, &in)) || (has_out && is_same_file(err, &out));

	if (unknown || (!has_out && errno != EBADF))
		return true;
	if (S_ISSOCK(err->st_mode))
		return same || is_accepted(STDERR_FILENO);
	return same && S_ISFIFO(err->st_mode) && has_in &&
	       (S_ISFIFO(in.st_mode) || S_ISSOCK(in.st_mode));
}

/* systemd.exec(5): $JOURNAL_STREAM is the device and inode of the journal's end. */
static bool is_journal(const struct stat *err)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char expected[64];

	if (stream == NULL)
		return false;
	snprintf(expected, sizeof expected, "%llu:%llu",
	         (unsigned long long)err->st_dev, (unsigned long long)err->st_ino);
	return strcmp(stream, expected) == 0;
}

/* Where a message can be read. Decided once: descriptors close on the way. */
static enum log_target log_target(void)
{
	static enum log_target target = UNDECIDED;
	struct stat err;

	if (target != UNDECIDED)
		return target;
	if (fstat(STDERR_FILENO, &err) < 0 || stderr_is_client(&err))
		target = SYSLOG;
	else
		target = is_journal(&err) ? JOURNAL : STDERR;
	return target;
}

/* -1: not open yet; NEVER: the sandbox does not let it be opened any more. */
static int syslog_socket = -1;
enum { NEVER = -2 };

enum { LAST_WORDS = 1000 };     /* milliseconds in which a log must take them */

static void open_syslog(void)
{
	const struct timeval patience = { LAST_WORDS / 1000, 0 };

	if (syslog_socket != -1)
		return;
	syslog_socket = socket(AF_UNIX, SOCK_DGRAM, 0);
	setsockopt(syslog_socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

/* What syslog(3) does, but that connects anew to a log that was restarted, which the
 * sandbox forbids, and waits without end for one that is full. It has room for ten
 * messages (unix(7), max_dgram_qlen), so last words wait for LAST_WORDS; nothing else does. */
static void send_to_syslog(int priority, const char *text)
{
	const struct sockaddr_un log = { .sun_family = AF_UNIX, .sun_path = _PATH_LOG };
	struct line line = { .len = 0 };

	open_syslog();
	add(&line, "<%d>relay[%ld]: %s", LOG_DAEMON | priority, (long)getpid(), text);
	sendto(syslog_socket, line.text, line.len,
	       MSG_NOSIGNAL | (priority == LOG_WARNING ? MSG_DONTWAIT : 0),
	       (const struct sockaddr *)&log, sizeof log);
}

/* One write, so that the lines of many processes do not mix. Last words wait a little
 * for a log that is stuck, not for ever: that would take the launcher's slots. (Where
 * many write to one pipe, the last room may be another's.) */
static void emit(int priority, const struct line *line)
{
	struct pollfd log = { STDERR_FILENO, POLLOUT, 0 };
	struct line out = { .len = 0 };

	signal(SIGPIPE, SIG_IGN);
	if (log_target() != SYSLOG && poll(&log, 1, priority == LOG_WARNING ? 0 : LAST_WORDS) > 0) {
		if (log_target() == JOURNAL)
			add(&out, "<%d>", priority);
		add(&out, "relay: %s", line->text);
		out.text[out.len++] = '\n';
		if (write(STDERR_FILENO, out.text, out.len) >= 0)
			return;
	}
	send_to_syslog(priority, line->text);
}

static void add_connection(struct line *line)
{
	if (conn.client.sa.sa_family != AF_UNSPEC)
		add_address(line, "client", &conn.client);
	if (conn.server.sa.sa_family != AF_UNSPEC)
		add_address(line, "server", &conn.server);
	if (conn.via.sa.sa_family != AF_UNSPEC)
		add_address(line, "via", &conn.via);
	if (conn.backend.sa.sa_family != AF_UNSPEC)
		add_address(line, "backend", &conn.backend);
	else if (conn.text != NULL)
		add_pair(line, "backend", conn.text);
	if (conn.id[0] != '\0')
		add_pair(line, "id", conn.id);
}

/* S4: whatever ends us, SIGKILL included, resets the connection, until
 * both directions have ended in order. No socket, or none of TCP's: no effect. */
static int try_linger(int fd, bool on)
{
	struct linger linger = { on, 0 };

	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static sigset_t unblocked;      /* with -v, the signal mask while waiting */

/* Before a last message: a log that is stuck must not hold up the peers, nor keep
 * a signal from ending relay. */
static void close_ends(void)
{
	int i;

	log_target();
	if (conn.options.verbose)
		sigprocmask(SIG_SETMASK, &unblocked, NULL);
	for (i = 0; i < 2; i++) {
		close(conn.ends[i].in);
		close(conn.ends[i].out);
	}
	if (log_target() == SYSLOG)
		close(STDERR_FILENO);   /* it may be the client's, too */
}

/* Ends the process, with a reset of its connections, and logs why. */
__attribute__((noreturn, format(printf, 2, 3)))
static void fail(int status, const char *format, ...)
{
	struct line line = { .len = 0 };
	char message[512];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);
	try_linger(conn.ends[CLIENT].in, true);
	try_linger(conn.ends[CLIENT].out, true);
	close_ends();
	if (!conn.options.quiet) {
		add(&line, "error");
		add_pair(&line, "msg", message);
		add_connection(&line);
		emit(LOG_ERR, &line);
	}
	_exit(status);          /* exit(3) waits for locks that a look-up may hold */
}

/* All of it on standard output. Not by stdio, whose buffer lies among what every
 * connection touches. */
static void print(const char *text)
{
	ssize_t n;

	for (; *text != '\0'; text += n)
		if ((n = write(STDOUT_FILENO, text, strlen(text))) < 0)
			fail(EXIT_SYSTEM, "standard output: %s", strerror(errno));
}

/* Where it fails, a cut would look like an end, or an end would be cut. */
static void set_linger(int fd, bool on)
{
#ifdef __APPLE__
	/* else it can be set no more when both sides are shut */
	const struct so_np_extensions late = { SONPX_SETOPTSHUT, SONPX_SETOPTSHUT };

	setsockopt(fd, SOL_SOCKET, SO_NP_EXTENSIONS, &late, sizeof late);
#endif
	if (try_linger(fd, on) < 0 && errno != ENOTSOCK && errno != EBADF)
		fail(EXIT_SYSTEM, "SO_LINGER: %s", strerror(errno));
}

/* Both descriptors: they may be two sockets. */
static void set_lingers(const struct end *end, bool on)
{
	set_linger(end->in, on);
	if (end->out != end->in)
		set_linger(end->out, on);
}

/* Milliseconds on a clock that nobody sets. The first call costs four page
 * faults, so a connection that is made AT_ONCE does without. */
static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Milliseconds until then, 0 if that is past. */
static int time_left(long long deadline)
{
	long long left = deadline - now();

	return left > 0 ? (int)left : 0;
}

/* How many of the peer's own bytes a direction has carried. */
static unsigned long long relayed(const struct direction *d)
{
	return d->bytes > d->header ? d->bytes - d->header : 0;
}

/* The last line of a connection, with -v. */
static void report(enum ending ending)
{
	static const char *const names[] = {
		"not-yet", "done", "client-reset", "backend-reset", "idle", "signal"
	};
	struct line line = { .len = 0 };
	long long ms;

	if (!conn.options.verbose || conn.options.quiet)
		return;
	close_ends();
	ms = now() - conn.started;
	add(&line, "closed");
	add_connection(&line);
	add(&line, " up=%llu down=%llu seconds=%lld.%03lld end=%s",
	    relayed(&conn.directions[CLIENT]), relayed(&conn.directions[BACKEND]),
	    ms / 1000, ms % 1000, names[ending]);
	emit(LOG_INFO, &line);
}

/* The client has left before there was anything to relay: no failure of ours. */
__attribute__((noreturn))
static void client_left(enum ending ending)
{
	report(ending);
	_exit(0);
}

/* ---- waiting ---- */

static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
enum { SIGNALS = sizeof signals / sizeof *signals };

static volatile sig_atomic_t caught;

static void catch(int sig)
{
	caught = sig;
#ifdef __APPLE__
	signal(SIGALRM, SIG_DFL);
	alarm(1);
#endif
}

#ifdef __APPLE__
/* A signal may come just before poll: then SIGALRM ends relay, a second later. */
static int ppoll(struct pollfd *p, nfds_t count, const struct timespec *t, const sigset_t *mask)
{
	sigset_t before;
	int n, error;

	sigprocmask(SIG_SETMASK, mask, &before);
	n = caught ? -1 : poll(p, count, t != NULL ? (int)(t->tv_sec * 1000 + t->tv_nsec / 1000000) : -1);
	error = caught ? EINTR : errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return n;
}
#endif

/* With -v a signal that ends relay is logged. Without, it just ends it: the
 * sockets close with a reset either way (S4). */
static void catch_signals(void)
{
	struct sigaction before, action = { .sa_handler = catch };
	sigset_t blocked;
	int i;

	sigemptyset(&blocked);
	for (i = 0; i < SIGNALS; i++) {
		sigaction(signals[i], &action, &before);
		if (before.sa_handler == SIG_IGN)       /* nohup's wish */
			sigaction(signals[i], &before, NULL);
		else
			sigaddset(&blocked, signals[i]);
	}
	sigprocmask(SIG_BLOCK, &blocked, &unblocked);
}

/* Whether a signal waits. ppoll lets it in only when it finds no descriptor ready,
 * which on a busy connection may be never. */
static bool is_signalled(void)
{
	sigset_t pending;
	int i;

	sigpending(&pending);
	for (i = 0; i < SIGNALS; i++)
		if (sigismember(&pending, signals[i]) == 1 && sigismember(&unblocked, signals[i]) == 0)
			return true;
	return false;
}

/* poll(2) for up to ms milliseconds, or without end where ms is negative. Returns
 * how many descriptors are ready, 0 after the time. */
static int wait_for(struct pollfd *p, nfds_t count, int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
	const sigset_t *mask = conn.options.verbose ? &unblocked : NULL;
	int n;

	if (mask != NULL && is_signalled())
		count = 0;
	while ((n = ppoll(p, count, ms < 0 ? NULL : &t, mask)) < 0) {
		if (errno != EINTR)
			fail(EXIT_SYSTEM, "poll: %s", strerror(errno));
		if (caught) {
			report(SIGNAL);
			signal(caught, SIG_DFL);
			sigprocmask(SIG_SETMASK, &unblocked, NULL);
			kill(getpid(), caught);
			_exit(128 + caught);            /* process 1 of a namespace outlives it */
		}
	}
	return n;
}

/* SOCK_STREAM or another type; -1: no socket. */
static int socket_type(int fd)
{
	int type;
	socklen_t len = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0)
		return type;
	if (errno != ENOTSOCK && errno != EBADF)
		fail(EXIT_SYSTEM, "descriptor %d: SO_TYPE: %s", fd, strerror(errno));
	return -1;
}

/* A socket that was reset. A pipe says POLLERR too, when nobody reads it any
 * more: that is no cut, its writer has just been left alone. */
static bool is_reset(int fd, short revents)
{
	return revents & POLLERR && socket_type(fd) >= 0;
}

/* Waits at most ms milliseconds for one of p[1..count). A client that resets its
 * connection meanwhile ends it all; p[0] is its. Returns whether one is ready;
 * false also, once, as soon as the client has hung up: its bytes still count. */
static bool wait_in_setup(struct pollfd *p, nfds_t count, int ms)
{
	static bool hung_up;

	p[0] = (struct pollfd){ hung_up ? -1 : conn.ends[CLIENT].out, 0, 0 };
	wait_for(p, count, ms);
	if (is_reset(p[0].fd, p[0].revents))
		client_left(CLIENT_RESET);
	hung_up |= p[0].revents != 0;
	while (count > 1)
		if (p[--count].revents != 0)
			return true;
	return false;
}

/* ---- TLVs ---- */

/* Adds a TLV to relay's own. */
static void add_own(unsigned type, const void *value, size_t len)
{
	static const struct proxyhdr empty = { .version = 2, .command = PROXYHDR_LOCAL };
	int n;

	if (conn.own_len == 0)
		proxyhdr_build(large.own, sizeof large.own, &empty);
	n = proxyhdr_add_tlv(large.own, sizeof large.own, type, value, len);
	if (n < 0)
		fail(EXIT_USAGE, "--tlv: too long: all TLVs together take at most %zu bytes",
		     sizeof large.own - PROXYHDR_V2_FIXED);
	conn.own_len = (size_t)n;
}

/* Reads the TLV at the start of p[0..*len), and moves both behind it. */
static bool next_tlv(struct proxyhdr_tlv *tlv, const unsigned char **p, size_t *len)
{
	int n = proxyhdr_next_tlv(tlv, *p, *len);

	if (n <= 0)
		return false;
	*p += n;
	*len -= (size_t)n;
	return true;
}

/* Finds a TLV of that type in tlvs[0..len). */
static bool find_tlv(struct proxyhdr_tlv *tlv, unsigned type, const unsigned char *tlvs, size_t len)
{
	while (next_tlv(tlv, &tlvs, &len))
		if (tlv->type == type)
			return true;
	return false;
}

static bool has_own(unsigned type)
{
	struct proxyhdr_tlv tlv;

	return conn.own_len > 0 && find_tlv(&tlv, type, large.own + PROXYHDR_V2_FIXED,
	                               conn.own_len - PROXYHDR_V2_FIXED);
}

/* ---- options ---- */

static const char help[] =
"usage: relay [options] backend...\n"
"Connects to a backend, tells it the client's address in a PROXY protocol header,\n"
"moves bytes both ways. inetd, systemd, tcpserver ... start it for a connection.\n"
"backend: HOST:PORT, [V6]:PORT, /path, @abstract, fd:R,W or fd:N\n"
"\n"
"  -1, --v1                send a version 1 header (default)\n"
"  -2, --v2                send a version 2 header\n"
"  -0, --no-header         send none: a plain relay\n"
"  -a, --accept-from=NETS  first read a header from the client, a proxy in NETS\n"
"  -l, --balance=HOW       order of several backends: first, hash or random\n"
"  -b, --bind=ADDR         connect from this address; client: from the client's\n"
"  -t, --timeout=SECS      limit for client's header, and for each backend (10)\n"
"  -i, --idle=SECS         end a connection that moves nothing for so long\n"
"  -c, --crc32c            v2: add a checksum\n"
"  -u, --unique-id         v2: add an id of the connection; also to the log\n"
"  -s, --ssl               v2: add what a TLS launcher's environment tells\n"
"  -x, --tlv=TYPE=VALUE    v2: add a TLV, as in 0xE0=text or alpn=h2; repeatable\n"
"  -n, --check             no client: does each backend take the header?\n"
"  -v, --verbose           log every connection\n"
"  -q, --quiet             log nothing\n"
"  -h, --help              print this and exit\n"
"  -V, --version           print the version and exit\n"
"exit status: 0 connection over, 1 client refused, 100 wrong usage, 111 failure\n";

/* Reads decimal digits at *p, up to max, and moves *p behind them. */
static bool read_number(const char **p, unsigned max, unsigned *n)
{
	const char *start = *p;

	for (*n = 0; **p >= '0' && **p <= '9'; ++*p) {
		unsigned digit = (unsigned)(**p - '0');

		if (*n > (max - digit) / 10)
			return false;
		*n = *n * 10 + digit;
	}
	return *p > start;
}

/* The same, with nothing behind the digits. */
static bool parse_number(const char *text, unsigned max, unsigned *n)
{
	return read_number(&text, max, n) && *text == '\0';
}

/* Seconds with or without a fraction, to milliseconds, rounded up. */
static int parse_seconds(const char *option, const char *text, int min_ms)
{
	const unsigned max = INT_MAX / 1000 - 1;
	const char *p = text;
	unsigned seconds = 0, ms = 0, unit = 1000;      /* seconds * 1000 fits */
	bool digits = read_number(&p, max, &seconds), more = false;

	if (*p == '.' && (digits || p == text)) {
		for (p++; *p >= '0' && *p <= '9'; p++) {
			digits = true;
			unit /= 10;
			ms += (unsigned)(*p - '0') * unit;
			more |= unit == 0 && *p > '0';
		}
	}
	ms += seconds * 1000 + more;
	if (!digits || *p != '\0' || (int)ms < min_ms)
		fail(EXIT_USAGE, "%s needs a number of seconds, %s and at most %u, not %.100s",
		     option, min_ms > 0 ? "more than 0" : "0 or more", max, text);
	return (int)ms;
}

/* An address as text; IPv6 in brackets too, which is socat's way. */
static bool parse_address(union proxyhdr_addr *a, const char *text)
{
	char ip[INET6_ADDRSTRLEN];
	size_t len = strlen(text);
	struct in_addr ip4;             /* what is no address leaves part of one */
	struct in6_addr ip6;

	if (inet_pton(AF_INET, text, &ip4) == 1) {
		a->sa.sa_family = AF_INET;
		a->in.sin_addr = ip4;
		return true;
	}
	if (text[0] == '[' && text[len - 1] == ']' && len - 2 < sizeof ip) {
		memcpy(ip, text + 1, len - 2);
		ip[len - 2] = '\0';
		text = ip;
	}
	if (inet_pton(AF_INET6, text, &ip6) != 1)
		return false;
	a->sa.sa_family = AF_INET6;
	a->in6.sin6_addr = ip6;
	return true;
}

/* IPv4, plain or mapped into IPv6 (RFC 4291 2.5.5.2). */
static bool is_ip4(const union proxyhdr_addr *a)
{
	return a->sa.sa_family == AF_INET ||
	       (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr));
}

static void map_to_ip6(union proxyhdr_addr *a)
{
	struct sockaddr_in in = a->in;
	unsigned char *ip = a->in6.sin6_addr.s6_addr;

	if (in.sin_family != AF_INET)
		return;
	memset(a, 0, sizeof *a);
	a->in6.sin6_family = AF_INET6;
	a->in6.sin6_port = in.sin_port;
	ip[10] = ip[11] = 0xFF;
	memcpy(ip + 12, &in.sin_addr, 4);
}

/* Bit i, the first one being 0, of an IPv6 address. */
static bool bit(const union proxyhdr_addr *a, unsigned i)
{
	return a->in6.sin6_addr.s6_addr[i / 8] >> (7 - i % 8) & 1;
}

/* A network or an address, text[0..len), as it is inside IPv6. Returns how many of
 * its bits count. */
static unsigned parse_network(union proxyhdr_addr *net, const char *text, int len)
{
	char address[INET6_ADDRSTRLEN + sizeof "[]/128"];
	unsigned bits, width, i;
	char *slash;

	memset(net, 0, sizeof *net);
	snprintf(address, sizeof address, "%.*s", len < (int)sizeof address ? len : 0, text);
	if ((slash = strchr(address, '/')) != NULL)
		*slash++ = '\0';
	if (len == 0)
		fail(EXIT_USAGE, "--accept-from needs networks or addresses, unix or any, "
		     "with one comma between them");
	if (!parse_address(net, address))
		fail(EXIT_USAGE, "--accept-from: %.*s is no network or address, nor unix or any",
		     len < 100 ? len : 100, text);
	bits = width = net->sa.sa_family == AF_INET ? 32 : 128;
	if (slash != NULL && !parse_number(slash, width, &bits))
		fail(EXIT_USAGE, "--accept-from: behind the / of %.*s there must be a number up to %u",
		     len, text, width);
	bits += 128 - width;
	map_to_ip6(net);
	for (i = bits; i < 128; i++)
		if (bit(net, i))
			fail(EXIT_USAGE, "--accept-from: %.*s is an address inside a network: "
			     "the bits behind the / must be 0", len, text);
	return bits;
}

/* One of NETS, text[0..len): whether the peer is in it. */
static bool match_network(const char *text, size_t len, const union proxyhdr_addr *peer)
{
	union proxyhdr_addr net, ip = *peer;
	unsigned bits, i;

	if (len == strlen("any") && strncmp(text, "any", len) == 0)
		return true;
	if (len == strlen("unix") && strncmp(text, "unix", len) == 0)
		return peer->sa.sa_family == AF_UNIX;
	bits = parse_network(&net, text, len < INT_MAX ? (int)len : INT_MAX);
	map_to_ip6(&ip);
	/* ::/0 is all of IPv6, not IPv4 inside it */
	if (ip.sa.sa_family != AF_INET6 || (bits < 96 && is_ip4(&ip)))
		return false;
	for (i = 0; i < bits && bit(&net, i) == bit(&ip, i); i++)
		;
	return i == bits;
}

/* NETS: whether the peer is in one of them. All are read, and so checked. */
static bool match_networks(const char *nets, const union proxyhdr_addr *peer)
{
	bool found = false;
	size_t len;

	for (;; nets += len + 1) {
		len = strcspn(nets, ",");
		found |= match_network(nets, len, peer);
		if (nets[len] == '\0')
			return found;
	}
}

static const char hex_digits[] = "0123456789abcdef0123456789ABCDEF";

/* Two hexadecimal digits, or -1. */
static int hex_byte(const char *p)
{
	const char *high = p[0] ? strchr(hex_digits, p[0]) : NULL;
	const char *low = high && p[1] ? strchr(hex_digits, p[1]) : NULL;

	return low ? (int)((high - hex_digits) % 16 << 4 | (low - hex_digits) % 16) : -1;
}

/* Text, or hex after 0x: that is decoded in place. Returns how many bytes. */
static size_t decode_value(char *text)
{
	size_t len = strlen(text), i;

	if (text[0] != '0' || (text[1] | 32) != 'x')
		return len;
	if (len % 2 != 0 || strspn(text + 2, hex_digits) != len - 2)
		fail(EXIT_USAGE, "--tlv: %.100s: after 0x there must be pairs of hexadecimal digits", text);
	for (i = 2; i < len; i += 2)
		text[i / 2 - 1] = (char)hex_byte(text + i);
	return len / 2 - 1;
}

static unsigned parse_tlv_type(const char *text)
{
	static const struct { const char *name; unsigned type; } known[] = {
		{ "alpn", PROXYHDR_ALPN },
		{ "authority", PROXYHDR_AUTHORITY },
		{ "netns", PROXYHDR_NETNS }
	};
	unsigned type, i;
	int byte = text[0] == '0' && (text[1] | 32) == 'x' ? hex_byte(text + 2) : -1;

	for (i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(text, known[i].name) == 0)
			return known[i].type;
	if (byte >= 0 && text[4] == '\0')
		return (unsigned)byte;
	if (!parse_number(text, 255, &type))
		fail(EXIT_USAGE, "--tlv: %.100s is no type: it is alpn, authority, netns, "
		     "or a number from 0 to 255, as in 0xE0", text);
	return type;
}

/* TYPE=VALUE. The text is changed: it is our own copy of the command line. */
static void parse_tlv(char *text)
{
	char *value = strchr(text, '=');
	unsigned type;
	size_t len;

	if (value == NULL)
		fail(EXIT_USAGE, "--tlv needs TYPE=VALUE, as in 0xE0=text or authority=example.org");
	*value++ = '\0';
	type = parse_tlv_type(text);
	switch (type) {
	case PROXYHDR_CRC32C:
		fail(EXIT_USAGE, "--tlv: CRC32C is relay's to compute: use --crc32c");
	case PROXYHDR_NOOP:
		fail(EXIT_USAGE, "--tlv: NOOP says nothing");
	case PROXYHDR_SSL:
		fail(EXIT_USAGE, "--tlv: SSL has parts of its own: use --ssl");
	}
	len = decode_value(value);
	if (type == PROXYHDR_UNIQUE_ID && len > PROXYHDR_UNIQUE_ID_MAX)
		fail(EXIT_USAGE, "--tlv: a unique id has at most %d bytes, not %zu", PROXYHDR_UNIQUE_ID_MAX, len);
	add_own(type, value, len);
}

static void parse_path(struct backend *b)
{
	size_t len = strlen(b->text);
	bool abstract = *b->text == '@';
#ifdef LINUX
	const bool has_abstract = true;
#else
	const bool has_abstract = false;
#endif

	if (len < 2)
		fail(EXIT_USAGE, "a UNIX socket needs a name after the first character");
	if (len >= sizeof b->sockaddr.un.sun_path)
		fail(EXIT_USAGE, "the path has %zu bytes: a UNIX address holds at most %zu",
		     len, sizeof b->sockaddr.un.sun_path - 1);
	if (abstract && !has_abstract)
		fail(EXIT_USAGE, "abstract sockets exist on Linux only");
	b->sockaddr.un.sun_family = AF_UNIX;
	memcpy(b->sockaddr.un.sun_path, b->text, len);
	if (abstract)
		b->sockaddr.un.sun_path[0] = '\0';
	/* unix(7): an abstract name ends where the address does */
	b->address.ai_addrlen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
	                                    len + !abstract);
}

static void parse_descriptors(struct backend *b)
{
	const char *p = b->text + strlen("fd:");
	unsigned r, w;
	bool ok = read_number(&p, INT_MAX, &r);

	w = r;
	if (ok && *p == ',') {
		p++;
		ok = read_number(&p, INT_MAX, &w);
	}
	if (!ok || *p != '\0' || r < 3 || w < 3)
		fail(EXIT_USAGE, "fd: needs one or two descriptors from 3 up, as in fd:6,7");
	b->descriptors = (struct end){ (int)r, (int)w, -1 };
	set_lingers(&b->descriptors, true);     /* S4: it is connected already */
}

static void set_port(union proxyhdr_addr *a, unsigned port)
{
	if (a->sa.sa_family == AF_INET)
		a->in.sin_port = htons((in_port_t)port);
	else
		a->in6.sin6_port = htons((in_port_t)port);
}

/* HOST:PORT or [V6]:PORT. A host that is no address is left for look_up. */
static void parse_host(struct backend *b)
{
	const char *colon = strrchr(b->text, ':');
	bool bracket = *b->text == '[';
	size_t len = colon != NULL ? (size_t)(colon - b->text) : 0;
	unsigned port;

	if (strstr(b->text, "://") != NULL)
		fail(EXIT_USAGE, "a backend is HOST:PORT, not a URL");
	if (strncmp(b->text, "unix:/", 6) == 0)
		fail(EXIT_USAGE, "a UNIX socket is given by its path alone, as in /run/backend.sock");
	if (bracket && strchr(b->text, ']') == NULL)
		fail(EXIT_USAGE, "the [ has no ]");
	if (colon == NULL || (bracket && colon[-1] != ']'))
		fail(EXIT_USAGE, "no port: a backend is HOST:PORT, [V6]:PORT, /path, @abstract or fd:R,W");
	if (!parse_number(colon + 1, 65535, &port) || port == 0)
		fail(EXIT_USAGE, "the port must be a number from 1 to 65535");
	if (len == (bracket ? strlen("[]") : 0))
		fail(EXIT_USAGE, "the host is empty");
	if (len >= sizeof b->host)
		fail(EXIT_USAGE, "the host name is over %zu bytes", sizeof b->host - 1);
	memcpy(b->host, b->text, len);
	if (!bracket && strchr(b->host, ':') != NULL)
		fail(EXIT_USAGE, "an IPv6 address needs brackets, as in [::1]:%u", port);

	if (parse_address(&b->sockaddr, b->host)) {
		set_port(&b->sockaddr, port);
		b->address.ai_addrlen = b->sockaddr.sa.sa_family == AF_INET ?
		                        sizeof b->sockaddr.in : sizeof b->sockaddr.in6;
		b->host[0] = '\0';
		return;
	}
	snprintf(b->port, sizeof b->port, "%u", port);
	if (!bracket)
		return;
	/* with a zone, as in [fe80::1%eth0], the resolver knows it */
	if (strchr(b->host, '%') == NULL)
		fail(EXIT_USAGE, "what is in [ ] is no IPv6 address");
	memmove(b->host, b->host + 1, len - 1);
	b->host[len - 2] = '\0';
}

static void parse_backend(struct backend *b, const char *text)
{
	memset(b, 0, sizeof *b);
	conn.text = b->text = text;
	if (*text == '/' || *text == '@')
		parse_path(b);
	else if (strncmp(text, "fd:", 3) == 0)
		parse_descriptors(b);
	else
		parse_host(b);
	b->address.ai_family = b->sockaddr.sa.sa_family;
	b->address.ai_addr = &b->sockaddr.sa;
}

static enum balance parse_balance(const char *text)
{
	static const char *const names[] = { "first", "hash", "random" };
	int i;

	for (i = FIRST; i <= RANDOM; i++)
		if (strcmp(text, names[i]) == 0)
			return (enum balance)i;
	fail(EXIT_USAGE, "--balance is first, hash or random, not %.100s", text);
}

/* Each has its case in parse_options, and its line in the help. */
static const char shorts[] = ":120a:l:b:t:i:cusx:nvqhV";
static const struct option longs[] = {
	{ "v1", no_argument, NULL, '1' },
	{ "v2", no_argument, NULL, '2' },
	{ "no-header", no_argument, NULL, '0' },
	{ "accept-from", required_argument, NULL, 'a' },
	{ "balance", required_argument, NULL, 'l' },
	{ "bind", required_argument, NULL, 'b' },
	{ "timeout", required_argument, NULL, 't' },
	{ "idle", required_argument, NULL, 'i' },
	{ "crc32c", no_argument, NULL, 'c' },
	{ "unique-id", no_argument, NULL, 'u' },
	{ "ssl", no_argument, NULL, 's' },
	{ "tlv", required_argument, NULL, 'x' },
	{ "check", no_argument, NULL, 'n' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

/* getopt_long's `?` or `:`: optopt is the option, or 0 for a long one that does
 * not exist. */
__attribute__((noreturn))
static void bad_option(int answer, const char *arg)
{
	const struct option *o = longs;

	while (o->name != NULL && o->val != optopt)
		o++;
	if (optopt == 0)
		fail(EXIT_USAGE, "unknown option %.100s: see relay --help", arg);
	if (o->name == NULL)
		fail(EXIT_USAGE, "unknown option -%c: see relay --help", optopt);
	if (answer == ':')
		fail(EXIT_USAGE, "-%c, --%s needs a value: see relay --help", optopt, o->name);
	fail(EXIT_USAGE, "-%c, --%s takes no value: see relay --help", optopt, o->name);
}

/* What goes together, and with the backends. */
static void check_options(struct options *o)
{
	static struct backend backend;  /* not on the stack, which is one page so */
	int i;

	if (o->version != 2 && (o->crc32c || o->unique_id || o->ssl || conn.own_len > 0))
		fail(EXIT_USAGE, "%s needs a version 2 header: give -2 as well",
		     o->crc32c ? "--crc32c" : o->unique_id ? "--unique-id" : o->ssl ? "--ssl" : "--tlv");
	if (o->unique_id && has_own(PROXYHDR_UNIQUE_ID))
		fail(EXIT_USAGE, "--unique-id and --tlv both give the unique id: take one of them");
	for (i = 0; i < o->count; i++) {
		int family;

		parse_backend(&backend, o->backends[i]);
		o->has_fd |= backend.descriptors.in > 0;
		family = backend.address.ai_family;
		if (backend.host[0] == '\0' &&
		    (o->bind_client ? family != AF_INET && family != AF_INET6 :
		     o->bind.sa.sa_family != AF_UNSPEC && family != o->bind.sa.sa_family))
			fail(EXIT_USAGE, "--bind needs a backend with a host of the same address family");
	}
	if (o->count > 1)
		conn.text = NULL;
	if (o->ssl && o->has_fd)        /* s6-tlsclient has put the backend's there */
		fail(EXIT_USAGE, "--ssl: with an fd: backend the environment may tell of the backend's TLS, "
		     "not the client's: give HOST:PORT or a path");
	if (o->check && o->bind_client)
		fail(EXIT_USAGE, "--check has no client for --bind=client");
	if (o->check)
		o->verbose = false;     /* there is no connection to log */
}

static void parse_options(int argc, char **argv, struct options *o)
{
	bool quiet = false;
	int option;

	o->version = 1;
	o->timeout = 10000;
	while ((option = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		switch (option) {
		case '0': case '1': case '2':
			o->version = option - '0';
			break;
		case 'a':
			o->accept_from = optarg;
			match_networks(optarg, &conn.client);
			break;
		case 'b':
			o->bind_client = strcmp(optarg, "client") == 0;
			if (!o->bind_client && !parse_address(&o->bind, optarg))
				fail(EXIT_USAGE, "--bind: no IPv4 or IPv6 address, nor client: %s", optarg);
			break;
		case 't':
			o->timeout = parse_seconds("--timeout", optarg, 1);
			break;
		case 'i':
			o->idle = parse_seconds("--idle", optarg, 0);
			break;
		case 'l':
			o->balance = parse_balance(optarg);
			break;
		case 'c': o->crc32c = true; break;
		case 'u': o->unique_id = true; break;
		case 's': o->ssl = true; break;
		case 'n': o->check = true; break;
		case 'v': o->verbose = true; break;
		case 'q': quiet = true; break;
		case 'x':
			parse_tlv(optarg);
			break;
		case 'h': case 'V':
			print(option == 'h' ? help : "relay " VERSION "\n");
			exit(0);
		default:
			bad_option(option, argv[optind <= argc ? optind - 1 : argc - 1]);
		}
	}
	if (optind == argc)
		fail(EXIT_USAGE, "no backend given: see relay --help");
	o->backends = argv + optind;
	o->count = argc - optind;
	check_options(o);
	o->quiet = quiet;       /* wrong usage is always told */
}

struct socket_option {
	int level, name, value;
};

/* A UNIX socket takes what it knows of them. */
static void set_options(const struct end *end, const struct socket_option *options, size_t count)
{
	size_t i;

	for (i = 0; end->socket >= 0 && i < count; i++)
		setsockopt(end->socket, options[i].level, options[i].name,
		           &options[i].value, sizeof options[i].value);
}

/* What a connection needs once it lives; the header does not wait for it. */
static void set_lively(void)
{
	static const struct socket_option options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },        /* S7 */
		{ SOL_SOCKET, SO_OOBINLINE, 1 }         /* S2: urgent bytes are bytes */
	};

	set_options(&conn.ends[CLIENT], options, sizeof options / sizeof *options);
	set_options(&conn.ends[BACKEND], options, sizeof options / sizeof *options);
}

/* S6: a dead peer is found after three minutes. Most connections are over soon: those
 * that last, or are idle, get it. */
static void keep_alive(void)
{
	static const struct socket_option options[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
#ifdef TCP_KEEPIDLE             /* OpenBSD has sysctl(8) for it, for all sockets alike */
		{ IPPROTO_TCP, TCP_KEEPIDLE, 60 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 20 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 6 },
#endif
	};

	set_options(&conn.ends[CLIENT], options, sizeof options / sizeof *options);
	set_options(&conn.ends[BACKEND], options, sizeof options / sizeof *options);
}

/* ---- who is the client ---- */

/* Where a launcher that keeps the socket to itself leaves the addresses. */
struct variables {
	const char *remote_ip, *remote_port, *local_ip, *local_port;
};

/* sd_listen_fds(3): descriptor 3 is the connection. */
static void take_listen_fd(struct end *client)
{
	const char *pid = getenv("LISTEN_PID"), *fds;
	unsigned n;

	if (pid == NULL || !parse_number(pid, INT_MAX, &n) || (pid_t)n != getpid() ||
	    (fds = getenv("LISTEN_FDS")) == NULL)
		return;
	if (strcmp(fds, "1") != 0)
		fail(EXIT_USAGE, "LISTEN_FDS is %s, not 1: relay takes one connection: "
		     "set Accept=yes in the .socket unit", fds);
	client->in = client->out = 3;
}

/* Puts /dev/null on descriptor 2, and on 0 and 1 if they are closed. */
static void nullify_stderr(void)
{
	int fd;

	close(STDERR_FILENO);
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < STDERR_FILENO);
	if (fd < 0)
		fail(EXIT_SYSTEM, "descriptor 2 is closed, and /dev/null: %s", strerror(errno));
}

/* A descriptor that is closed would be the next socket's. */
static void check_descriptors(const struct end *client)
{
	struct pollfd p[3] = { { client->in, 0, 0 }, { client->out, 0, 0 }, { STDERR_FILENO, 0, 0 } };
	int i;

	poll(p, 3, 0);
	for (i = 0; i < 2; i++)
		if (p[i].revents & POLLNVAL)
			fail(EXIT_USAGE, "descriptor %d is closed: relay is to be started by "
			     "inetd, systemd, tcpserver or the like", p[i].fd);
	if (p[2].revents & POLLNVAL) {
		log_target();
		nullify_stderr();
	}
}

/* getpeername(2) knows no client: why? */
__attribute__((noreturn))
static void explain_no_peer(int fd)
{
	int listens = 0, error = errno;
	socklen_t len = sizeof listens;

	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
	if (listens)
		fail(EXIT_USAGE, "descriptor %d is a listening socket: set Accept=yes (systemd) or nowait (inetd)", fd);
	if (error != ENOTCONN && error != EINVAL)       /* which one, differs between systems */
		fail(EXIT_SYSTEM, "getpeername: %s", strerror(error));
	client_left(CLIENT_RESET);
}

/* Asks the socket. Returns whether there is one that knows its client. */
static bool ask_socket(struct end *client)
{
	int type = socket_type(client->in);
	socklen_t len = sizeof conn.client;

	if (type < 0)
		return false;
	if (type != SOCK_STREAM)
		fail(EXIT_USAGE, "descriptor %d is no stream socket: relay is for TCP and UNIX streams",
		     client->in);
	client->socket = client->in;
	if (getpeername(client->in, &conn.client.sa, &len) < 0)
		explain_no_peer(client->in);
	len = sizeof conn.server;
	if (getsockname(client->in, &conn.server.sa, &len) < 0)
		fail(EXIT_SYSTEM, "getsockname: %s", strerror(errno));
	switch (conn.client.sa.sa_family) {
	case AF_INET: case AF_INET6:
		return true;
	case AF_UNIX:
		/* a socketpair: something stands between it and the client */
		if (has_name(&conn.server, len))
			return true;
	}
	memset(&conn.client, 0, sizeof conn.client);
	memset(&conn.server, 0, sizeof conn.server);
	return false;
}

/* One address and port from the environment. What is no plain address is never
 * guessed at: it could end as somebody else's in the header. But where it may be of no
 * IP client, one without a port, or systemd's vsock:, is a UNIX socket's, or a virtual
 * machine's. Returns whether something is told; of such a client, AF_UNSPEC. */
static bool parse_variables(union proxyhdr_addr *a, const char *ip_name, const char *port_name, bool only_ip)
{
	const char *ip = ip_name ? getenv(ip_name) : NULL;
	const char *port = port_name ? getenv(port_name) : NULL;
	unsigned n = 0;

	if (ip == NULL || *ip == '\0')
		return false;
	if (!parse_address(a, ip)) {
		if (!only_ip && (port == NULL || *port == '\0' || strncmp(ip, "vsock:", 6) == 0))
			return true;
		fail(EXIT_USAGE, "%s is no address: %s", ip_name, ip);
	}
	if (port != NULL && !parse_number(port, 65535, &n))
		fail(EXIT_USAGE, "%s is no port: %s", port_name, port);
	set_port(a, n);
	return true;
}

static void ask_environment(void)
{
	static const struct variables known[] = {
		{ "SOCAT_PEERADDR", "SOCAT_PEERPORT", "SOCAT_SOCKADDR", "SOCAT_SOCKPORT" },
		{ "NCAT_REMOTE_ADDR", "NCAT_REMOTE_PORT", "NCAT_LOCAL_ADDR", "NCAT_LOCAL_PORT" },
		{ "REMOTE_ADDR", "REMOTE_PORT", NULL, NULL }
	};
	static const char *const ucspi[] = { "REMOTEIP", "REMOTEPORT", "LOCALIP", "LOCALPORT" };
	const char *proto = getenv("PROTO");
	char names[4][32];
	struct variables v = { names[0], names[1], names[2], names[3] };
	union proxyhdr_addr client, server;
	bool found = false;
	size_t i;

	memset(&client, 0, sizeof client);
	memset(&server, 0, sizeof server);
	/* behind fd:, tcpclient and its kin have overwritten these: their backend's */
	if (proto != NULL && *proto != '\0' && strlen(proto) < 16 && !conn.options.has_fd) {
		for (i = 0; i < 4; i++)
			snprintf(names[i], sizeof names[i], "%s%s", proto, ucspi[i]);
		found = parse_variables(&client, v.remote_ip, v.remote_port, true);
	}
	for (i = 0; !found && i < sizeof known / sizeof *known; i++) {
		v = known[i];
		found = parse_variables(&client, v.remote_ip, v.remote_port, false);
	}
	if (client.sa.sa_family == AF_UNSPEC)
		return;
	parse_variables(&server, v.local_ip, v.local_port, true);
	if (server.sa.sa_family == AF_UNSPEC)           /* 0.0.0.0 or :: */
		server.sa.sa_family = is_ip4(&client) ? AF_INET : AF_INET6;
	conn.client = client;
	conn.server = server;
}

static void unmap_from_ip6(union proxyhdr_addr *a)
{
	struct sockaddr_in6 in6 = a->in6;

	memset(a, 0, sizeof *a);
	a->in.sin_family = AF_INET;
	a->in.sin_port = in6.sin6_port;
	memcpy(&a->in.sin_addr, in6.sin6_addr.s6_addr + 12, 4);
}

/* A header speaks of one family: IPv4 where both ends are, be it inside IPv6,
 * else IPv6. */
static void unite_families(union proxyhdr_addr *a, union proxyhdr_addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family) {
		map_to_ip6(a);
		map_to_ip6(b);
	}
	if (a->sa.sa_family == AF_INET6 && is_ip4(a) && is_ip4(b)) {
		unmap_from_ip6(a);
		unmap_from_ip6(b);
	}
}

static void find_client(struct end *client)
{
	take_listen_fd(client);
	check_descriptors(client);
	if (!ask_socket(client)) {
		ask_environment();
		if (client->socket < 0 && socket_type(client->out) >= 0)
			client->socket = client->out;
	}
	unite_families(&conn.client, &conn.server);
	set_linger(client->socket, true);
}

/* ---- moving bytes ---- */

static bool is_ready(int fd, short events)
{
	struct pollfd p = { fd, events, 0 };

	return poll(&p, 1, 0) > 0;
}

/* S8: a descriptor may be shared with other processes, so its flags stay as they
 * are. A socket is asked not to wait call by call; all else is read or written
 * only when poll allows it, and no more than a pipe then has room for. */
static ssize_t read_now(int fd, void *buf, size_t size)
{
	ssize_t n = recv(fd, buf, size, MSG_DONTWAIT);

	if (n >= 0 || errno != ENOTSOCK)
		return n;
	if (is_ready(fd, POLLIN))
		return read(fd, buf, size);
	errno = EAGAIN;
	return -1;
}

static ssize_t write_now(int fd, const void *buf, size_t size)
{
	ssize_t n = send(fd, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0 || errno != ENOTSOCK)
		return n;
	if (is_ready(fd, POLLOUT))
		return write(fd, buf, size < PIPE_BUF ? size : PIPE_BUF);
	errno = EAGAIN;
	return -1;
}

/* S3: FIN on a socket; a pipe is closed, on descriptor 2 as well. */
static void half_close(int fd)
{
	if (shutdown(fd, SHUT_WR) == 0 || errno == ENOTCONN)
		return;
	if (errno != ENOTSOCK)
		fail(EXIT_SYSTEM, "shutdown: %s", strerror(errno));
	if (log_target() == SYSLOG && dup2(syslog_socket, STDERR_FILENO) < 0)
		close(STDERR_FILENO);
	close(fd);
}

static void close_pipe(struct direction *d)
{
	if (d->pipe[0] < 0)
		return;
	close(d->pipe[0]);
	close(d->pipe[1]);
	d->pipe[0] = d->pipe[1] = -1;
}

/* splice(2), where there can be a pipe. SPLICE_F_NONBLOCK is for the pipe only, so the
 * socket is set to O_NONBLOCK, before each call: others who have it may reset that (S8). */
static ssize_t splice_now(int from, int to, size_t size, int socket)
{
#ifdef LINUX
	fcntl(socket, F_SETFL, O_NONBLOCK);
	return splice(from, NULL, to, NULL, size, SPLICE_F_NONBLOCK);
#else
	(void)from, (void)to, (void)size, (void)socket;
	errno = ENOSYS;
	return -1;
#endif
}

/* A pipe for a bulky flow between two sockets. */
static bool open_pipe(struct direction *d)
{
	if (d->pipe[0] >= 0)
		return true;
#ifdef LINUX
	if (socket_type(d->from) >= 0 && socket_type(d->to) >= 0 &&
	    pipe2(d->pipe, O_CLOEXEC | O_NONBLOCK) == 0) {
		/* pipe(7), pipe-user-pages-soft: a small one is slower than copying. A
		 * splice of nothing fails in a sandbox that forbids it. */
		if (fcntl(d->pipe[1], F_SETPIPE_SZ, PIPE_SIZE) >= 0 &&
		    fcntl(d->from, F_SETFL, O_NONBLOCK) == 0 && fcntl(d->to, F_SETFL, O_NONBLOCK) == 0 &&
		    splice_now(d->from, d->pipe[1], 0, d->from) == 0) {
			signal(SIGPIPE, SIG_IGN);
			return true;
		}
		close_pipe(d);
	}
#endif
	d->flow = NO_PIPE;
	return false;
}

/* Reads into the pipe, as read(2) does; but 0 where read has more to tell: splice
 * stops at the end and at an urgent byte alike. */
static ssize_t fill_pipe(struct direction *d)
{
	ssize_t n = splice_now(d->from, d->pipe[1], PIPE_SIZE, d->from);

	if (n < 0 && (errno == EINVAL || errno == ENOMEM))      /* not this socket, not now */
		d->flow = NO_PIPE;
	else if (n < 0 && errno != EAGAIN)
		return n;
	return n > 0 ? n : 0;
}

/* The first one, unless the other direction's bytes wait there. Else both share it:
 * that is fewer pages to touch, and to keep in the processor's caches. */
static unsigned char *free_buffer(void)
{
	const struct direction *d = conn.directions;
	bool taken = false;
	int i;

	for (i = 0; i < 2; i++)
		taken |= d[i].held > 0 && !d[i].piped && d[i].buf == large.buffers[0];
	return large.buffers[taken];
}

/* Reads what there is, as read(2) does. The one place where the path is chosen: the
 * bytes of a bulky flow are not copied, splice hands them on inside the kernel. */
static ssize_t fill(struct direction *d)
{
	ssize_t n = d->flow == BULKY && open_pipe(d) ? fill_pipe(d) : 0;

	d->piped = n > 0;
	if (n == 0) {
		d->buf = free_buffer();
		n = read_now(d->from, d->buf, BUFFER_SIZE);
		d->start = 0;
	}
	d->held = n > 0 ? (size_t)n : 0;
	d->used = true;
	if (n > 0 && d->flow != NO_PIPE)
		d->flow = n >= BULK ? BULKY : SMALL;
	return n;
}

/* Writes what is held, as write(2) does. */
static ssize_t flush(struct direction *d)
{
	ssize_t n = d->piped ? splice_now(d->pipe[0], d->to, d->held, d->to) :
	            write_now(d->to, d->buf + d->start, d->held);

	if (n <= 0)
		return n;
	if (!d->piped)
		d->start += (size_t)n;
	d->held -= (size_t)n;
	d->bytes += (size_t)n;
	return n;
}

/* Gives back what connecting has needed, and what a busy connection does; nothing is
 * held. */
static void release(struct direction d[2])
{
	int i;

	for (i = 0; i < 2; i++) {
		close_pipe(&d[i]);
		if (d[i].flow == BULKY)
			d[i].flow = SMALL;
		d[i].used = false;
	}
#ifdef LINUX
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)&large;
	uintptr_t end = (start + sizeof large) / page * page;

	start = (start + page - 1) / page * page;
	madvise((void *)start, end - start, MADV_DONTNEED);
#endif
}

enum outcome { MOVED, NOT_NOW, READ_FAILED, WRITE_FAILED };

/* What errno says: to try again, that the peer is gone, or, which is not its doing,
 * that the system cannot do it. */
static enum outcome after_error(enum outcome outcome)
{
	if (errno == ENOMEM || errno == ENOBUFS || errno == ENOSPC || errno == EINVAL)
		fail(EXIT_SYSTEM, "%s: %s", outcome == READ_FAILED ? "reading" : "writing", strerror(errno));
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? NOT_NOW : outcome;
}

/* Moves what can be moved without waiting. Reads only when all that was read
 * before is written: relay holds back no more than one read brings. */
static enum outcome move(struct direction *d)
{
	ssize_t n;

	if (d->held == 0) {
		n = fill(d);
		if (n < 0)
			return after_error(READ_FAILED);
		if (n == 0) {
			half_close(d->to);      /* S3 */
			d->ended = true;
			return MOVED;
		}
	}
	n = flush(d);
	return n < 0 ? after_error(WRITE_FAILED) : MOVED;
}

/* An end that takes no more bytes may have said why before: that is passed on,
 * as far as it has come in and goes out without waiting. */
static void drain(struct direction *d)
{
	int waiting = 0;
	unsigned long long last;

	ioctl(d->from, FIONREAD, &waiting);
	last = d->bytes + d->held + (unsigned)waiting;
	while (!d->ended && d->bytes < last && move(d) == MOVED)
		;
}

/* ---- the client's own header ---- */

/* A proxy in front of us tells who its client is. Its header, and what comes with
 * it, is read to where it leaves room for ours before it. */
static void read_header(const struct end *client, struct direction *d)
{
	unsigned char *buf = d->buf + PROXYHDR_MAX;
	struct pollfd p[2] = { { 0 }, { client->in, POLLIN, 0 } };
	size_t len = 0;
	long long deadline = 0;
	int n, ms;

	while ((n = proxyhdr_parse(&conn.inbound, buf, len)) == 0) {
		ssize_t got = read_now(client->in, buf + len, BUFFER_SIZE - PROXYHDR_MAX - len);

		if (got > 0) {
			len += (size_t)got;
			continue;
		}
		if (got == 0 && len == 0)
			client_left(DONE);
		if (got == 0)
			fail(EXIT_REFUSED, "refused: the client has ended within its PROXY header");
		if (after_error(READ_FAILED) != NOT_NOW)
			client_left(CLIENT_RESET);
		if (deadline == 0)
			deadline = now() + conn.options.timeout;
		if ((ms = time_left(deadline)) == 0)
			fail(EXIT_REFUSED, "refused: %s PROXY header within %g s",
			     len > 0 ? "no whole" : "no", conn.options.timeout / 1000.0);
		wait_in_setup(p, 2, ms);
	}
	if (n < 0)
		fail(EXIT_REFUSED, "refused: no valid PROXY header: %s", proxyhdr_strerror(n));
	d->start = (size_t)n + PROXYHDR_MAX;
	d->held = len - (size_t)n;
}

/* PROXY spec 2: whoever may write a header may claim any address, so it is known
 * beforehand who may. LOCAL, UNKNOWN and UNSPEC: the socket's own addresses. */
static void ask_header(const struct end *client, struct direction *d)
{
	if (!match_networks(conn.options.accept_from, &conn.client))
		fail(EXIT_REFUSED, "refused: not in --accept-from");
	read_header(client, d);
	conn.via = conn.client;
	if (conn.inbound.command == PROXYHDR_LOCAL)
		conn.inbound.tlvs_len = 0;
	if (conn.inbound.src.sa.sa_family == AF_UNSPEC)
		return;
	conn.client = conn.inbound.src;
	conn.server = conn.inbound.dst;
	unite_families(&conn.client, &conn.server);
}

/* ---- what the backend is told ---- */

enum { VARIABLE_MAX = 255 };    /* bytes of what TLS launchers tell */

/* A variable of the environment, NULL if it is not set or empty. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);

	if (value != NULL && strlen(value) > VARIABLE_MAX)
		fail(EXIT_USAGE, "%s has over %d bytes", name, VARIABLE_MAX);
	return value != NULL && *value != '\0' ? value : NULL;
}

/* The first that is set. */
static const char *either(const char *name, const char *other)
{
	const char *value = variable(name);

	return value != NULL ? value : variable(other);
}

/* The first common name in a subject as s6-tlsd and, with quotes, stunnel write it:
 * KEY=value, KEY=value + KEY=value, where a backslash or quotes protect what is no
 * separator (RFC 4514 2.4). One with a NUL is none: it would end there. In LibreSSL's
 * and OpenSSL's /KEY=value nothing protects: whoever fills in one value could write
 * a name into it. So there it is not looked for. */
static const char *common_name(const char *subject, bool quotes)
{
	static char element[VARIABLE_MAX + 1];
	const char *p = *subject == '/' ? "" : subject;

	while (*p != '\0') {
		bool is_name = strncmp(p, "CN=", 3) == 0, quoted = false;
		size_t len = 0, blanks = 0;     /* at the end, before a separator */

		for (; *p != '\0' && (quoted || (*p != ',' && *p != '+')); p++) {
			int byte = *p == '\\' ? hex_byte(p + 1) : -1;

			if (*p == '"' && quotes) {
				quoted = !quoted;
				continue;
			}
			blanks = *p == ' ' && !quoted ? blanks + 1 : 0;
			if (*p == '\\' && p[1] != '\0')
				p++;
			element[len++] = *p;
			if (byte >= 0) {
				element[len - 1] = (char)byte;
				is_name = is_name && byte != 0;
				p++;
			}
		}
		element[len - blanks] = '\0';
		if (is_name)
			return element + 3;
		p += strspn(p, ",+ ");
	}
	return NULL;
}

/* What a launcher tells of a client's certificate. */
struct certificate {
	const char *name;       /* of the variable */
	enum { NO_NAME, NAME, SUBJECT, QUOTED_SUBJECT } what;
	bool verified;          /* it lets no other certificate pass */
};

/* Appends a sub-TLV at *p, if there is a value. */
static void add_sub_tlv(unsigned char **p, unsigned type, const char *value)
{
	size_t len = value != NULL ? strlen(value) : 0;

	if (len == 0)
		return;
	*(*p)++ = (unsigned char)type;
	*(*p)++ = 0;
	*(*p)++ = (unsigned char)len;           /* up to VARIABLE_MAX */
	memcpy(*p, value, len);
	*p += len;
}

/* PROXY spec 2.2.6, from the variables of s6-tlsd, ucspi-ssl's sslserver, stunnel's
 * exec and socat. */
static void add_ssl(void)
{
	static const struct certificate known[] = {
		{ "SSL_CLIENT_S_DN_CN", NAME, true },           /* sslserver -z */
		{ "SSL_CLIENT_S_DN", NO_NAME, true },
		{ "SSL_PEER_CERT_SUBJECT", SUBJECT, true },     /* s6-tlsd -y, -Y */
		{ "SSL_PEER_CERT_HASH", NO_NAME, true },
		{ "SSL_PEER_CERT_CN", NAME, false },            /* s6's proxy-server */
		{ "SSL_CLIENT_DN", QUOTED_SUBJECT, false },     /* stunnel */
		{ "SOCAT_OPENSSL_X509_COMMONNAME", NAME, false }
	};
	unsigned char tlv[5 + 3 * (3 + VARIABLE_MAX)], *p = tlv + 5;
	const char *version = either("SSL_PROTOCOL", "SOCAT_OPENSSL_PROTO_VERSION");
	const char *verify = variable("SSL_CLIENT_VERIFY"), *value = NULL;
	const struct certificate *c = NULL;
	size_t i;

	for (i = 0; value == NULL && i < sizeof known / sizeof *known; i++)
		if ((value = variable(known[i].name)) != NULL)
			c = &known[i];
	if (version == NULL && c == NULL)
		return;
	/* verify: 0 says that there is a certificate, and that it was verified */
	memset(tlv, 0, 5);
	tlv[0] = PROXYHDR_CLIENT_SSL;
	if (c != NULL)
		tlv[0] |= PROXYHDR_CLIENT_CERT_CONN | PROXYHDR_CLIENT_CERT_SESS;
	tlv[4] = c == NULL || !c->verified || (verify != NULL && strcmp(verify, "SUCCESS") != 0);
	add_sub_tlv(&p, PROXYHDR_SSL_VERSION, version);
	if (c != NULL && c->what != NO_NAME)
		add_sub_tlv(&p, PROXYHDR_SSL_CN, c->what == NAME ? value :
		            common_name(value, c->what == QUOTED_SUBJECT));
	add_sub_tlv(&p, PROXYHDR_SSL_CIPHER, either("SSL_CIPHER", "SOCAT_OPENSSL_CIPHER"));
	add_own(PROXYHDR_SSL, tlv, (size_t)(p - tlv));
}

static void add_authority(void)
{
	const char *name = variable("SSL_TLS_SNI_SERVERNAME");

	if (name != NULL && !has_own(PROXYHDR_AUTHORITY))
		add_own(PROXYHDR_AUTHORITY, name, strlen(name));
}

/* Two digits a byte, and a NUL. */
static void write_hex(char *text, const unsigned char *bytes, size_t len)
{
	for (; len > 0; len--, text += 2)
		snprintf(text, 3, "%02x", *bytes++);
}

/* For the log: as it is if that can be read, else in hex. */
static void keep_id(const unsigned char *id, size_t len)
{
	size_t i;

	for (i = 0; i < len && id[i] > ' ' && id[i] <= '~'; i++)
		conn.id[i] = (char)id[i];
	if (i == len)
		return;
	memcpy(conn.id, "0x", 2);
	write_hex(conn.id + 2, id, len);
}

/* The one that the client's header has, or 128 random bits. Of several the others do not
 * go on: the backend's log has the one that ours has. */
static void add_unique_id(void)
{
	const struct proxyhdr *in = &conn.inbound;
	struct proxyhdr_tlv tlv;
	unsigned char bits[16];

	if (find_tlv(&tlv, PROXYHDR_UNIQUE_ID, in->tlvs, in->tlvs_len) && tlv.len > 0) {
		keep_id(tlv.value, tlv.len);
		add_own(PROXYHDR_UNIQUE_ID, tlv.value, tlv.len);
		return;
	}
	if (getentropy(bits, sizeof bits) < 0)
		fail(EXIT_SYSTEM, "getentropy: %s", strerror(errno));
	write_hex(conn.id, bits, sizeof bits);
	add_own(PROXYHDR_UNIQUE_ID, conn.id, 2 * sizeof bits);
}

/* What the command line asks for beside --tlv. */
static void complete_own(void)
{
	if (conn.options.unique_id)
		add_unique_id();
	if (conn.options.ssl) {
		add_authority();
		add_ssl();
	}
}

/* Adds to the header at buf the inbound TLVs, but for what relay itself says; its
 * own; and the checksum last. Returns its length, or what is wrong. */
static int add_tlvs(unsigned char *buf, int n)
{
	const unsigned char *p = conn.inbound.tlvs;
	size_t len = conn.inbound.tlvs_len;
	struct proxyhdr_tlv tlv;

	while (n > 0 && next_tlv(&tlv, &p, &len))
		if (tlv.type != PROXYHDR_CRC32C && tlv.type != PROXYHDR_NOOP && !has_own(tlv.type))
			n = proxyhdr_add_tlv(buf, PROXYHDR_MAX, tlv.type, tlv.value, tlv.len);
	p = large.own + PROXYHDR_V2_FIXED;
	len = conn.own_len > 0 ? conn.own_len - PROXYHDR_V2_FIXED : 0;
	while (n > 0 && next_tlv(&tlv, &p, &len))
		n = proxyhdr_add_tlv(buf, PROXYHDR_MAX, tlv.type, tlv.value, tlv.len);
	if (n > 0 && conn.options.crc32c)
		n = proxyhdr_add_crc32c(buf, PROXYHDR_MAX);
	return n;
}

/* Puts the header into the direction's buffer, in front of what has come with the
 * client's own: all of it leaves in one write (S1). */
static void write_header(struct direction *d)
{
	struct proxyhdr hdr = { .version = conn.options.version, .command = PROXYHDR_PROXY };
	int n;

	if (hdr.version == 0)
		return;
	complete_own();
	hdr.src = conn.client;
	hdr.dst = conn.server;
	if (hdr.src.sa.sa_family != AF_UNSPEC)
		hdr.transport = conn.inbound.transport != PROXYHDR_UNSPEC ?
		                conn.inbound.transport : PROXYHDR_STREAM;
	n = proxyhdr_build(d->buf, PROXYHDR_MAX, &hdr);
	if (hdr.version == 2)
		n = add_tlvs(d->buf, n);
	if (n == PROXYHDR_ESPACE)
		fail(EXIT_REFUSED, "refused: the TLVs of the client's header leave no room for relay's own");
	if (n < 0)
		fail(EXIT_SYSTEM, "header: %s", proxyhdr_strerror(n));
	d->header = (size_t)n;
	if (d->held == 0)
		d->start = (size_t)n;
	d->start -= (size_t)n;
	d->held += (size_t)n;
	memmove(d->buf + d->start, d->buf, (size_t)n);
}

/* ---- which backend ---- */

struct choice {
	const char *text;
	uint64_t score;
	int rank;               /* as the command line has it, then as it is tried */
};

/* The last step of MurmurHash3: each bit of the result depends on each of h. */
static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD;
	h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53;
	return h ^ h >> 33;
}

/* FNV-1a. */
static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len-- > 0)
		h = (h ^ *p++) * 0x100000001B3;
	return h;
}

/* The client's address without its port, an IPv4 one as it is inside IPv6. All
 * others share one key. */
static uint64_t client_key(void)
{
	const uint64_t basis = 0xCBF29CE484222325;
	union proxyhdr_addr a = conn.client;

	map_to_ip6(&a);
	return a.sa.sa_family == AF_INET6 ? hash(basis, &a.in6.sin6_addr, 16) : basis;
}

static uint64_t random_key(void)
{
	uint64_t key;

	if (getentropy(&key, sizeof key) < 0)
		fail(EXIT_SYSTEM, "getentropy: %s", strerror(errno));
	return key;
}

static int by_score(const void *a, const void *b)
{
	const struct choice *x = a, *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	return x->rank - y->rank;
}

/* The backends in the order in which they are tried. hash is rendezvous hashing:
 * each backend has a score with this client, whatever the others are, so without
 * one of them only its clients move. */
static struct choice *order_backends(const struct options *o)
{
	static struct choice only;
	struct choice *list = o->count > 1 ? calloc((size_t)o->count, sizeof *list) : &only;
	uint64_t key = 0;
	int i;

	if (list == NULL)
		fail(EXIT_SYSTEM, "no memory for %d backends", o->count);
	if (o->count > 1 && o->balance != FIRST)
		key = o->balance == HASH ? client_key() : random_key();
	for (i = 0; i < o->count; i++) {
		const char *text = o->backends[i];

		list[i] = (struct choice){ .text = text, .rank = i };
		if (o->balance == HASH)
			list[i].score = mix(hash(key, text, strlen(text)));
		else if (o->balance == RANDOM)
			list[i].score = mix(key + mix((uint64_t)i));
	}
	if (o->count > 1 && o->balance != FIRST)
		qsort(list, (size_t)o->count, sizeof *list, by_score);
	for (i = 0; i < o->count; i++)
		list[i].rank = i;
	return list;
}

/* ---- connect to it ---- */

enum { STAGGER = 250 };         /* RFC 8305 5: milliseconds, before the next attempt starts beside one */
enum { PAUSE = 20 };            /* milliseconds, before a full queue is tried again */

enum progress { STARTED, CONNECTED, FAILED, NONE_LEFT };

/* The address to connect from; AF_UNSPEC where the system chooses. The port is always
 * the system's: the client's own may be in use, or have been a moment ago. */
static union proxyhdr_addr source(void)
{
	union proxyhdr_addr from = conn.options.bind;

	if (!conn.options.bind_client)
		return from;
	from = conn.client;
	if (from.sa.sa_family != AF_INET && from.sa.sa_family != AF_INET6)
		fail(EXIT_USAGE, "--bind=client: this client has no IP address");
	if (from.sa.sa_family == AF_INET6 && is_ip4(&from))
		unmap_from_ip6(&from);
	set_port(&from, 0);
	return from;
}

__attribute__((format(printf, 2, 3)))
static void explain(struct target *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(t->why, sizeof t->why, format, args);
	va_end(args);
}

static void explain_error(const struct attempt *a, int error)
{
	bool local = a->to != NULL && a->to->ai_family == AF_UNIX;

	if (a->to == NULL) {
		explain(a->target, "cannot look up %s: %s", a->target->backend.host, strerror(error));
		return;
	}
	explain(a->target, "cannot connect: %s%s", strerror(error),
	        error == ECONNREFUSED || error == ENOENT ? ": does the backend listen there?" :
	        error == EACCES && local ? ": may the user that runs relay write to that socket?" :
	        error == EACCES ? ": does a route or a firewall forbid it?" :
	        error == ECONNRESET ? ": does it take connections from here?" :
	        error == EADDRNOTAVAIL ? ": is there an address, and a free port, to connect from?" :
	        error == ETIMEDOUT && conn.options.bind_client ?
	        ": do its answers to the client's address come here?" : "");
}

static void explain_family(struct target *t)
{
	explain(t, "the backend has no IPv%d address: --bind needs one",
	        source().sa.sa_family == AF_INET6 ? 6 : 4);
}

/* Where the connection goes, for the log; with fd: nobody knows. */
static void set_backend(const struct addrinfo *to)
{
	memset(&conn.backend, 0, sizeof conn.backend);
	memcpy(&conn.backend, to->ai_addr, to->ai_addrlen);
}

/* Where one of several is given up, the log tells. */
static void log_skipped(const struct target *t, const char *why)
{
	struct line line = { .len = 0 };

	if (conn.options.quiet || conn.options.check || conn.options.count == 1)
		return;
	conn.text = t->backend.text;
	memset(&conn.backend, 0, sizeof conn.backend);
	add(&line, "skipped");
	add_pair(&line, "msg", why);
	add_connection(&line);
	emit(LOG_WARNING, &line);
	conn.text = NULL;
}

static void *look_up_in_thread(void *arg)
{
	struct lookup *l = arg;
	struct addrinfo hints = { .ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
	int error;

	pthread_detach(pthread_self());
	if ((error = getaddrinfo(l->host, l->port, &hints, &l->found)) != 0)
		l->error = error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error);
	close(l->done[1]);
	return NULL;
}

/* Starts to look up a backend's name. Returns the end of a pipe; -1 and errno. The
 * thread may outlive the attempt: what it uses is never freed. */
static int start_lookup(struct attempt *a)
{
	struct lookup *l = a->lookup != NULL ? a->lookup : calloc(1, sizeof *l);
	pthread_t thread;
	int error;

	if (l == NULL)
		return -1;
	a->lookup = l;
	memcpy(l->host, a->target->backend.host, sizeof l->host);
	memcpy(l->port, a->target->backend.port, sizeof l->port);
	if (pipe(l->done) < 0)
		return -1;
	if ((error = pthread_create(&thread, NULL, look_up_in_thread, l)) == 0)
		return l->done[0];
	close(l->done[0]);
	close(l->done[1]);
	errno = error;
	return -1;
}

/* ip(7), IP_TRANSPARENT: the socket may have an address that is not this machine's. */
static void allow_any_address(int fd, int family)
{
#ifdef LINUX
	int on = 1, level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	int name = family == AF_INET ? IP_TRANSPARENT : IPV6_TRANSPARENT;

	if (setsockopt(fd, level, name, &on, sizeof on) < 0)
		fail(EXIT_SYSTEM, "--bind=client: %s%s", strerror(errno),
		     errno == EPERM ? ": relay needs the capability CAP_NET_RAW" : "");
#else
	(void)fd, (void)family;
	fail(EXIT_USAGE, "--bind=client exists on Linux only");
#endif
}

static void bind_source(int fd, const struct addrinfo *to)
{
	union proxyhdr_addr from = source();

	if (from.sa.sa_family == AF_UNSPEC)
		return;
	if (conn.options.bind_client)
		allow_any_address(fd, to->ai_family);
#ifdef LINUX
	/* ip(7): choose the port at connect, by both ends: more to choose from */
	int on = 1;

	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
#endif
	if (bind(fd, &from.sa, to->ai_addrlen) < 0)
		fail(EXIT_SYSTEM, "--bind: %s: does this machine have the address?", strerror(errno));
}

/* Whether --bind allows to connect there. */
static bool is_usable(const struct addrinfo *to)
{
	int family = source().sa.sa_family;

	return family == AF_UNSPEC || family == to->ai_family;
}

/* Starts to connect. Returns the socket; -1 and errno, EAGAIN where a UNIX
 * socket's queue is full: poll does not tell when it has room (unix(7)). */
static int start_connect(const struct addrinfo *to)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0), error;

	if (fd < 0)
		return -1;
#ifdef __APPLE__
	fcntl(fd, F_SETFL, O_NONBLOCK);
#endif
	bind_source(fd, to);
	set_linger(fd, true);
	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EINPROGRESS)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* One of fd:'s descriptors: unfit is the access mode in which it would be useless. */
static void check_given(int fd, int unfit)
{
	int flags = fcntl(fd, F_GETFL), type = socket_type(fd), listens = 0;
	socklen_t len = sizeof listens;

	if (flags < 0)
		fail(EXIT_USAGE, "descriptor %d is not open: is relay started by tcpclient or the like?", fd);
	if (fd == conn.ends[CLIENT].in)
		fail(EXIT_USAGE, "descriptor %d is the client", fd);
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
	if (listens || (type >= 0 && type != SOCK_STREAM))
		fail(EXIT_USAGE, "descriptor %d is no connected stream socket", fd);
	if ((flags & O_ACCMODE) == unfit)
		fail(EXIT_USAGE, "descriptor %d is not open for %s: in fd:R,W relay reads R and writes W",
		     fd, unfit == O_RDONLY ? "writing" : "reading");
}

/* The descriptors of fd:R,W. */
static void take_descriptors(struct end *backend, const struct end *given)
{
	check_given(given->in, O_WRONLY);
	check_given(given->out, O_RDONLY);
	*backend = *given;
	backend->socket = socket_type(given->in) >= 0 ? given->in : given->out;
	if (given->in == given->out && socket_type(given->in) < 0)
		fail(EXIT_USAGE, "descriptor %d is no socket: other things need two, as in fd:6,7", given->in);
	signal(SIGPIPE, SIG_IGN);
}

/* RFC 8305 4: the two families in turn, the resolver's first one first. Drops what
 * --bind cannot use. */
static struct addrinfo *interleave(struct addrinfo *list)
{
	struct addrinfo *queues[2] = { NULL, NULL }, **tails[2] = { &queues[0], &queues[1] };
	struct addrinfo *a, *next, *first = NULL, **tail = &first;
	int i;

	for (a = list; a != NULL; a = next) {
		next = a->ai_next;
		a->ai_next = NULL;
		if (!is_usable(a))
			continue;
		i = queues[0] != NULL && a->ai_family != queues[0]->ai_family;
		*tails[i] = a;
		tails[i] = &a->ai_next;
	}
	for (i = 0; queues[0] != NULL || queues[1] != NULL; i = !i) {
		if (queues[i] == NULL)
			continue;
		*tail = queues[i];
		queues[i] = queues[i]->ai_next;
		tail = &(*tail)->ai_next;
		*tail = NULL;
	}
	return first;
}

static in_port_t port_of(const struct sockaddr *a)
{
	return a->sa_family == AF_INET ? ((const struct sockaddr_in *)(const void *)a)->sin_port :
	       ((const struct sockaddr_in6 *)(const void *)a)->sin6_port;
}

/* RFC 9293 3.5, simultaneous open: where nobody listens on a port of this machine,
 * and the system happens to connect from that very port, the socket is connected
 * to itself. The header would go to the client. Linux chooses no reserved port. */
static bool is_own_peer(int fd, const struct addrinfo *to)
{
	union proxyhdr_addr a, b;
	socklen_t len_a = sizeof a, len_b = sizeof b;

	memset(&a, 0, sizeof a);
	memset(&b, 0, sizeof b);
	if (ntohs(port_of(to->ai_addr)) < IPPORT_RESERVED ||
	    getsockname(fd, &a.sa, &len_a) < 0 || port_of(&a.sa) != port_of(to->ai_addr) ||
	    getpeername(fd, &b.sa, &len_b) < 0)
		return false;
	/* to 0.0.0.0 it is connected by another address than that */
	if (a.sa.sa_family == AF_INET)
		return a.in.sin_addr.s_addr == b.in.sin_addr.s_addr;
	return memcmp(&a.in6.sin6_addr, &b.in6.sin6_addr, sizeof a.in6.sin6_addr) == 0;
}

/* Ends attempt i, which has failed, and its backend with the last one. */
static enum progress end_attempt(int i)
{
	struct target *t = race->attempts[i].target;
	size_t behind = (size_t)(--race->count - i);

	if (race->began == 0)           /* many that fail soon take long, too */
		race->began = now();
	close(race->p[1 + i].fd);
	memmove(&race->attempts[i], &race->attempts[i + 1], behind * sizeof *race->attempts);
	memmove(&race->p[1 + i], &race->p[2 + i], behind * sizeof *race->p);
	if (--t->under_way == 0 && t->next == NULL)
		log_skipped(t, t->why);
	return FAILED;
}

/* Ends all attempts but i, which has a connection. What was tried before it, and
 * has not answered, has been passed over. */
static enum progress win(int i)
{
	const struct attempt *won = &race->attempts[i];
	int fd = race->p[1 + i].fd, j;

	for (j = 0; j < race->count; j++)
		if (j != i)
			close(race->p[1 + j].fd);
	for (j = 0; j < race->used; j++) {
		const struct target *t = race->targets[j];

		if (t->rank < won->target->rank && t->under_way > 0)
			log_skipped(t, "no answer yet, another backend was faster");
	}
	conn.text = won->target->backend.text;
	set_backend(won->to);
	if (won->target->backend.descriptors.in > 0)
		take_descriptors(race->won, &won->target->backend.descriptors);
	else
		*race->won = (struct end){ fd, fd, fd };
	return CONNECTED;
}

/* Whether the shortage may pass: another attempt holds a descriptor. */
static bool is_passing(int error, int i)
{
	int j;

	if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
		return false;
	for (j = 0; j < race->count; j++)
		if (j != i && race->p[1 + j].fd >= 0)
			return true;
	return false;
}

/* Begins what attempt i is for: a look-up or a connection. Where what is short may
 * pass, or a UNIX socket's queue is full, it is tried again. */
static enum progress try_attempt(int i, long long ms)
{
	struct attempt *a = &race->attempts[i];
	struct target *t = a->target;
	struct pollfd *p = &race->p[1 + i];
	bool full;

	if (t->backend.descriptors.in > 0)
		return win(i);
	*p = (struct pollfd){ -1, a->to == NULL ? POLLIN : POLLOUT, 0 };
	if (a->to != NULL) {
		set_backend(a->to);
		if (!is_usable(a->to)) {
			explain_family(t);
			return end_attempt(i);
		}
	}
	p->fd = a->to == NULL ? start_lookup(a) : start_connect(a->to);
	if (p->fd >= 0)
		return a->to != NULL && a->to->ai_family == AF_UNIX ? win(i) : STARTED;
	full = a->to != NULL && errno == EAGAIN;
	if (!full && !is_passing(errno, i)) {
		explain_error(a, errno);
		return end_attempt(i);
	}
	explain_error(a, full ? ETIMEDOUT : errno);
	if (!full && t->under_way == 1)         /* its time has not begun */
		t->deadline = ms + conn.options.timeout;
	return STARTED;
}

/* Attempt i is ready, its time is over, or it is to be tried again. */
static enum progress advance_attempt(int i, long long ms)
{
	struct attempt *a = &race->attempts[i];
	struct target *t = a->target;
	short revents = race->p[1 + i].revents;
	socklen_t len = sizeof(int);
	int error = ETIMEDOUT;

	if (race->p[1 + i].fd < 0 && ms < t->deadline)
		return try_attempt(i, ms);
	if (revents == 0 && ms < t->deadline)
		return STARTED;
	if (a->to == NULL && race->p[1 + i].fd >= 0) {
		if (revents == 0)
			explain(t, "looking up %s: no answer within %g s", a->lookup->host, conn.options.timeout / 1000.0);
		else if (a->lookup->error != NULL)
			explain(t, "looking up %s: %s", a->lookup->host, a->lookup->error);
		else if ((t->next = interleave(a->lookup->found)) == NULL)
			explain_family(t);
		return end_attempt(i);
	}
	if (revents & POLLERR) {
		if (getsockopt(race->p[1 + i].fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			error = errno;
	} else if (revents != 0 && a->to != NULL && is_own_peer(race->p[1 + i].fd, a->to))
		error = ECONNREFUSED;
	else if (revents != 0)
		return win(i);
	if (ms >= t->deadline)
		t->next = NULL;
	if (race->p[1 + i].fd >= 0)
		explain_error(a, error);
	return end_attempt(i);
}

static struct target *new_target(void)
{
	struct target *t = race->used == 0 ? &race->first : calloc(1, sizeof *t);

	if (t == NULL)
		fail(EXIT_SYSTEM, "no memory for another backend");
	return race->targets[race->used++] = t;
}

/* The backend that is tried already and has more addresses, else the next one. */
static struct target *next_target(long long ms)
{
	struct target *t, *found = NULL, *unused = NULL;
	int i;

	for (i = 0; i < race->used; i++) {
		t = race->targets[i];
		if (t->next != NULL && (found == NULL || t->rank < found->rank))
			found = t;
		if (t->next == NULL && t->under_way == 0 && unused == NULL)
			unused = t;
	}
	if (found != NULL || race->next == race->end)
		return found;
	if (unused == NULL)
		unused = new_target();
	parse_backend(&unused->backend, race->next->text);
	unused->rank = race->next++->rank;
	unused->deadline = ms + conn.options.timeout;
	return unused;
}

/* Starts the next attempt. */
static enum progress start_attempt(long long ms)
{
	struct target *t = next_target(ms);
	struct attempt *a = &race->attempts[race->count];

	if (t == NULL)
		return NONE_LEFT;
	*a = (struct attempt){ .target = t };
	t->under_way++;
	race->count++;
	if (t->next != NULL || t->backend.host[0] == '\0') {
		a->to = t->next != NULL ? t->next : &t->backend.address;
		t->next = a->to->ai_next;
	}
	return try_attempt(race->count - 1, ms);
}

/* How long to wait, at most, until something is due: the next attempt is not, while
 * there is no room for it. */
static int time_to_wait(long long ms, long long due)
{
	long long at = race->count < ATTEMPTS ? due : LLONG_MAX;
	int i;

	for (i = 0; i < race->count; i++) {
		if (race->attempts[i].target->deadline < at)
			at = race->attempts[i].target->deadline;
		if (race->p[1 + i].fd < 0 && ms + PAUSE < at)
			at = ms + PAUSE;
	}
	if (race->began == 0 && ms + AT_ONCE < at)
		at = ms + AT_ONCE;
	return at > ms ? (int)(at - ms) : 0;    /* no more than --timeout */
}

/* Returns what time it is then. */
static long long wait_for_attempts(int ms)
{
	if (!wait_in_setup(race->p, (nfds_t)race->count + 1, ms) && race->began == 0)
		race->began = now() - ms;
	return race->began > 0 ? now() - race->began : 0;
}

/* Connects to the first of these backends that takes it: RFC 8305's happy eyeballs,
 * for backends and for the addresses of each. */
static bool connect_any(const struct choice *list, int count, struct end *won)
{
	enum progress progress;
	long long ms = 0, due = 0;
	int i;

	if (race->won != NULL)
		memset(race, 0, sizeof *race);  /* the next one of --check */
	race->next = list;
	race->end = list + count;
	race->won = won;
	for (;;) {
		while (race->count < ATTEMPTS && (race->count == 0 || ms >= due)) {
			if ((progress = start_attempt(ms)) == CONNECTED)
				return true;
			if (progress == NONE_LEFT && race->count == 0)
				return false;
			due = progress == FAILED ? ms : progress == STARTED ? ms + STAGGER : LLONG_MAX;
		}
		ms = wait_for_attempts(time_to_wait(ms, due));
		/* in their order: of two at once the first is taken */
		for (i = 0; i < race->count; ) {
			if ((progress = advance_attempt(i, ms)) == CONNECTED)
				return true;
			if (progress == FAILED)
				due = ms;
			else
				i++;
		}
	}
}

static void connect_backend(struct end *backend)
{
	const struct options *o = &conn.options;

	if (connect_any(order_backends(o), o->count, backend))
		return;
	if (o->count == 1)
		fail(EXIT_SYSTEM, "%s", race->first.why);
	fail(EXIT_SYSTEM, "none of the %d backends takes the connection", o->count);
}

/* ---- no client: --check ---- */

enum { CHECK_TIME = 1000 };     /* milliseconds in which a backend may object */

/* Whether a line of an answer says that the header was taken for a request. Version
 * 2 has the word QUIT in it: hence the goodbyes. */
static bool is_complaint(const char *line)
{
	static const char *const beginnings[] = {
		"HTTP/",                        /* whatever follows: nothing was asked */
		"221", "* BYE", "BYE",          /* SMTP, FTP; IMAP; ManageSieve */
		"-ERR", "ERROR", "NO ",         /* POP3, Redis; memcached; ManageSieve */
		"Invalid SSH"                   /* OpenSSH */
	};
	size_t i;

	for (i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
		if (strncmp(line, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	if (line[0] == '5' && strspn(line, "0123456789") == 3)          /* SMTP, FTP, NNTP */
		return true;
	return strncmp(line + strcspn(line, " "), " BAD", 4) == 0;      /* IMAP */
}

/* PROXY spec 2: health checks send LOCAL. It has no addresses, but is as long as an
 * IPv6 client's header: backends differ in how much they read. Version 1 has no word
 * for it, and its UNKNOWN is not what clients get: it names the connection's own
 * addresses, or 127.0.0.1 where there are none. */
static size_t build_check(unsigned char *buf, int fd)
{
	static const unsigned char padding[36 - 3];     /* an IPv6 pair, less the TLV's head */
	struct proxyhdr hdr = { .version = conn.options.version, .command = PROXYHDR_LOCAL };
	socklen_t src_len = sizeof hdr.src, dst_len = sizeof hdr.dst;
	int n;

	if (hdr.version == 0)
		return 0;
	if (hdr.version == 1) {
		hdr.command = PROXYHDR_PROXY;
		hdr.transport = PROXYHDR_STREAM;
		if (getsockname(fd, &hdr.src.sa, &src_len) < 0 || getpeername(fd, &hdr.dst.sa, &dst_len) < 0 ||
		    hdr.src.sa.sa_family == AF_UNIX) {
			parse_address(&hdr.src, "127.0.0.1");
			hdr.dst = hdr.src;
		}
		unite_families(&hdr.src, &hdr.dst);
	}
	n = proxyhdr_build(buf, PROXYHDR_MAX, &hdr);
	if (hdr.version == 2)
		n = add_tlvs(buf, proxyhdr_add_tlv(buf, PROXYHDR_MAX, PROXYHDR_NOOP, padding, sizeof padding));
	if (n < 0)
		fail(EXIT_SYSTEM, "header: %s", proxyhdr_strerror(n));
	return (size_t)n;
}

/* Sends a header and reads what comes of it within CHECK_TIME: a text, in which
 * NUL ends a line too. Returns how that ended: a word. */
static const char *try_header(const struct end *backend, char *answer, size_t size)
{
	unsigned char *header = large.buffers[0];
	struct pollfd p[2] = { { 0 }, { backend->in, POLLIN, 0 } };
	size_t len = 0, sent = 0, n = build_check(header, backend->in);
	long long end = now() + CHECK_TIME, ms;
	ssize_t put;

	while (sent < n && (put = write_now(backend->out, header + sent, n - sent)) > 0)
		sent += (size_t)put;
	while (len < size - 1 && (ms = end - now()) > 0 && wait_in_setup(p, 2, (int)ms)) {
		ssize_t got = read_now(backend->in, answer + len, size - 1 - len), i;

		if (got == 0)
			return "closed";
		if (got < 0 && after_error(READ_FAILED) != NOT_NOW)
			return "reset";
		for (i = 0; i < got; i++, len++)
			if (answer[len] == '\0')
				answer[len] = '\n';
	}
	return sent == n ? "open" : "reset";
}

/* What is wrong with a backend that has answered so; NULL: nothing is. */
static const char *explain_answer(const char *ended, bool complains)
{
	bool sent = conn.options.version != 0;

	if (complains)
		return sent ? "it takes the header for a request: it expects none, or none from here" :
		       "it answers with an error";
	if (strcmp(ended, "open") == 0)
		return NULL;
	return sent ? "it ends the connection: does it expect a header of this version and length, and from here?" :
	       "it ends the connection";
}

/* A backend's line, on stdout, as soon as all is known: ended is NULL where there is
 * no connection, answer a line of what came or NULL, why NULL where all is well. */
static void report_check(const char *text, long long ms, const char *ended, const char *answer, const char *why)
{
	static const char *const versions[] = { "none", "v1", "v2" };
	struct line line = { .len = 0 };

	if (conn.options.quiet)
		return;
	add(&line, why == NULL ? "ok" : "failed");
	add_pair(&line, "backend", text);
	if (ended != NULL && race->first.backend.host[0] != '\0')
		add_address(&line, "address", &conn.backend);
	add(&line, " connect_ms=%lld", ms);
	if (ended != NULL)
		add(&line, " header=%s end=%s", versions[conn.options.version], ended);
	if (answer != NULL)
		add_pair(&line, "answer", answer);
	if (why != NULL)
		add_pair(&line, "msg", why);
	add(&line, "\n");
	print(line.text);
}

/* Whether one backend takes the header. */
static bool check(const struct choice *backend)
{
	char answer[4096] = "", *first, *complaint;
	struct end end = { -1, -1, -1 };
	const char *ended, *why;
	long long start = now(), ms;

	if (!connect_any(backend, 1, &end)) {
		report_check(backend->text, now() - start, NULL, NULL, race->first.why);
		return false;
	}
	ms = now() - start;
	ended = try_header(&end, answer, sizeof answer);
	set_lingers(&end, false);               /* this is no cut */
	close(end.in);
	close(end.out);
	complaint = first = strtok(answer, "\r\n");
	while (complaint != NULL && !is_complaint(complaint))
		complaint = strtok(NULL, "\r\n");
	why = explain_answer(ended, complaint != NULL);
	report_check(backend->text, ms, ended, complaint != NULL ? complaint : first, why);
	return why == NULL;
}

/* All backends, one after the other. What the options say of a client counts for
 * nothing. */
static int check_all(const struct options *o)
{
	bool all = true;
	int i;

	conn.ends[CLIENT] = (struct end){ -1, -1, -1 };
	if (fcntl(STDOUT_FILENO, F_GETFD) < 0)
		fail(EXIT_SYSTEM, "standard output: %s", strerror(errno));
	complete_own();
	for (i = 0; i < o->count; i++) {
		struct choice backend = { .text = o->backends[i] };

		all &= check(&backend);
	}
	return all ? 0 : EXIT_SYSTEM;
}

/* ---- relay ---- */

/* What to wait for on a direction's descriptors: bytes to read, or, while some
 * are held, room for them. Unasked, poll tells errors of the other one (S6), and
 * POLLHUP. That it reports for ever: after the first time the descriptor is no longer
 * polled (S5). */
static void watch(struct pollfd p[2], const struct direction *d)
{
	bool writes = d->held > 0;
	int k;

	p[FROM] = (struct pollfd){ d->from, writes ? 0 : POLLIN, 0 };
	p[TO] = (struct pollfd){ d->to, writes ? POLLOUT : 0, 0 };
	for (k = FROM; k <= TO; k++)
		if (d->ended || (d->hung_up[k] && p[k].events == 0))
			p[k].fd = -1;
}

/* poll(2) for both directions. A socket is read by one and written to by the other: while
 * the latter has nothing to write, it is polled once, and both are told what happens. */
static int wait_for_both(struct pollfd p[2][2], int ms)
{
	bool same[2];
	int i, n;

	for (i = 0; i < 2; i++) {
		same[i] = p[i][TO].fd == p[!i][FROM].fd && p[i][TO].events == 0;
		if (same[i])
			p[i][TO].fd = -1;
	}
	n = wait_for(&p[0][0], 4, ms);
	for (i = 0; i < 2; i++)
		if (same[i]) {
			p[i][TO].fd = p[!i][FROM].fd;
			p[i][TO].revents = (short)(p[!i][FROM].revents & ~POLLIN);
		}
	return n;
}

/* Does what poll allows in direction i. Returns how that ended the connection,
 * if it did. */
static enum ending advance(struct pollfd p[2][2], struct direction d[2], int i)
{
	static const enum ending reset[2] = { CLIENT_RESET, BACKEND_RESET };
	bool writes = d[i].held > 0;
	const struct pollfd *asked = &p[i][writes], *other = &p[i][!writes];

	switch (asked->revents != 0 ? move(&d[i]) : NOT_NOW) {
	case READ_FAILED:
		return reset[i];
	case WRITE_FAILED:
		drain(&d[!i]);
		return reset[!i];
	default:
		break;
	}
	if (!is_reset(other->fd, other->revents)) {
		d[i].hung_up[!writes] |= other->revents != 0;
		return NOT_YET;
	}
	if (writes)
		return reset[i];
	/* The end that we write to is lost. If its bytes are still coming in, they
	 * go first: reading finds the error behind them. */
	if ((p[!i][FROM].revents & (POLLIN | POLLERR)) == (POLLIN | POLLERR))
		return NOT_YET;
	return reset[!i];
}

/* Both directions have ended; or one has, and there is nobody left to write the
 * other one's bytes to (S6). */
static bool is_done(const struct direction d[2])
{
	bool over[2];
	int i;

	for (i = 0; i < 2; i++)
		over[i] = d[i].ended ||
		          (d[!i].ended && d[i].hung_up[TO] && d[i].held == 0);
	return over[0] && over[1];
}

/* Milliseconds in which nothing moves: the connection is idle. So many waits: it lasts. */
enum { REST = 1000, LASTING = 8 };

static enum ending relay(struct direction d[2])
{
	struct pollfd p[2][2];
	bool limited = conn.options.idle > 0;
	unsigned long long moved = ULLONG_MAX;
	long long last_moved = 0;
	enum ending ending = NOT_YET;
	int i, waits = 0;

	while (ending == NOT_YET) {
		bool empty = d[0].held == 0 && d[1].held == 0, rests;
		int first, ms = -1;

		if (limited && moved != d[0].bytes + d[1].bytes) {
			moved = d[0].bytes + d[1].bytes;
			last_moved = now();
		}
		watch(p[0], &d[0]);
		watch(p[1], &d[1]);
		if (limited)
			ms = time_left(last_moved + conn.options.idle);
		rests = (waits < LASTING || (empty && (d[0].used || d[1].used))) && (ms < 0 || ms > REST);
		if (wait_for_both(p, rests ? REST : ms) == 0) {
			if (!rests)
				return IDLE;
			if (waits < LASTING)
				keep_alive();
			waits = LASTING;
			if (empty)
				release(d);
			continue;
		}
		if (waits < LASTING && ++waits == LASTING)
			keep_alive();
		/* S4: who has something to write goes first. A splice that has written
		 * some of it, and then met a reset, tells only the former; of the reset
		 * the next write tells, but the next read tells an end. */
		first = d[CLIENT].held == 0 && d[BACKEND].held > 0 ? BACKEND : CLIENT;
		for (i = 0; i < 2 && ending == NOT_YET; i++)
			ending = advance(p, d, i ^ first);
		if (ending == NOT_YET && is_done(d))
			ending = DONE;
	}
	return ending;
}

/* ---- the sandbox ---- */

#ifdef NO_SANDBOX
#elif defined LINUX && defined __x86_64__ && defined __LP64__
#define ARCH 0xC000003E
#elif defined LINUX && defined __aarch64__ && !defined __AARCH64EB__
#define ARCH 0xC00000B7
#elif defined LINUX && defined __riscv && __riscv_xlen == 64
#define ARCH 0xC00000F3
#endif

#ifdef ARCH
static pthread_t main_thread;

/* A forbidden system call: whoever made relay try it is not served any longer. A
 * look-up that nobody waits for any more (start_lookup) comes to one too: it stays here. */
static void forbidden(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	if (pthread_equal(pthread_self(), main_thread))
		fail(EXIT_SYSTEM, "the sandbox forbids system call %d: please report this", info->si_syscall);
	for (;;)
		poll(NULL, 0, -1);
}

/* The kernel's interface, as its linux/filter.h, seccomp.h and audit.h have it, which
 * musl-gcc does not find. */
struct instruction {
	uint16_t code;
	uint8_t yes, no;        /* how many are skipped */
	uint32_t value;
};

struct program {
	unsigned short len;
	const struct instruction *code;
};

#define LOAD(at)                { 0x20, 0, 0, at }              /* BPF_LD+W+ABS, of struct seccomp_data */
#define COPY_TO_X               { 0x07, 0, 0, 0 }               /* BPF_MISC+TAX */
#define IF(value, yes, no)      { 0x15, yes, no, value }        /* BPF_JMP+JEQ+K */
#define IF_ANY(bits, yes, no)   { 0x45, yes, no, bits }         /* BPF_JMP+JSET+K */
#define RETURN(what)            { 0x06, 0, 0, what }            /* BPF_RET+K */
#define ALLOWED(call)           IF(SYS_ ## call, TO_ALLOW, 0)

enum { TO_TRAP = 254, TO_ALLOW = 255 };                 /* to the last but one, the last */
enum { NUMBER = 0, ARCHITECTURE = 4, ARGUMENT = 16 };   /* of 8 bytes each, the low ones first */
enum { SET_MODE_FILTER = 1, TSYNC = 1, SPEC_ALLOW = 4 };
#define ALLOW                   0x7FFF0000
#define TRAP                    0x00030000
#define KILL                    0x80000000

/* seccomp(2): this process moves bytes, waits, logs and ends, and nothing else from
 * here on. The kernel runs a filter once for each number that there is, to learn which
 * are always allowed (kernel/seccomp.c, seccomp_cache_prepare), but no further than to
 * an instruction such as the first one here: else that would be half of what the sandbox
 * costs. In return the filter runs at each call: the frequent ones come first. A kernel
 * or an emulator without seccomp does without. */
__attribute__((noinline))       /* its stack would be that of all that follows */
static void allow_only_relaying(void)
{
	struct instruction filter[] = {
		COPY_TO_X, LOAD(ARCHITECTURE), IF(ARCH, 1, 0), RETURN(KILL), LOAD(NUMBER),
		/* with MSG_FASTOPEN it can connect */
		IF(SYS_sendto, 0, 2), LOAD(ARGUMENT + 24), IF_ANY(MSG_FASTOPEN, TO_TRAP, TO_ALLOW),
		/* with F_SETOWN it can kill */
		IF(SYS_fcntl, 0, 3), LOAD(ARGUMENT + 8), IF(F_SETFL, TO_ALLOW, 0),
		IF(F_SETPIPE_SZ, TO_ALLOW, TO_TRAP),
		ALLOWED(ppoll), ALLOWED(recvfrom), ALLOWED(splice), ALLOWED(read), ALLOWED(write),
		ALLOWED(pipe2), ALLOWED(shutdown), ALLOWED(close), ALLOWED(dup3), ALLOWED(madvise),
		ALLOWED(setsockopt), ALLOWED(getsockopt), ALLOWED(clock_gettime), ALLOWED(getpid),
		ALLOWED(rt_sigaction), ALLOWED(rt_sigprocmask), ALLOWED(rt_sigpending),
		ALLOWED(rt_sigreturn), ALLOWED(restart_syscall),
#ifdef SYS_poll
		ALLOWED(poll), ALLOWED(dup2),
#endif
#if defined __GLIBC__ && defined SYS_rseq
		ALLOWED(rseq),          /* a thread begins, with its signals blocked */
#endif
		ALLOWED(exit_group), ALLOWED(exit), ALLOWED(munmap), ALLOWED(futex), ALLOWED(set_robust_list),
		IF(SYS_ioctl, 0, 2), LOAD(ARGUMENT + 8), IF(FIONREAD, TO_ALLOW, TO_TRAP),
		IF(SYS_kill, 0, 2), LOAD(ARGUMENT), IF((uint32_t)getpid(), TO_ALLOW, TO_TRAP),
		IF(UINT32_MAX, TO_ALLOW, 0),    /* ptrace(2) has put -1 there: no call */
		RETURN(TRAP), RETURN(ALLOW)
	};
	enum { LAST = sizeof filter / sizeof *filter - 1 };
	_Static_assert(sizeof filter / sizeof *filter <= TO_TRAP, "a skip is a byte");
	const struct program program = { LAST + 1, filter };
	long answer;
	int i;

	for (i = 0; i < LAST; i++) {    /* skips are counted from the next instruction */
		if (filter[i].yes >= TO_TRAP)
			filter[i].yes = (uint8_t)(LAST - 1 - i - (filter[i].yes == TO_TRAP));
		if (filter[i].no >= TO_TRAP)
			filter[i].no = (uint8_t)(LAST - 1 - i - (filter[i].no == TO_TRAP));
	}
	answer = syscall(SYS_seccomp, SET_MODE_FILTER, TSYNC | SPEC_ALLOW, &program);
	if (answer != 0 && errno == EINVAL)
		answer = syscall(SYS_seccomp, SET_MODE_FILTER, TSYNC, &program);        /* before 4.17 */
	if (answer > 0 || (answer < 0 && errno != ENOSYS && errno != EINVAL && errno != EPERM && errno != EACCES))
		fail(EXIT_SYSTEM, "the sandbox cannot be made: %s", answer > 0 ? "a thread is in another" : strerror(errno));
}
#endif

/* What is read from here on is not looked at, but it may be hostile: before it, this
 * process gives up what it needs no more. The system's log it needs. */
static void enter_sandbox(void)
{
	if (log_target() == SYSLOG)
		open_syslog();
	if (syslog_socket < 0)
		syslog_socket = NEVER;
#ifdef LINUX
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#endif
#ifdef ARCH
	struct sigaction action = { .sa_sigaction = forbidden, .sa_flags = SA_SIGINFO };

	main_thread = pthread_self();
	sigaction(SIGSYS, &action, NULL);
	allow_only_relaying();
#elif defined __OpenBSD__
	pledge("stdio unix", NULL);
#endif
}

int main(int argc, char **argv)
{
	struct end *client = &conn.ends[CLIENT], *backend = &conn.ends[BACKEND];
	struct direction *up = &conn.directions[CLIENT], *down = &conn.directions[BACKEND];
	enum ending ending;

#ifdef __APPLE__
	signal(SIGPIPE, SIG_IGN);
#endif
	parse_options(argc, argv, &conn.options);
	if (conn.options.check)
		_exit(check_all(&conn.options));        /* see fail() */
	if (conn.options.verbose) {
		conn.started = now();
		catch_signals();
	}
	up->buf = large.buffers[0];
	up->used = true;        /* for connecting */
	find_client(client);
	if (conn.options.accept_from != NULL)
		ask_header(client, up);
	write_header(up);
	connect_backend(backend);
	up->from = client->in;
	up->to = backend->out;
	down->from = backend->in;
	down->to = client->out;
	if (up->held > 0)
		move(up);               /* S1: at once, and before the client is asked for more */
	if (client->out != client->socket) {
		signal(SIGPIPE, SIG_IGN);       /* sockets are told MSG_NOSIGNAL */
		set_linger(client->out, true);  /* mostly it is the same one */
	}
	set_lively();
	enter_sandbox();
	ending = relay(conn.directions);
	if (ending == DONE) {
		set_lingers(client, false);
		set_lingers(backend, false);
	}
	report(ending);
	/* a backend that has finished resets what the client sends all the same: TLS clients do */
	_exit(ending == BACKEND_RESET && !down->ended ? EXIT_SYSTEM : 0);
}
