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
 * client, connect, header, relay, report. S1 to S10 are the promises of the
 * man page's section PROMISES.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define VERSION "0.1.0"

enum { BUFFER_SIZE = 256 * 1024 };
enum { AT_ONCE = 50 };          /* milliseconds: longer than to a backend nearby */

/* Exit statuses, after the UCSPI custom: 100 stays wrong until somebody mends
 * the configuration, 111 may pass. */
enum { EXIT_USAGE = 100, EXIT_SYSTEM = 111 };

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
	int timeout, idle;                  /* milliseconds; idle 0: never */
	union proxyhdr_addr bind;           /* AF_UNSPEC: the system chooses */
	bool verbose, quiet;
	struct backend backend;
};

/* Bytes on their way from one end to the other. */
struct direction {
	int from, to;
	unsigned char *buf;                 /* of BUFFER_SIZE bytes */
	size_t start, end;                  /* read from `from`, not yet written */
	size_t header;                      /* of what goes to `to`, not the peer's */
	unsigned long long bytes;           /* written to `to` */
	bool ended;                         /* EOF has come in and gone out */
	bool hung_up[2];                    /* FROM, TO: its other side is closed */
};

enum ending { NOT_YET, DONE, CLIENT_RESET, BACKEND_RESET, IDLE, SIGNAL };

/* The one connection of this process: what is known of it by now. */
static struct {
	struct options options;
	struct end ends[2];                 /* the client, the backend */
	struct direction directions[2];     /* from the client, from the backend */
	union proxyhdr_addr client, server; /* AF_UNSPEC: not known */
	union proxyhdr_addr backend;        /* where it is connected to */
	long long started;                  /* milliseconds, with -v */
} conn = { .ends = { { STDIN_FILENO, STDOUT_FILENO, -1 }, { -1, -1, -1 } } };

enum { CLIENT, BACKEND };          /* of ends, and of directions by where they come from */
enum { FROM, TO };

static unsigned char buffers[2][BUFFER_SIZE];

/* ---- messages ---- */

enum log_target { UNDECIDED, STDERR, JOURNAL, SYSLOG };

struct line {
	char text[1536];
	size_t len;
};

enum { VALUE_MAX = 300 };       /* of four that a line may have */

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

/* A socket that a listener has accepted: it has a name. Nobody logs to one. */
static bool is_accepted(int fd)
{
	union proxyhdr_addr a;
	socklen_t len = sizeof a;

	a.sa.sa_family = AF_UNSPEC;
	if (getsockname(fd, &a.sa, &len) < 0)
		return false;
	return a.sa.sa_family != AF_UNIX || len > offsetof(struct sockaddr_un, sun_path);
}

/* S9: inetd, and systemd with StandardInput=socket, put the client on
 * descriptor 2 as well; there it stays, whatever a filter makes of 0 and 1. A
 * pipe on 1 and 2 counts if 0 can be a client too: else it is somebody who tries
 * relay in a shell. */
static bool is_client(const struct stat *err)
{
	struct stat in, out;
	bool has_in = fstat(conn.ends[CLIENT].in, &in) == 0;
	bool has_out = fstat(conn.ends[CLIENT].out, &out) == 0;
	bool same = (has_in && is_same_file(err, &in)) || (has_out && is_same_file(err, &out));

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

	snprintf(expected, sizeof expected, "%llu:%llu",
	         (unsigned long long)err->st_dev, (unsigned long long)err->st_ino);
	return stream != NULL && strcmp(stream, expected) == 0;
}

/* Where a message can be read. Decided once: descriptors close on the way. */
static enum log_target log_target(void)
{
	static enum log_target target = UNDECIDED;
	struct stat err;

	if (target != UNDECIDED)
		return target;
	if (fstat(STDERR_FILENO, &err) < 0 || is_client(&err))
		target = SYSLOG;
	else
		target = is_journal(&err) ? JOURNAL : STDERR;
	return target;
}

/* One write, so that the lines of many processes do not mix. */
static void emit(int priority, const struct line *line)
{
	struct line out = { .len = 0 };

	signal(SIGPIPE, SIG_IGN);
	if (log_target() != SYSLOG) {
		if (log_target() == JOURNAL)
			add(&out, "<%d>", priority);
		add(&out, "relay: %s", line->text);
		out.text[out.len++] = '\n';
		if (write(STDERR_FILENO, out.text, out.len) >= 0)
			return;
	}
	openlog("relay", LOG_PID, LOG_DAEMON);
	syslog(LOG_DAEMON | priority, "%s", line->text);
}

static void add_connection(struct line *line)
{
	if (conn.client.sa.sa_family != AF_UNSPEC)
		add_address(line, "client", &conn.client);
	if (conn.server.sa.sa_family != AF_UNSPEC)
		add_address(line, "server", &conn.server);
	if (conn.backend.sa.sa_family != AF_UNSPEC)
		add_address(line, "backend", &conn.backend);
	else if (conn.options.backend.text != NULL)
		add_pair(line, "backend", conn.options.backend.text);
}

/* S4: whatever ends us, SIGKILL included, resets the connection, until
 * both directions have ended in order. No socket, or none of TCP's: no effect. */
static void set_linger(int fd, bool on)
{
	struct linger linger = { on, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

/* Before a last message: a log that is stuck must not hold up the peers. */
static void close_ends(void)
{
	int i;

	log_target();
	for (i = 0; i < 2; i++) {
		close(conn.ends[i].in);
		close(conn.ends[i].out);
	}
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
	set_linger(conn.ends[CLIENT].in, true);
	set_linger(conn.ends[CLIENT].out, true);
	close_ends();
	if (!conn.options.quiet) {
		add(&line, "error");
		add_pair(&line, "msg", message);
		add_connection(&line);
		emit(LOG_ERR, &line);
	}
	exit(status);
}

/* Milliseconds on a clock that nobody sets. The first call costs four page
 * faults, so a connection that is made AT_ONCE does without. */
static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
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

/* ---- waiting ---- */

static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
enum { SIGNALS = sizeof signals / sizeof *signals };

static sigset_t unblocked;      /* the signal mask while waiting */
static volatile sig_atomic_t caught;

static void catch(int sig)
{
	caught = sig;
}

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
			raise(caught);
		}
	}
	return n;
}

/* SOCK_STREAM or another type; -1: no socket. */
static int socket_type(int fd)
{
	int type;
	socklen_t len = sizeof type;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 ? type : -1;
}

/* A socket that was reset. A pipe says POLLERR too, when nobody reads it any
 * more: that is no cut, its writer has just been left alone. */
static bool is_reset(int fd, short revents)
{
	return revents & POLLERR && socket_type(fd) >= 0;
}

/* Waits for fd, at most ms milliseconds. Returns its revents, 0 after the time.
 * A client that resets its connection meanwhile ends it all. */
static short wait_in_setup(int fd, short events, int ms)
{
	struct pollfd p[2] = { { fd, events, 0 }, { conn.ends[CLIENT].out, 0, 0 } };
	int left = ms < AT_ONCE ? ms : AT_ONCE;
	long long deadline = 0;

	do {
		bool timed_out = wait_for(p, 2, left) == 0;

		if (is_reset(p[1].fd, p[1].revents)) {
			report(CLIENT_RESET);
			exit(0);
		}
		if (p[0].revents != 0)
			return p[0].revents;
		if (p[1].revents != 0)
			p[1].fd = -1;           /* it has hung up, its bytes still count */
		if (deadline == 0)
			deadline = now() + (timed_out ? ms - left : ms);
		left = (int)(deadline - now());
	} while (left > 0);
	return 0;
}

/* ---- options ---- */

static const char help[] =
"usage: relay [options] backend\n"
"\n"
"Started by inetd, systemd, tcpserver ... for each connection: connects to the\n"
"backend, tells it the client's address in a PROXY protocol header, and moves\n"
"bytes both ways until both directions have ended.\n"
"\n"
"backend: HOST:PORT, [V6]:PORT, /path, @abstract, fd:R,W or fd:N\n"
"\n"
"  -1, --v1            send a version 1 header (default)\n"
"  -2, --v2            send a version 2 header\n"
"  -0, --no-header     send none: a plain relay\n"
"  -b, --bind=ADDR     connect to the backend from this address\n"
"  -t, --timeout=SECS  limit for look-up and connection (default 10)\n"
"  -i, --idle=SECS     end a connection that moves nothing for so long (0: never)\n"
"  -v, --verbose       log every connection\n"
"  -q, --quiet         log nothing\n"
"  -h, --help          print this and exit\n"
"  -V, --version       print the version and exit\n"
"\n"
"exit status: 0 connection over, 100 wrong usage, 111 system or network failure\n";

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

	if (inet_pton(AF_INET, text, &a->in.sin_addr) == 1) {
		a->sa.sa_family = AF_INET;
		return true;
	}
	if (text[0] == '[' && text[len - 1] == ']' && len - 2 < sizeof ip) {
		memcpy(ip, text + 1, len - 2);
		ip[len - 2] = '\0';
		text = ip;
	}
	if (inet_pton(AF_INET6, text, &a->in6.sin6_addr) != 1)
		return false;
	a->sa.sa_family = AF_INET6;
	return true;
}

static void parse_path(struct backend *b)
{
	size_t len = strlen(b->text);
	bool abstract = *b->text == '@';
#ifdef __linux__
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
	set_linger((int)w, true);       /* S4: it is connected already */
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
	b->text = text;
	if (*text == '/' || *text == '@')
		parse_path(b);
	else if (strncmp(text, "fd:", 3) == 0)
		parse_descriptors(b);
	else
		parse_host(b);
	b->address.ai_family = b->sockaddr.sa.sa_family;
	b->address.ai_addr = &b->sockaddr.sa;
}

/* getopt_long's `?` or `:`: optopt is the option, or 0 for a long one that does
 * not exist. */
__attribute__((noreturn))
static void bad_option(int answer, const struct option *longs, const char *arg)
{
	while (longs->name != NULL && longs->val != optopt)
		longs++;
	if (optopt == 0)
		fail(EXIT_USAGE, "unknown option %.100s: see relay --help", arg);
	if (longs->name == NULL)
		fail(EXIT_USAGE, "unknown option -%c: see relay --help", optopt);
	if (answer == ':')
		fail(EXIT_USAGE, "-%c, --%s needs a value: see relay --help", optopt, longs->name);
	fail(EXIT_USAGE, "-%c, --%s takes no value: see relay --help", optopt, longs->name);
}

static void parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "v1", no_argument, NULL, '1' },
		{ "v2", no_argument, NULL, '2' },
		{ "no-header", no_argument, NULL, '0' },
		{ "bind", required_argument, NULL, 'b' },
		{ "timeout", required_argument, NULL, 't' },
		{ "idle", required_argument, NULL, 'i' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	bool quiet = false;
	int option;

	o->version = 1;
	o->timeout = 10000;
	while ((option = getopt_long(argc, argv, ":012b:t:i:vqhV", longs, NULL)) != -1) {
		switch (option) {
		case '0': case '1': case '2':
			o->version = option - '0';
			break;
		case 'b':
			if (!parse_address(&o->bind, optarg))
				fail(EXIT_USAGE, "--bind: no IPv4 or IPv6 address: %s", optarg);
			break;
		case 't':
			o->timeout = parse_seconds("--timeout", optarg, 1);
			break;
		case 'i':
			o->idle = parse_seconds("--idle", optarg, 0);
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'q':
			quiet = true;
			break;
		case 'h':
			fputs(help, stdout);
			exit(fflush(stdout) == 0 ? 0 : EXIT_SYSTEM);
		case 'V':
			puts("relay " VERSION);
			exit(fflush(stdout) == 0 ? 0 : EXIT_SYSTEM);
		default:
			bad_option(option, longs, argv[optind <= argc ? optind - 1 : argc - 1]);
		}
	}
	if (optind == argc)
		fail(EXIT_USAGE, "no backend given: see relay --help");
	if (optind + 1 < argc)
		fail(EXIT_USAGE, "more than one backend given: %s, %s", argv[optind], argv[optind + 1]);
	parse_backend(&o->backend, argv[optind]);
	if (o->bind.sa.sa_family != AF_UNSPEC && o->backend.host[0] == '\0' &&
	    o->backend.address.ai_family != o->bind.sa.sa_family)
		fail(EXIT_USAGE, "--bind needs a backend with a host of the same address family");
	o->quiet = quiet;       /* wrong usage is always told */
}

/* What a connection needs once it lives; the header does not wait for it. A UNIX
 * socket takes what it knows of these. */
static void set_options(const struct end *end)
{
	static const struct { int level, name, value; } options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },        /* S7 */
		{ SOL_SOCKET, SO_OOBINLINE, 1 },        /* S2: urgent bytes are bytes */
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },        /* S6: dead after three minutes */
		{ IPPROTO_TCP, TCP_KEEPIDLE, 60 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 20 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 6 }
	};
	size_t i;

	for (i = 0; end->socket >= 0 && i < sizeof options / sizeof *options; i++)
		setsockopt(end->socket, options[i].level, options[i].name,
		           &options[i].value, sizeof options[i].value);
}

/* ---- who is the client ---- */

/* Where a launcher that keeps the socket to itself leaves the addresses. */
struct variables {
	const char *remote_ip, *remote_port, *local_ip, *local_port;
};

/* sd_listen_fds(3): descriptor 3 is the connection. */
static void take_listen_fd(struct end *client)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	unsigned n;

	if (pid == NULL || fds == NULL || !parse_number(pid, INT_MAX, &n) || (pid_t)n != getpid())
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
	int listens = 0;
	socklen_t len = sizeof listens;

	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
	if (listens)
		fail(EXIT_USAGE, "descriptor %d is a listening socket: set Accept=yes (systemd) or nowait (inetd)", fd);
	/* the client was gone before we were here */
	report(CLIENT_RESET);
	exit(0);
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
	getsockname(client->in, &conn.server.sa, &len);
	switch (conn.client.sa.sa_family) {
	case AF_INET: case AF_INET6:
		return true;
	case AF_UNIX:
		/* a socketpair has no name: something stands between it and the client */
		if (len > offsetof(struct sockaddr_un, sun_path))
			return true;
	}
	memset(&conn.client, 0, sizeof conn.client);
	memset(&conn.server, 0, sizeof conn.server);
	return false;
}

/* IPv4, plain or mapped into IPv6 (RFC 4291 2.5.5.2). */
static bool is_ip4(const union proxyhdr_addr *a)
{
	return a->sa.sa_family == AF_INET ||
	       (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr));
}

/* One address and port from the environment. What is no plain address is never
 * guessed at: it could end as somebody else's in the header. */
static void parse_variables(union proxyhdr_addr *a, const char *ip_name, const char *port_name)
{
	const char *ip = ip_name ? getenv(ip_name) : NULL;
	const char *port = port_name ? getenv(port_name) : NULL;
	unsigned n = 0;

	if (ip == NULL || *ip == '\0')
		return;
	if (port != NULL && !parse_number(port, 65535, &n))
		fail(EXIT_USAGE, "%s is no port: %s", port_name, port);
	if (!parse_address(a, ip))
		fail(EXIT_USAGE, "%s is no address: %s", ip_name, ip);
	set_port(a, n);
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
	size_t i;

	memset(&client, 0, sizeof client);
	memset(&server, 0, sizeof server);
	/* behind fd:, tcpclient and its kin have overwritten these: their backend's */
	if (proto != NULL && *proto != '\0' && strlen(proto) < 16 && conn.options.backend.descriptors.in == 0) {
		for (i = 0; i < 4; i++)
			snprintf(names[i], sizeof names[i], "%s%s", proto, ucspi[i]);
		parse_variables(&client, v.remote_ip, v.remote_port);
	}
	for (i = 0; client.sa.sa_family == AF_UNSPEC && i < sizeof known / sizeof *known; i++) {
		v = known[i];
		parse_variables(&client, v.remote_ip, v.remote_port);
	}
	if (client.sa.sa_family == AF_UNSPEC)
		return;
	parse_variables(&server, v.local_ip, v.local_port);
	if (server.sa.sa_family == AF_UNSPEC)           /* 0.0.0.0 or :: */
		server.sa.sa_family = is_ip4(&client) ? AF_INET : AF_INET6;
	conn.client = client;
	conn.server = server;
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

/* ---- connect to the backend ---- */

/* getaddrinfo(3) knows no time limit: it has a thread of its own, which is left
 * behind when the time is over. */
struct lookup {
	const struct backend *backend;
	struct addrinfo *found;
	int error;
	int done[2];            /* a pipe: readable when there is an answer */
};

static void *look_up_in_thread(void *arg)
{
	struct lookup *l = arg;
	struct addrinfo hints = { .ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };

	l->error = getaddrinfo(l->backend->host, l->backend->port, &hints, &l->found);
	if (write(l->done[1], "", 1) < 0)
		l->error = EAI_SYSTEM;
	return NULL;
}

static struct addrinfo *look_up(const struct backend *backend, int ms)
{
	static struct lookup l;
	pthread_t thread;
	int error;

	l.backend = backend;
	if (pipe(l.done) < 0)
		fail(EXIT_SYSTEM, "pipe: %s", strerror(errno));
	if ((error = pthread_create(&thread, NULL, look_up_in_thread, &l)) != 0)
		fail(EXIT_SYSTEM, "cannot start the look-up: %s", strerror(error));
	if (wait_in_setup(l.done[0], POLLIN, ms) == 0)
		fail(EXIT_SYSTEM, "looking up %s: no answer within %g s", backend->host, ms / 1000.0);
	pthread_join(thread, NULL);
	if (l.error != 0)
		fail(EXIT_SYSTEM, "looking up %s: %s", backend->host, gai_strerror(l.error));
	close(l.done[0]);
	close(l.done[1]);
	return l.found;
}

static int start_connect(const struct addrinfo *to)
{
	const union proxyhdr_addr *from = &conn.options.bind;
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (from->sa.sa_family != AF_UNSPEC) {
#ifdef __linux__
		/* ip(7): choose the port at connect, by both ends: more to choose from */
		int on = 1;

		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
#endif
		if (bind(fd, &from->sa, to->ai_addrlen) < 0)
			fail(EXIT_SYSTEM, "--bind: %s: does this machine have the address?", strerror(errno));
	}
	set_linger(fd, true);
	if (connect(fd, to->ai_addr, to->ai_addrlen) < 0 && errno != EINPROGRESS) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* Connects to one address within ms milliseconds. Returns the socket, or -1 and
 * errno. */
static int connect_to(const struct addrinfo *to, int ms)
{
	enum { PAUSE = 20 };
	int fd, error = ETIMEDOUT;
	socklen_t len = sizeof error;
	short revents;

	/* unix(7): there, a full accept queue is EAGAIN, and poll does not tell */
	while ((fd = start_connect(to)) < 0 && errno == EAGAIN && ms > 0) {
		wait_in_setup(-1, 0, PAUSE);
		ms -= PAUSE;
	}
	if (fd < 0 && errno == EAGAIN)
		errno = ETIMEDOUT;
	if (fd < 0 || to->ai_family == AF_UNIX)
		return fd;
	revents = wait_in_setup(fd, POLLOUT, ms);
	if (revents & POLLERR)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	else if (revents != 0)
		return fd;
	close(fd);
	errno = error;
	return -1;
}

/* One of fd:'s descriptors: unfit is O_WRONLY or O_RDONLY, as it must not be. */
static void check_given(int fd, int unfit)
{
	int flags = fcntl(fd, F_GETFL), type = socket_type(fd), listens = 0;
	socklen_t len = sizeof listens;

	if (flags < 0)
		fail(EXIT_USAGE, "descriptor %d is not open: is relay started by tcpclient or the like?", fd);
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

static bool is_usable(const struct addrinfo *a)
{
	int bind_family = conn.options.bind.sa.sa_family;

	return bind_family == AF_UNSPEC || bind_family == a->ai_family;
}

/* Connects to the first of the backend's addresses that takes it. The time is
 * for all of it: each address gets its share of what is left. */
static void connect_backend(struct end *backend, const struct backend *b)
{
	const struct addrinfo *a, *list = &b->address;
	int ms = conn.options.timeout, usable = 0, error = EADDRNOTAVAIL, fd;
	long long deadline = 0;

	if (b->descriptors.in > 0) {
		take_descriptors(backend, &b->descriptors);
		return;
	}
	if (b->host[0] != '\0') {
		deadline = now() + ms;
		list = look_up(b, ms);
	}
	for (a = list; a != NULL; a = a->ai_next)
		usable += is_usable(a);
	if (usable == 0)
		fail(EXIT_SYSTEM, "%s has no address of the family of --bind", b->host);
	for (a = list; a != NULL; a = a->ai_next) {
		if (!is_usable(a))
			continue;
		memcpy(&conn.backend, a->ai_addr, a->ai_addrlen);
		if (deadline > 0) {
			ms = (int)(deadline - now()) / usable--;
			ms = ms > 0 ? ms : 0;
		}
		if ((fd = connect_to(a, ms)) >= 0) {
			*backend = (struct end){ fd, fd, fd };
			return;
		}
		error = errno;
	}
	fail(EXIT_SYSTEM, "cannot connect: %s%s", strerror(error),
	     error == ECONNREFUSED || error == ENOENT ? ": does the backend listen there?" :
	     error == EACCES ? ": may the user that runs relay write to that socket?" : "");
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
static ssize_t get(int fd, void *buf, size_t size)
{
	ssize_t n = recv(fd, buf, size, MSG_DONTWAIT);

	if (n >= 0 || errno != ENOTSOCK)
		return n;
	if (is_ready(fd, POLLIN))
		return read(fd, buf, size);
	errno = EAGAIN;
	return -1;
}

static ssize_t put(int fd, const void *buf, size_t size)
{
	ssize_t n = send(fd, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0 || errno != ENOTSOCK)
		return n;
	if (is_ready(fd, POLLOUT))
		return write(fd, buf, size < PIPE_BUF ? size : PIPE_BUF);
	errno = EAGAIN;
	return -1;
}

/* S3: FIN on a socket; a pipe is closed, wherever this process has it. */
static void half_close(int fd)
{
	if (shutdown(fd, SHUT_WR) == 0 || errno != ENOTSOCK)
		return;
	if (log_target() == SYSLOG)
		nullify_stderr();       /* it may be the client's on 2 as well */
	close(fd);
}

enum outcome { MOVED, NOT_NOW, READ_FAILED, WRITE_FAILED };

static enum outcome failed(enum outcome outcome)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? NOT_NOW : outcome;
}

/* Moves what can be moved without waiting. Reads only when all that was read
 * before is written: the buffer is the whole of what relay holds back. */
static enum outcome move(struct direction *d)
{
	ssize_t n;

	if (d->start == d->end) {
		n = get(d->from, d->buf, BUFFER_SIZE);
		if (n < 0)
			return failed(READ_FAILED);
		if (n == 0) {
			half_close(d->to);      /* S3 */
			d->ended = true;
			return MOVED;
		}
		d->start = 0;
		d->end = (size_t)n;
	}
	n = put(d->to, d->buf + d->start, d->end - d->start);
	if (n < 0)
		return failed(WRITE_FAILED);
	d->start += (size_t)n;
	d->bytes += (size_t)n;
	return MOVED;
}

/* An end that takes no more bytes may have said why before: that is passed on,
 * as far as it has come in and goes out without waiting. */
static void drain(struct direction *d)
{
	int waiting = 0;
	unsigned long long last;

	ioctl(d->from, FIONREAD, &waiting);
	last = d->bytes + (d->end - d->start) + (unsigned)waiting;
	while (!d->ended && d->bytes < last && move(d) == MOVED)
		;
}

/* ---- the header ---- */

/* S1: out at once, in one write, before a byte of the client's is looked at. It
 * is the first thing in the client's direction: were it to fit only in part, or
 * to fail, the relay would go on from there. */
static void send_header(struct direction *d)
{
	struct proxyhdr hdr = { .version = conn.options.version, .command = PROXYHDR_PROXY };
	int n;

	if (hdr.version == 0)
		return;
	hdr.src = conn.client;
	hdr.dst = conn.server;
	if (hdr.src.sa.sa_family != AF_UNSPEC)
		hdr.transport = PROXYHDR_STREAM;
	n = proxyhdr_build(d->buf, BUFFER_SIZE, &hdr);
	if (n < 0)
		fail(EXIT_SYSTEM, "header: %s", proxyhdr_strerror(n));
	d->header = d->end = (size_t)n;
	move(d);
}

/* ---- relay ---- */

/* What to wait for on a direction's descriptors: bytes to read, or, while some
 * are held, room for them. Unasked, poll tells errors of the other one (S6), and
 * POLLHUP: that for ever, so after the first time that one is left out (S5). */
static void watch(struct pollfd p[2], const struct direction *d)
{
	bool writes = d->start != d->end;
	int k;

	p[FROM] = (struct pollfd){ d->from, writes ? 0 : POLLIN, 0 };
	p[TO] = (struct pollfd){ d->to, writes ? POLLOUT : 0, 0 };
	for (k = FROM; k <= TO; k++)
		if (d->ended || (d->hung_up[k] && p[k].events == 0))
			p[k].fd = -1;
}

/* Does what poll allows in direction i. Returns how that ended the connection,
 * if it did. */
static enum ending advance(struct pollfd p[2][2], struct direction d[2], int i)
{
	static const enum ending reset[2] = { CLIENT_RESET, BACKEND_RESET };
	bool writes = d[i].start != d[i].end;
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
		          (d[!i].ended && d[i].hung_up[TO] && d[i].start == d[i].end);
	return over[0] && over[1];
}

/* Milliseconds until the connection has been idle for too long. */
static int idle_time_left(long long last_moved)
{
	long long left = last_moved + conn.options.idle - now();

	return left > 0 ? (int)left : 0;
}

static enum ending relay(struct direction d[2])
{
	struct pollfd p[2][2];
	bool limited = conn.options.idle > 0;
	unsigned long long moved = ULLONG_MAX;
	long long last_moved = 0;
	enum ending ending = NOT_YET;
	int i;

	while (ending == NOT_YET) {
		if (limited && moved != d[0].bytes + d[1].bytes) {
			moved = d[0].bytes + d[1].bytes;
			last_moved = now();
		}
		watch(p[0], &d[0]);
		watch(p[1], &d[1]);
		if (wait_for(&p[0][0], 4, limited ? idle_time_left(last_moved) : -1) == 0)
			return IDLE;
		for (i = 0; i < 2 && ending == NOT_YET; i++)
			ending = advance(p, d, i);
		if (ending == NOT_YET && is_done(d))
			ending = DONE;
	}
	return ending;
}

int main(int argc, char **argv)
{
	struct end *client = &conn.ends[CLIENT], *backend = &conn.ends[BACKEND];
	enum ending ending;

	parse_options(argc, argv, &conn.options);
	if (conn.options.verbose) {
		conn.started = now();
		catch_signals();
	}
	find_client(client);
	connect_backend(backend, &conn.options.backend);
	conn.directions[CLIENT] = (struct direction){ .from = client->in, .to = backend->out, .buf = buffers[0] };
	conn.directions[BACKEND] = (struct direction){ .from = backend->in, .to = client->out, .buf = buffers[1] };
	send_header(&conn.directions[CLIENT]);
	signal(SIGPIPE, SIG_IGN);       /* of the client's pipes: sockets are told MSG_NOSIGNAL */
	set_options(client);
	set_options(backend);
	ending = relay(conn.directions);
	if (ending == DONE) {
		set_linger(client->socket, false);
		set_linger(backend->socket, false);
	}
	report(ending);
	return ending == BACKEND_RESET ? EXIT_SYSTEM : 0;
}
