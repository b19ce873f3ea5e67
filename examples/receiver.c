/* receiver: a server that learns from PROXY headers who its clients are.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 *   cc -I. -o receiver examples/receiver.c proxyhdr.c
 *   ./receiver 8080
 *
 * Two of relay's files, and POSIX. It listens on 127.0.0.1 alone: whoever may send a
 * header may claim any address. It forks and blocks: a server that polls keeps buf and len
 * with each connection, and parses after each read, as proxyhdr.h shows.
 */
#define _POSIX_C_SOURCE 200809L         /* NOLINT(*-reserved-identifier,cert-dcl*): POSIX wants it */
#include "proxyhdr.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int serve(int fd)
{
	static unsigned char buf[PROXYHDR_MAX];         /* any header fits */
	struct proxyhdr hdr = { .version = 0 };
	struct proxyhdr_tlv tlv;
	char host[128] = "", port[16] = "?";
	socklen_t size = sizeof hdr.src;
	size_t len, i;
	ssize_t got;
	int n;

	alarm(5);                                       /* seconds, for all that a client does */
	for (len = 0; (n = proxyhdr_parse(&hdr, buf, len)) == 0; len += (size_t)got)
		if ((got = read(fd, buf + len, sizeof buf - len)) <= 0)
			return 1;
	if (hdr.src.sa.sa_family == AF_UNSPEC)  /* a health check, or UNKNOWN: the connection's own */
		getpeername(fd, &hdr.src.sa, &size);
	size = hdr.src.sa.sa_family == AF_INET6 ? sizeof hdr.src.in6 : sizeof hdr.src.in;
	if (hdr.src.sa.sa_family != AF_UNIX)
		getnameinfo(&hdr.src.sa, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	else    /* a path's bytes may be any: '?' for what could break a line, but for NULs behind it */
		for (memcpy(host, hdr.src.un.sun_path, i = sizeof hdr.src.un.sun_path); i-- > 0; )
			if (host[i] == '\0' ? host[i + 1] != '\0' : !isgraph((unsigned char)host[i]))
				host[i] = '?';
	if (n < 0)
		return fprintf(stderr, "refused client=%s port=%s: %s\n", host, port, proxyhdr_strerror(n)), 1;
	printf("client=%s port=%s payload=%zu", host, port, len - (size_t)n);   /* at buf + n, so far */
	while ((n = proxyhdr_next_tlv(&tlv, hdr.tlvs, hdr.tlvs_len)) > 0) {
		printf(" 0x%02X=", tlv.type);
		for (i = 0; i < tlv.len; i++)
			printf("%02x", tlv.value[i]);
		hdr.tlvs += n;
		hdr.tlvs_len -= (size_t)n;
	}
	puts("");
	dprintf(fd, "hello %s\n", host);
	shutdown(fd, SHUT_WR);
	while (read(fd, buf, sizeof buf) > 0)           /* closed with bytes unread, it is reset */
		;
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd, child, on = 1, door = socket(AF_INET, SOCK_STREAM, 0);

	here.sin_port = htons((in_port_t)(argc > 1 ? atoi(argv[1]) : 8080));
	setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGALRM, SIG_DFL);               /* whatever started us may ignore it */
	if (bind(door, (struct sockaddr *)&here, sizeof here) < 0 || listen(door, 128) < 0)
		return perror("receiver"), 1;
	for (;; close(fd)) {
		child = (fd = accept(door, NULL, NULL)) < 0 ? -1 : fork();
		if (child == 0)
			exit(serve(fd));
		if (child < 0 && errno != EINTR && errno != ECONNABORTED) {
			perror("receiver");     /* no descriptor or process left: that passes */
			sleep(1);
		}
	}
}
