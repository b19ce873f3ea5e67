/* load: the benchmark's backend and its clients.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 *   load backend PORT                    answers, for ever
 *   load check PORT HEADER BYTES         is every byte right, and the header?
 *   load setup PORT HEADER CLIENTS N SECONDS   connect, a byte there and back, close
 *   load rtt PORT SIZE N SECONDS         SIZE bytes there and back
 *   load stream PORT up|down|both BYTES  as fast as they go
 *   load hold PORT SECONDS               opens connections and keeps them
 *
 * All on 127.0.0.1. HEADER is what the backend must have received in front of
 * the connection: 0 none, 1 or 2 a PROXY header of that version, h: there is no
 * backend, the byte comes back as it was sent (the launch floor).
 *
 * A client sends commands, one byte each; all but HELLO and WHO with a length
 * behind it. The backend's answer begins with one byte, the header as above, so
 * no measurement can take a connection for one with a header that had none.
 *
 * Bytes that are streamed say where they are: each block of 4 KiB begins with
 * its number. The receiver looks at all of these, and for `check` at every byte.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "proxyhdr.h"

enum {
	HELLO = 'h', WHO = 'w',                            /* no length */
	ECHO = 'e', SINK = 's', GIVE = 'g', BOTH = 'b',    /* with one */
	CHECK_SINK = 'S', CHECK_BOTH = 'B',                /* look at every byte */
	BLOCK = 4096, CHUNK = 256 * 1024,                  /* bytes */
	WHO_SIZE = 64, MESSAGE_MAX = 65536,
	PASSING = 16,                      /* threads */
	DESCRIPTORS = 65536
};

/* The backend's connections, by descriptor. */
struct conn {
	char header;                       /* as in the usage; 0: not known yet */
	char who[WHO_SIZE];                /* "ADDRESS PORT" of the header's source */
	unsigned char buf[PROXYHDR_BUILD_MAX + 9];
	size_t len;
};
static struct conn conns[DESCRIPTORS];
static int events;

struct transfer {
	int fd;
	uint64_t len;
	bool all;                          /* look at every byte */
	uint64_t wrong;                    /* blocks that were */
};

/* --- time, reading, writing --- */

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool read_all(int fd, void *buf, size_t len)
{
	for (size_t n = 0; n < len;) {
		ssize_t r = read(fd, (char *)buf + n, len - n);
		if (r <= 0)
			return false;
		n += (size_t)r;
	}
	return true;
}

static bool write_all(int fd, const void *buf, size_t len)
{
	for (size_t n = 0; n < len;) {
		ssize_t r = write(fd, (const char *)buf + n, len - n);
		if (r < 0)
			return false;
		n += (size_t)r;
	}
	return true;
}

static int numeric(const char *text, long max)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*text == '\0' || *end != '\0' || n < 0 || n > max)
		errx(100, "not a number up to %ld: %s", max, text);
	return (int)n;
}

/* --- streams whose bytes say where they are --- */

static unsigned char pattern[BLOCK];

static void make_pattern(void)
{
	uint32_t x = 1;
	for (size_t i = 0; i < BLOCK; i++) {
		x = x * 1664525 + 1013904223;
		pattern[i] = (unsigned char)(x >> 24);
	}
}

/* Not malloc's: it would keep them, and memory is measured. */
static unsigned char *chunk(void)
{
	void *buf = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buf == MAP_FAILED)
		err(111, "mmap");
	return buf;
}

static void *stream_out(void *argument)
{
	struct transfer *t = argument;
	unsigned char *buf = chunk();
	for (size_t at = 0; at < CHUNK; at += BLOCK)
		memcpy(buf + at, pattern, BLOCK);
	for (uint64_t pos = 0; pos < t->len; pos += CHUNK) {
		for (uint64_t at = 0; at < CHUNK; at += BLOCK) {
			uint64_t number = (pos + at) / BLOCK;
			memcpy(buf + at, &number, sizeof number);
		}
		if (!write_all(t->fd, buf, t->len - pos < CHUNK ? t->len - pos : CHUNK))
			break;
	}
	munmap(buf, CHUNK);
	return NULL;
}

static bool block_is_right(const unsigned char *block, uint64_t number, bool all)
{
	return memcmp(block, &number, sizeof number) == 0 &&
	       (!all || memcmp(block + sizeof number, pattern + sizeof number,
	                       BLOCK - sizeof number) == 0);
}

/* Position p of the stream is read to byte p % CHUNK of the buffer. */
static void *stream_in(void *argument)
{
	struct transfer *t = argument;
	unsigned char *buf = chunk();
	uint64_t pos = 0, block = 0;
	while (pos < t->len) {
		size_t at = pos % CHUNK;
		size_t want = t->len - pos < CHUNK - at ? t->len - pos : CHUNK - at;
		ssize_t r = read(t->fd, buf + at, want);
		if (r <= 0)
			break;
		pos += (uint64_t)r;
		for (; (block + 1) * BLOCK <= pos; block++)
			t->wrong += !block_is_right(buf + block * BLOCK % CHUNK, block, t->all);
	}
	t->wrong += (t->len - pos + BLOCK - 1) / BLOCK;
	munmap(buf, CHUNK);
	return NULL;
}

/* Sends one and receives the other; either may be empty. */
static void stream(struct transfer *out, struct transfer *in)
{
	pthread_t writer;
	if (in->len == 0) {
		stream_out(out);
		return;
	}
	if (out->len > 0 && pthread_create(&writer, NULL, stream_out, out) != 0)
		errx(111, "pthread_create");
	stream_in(in);
	if (out->len > 0)
		pthread_join(writer, NULL);
}

/* --- the backend --- */

struct work {
	int fd;
	char command;
	uint64_t len;
};

static void echo(int fd, uint64_t len)
{
	char buf[65536];
	while (len > 0) {
		ssize_t r = read(fd, buf, sizeof buf);
		if (r <= 0 || !write_all(fd, buf, (size_t)r))
			return;
		len -= (uint64_t)r;
	}
}

/* What takes long: in a thread of its own; then the connection waits again. */
static void *work(void *argument)
{
	struct work w = *(struct work *)argument;
	free(argument);
	if (w.command == ECHO) {
		echo(w.fd, w.len);
	} else {
		bool all = w.command == CHECK_SINK || w.command == CHECK_BOTH;
		struct transfer out = { .fd = w.fd, .len = w.len };
		struct transfer in = { .fd = w.fd, .len = w.len, .all = all };
		if (w.command == GIVE)
			in.len = 0;
		if (w.command == SINK || w.command == CHECK_SINK)
			out.len = 0;
		stream(&out, &in);
		if (w.command != GIVE)
			write_all(w.fd, &in.wrong, sizeof in.wrong);
	}
	struct epoll_event event = { .events = EPOLLIN, .data.fd = w.fd };
	epoll_ctl(events, EPOLL_CTL_MOD, w.fd, &event);
	return NULL;
}

static void start_work(int fd, char command, uint64_t len)
{
	struct epoll_event none = { .data.fd = fd };
	struct work *w = malloc(sizeof *w);
	pthread_t thread;
	if (w == NULL)
		err(111, "malloc");
	*w = (struct work){ fd, command, len };
	epoll_ctl(events, EPOLL_CTL_MOD, fd, &none);
	if (pthread_create(&thread, NULL, work, w) != 0)
		errx(111, "pthread_create");
	pthread_detach(thread);
}

/* The header, if there is one. False: not all of it is there, or it is wrong. */
static bool know_header(int fd, struct conn *c)
{
	struct proxyhdr hdr;
	char address[INET6_ADDRSTRLEN] = "-";
	int len = proxyhdr_parse(&hdr, c->buf, c->len);

	if (len == PROXYHDR_ENOTPROXY) {
		c->header = '0';
		return true;
	}
	if (len < 0) {
		warnx("bad header: %s", proxyhdr_strerror(len));
		shutdown(fd, SHUT_RDWR);
	}
	if (len <= 0)
		return false;
	c->header = (char)('0' + hdr.version);
	if (hdr.src.sa.sa_family == AF_INET)
		inet_ntop(AF_INET, &hdr.src.in.sin_addr, address, sizeof address);
	snprintf(c->who, sizeof c->who, "%s %u", address, ntohs(hdr.src.in.sin_port));
	c->len -= (size_t)len;
	memmove(c->buf, c->buf + len, c->len);
	return true;
}

static void serve(int fd)
{
	struct conn *c = &conns[fd];
	ssize_t r = read(fd, c->buf + c->len, sizeof c->buf - c->len);
	if (r <= 0) {
		close(fd);
		return;
	}
	c->len += (size_t)r;
	if ((c->header == 0 && !know_header(fd, c)) || c->len == 0)
		return;

	char command = (char)c->buf[0];
	uint64_t len;
	if (command == HELLO || command == WHO) {
		c->len = 0;
		write_all(fd, &c->header, 1);
		if (command == WHO)
			write_all(fd, c->who, sizeof c->who);
	} else if (c->len == 1 + sizeof len) {
		memcpy(&len, c->buf + 1, sizeof len);
		c->len = 0;
		write_all(fd, &c->header, 1);
		start_work(fd, command, be64toh(len));
	}
}

static void add_connection(int listener)
{
	int on = 1, fd = accept(listener, NULL, NULL);
	if (fd < 0)
		err(111, "accept");
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
	memset(&conns[fd], 0, sizeof conns[fd]);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	epoll_ctl(events, EPOLL_CTL_ADD, fd, &event);
}

static struct sockaddr_in address_of(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

static int backend(int port)
{
	struct sockaddr_in address = address_of(port);
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = listener }, ready[64];
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
	    listen(listener, 4096) < 0)
		err(111, "port %d", port);
	events = epoll_create1(0);
	epoll_ctl(events, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(events, ready, 64, -1);
		for (int i = 0; i < n; i++) {
			if (ready[i].data.fd == listener)
				add_connection(listener);
			else
				serve(ready[i].data.fd);
		}
	}
}

/* --- clients --- */

/* Connected, or the end of the program. What is lost on the way would be waited for. */
static int dial(int port)
{
	struct timeval limit = { .tv_sec = 300 };
	struct sockaddr_in address = address_of(port);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		err(111, "connect to port %d", port);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

/* Sends a command, returns the first byte of its answer. */
static char ask(int fd, char command, uint64_t len)
{
	unsigned char buf[9] = { (unsigned char)command };
	char header = 0;
	uint64_t big = htobe64(len);
	memcpy(buf + 1, &big, sizeof big);
	bool alone = command == HELLO || command == WHO;
	if (!write_all(fd, buf, alone ? 1 : sizeof buf) || !read_all(fd, &header, 1))
		errx(111, "no answer: %s", errno ? strerror(errno) : "the connection has ended");
	return header;
}

static void expect_header(char header, char expected)
{
	if (header != expected)
		errx(1, "the backend got header %c, not %c", header, expected);
}

/* A stream each way that the command asks for; the blocks that were wrong. */
static uint64_t transfer(int fd, char command, uint64_t len, bool all)
{
	struct transfer out = { .fd = fd, .len = len };
	struct transfer in = { .fd = fd, .len = len, .all = all };
	uint64_t wrong_there = 0;

	ask(fd, command, len);
	if (command == GIVE)
		out.len = 0;
	if (command == SINK || command == CHECK_SINK)
		in.len = 0;
	stream(&out, &in);
	if (command != GIVE && !read_all(fd, &wrong_there, sizeof wrong_there))
		errx(111, "no answer after the stream");
	return in.wrong + wrong_there;
}

static int check(int port, char expected, uint64_t bytes)
{
	struct sockaddr_in own = { 0 };
	socklen_t size = sizeof own;
	char who[WHO_SIZE], text[INET_ADDRSTRLEN], wanted[WHO_SIZE] = "";
	int fd = dial(port);

	char header = ask(fd, WHO, 0);
	expect_header(header, expected);
	if (!read_all(fd, who, sizeof who))
		errx(111, "no answer");
	getsockname(fd, (struct sockaddr *)&own, &size);
	inet_ntop(AF_INET, &own.sin_addr, text, sizeof text);
	if (header != '0')
		snprintf(wanted, sizeof wanted, "%s %u", text, ntohs(own.sin_port));
	if (strncmp(who, wanted, sizeof who) != 0)
		errx(1, "the header names %.64s, not %s", who, wanted);

	uint64_t wrong = transfer(fd, CHECK_SINK, bytes, true);
	wrong += transfer(fd, GIVE, bytes, true);
	wrong += transfer(fd, CHECK_BOTH, bytes, true);
	if (wrong > 0)
		errx(1, "%llu blocks were wrong", (unsigned long long)wrong);
	printf("ok\n");
	return 0;
}

/* --- set-up and round trip --- */

struct client {
	int port, n;
	char expected;
	double deadline;
	double *took;                      /* seconds each, n at most */
	int done;
};

static void *set_up(void *argument)
{
	struct client *c = argument;
	for (c->done = 0; c->done < c->n && (c->done == 0 || now() < c->deadline); c->done++) {
		double begun = now();
		int fd = dial(c->port);
		char header = ask(fd, HELLO, 0);
		c->took[c->done] = now() - begun;
		expect_header(header, c->expected);
		close(fd);
	}
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* "N P50 P99 RATE": how many, microseconds, and how many a second. */
static void print_times(double *took, size_t n, double seconds)
{
	if (n == 0)
		errx(111, "nothing was done in time");
	qsort(took, n, sizeof *took, by_size);
	printf("%zu %.1f %.1f %.1f\n", n, took[n / 2] * 1e6, took[n * 99 / 100] * 1e6,
	       (double)n / seconds);
}

static int setup(int port, char expected, int clients, int n, int seconds)
{
	struct client *all = calloc((size_t)clients, sizeof *all);
	pthread_t *threads = calloc((size_t)clients, sizeof *threads);
	double *took = calloc((size_t)n, sizeof *took), begun = now();
	size_t done = 0;
	if (all == NULL || threads == NULL || took == NULL)
		err(111, "calloc");
	for (int i = 0; i < clients; i++) {
		size_t each = (size_t)(n / clients), first = (size_t)i * each;
		all[i] = (struct client){ port, (int)each, expected, begun + seconds, took + first, 0 };
		if (pthread_create(&threads[i], NULL, set_up, &all[i]) != 0)
			errx(111, "pthread_create");
	}
	for (int i = 0; i < clients; i++) {
		pthread_join(threads[i], NULL);
		memmove(took + done, all[i].took, (size_t)all[i].done * sizeof *took);
		done += (size_t)all[i].done;
	}
	print_times(took, done, now() - begun);
	return 0;
}

/* There and back, until n or, once connected, the seconds are over; how many. */
static int ping(int port, size_t size, int n, double seconds, double *took)
{
	static char out[MESSAGE_MAX], in[MESSAGE_MAX];
	int fd = dial(port), done;
	ask(fd, ECHO, size * (uint64_t)n);
	double deadline = now() + seconds;
	for (done = 0; done < n && (done == 0 || now() < deadline); done++) {
		memset(out, done, size);
		double sent = now();
		if (!write_all(fd, out, size) || !read_all(fd, in, size))
			errx(111, "the connection has ended");
		took[done] = now() - sent;
		if (memcmp(in, out, size) != 0)
			errx(1, "what came back is not what was sent");
	}
	close(fd);
	return done;
}

/* On forty connections in turn: it matters on which processors they happen to be. */
enum { RTT_CONNECTIONS = 40 };

static int rtt(int port, int size, int n, int seconds)
{
	double *took = calloc((size_t)n, sizeof *took), begun = now();
	int done = 0;
	if (took == NULL)
		err(111, "calloc");
	for (int i = 0; i < RTT_CONNECTIONS; i++)
		done += ping(port, (size_t)size, (n + RTT_CONNECTIONS - 1 - i) / RTT_CONNECTIONS,
		             (double)seconds / RTT_CONNECTIONS, took + done);
	print_times(took, (size_t)done, now() - begun);
	return 0;
}

/* --- throughput and idle connections --- */

/* Prints "ready" and waits for a line; then streams and prints the seconds, and
 * keeps the connection until its input ends: so somebody can look at the CPU time
 * of the processes in between, before and after. */
static int throughput(int port, const char *direction, uint64_t len)
{
	char command = (char)(*direction == 'u' ? SINK : *direction == 'd' ? GIVE : BOTH);
	int fd = dial(port), c;
	ask(fd, HELLO, 0);
	puts("ready");
	fflush(stdout);
	while ((c = getchar()) != '\n' && c != EOF)
		;
	double begun = now();
	uint64_t wrong = transfer(fd, command, len, false);
	double seconds = now() - begun;
	if (wrong > 0)
		errx(1, "%llu blocks were wrong", (unsigned long long)wrong);
	printf("%.6f\n", seconds);
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

/* Opens more, until there are n or the seconds are over. */
static int open_more(int port, int *fds, int open, int n, int seconds)
{
	double deadline = now() + seconds;
	for (; open < n && now() < deadline; open++) {
		fds[open] = dial(port);
		ask(fds[open], HELLO, 0);
	}
	return open;
}

struct passing {
	const int *fds;
	int first, open;
	uint64_t bytes, wrong;
};

static void *pass_some(void *argument)
{
	struct passing *p = argument;
	for (int i = p->first; i < p->open; i += PASSING)
		p->wrong += transfer(p->fds[i], BOTH, p->bytes, false);
	return NULL;
}

/* Through all of them, some at a time: where Nagle's algorithm is left on, each
 * waits for a delayed acknowledgement at its end. */
static void pass(const int *fds, int open, uint64_t bytes)
{
	struct passing all[PASSING];
	pthread_t threads[PASSING];
	for (int i = 0; i < PASSING; i++) {
		all[i] = (struct passing){ fds, i, open, bytes, 0 };
		if (pthread_create(&threads[i], NULL, pass_some, &all[i]) != 0)
			errx(111, "pthread_create");
	}
	for (int i = 0; i < PASSING; i++) {
		pthread_join(threads[i], NULL);
		if (all[i].wrong > 0)
			errx(1, "%llu blocks were wrong", (unsigned long long)all[i].wrong);
	}
}

/* Does what its input says, a line each: "open N": so many connections in all,
 * within those seconds; "pass BYTES": each of them does so, both ways. Answers each
 * with the number of open ones. */
static int hold(int port, int seconds)
{
	int *fds = calloc(DESCRIPTORS, sizeof *fds), open = 0, n;
	char line[64];
	if (fds == NULL)
		err(111, "calloc");
	while (fgets(line, sizeof line, stdin) != NULL) {
		if (sscanf(line, "open %d", &n) == 1 && n <= DESCRIPTORS)
			open = open_more(port, fds, open, n, seconds);
		else if (sscanf(line, "pass %d", &n) == 1)
			pass(fds, open, (uint64_t)n);
		printf("%d\n", open);
		fflush(stdout);
	}
	free(fds);
	return 0;
}

static bool is(const char *name, int args, const char *command, int argc)
{
	return strcmp(command, name) == 0 && argc == args + 2;
}

int main(int argc, char **argv)
{
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max < DESCRIPTORS ? files.rlim_max : DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	make_pattern();

	const char *command = argc > 2 ? argv[1] : "";
	int port = argc > 2 ? numeric(argv[2], 65535) : 0;
	if (is("backend", 1, command, argc))
		return backend(port);
	if (is("check", 3, command, argc))
		return check(port, argv[3][0], strtoull(argv[4], NULL, 10));
	if (is("setup", 5, command, argc))
		return setup(port, argv[3][0], numeric(argv[4], 1000), numeric(argv[5], 1000000),
		             numeric(argv[6], 3600));
	if (is("rtt", 4, command, argc))
		return rtt(port, numeric(argv[3], MESSAGE_MAX), numeric(argv[4], 1000000), numeric(argv[5], 3600));
	if (is("stream", 3, command, argc))
		return throughput(port, argv[3], strtoull(argv[4], NULL, 10));
	if (is("hold", 2, command, argc))
		return hold(port, numeric(argv[3], 3600));
	fprintf(stderr, "usage: load backend|check|setup|rtt|stream|hold ARGUMENT...: see load.c\n");
	return 100;
}
