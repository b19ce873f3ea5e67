/* The whole relay: one connection, from its client's first byte to the end of relay's
 * process, as the input's script has it. The fuzzer is the client and the backend. It
 * holds relay to S1 to S4 of relay(1), PROMISES: the header comes first and whole; all
 * bytes arrive, in order, and no end is told before them; each direction ends by itself;
 * what was cut never looks like an end, and what was not cut never like a cut.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 * relay is a child of the fuzzer's for each input, with true sockets and pipes, in a
 * network of its own where that may be. What of relay's code it has been through is
 * added to what libFuzzer counts. Its clock runs FASTER, so that what waits for a
 * second is seen too; and a bulk flow begins at 4 KiB.
 *
 * $FUZZ_TRACE: tell what is done. For one input.
 */
#define BULK 4096

#include "inside.h"

#include <net/if.h>
#include <sched.h>
#include <sys/wait.h>

enum { FASTER = 50 };
enum { PATIENCE = 10000 };      /* milliseconds before something has failed to come */
enum { TOTAL_MAX = 2 << 20 };   /* bytes that one side sends */
enum { CRASHED = 77 };          /* libFuzzer's and the sanitizers' exit status */

/* ---- relay's process ---- */

/* libFuzzer counts there how often the code was at each place. The names are the
 * linker's, and in C clang's own to declare: a second declaration hides the first. */
__asm__(".data\n.balign 8\ncounters:\n.quad __start___sancov_cntrs, __stop___sancov_cntrs\n.text");
extern uint8_t *counters[2] __attribute__((visibility("hidden")));
static uint8_t *counted;        /* by the child, which shares this memory */

static size_t counters_len(void)
{
	return (size_t)(counters[1] - counters[0]);
}

static void inside_exit(int status)
{
	memcpy(counted, counters[0], counters_len());
	_exit(status);
}

static ssize_t inside_write(int fd, const void *buf, size_t size)
{
	return write(fd, buf, size);
}

static int inside_close(int fd)
{
	return close(fd);
}

static pid_t inside_getpid(void)
{
	return getpid();
}

static int inside_clock_gettime(clockid_t clock, struct timespec *t)
{
	int result = clock_gettime(clock, t);
	long long ns = (t->tv_sec * 1000000000LL + t->tv_nsec) * FASTER;

	t->tv_sec = ns / 1000000000;
	t->tv_nsec = ns % 1000000000;
	return result;
}

static int inside_ppoll(struct pollfd *p, nfds_t count, const struct timespec *t, const sigset_t *mask)
{
	struct timespec less;
	long long ns;

	if (t == NULL)
		return ppoll(p, count, NULL, mask);
	ns = (t->tv_sec * 1000000000LL + t->tv_nsec) / FASTER;
	less.tv_sec = ns / 1000000000;
	less.tv_nsec = ns % 1000000000;
	return ppoll(p, count, &less, mask);
}

/* What sanitizers find ends with another status than any of relay's. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): ASan's name */
const char *__asan_default_options(void);
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
const char *__asan_default_options(void)
{
	return "exitcode=77";
}

/* ---- what is known of the connection ---- */

enum kind { TCP, UNIX, PIPES, GIVEN };  /* GIVEN: a backend that is a socket, by fd: */

/* One of the fuzzer's two ends. */
struct side {
	const char *name;
	enum kind kind;
	int in, out;            /* -1: closed, or not there yet */
	const uint8_t *noise;   /* what it sends, behind its prelude */
	uint8_t prelude[32768];
	size_t prelude_len;
	size_t sent;
	const uint8_t *due;     /* what it is to receive before the other's noise */
	size_t due_len, received;
	bool finished;          /* it has said that it sends no more */
	bool closed;            /* it is gone, after its last byte or not */
	bool cut;               /* it is gone, with a reset */
	bool told;              /* it has been told of a cut, when it sent */
	bool eof, error;        /* what it has read after the last byte */
};

enum { PERIOD = 65521 };        /* no power of two: a piece in a wrong place differs */

static uint8_t noise[2][2 * PERIOD];
static uint8_t due_header[33000];   /* that the backend is due */
static struct side sides[2] = { { .name = "client" }, { .name = "backend" } };
static int door, unix_door, door_port;
static char unix_name[64];
static int log_fd;
static bool tracing;

static struct {
	pid_t pid;
	int pidfd;
	bool stopped, killed, idle; /* idle: relay may end it at any time */
	int rests;                  /* they take longest: so few */
	bool refuses;               /* the client's header is none */
	size_t inbound;             /* the length of the client's own header */
	int version;
	bool verbose, crc32c;
	uint32_t host;              /* 127.x.y.z: a new one each time, so that ports never run out */
} run;

/* A command line. */
struct words {
	char text[16][80];
	char *word[17];
	int count;
};

#define TRACE(...) ((void)(tracing && fprintf(stderr, __VA_ARGS__)))

static struct side *other_side(const struct side *s)
{
	return &sides[s == &sides[CLIENT]];
}

static bool is_tcp(const struct side *s)
{
	return s->kind == TCP || s->kind == GIVEN;
}

/* ---- the fuzzer's ends ---- */

static void set_nonblocking(int fd)
{
	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
}

static void make_small(int fd, bool small)
{
	int size = 4096;

	if (!small)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static struct sockaddr_in loopback(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((in_port_t)door_port) };

	a.sin_addr.s_addr = htonl(0x7F000000 | run.host);
	return a;
}

/* poll(2), which libFuzzer's alarm ends before its time. */
static int wait_for_any(struct pollfd *p, nfds_t count, int ms)
{
	int n;

	while ((n = poll(p, count, ms)) < 0 && errno == EINTR)
		;
	return n;
}

/* Both ends of a TCP connection; the second one is relay's. */
static void tcp_pair(int pair[2], bool small)
{
	struct sockaddr_in a = loopback();
	struct pollfd p = { door, POLLIN, 0 };

	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(pair[0] >= 0);
	make_small(pair[0], small);
	CHECK(connect(pair[0], (struct sockaddr *)&a, sizeof a) == 0);
	CHECK(wait_for_any(&p, 1, PATIENCE) == 1);
	pair[1] = accept(door, NULL, NULL);
	CHECK(pair[1] >= 0);
	make_small(pair[1], small);
}

/* Makes a side's end; relay's descriptors go to far, to read and to write. */
static void make_end(struct side *s, int far[2], bool small)
{
	int pair[2], to[2], from[2];

	if (s->kind == PIPES) {
		CHECK(pipe(to) == 0 && pipe(from) == 0);
		s->in = from[0];
		s->out = to[1];
		far[0] = to[0];
		far[1] = from[1];
		set_nonblocking(s->out);
	} else {
		if (s->kind == UNIX)
			CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
		else
			tcp_pair(pair, small);
		s->in = s->out = pair[0];
		far[0] = far[1] = pair[1];
	}
	set_nonblocking(s->in);
}

static void close_end(struct side *s)
{
	if (s->in >= 0)
		close(s->in);
	if (s->out >= 0 && s->out != s->in)
		close(s->out);
	s->in = s->out = -1;
}

/* How many bytes wait to be read there. */
static int unread(const struct side *s)
{
	int n = 0;

	ioctl(s->in, FIONREAD, &n);
	return n;
}

/* The side vanishes: with a reset, or as a process does that ends. */
static void leave(struct side *s, bool reset)
{
	struct linger linger = { 1, 0 };

	if (s->closed)
		return;
	s->closed = true;
	/* tcp(7), unix(7): who has not read it all resets the connection */
	s->cut = !s->finished && s->kind != PIPES && (unread(s) > 0 || (reset && is_tcp(s)));
	if (reset && is_tcp(s))
		setsockopt(s->in, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	close_end(s);
	TRACE("%s leaves%s\n", s->name, s->cut ? ", a cut" : "");
}

static void half_close_end(struct side *s)
{
	if (s->finished || s->closed)
		return;
	s->finished = true;
	TRACE("%s finishes after %zu\n", s->name, s->sent);
	if (s->kind != PIPES) {
		shutdown(s->out, SHUT_WR);
		return;
	}
	close(s->out);
	s->out = -1;
}

/* What a side sends at that place, and how much of that is in one piece. */
static const uint8_t *piece(const uint8_t *first, size_t first_len, const uint8_t *rest,
                            size_t at, size_t *len)
{
	if (at < first_len) {
		*len = first_len - at;
		return first + at;
	}
	*len = PERIOD;
	return rest + (at - first_len) % PERIOD;
}

static void send_some(struct side *s, size_t size, int flags)
{
	while (size > 0 && !s->finished && !s->closed && s->sent < TOTAL_MAX) {
		size_t len;
		const uint8_t *p = piece(s->prelude, s->prelude_len, s->noise, s->sent, &len);
		ssize_t n;

		if (len > size)
			len = size;
		n = s->kind == PIPES ? write(s->out, p, len) : send(s->out, p, len, flags | MSG_NOSIGNAL);
		if (n <= 0) {
			TRACE("%s cannot send: %s\n", s->name, strerror(errno));
			/* whom send tells of a reset, read tells only that it is over */
			s->told |= s->kind != PIPES && errno != EAGAIN;
			return;
		}
		s->sent += (size_t)n;
		size -= (size_t)n;
		TRACE("%s has sent %zu\n", s->name, s->sent);
	}
}

/* Reads up to so much. S2: it is what the other side has sent there. */
static void receive(struct side *s, size_t size)
{
	static uint8_t buf[1 << 18];
	const struct side *from = other_side(s);

	while (size > 0 && s->in >= 0 && !s->eof && !s->error) {
		ssize_t n = read(s->in, buf, size < sizeof buf ? size : sizeof buf);
		size_t at = 0, len;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		s->eof = n == 0 && !s->told;
		s->error = n < 0 || (n == 0 && s->told);
		if (n <= 0)
			TRACE("%s reads %s after %zu\n", s->name, n < 0 ? strerror(errno) : "EOF", s->received);
		while (n > 0 && at < (size_t)n) {
			const uint8_t *p = piece(s->due, s->due_len, from->noise, s->received, &len);

			if (len > (size_t)n - at)
				len = (size_t)n - at;
			CHECK(memcmp(buf + at, p, len) == 0);
			at += len;
			s->received += len;
		}
		if (n > 0)
			TRACE("%s has received %zu\n", s->name, s->received);
		size -= n > 0 ? (size_t)n : 0;
	}
}

/* ---- the headers ---- */

static size_t put_v2(uint8_t *p, const struct proxyhdr *hdr)
{
	bool is_6 = hdr->src.sa.sa_family == AF_INET6;

	memcpy(p, signature, 12);
	memcpy(p + 12, "\x21\0\0\0", 4);
	if (hdr->src.sa.sa_family == AF_UNSPEC)
		return 16;
	p[13] = is_6 ? 0x21 : 0x11;
	p[15] = is_6 ? 36 : 12;
	if (is_6) {
		memcpy(p + 16, &hdr->src.in6.sin6_addr, 16);
		memcpy(p + 32, &hdr->dst.in6.sin6_addr, 16);
	} else {
		memcpy(p + 16, &hdr->src.in.sin_addr, 4);
		memcpy(p + 20, &hdr->dst.in.sin_addr, 4);
	}
	memcpy(p + (is_6 ? 48 : 24), &hdr->src.in.sin_port, 2);
	memcpy(p + (is_6 ? 50 : 26), &hdr->dst.in.sin_port, 2);
	return is_6 ? 52 : 28;
}

static const void *ip_of(const union proxyhdr_addr *a)
{
	return a->sa.sa_family == AF_INET6 ? (const void *)&a->in6.sin6_addr : &a->in.sin_addr;
}

static size_t put_v1(uint8_t *p, const struct proxyhdr *hdr)
{
	int family = hdr->src.sa.sa_family;
	char src[64], dst[64];

	if (family == AF_UNSPEC)
		return (size_t)sprintf((char *)p, "PROXY UNKNOWN\r\n");
	inet_ntop(family, ip_of(&hdr->src), src, sizeof src);
	inet_ntop(family, ip_of(&hdr->dst), dst, sizeof dst);
	return (size_t)sprintf((char *)p, "PROXY TCP%d %s %s %u %u\r\n", family == AF_INET6 ? 6 : 4,
	                       src, dst, ntohs(hdr->src.in.sin_port), ntohs(hdr->dst.in.sin_port));
}

static size_t put_tlv(uint8_t *p, size_t at, unsigned type, const void *value, size_t len)
{
	p[at] = (uint8_t)type;
	p[at + 1] = (uint8_t)(len >> 8);
	p[at + 2] = (uint8_t)len;
	memcpy(p + at + 3, value, len);
	at += 3 + len;
	p[14] = (uint8_t)((at - 16) >> 8);
	p[15] = (uint8_t)(at - 16);
	return at;
}

/* Puts both headers together: the client's own, if it is to send one, and what the
 * backend is due then. */
static void make_headers(unsigned how, struct input *in, int client_fd)
{
	struct proxyhdr told, own = { .version = 0 };
	struct side *client = &sides[CLIENT], *backend = &sides[BACKEND];
	socklen_t src_len = sizeof own.src, dst_len = sizeof own.dst;
	uint8_t *p = client->prelude;
	size_t n = 0, tlv = 0;
	int i;

	if (client->kind == TCP)
		CHECK(getpeername(client_fd, &own.src.sa, &src_len) == 0 &&
		      getsockname(client_fd, &own.dst.sa, &dst_len) == 0);
	told = own;
	if (how == 1 || how == 2 || how == 3 || how == 6) {
		sa_family_t family = how == 3 ? AF_INET6 : AF_INET;
		union proxyhdr_addr *ends[2] = { &told.src, &told.dst };

		memset(&told, 0, sizeof told);
		for (i = 0; i < 2; i++) {
			ends[i]->sa.sa_family = family;
			ends[i]->in.sin_port = htons((in_port_t)take16(in));
			if (how == 3)
				memcpy(&ends[i]->in6.sin6_addr, "\x20\x01\x0d\xb8", 4);
			*(how == 3 ? &ends[i]->in6.sin6_addr.s6_addr[15] : (uint8_t *)&ends[i]->in.sin_addr) =
				(uint8_t)take8(in);
		}
	}
	switch (how) {
	case 0:
		break;
	case 1:
		n = put_v1(p, &told);
		break;
	case 4: /* LOCAL, with padding */
		memcpy(p, signature, 12);
		memcpy(p + 12, "\x20\0\0\5\4\0\2ab", 9);
		n = 21;
		break;
	case 5:
		n = (size_t)sprintf((char *)p, "PROXY UNKNOWN %x\r\n", take16(in));
		break;
	case 6:
		tlv = take16(in) % 20000;
		n = put_tlv(p, put_v2(p, &told), 0xE0, noise[0], tlv);
		break;
	default:
		n = put_v2(p, &told);
		break;
	}
	if (how == 7)
		p[12] ^= 0x10;
	run.refuses = how == 7;
	run.inbound = client->prelude_len = n;
	n = 0;
	if (run.version == 1)
		n = put_v1(due_header, &told);
	else if (run.version == 2)
		n = put_v2(due_header, &told);
	if (run.version == 2 && how == 6)
		n = put_tlv(due_header, n, 0xE0, noise[0], tlv);
	if (run.version == 2 && run.crc32c) {
		uint32_t sum;

		n = put_tlv(due_header, n, 3, "\0\0\0", 4);
		sum = sum_by_bytes(due_header, n, n - 4);
		for (i = 0; i < 4; i++)
			due_header[n - 4 + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
	}
	backend->due = due_header;
	backend->due_len = n;
}

/* ---- relay's process, from outside ---- */

/* In the child: relay as a launcher starts it. What fd:6,7 names is given, or is -1. */
__attribute__((noreturn))
static void become_relay(const int client[2], const int given[2], struct words *words, bool bulky)
{
	static const int libfuzzers[] = { SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2 };
	static char *no_environment[] = { NULL };
	int high[4], i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(counters[0], 0, counters_len());
	for (i = 0; i < 2; i++) {
		high[i] = fcntl(client[i], F_DUPFD, 100);
		high[2 + i] = given[i] >= 0 && (i == 0 || given[1] != given[0]) ?
		              fcntl(given[i], F_DUPFD, 100) : -1;
	}
	for (i = 0; i < (int)(sizeof libfuzzers / sizeof *libfuzzers); i++)
		signal(libfuzzers[i], SIG_DFL);
	dup2(log_fd, 2);
	close_range(3, 99, 0);
	for (i = 0; i < 2; i++) {
		dup2(high[i], i);
		if (high[2 + i] >= 0)
			dup2(high[2 + i], 6 + i);
	}
	closefrom(100);
	if (bulky)
		conn.directions[CLIENT].flow = conn.directions[BACKEND].flow = BULKY;
	environ = no_environment;
	inside_exit(relay_main(words->count, words->word));
}

/* How far it has come, and what relay has written, or a sanitizer of it. */
static void show_connection(void)
{
	char text[4096];
	ssize_t n;
	off_t at = 0;

	fprintf(stderr, "client: %zu sent, %zu received; backend: %zu sent, %zu received\n",
	        sides[0].sent, sides[0].received, sides[1].sent, sides[1].received);
	poll(NULL, 0, 100);
	while ((n = pread(log_fd, text, sizeof text, at)) > 0) {
		fwrite(text, 1, (size_t)n, stderr);
		at += n;
	}
}

/* Waits for a descriptor to be ready, or for relay's end. Returns whether it is. */
static bool wait_for_fd(int fd, short events, int ms)
{
	struct pollfd p[2] = { { fd, events, 0 }, { run.pidfd, POLLIN, 0 } };

	wait_for_any(p, 2, ms);
	return p[0].revents != 0;
}

static void resume(void)
{
	if (run.stopped)
		kill(run.pid, SIGCONT);
	run.stopped = false;
}

/* Whether anything has happened that may end relay before its time. */
static bool is_disturbed(void)
{
	return sides[CLIENT].closed || sides[BACKEND].closed || run.killed || run.idle;
}

/* Whether relay's connection to the backend is there. It is accepted the first time,
 * and its header read: S1: that comes at once, and whole, whatever the client does. */
static bool has_backend(void)
{
	struct side *s = &sides[BACKEND];
	size_t before = s->received;

	if (s->closed)
		return false;
	if (run.inbound > 0 && (run.refuses || sides[CLIENT].sent < run.inbound))
		return s->in >= 0;      /* not before the client's header */
	if (before > 0)
		return true;
	resume();
	if (s->in < 0) {
		int from = s->kind == UNIX ? unix_door : door;

		if (!wait_for_fd(from, POLLIN, PATIENCE) || (s->in = accept4(from, NULL, NULL, SOCK_NONBLOCK)) < 0) {
			CHECK(is_disturbed());
			return false;
		}
		s->out = s->in;
		TRACE("backend has accepted\n");
	}
	if (s->due_len > 0 && !s->eof && !s->error) {
		wait_for_fd(s->in, POLLIN, PATIENCE);
		receive(s, s->due_len);
		/* a long one may not fit into a pipe, or a small buffer */
		CHECK(s->received == s->due_len || s->due_len > 1000 || is_disturbed());
	}
	return true;
}

/* Whether relay is known to have made its ends look cut when it is killed. It does so
 * before it connects, but what fd: names is connected already. */
static bool is_up(void)
{
	const struct side *backend = &sides[BACKEND];

	return backend->kind == TCP || backend->kind == UNIX ? backend->in >= 0 :
	       backend->received > 0 || sides[CLIENT].received > 0;
}

static void signal_relay(unsigned how)
{
	if ((how & 3) > 1 && !is_up())
		return;
	resume();
	switch (how & 3) {
	case 0:
	case 1:
		kill(run.pid, SIGSTOP);
		run.stopped = true;
		break;
	case 2:
		kill(run.pid, SIGTERM);
		run.killed = true;
		break;
	default:
		kill(run.pid, SIGKILL);
		run.killed = true;
	}
	TRACE("signal %u\n", how & 3);
}

/* Reads what comes to both sides until it is over for those that are waited for. */
static void read_to_ends(bool client, bool backend)
{
	const bool wanted[2] = { client, backend };
	int left = PATIENCE;

	for (;;) {
		struct pollfd p[2];
		int i, waiting = 0;

		for (i = 0; i < 2; i++) {
			receive(&sides[i], (size_t)TOTAL_MAX * 2);
			p[i] = (struct pollfd){ sides[i].eof || sides[i].error ? -1 : sides[i].in, POLLIN, 0 };
			waiting += wanted[i] && p[i].fd >= 0;
		}
		if (waiting == 0)
			return;
		if (poll(p, 2, 100) == 0 && (left -= 100) <= 0)
			broken(__FILE__, __LINE__, "an end comes");
	}
}

/* S3: what s has finished ends at the other side too, which goes on for as long as it
 * likes. Not where something has happened that may end it all. */
static void await_end(const struct side *s)
{
	bool refused = run.inbound > 0 && (run.refuses || sides[CLIENT].sent < run.inbound);

	if (!s->finished || is_disturbed() || refused || !has_backend())
		return;
	resume();
	TRACE("%s awaits its end at the other side\n", s->name);
	read_to_ends(s == &sides[BACKEND], s == &sides[CLIENT]);
	CHECK(other_side(s)->eof);
}

/* ---- the script ---- */

/* Lets relay do something, for a moment or until it rests. */
static void pause_for(unsigned how)
{
	if (how < 8)
		sched_yield();
	else if (how < 14)
		poll(NULL, 0, 1);
	else if (run.rests++ < 2)
		poll(NULL, 0, 1000 / FASTER + 5);       /* a second of relay's */
}

static void step(unsigned op)
{
	static const unsigned sizes[16] = {
		1, 2, 7, 100, 536, 1000, 1460, 4095, 4096, 4097, 10000, 16384, 65536, 100000, 262144, 300000
	};
	unsigned how = op >> 4, what = op & 15;
	struct side *s = &sides[what & 1];

	TRACE("op %u how %u\n", what, how);
	if (what < 12 && s == &sides[BACKEND] && !has_backend())
		return;
	switch (what) {
	case 0: case 1: case 2: case 3:
		send_some(s, sizes[how], 0);
		break;
	case 4: case 5:
		receive(s, sizes[how]);
		break;
	case 6: case 7:
		receive(s, (size_t)TOTAL_MAX * 2);
		break;
	case 8: case 9:
		half_close_end(s);
		break;
	case 10: case 11:
		if (how < 14)
			send_some(s, sizes[how], 0);
		else
			leave(s, how & 1);
		break;
	case 12:
		pause_for(how);
		break;
	case 13:
		if (how >= 12)
			signal_relay(how);
		else
			resume();
		break;
	case 14:
		/* an urgent byte is one like others. But of two that come before relay has
		 * set SO_OOBINLINE the system drops one: not before it moves bytes */
		s = &sides[how & 1];
		if (is_tcp(s) && sides[CLIENT].received > 0)
			send_some(s, 1, MSG_OOB);
		break;
	default:
		if (how & 8)
			await_end(&sides[how & 1]);
		else if (sides[how & 1].in >= 0)
			wait_for_fd(sides[how & 1].in, POLLIN, 2);
	}
}

/* Both sides say that they have said all, one after the other, and read to the end. */
static void finish(bool backend_first)
{
	int i;

	resume();
	has_backend();
	for (i = 0; i < 2; i++) {
		struct side *s = &sides[i ^ backend_first];

		if (s->in < 0)
			continue;
		half_close_end(s);
		await_end(s);
	}
	read_to_ends(true, true);
}

/* ---- what must hold ---- */

/* What arrived at s, and how that ended. */
static void check_end(const struct side *s, size_t due)
{
	const struct side *from = other_side(s);
	bool disturbed = is_disturbed() || run.refuses;

	if (s->closed || s->in < 0)
		return;
	CHECK(s->received <= due);
	/* S4: without cause, no cut */
	if (s->error)
		CHECK(disturbed);
	/* S2, S3, S4: an end is the other side's own, and behind its last byte, unless
	 * this side cannot be told of a cut */
	if (s->eof && (is_tcp(s) || !disturbed))
		CHECK((from->finished || (from->closed && !from->cut)) && s->received == due);
}

/* Of -v: what has been moved. */
static void check_report(const char *line, bool orderly)
{
	unsigned long long up, down;
	const char *counts = strstr(line, " up="), *end = strstr(line, " end=");

	CHECK(strncmp(line, "relay: closed ", 14) == 0 && counts != NULL && end != NULL);
	CHECK(sscanf(counts, " up=%llu down=%llu", &up, &down) == 2);
	CHECK(up <= sides[CLIENT].sent && down <= sides[BACKEND].sent);
	if (!orderly)
		return;
	CHECK(strcmp(end, " end=done\n") == 0);
	CHECK(up == sides[CLIENT].sent - run.inbound && down == sides[BACKEND].sent);
}

/* Waits for relay's end, and looks at its last words. */
static void check_process(bool orderly, bool refused)
{
	char text[4096];
	int status;
	ssize_t len;

	wait_for_fd(-1, 0, PATIENCE);
	if (waitpid(run.pid, &status, WNOHANG) != run.pid)
		broken(__FILE__, __LINE__, "relay ends when both its ends have");
	len = pread(log_fd, text, sizeof text - 1, 0);
	text[len > 0 ? len : 0] = '\0';
	TRACE("relay: %x %s\n", (unsigned)status, text);
	if (WIFSIGNALED(status) ? !run.killed : WEXITSTATUS(status) == CRASHED)
		broken(__FILE__, __LINE__, "relay lives");
	if (WIFSIGNALED(status))
		return;
	if (orderly)
		CHECK(WEXITSTATUS(status) == 0);
	else if (refused)       /* or the client has left without a word */
		CHECK(WEXITSTATUS(status) <= 1);
	else
		CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 111);
	/* a line, and not for every client that just leaves */
	CHECK(len == 0 || text[len - 1] == '\n');
	if (WEXITSTATUS(status) == 0 && !run.verbose)
		CHECK(strstr(text, "relay: error ") == NULL);
	if (run.verbose && (orderly || strstr(text, "relay: closed ") != NULL))
		check_report(strstr(text, "relay: closed ") != NULL ? strstr(text, "relay: closed ") : text, orderly);
}

/* Adds what relay has been through to what libFuzzer counts. */
static void add_counted(void)
{
	size_t i;

	for (i = 0; i < counters_len(); i++) {
		unsigned sum = counters[0][i] + counted[i];

		counters[0][i] = (uint8_t)(sum > 255 ? 255 : sum);
	}
	memset(counted, 0, counters_len());
}

static void check_all_ends(void)
{
	const struct side *client = &sides[CLIENT], *backend = &sides[BACKEND];
	bool refused = run.inbound > 0 && (run.refuses || client->sent < run.inbound);
	bool orderly = !is_disturbed() && !refused;

	if (refused)
		run.refuses = true;
	check_process(orderly, refused);
	add_counted();
	check_end(client, backend->sent);
	check_end(backend, backend->due_len + client->sent - (refused ? client->sent : run.inbound));
	if (refused)
		CHECK(backend->received == 0 && client->received == 0);
	if (orderly)
		CHECK(client->eof && backend->eof);
}

/* ---- one input ---- */

static void add_word(struct words *words, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(words->text[words->count], sizeof words->text[0], format, args);
	va_end(args);
	words->word[words->count] = words->text[words->count];
	words->word[++words->count] = NULL;
}

/* relay's command line. */
static void make_words(struct words *words, unsigned how, bool accepts)
{
	const struct side *backend = &sides[BACKEND];
	uint32_t host = ntohl(loopback().sin_addr.s_addr);

	words->count = 0;
	add_word(words, "relay");
	add_word(words, "-%d", run.version);
	add_word(words, "-t100000");
	if (run.verbose)
		add_word(words, "-v");
	if (run.crc32c)
		add_word(words, "-c");
	if (run.idle)
		add_word(words, "-i1");
	if (accepts)
		add_word(words, "-aany");
	if (how & 1 && backend->kind != PIPES && backend->kind != GIVEN)
		add_word(words, "@nobody-listens-here");
	if (backend->kind == PIPES)
		add_word(words, "fd:6,7");
	else if (backend->kind == GIVEN)
		add_word(words, "fd:6");
	else if (backend->kind == UNIX)
		add_word(words, "@%s", unix_name);
	else
		add_word(words, "127.%u.%u.%u:%d", host >> 16 & 255, host >> 8 & 255, host & 255, door_port);
}

/* Starts relay, with the kinds of ends and the options that the input begins with. */
static void begin(struct input *in)
{
	static const enum kind kinds[4] = { TCP, UNIX, PIPES, GIVEN };
	unsigned options = take8(in), ends = take8(in), more = take8(in);
	int client[2], given[2] = { -1, -1 }, i;
	struct words words;

	for (i = 0; i < 2; i++)
		sides[i] = (struct side){ .name = sides[i].name, .in = -1, .out = -1, .noise = noise[i] };
	sides[CLIENT].kind = kinds[ends & 3] == GIVEN ? TCP : kinds[ends & 3];
	sides[BACKEND].kind = kinds[ends >> 2 & 3];
	run.host = run.host % 0xFFFFFE + 2;
	run.stopped = run.killed = false;
	run.rests = 0;
	run.version = (int)(options & 3) == 3 ? 2 : (int)(options & 3);
	run.crc32c = (options & 3) == 3;
	run.verbose = options & 4;
	run.idle = (options & 0xC0) == 0xC0;
	make_end(&sides[CLIENT], client, ends & 0x10);
	if (sides[BACKEND].kind == PIPES || sides[BACKEND].kind == GIVEN)
		make_end(&sides[BACKEND], given, ends & 0x20);
	make_headers(options >> 3 & 7, in, client[0]);
	make_words(&words, more, options >> 3 & 7);
	CHECK(ftruncate(log_fd, 0) == 0 && lseek(log_fd, 0, SEEK_SET) == 0);
	for (i = 0; i < words.count; i++)
		TRACE("%s ", words.word[i]);
	TRACE("\n");
	run.pid = fork();
	CHECK(run.pid >= 0);
	if (run.pid == 0)
		become_relay(client, given, &words, more & 2);
	run.pidfd = (int)syscall(SYS_pidfd_open, run.pid, 0);
	CHECK(run.pidfd >= 0);
	for (i = 0; i < 2; i++)
		if (i == 0 || client[0] != client[1])
			close(client[i]);
	for (i = 0; i < 2; i++)
		if (given[i] >= 0 && (i == 0 || given[0] != given[1]))
			close(given[i]);
}

/* Whoever has connected and was never asked for. */
static void empty_doors(void)
{
	int fd;

	while ((fd = accept4(door, NULL, NULL, SOCK_NONBLOCK)) >= 0 ||
	       (fd = accept4(unix_door, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size < 512 ? size : 512 };

	begin(&in);
	while (in.left > 0)
		step(take8(&in));
	finish(size % 2 == 0);
	check_all_ends();
	close_end(&sides[CLIENT]);
	close_end(&sides[BACKEND]);
	close(run.pidfd);
	empty_doors();
	return 0;
}

/* A network where nobody else is; without the right to one, the machine's. */
static void enter_own_network(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	request.ifr_flags = IFF_UP;
	CHECK(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0);
	close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct sockaddr_un u = { .sun_family = AF_UNIX };
	socklen_t len = sizeof a;
	uint32_t random = 2463534242;
	size_t i;

	(void)argc, (void)argv;
	when_broken = show_connection;
	tracing = getenv("FUZZ_TRACE") != NULL;
	signal(SIGPIPE, SIG_IGN);
	enter_own_network();
	door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK(bind(door, (struct sockaddr *)&a, sizeof a) == 0 && listen(door, 16) == 0);
	CHECK(getsockname(door, (struct sockaddr *)&a, &len) == 0);
	door_port = ntohs(a.sin_port);
	unix_door = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	snprintf(unix_name, sizeof unix_name, "relay-fuzz-%d", (int)getpid());
	memcpy(u.sun_path + 1, unix_name, strlen(unix_name));
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(unix_name));
	CHECK(bind(unix_door, (struct sockaddr *)&u, len) == 0 && listen(unix_door, 16) == 0);
	log_fd = memfd_create("log", 0);
	CHECK(log_fd >= 0);
	counted = mmap(NULL, counters_len() + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(counted != MAP_FAILED);
	for (i = 0; i < (size_t)2 * PERIOD; i++) {
		int k;

		for (k = 0; k < 2; k++) {       /* xorshift */
			random ^= random << 13;
			random ^= random >> 17;
			random ^= random << 5;
			noise[k][i] = i < PERIOD ? (uint8_t)random : noise[k][i - PERIOD];
		}
	}
	return 0;
}
