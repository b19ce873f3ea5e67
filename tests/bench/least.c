/* least: the least that a relay can be, to see what of relay's time is its own. It
 * does what each must: asks for the client's address, connects, sends a header, and
 * moves bytes until both ways have ended; no options, no errors, IPv4 only. It loses
 * bytes where a reader is slow: for measurements alone.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 *   least ADDRESS PORT    built as relay is
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxyhdr.h"

static void set_linger(int fd, int on)
{
	struct linger linger = { on, 0 };
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static void move(struct pollfd *from, int to)
{
	static char buf[64 * 1024];
	struct pollfd room = { to, POLLOUT, 0 };
	ssize_t n = recv(from->fd, buf, sizeof buf, MSG_DONTWAIT), sent;
	if (n <= 0) {
		shutdown(to, SHUT_WR);
		from->fd = -1;
	}
	for (char *p = buf; n > 0; p += sent, n -= sent)
		while ((sent = send(to, p, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0)
			if (poll(&room, 1, -1) < 0 || room.revents & POLLERR)
				return;
}

int main(int argc, char **argv)
{
	struct proxyhdr hdr = { .version = 1, .command = PROXYHDR_PROXY, .transport = PROXYHDR_STREAM };
	struct sockaddr_in to = { .sin_family = AF_INET };
	socklen_t src_len = sizeof hdr.src, dst_len = sizeof hdr.dst;
	char header[PROXYHDR_BUILD_MAX];
	if (argc != 3)
		return 100;
	to.sin_addr.s_addr = inet_addr(argv[1]);
	to.sin_port = htons((in_port_t)atoi(argv[2]));
	getpeername(0, &hdr.src.sa, &src_len);
	getsockname(0, &hdr.dst.sa, &dst_len);
	set_linger(0, 1);
	int backend = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	set_linger(backend, 1);
	(void)connect(backend, (struct sockaddr *)&to, sizeof to);
	struct pollfd p[2] = { { backend, POLLOUT, 0 }, { 0, 0, 0 } };
	poll(p, 2, -1);
	send(backend, header, (size_t)proxyhdr_build(header, sizeof header, &hdr), MSG_NOSIGNAL);

	p[0] = (struct pollfd){ 0, POLLIN, 0 };
	p[1] = (struct pollfd){ backend, POLLIN, 0 };
	while (p[0].fd >= 0 || p[1].fd >= 0) {
		poll(p, 2, -1);
		if (p[0].revents != 0)
			move(&p[0], backend);
		if (p[1].revents != 0)
			move(&p[1], 0);
	}
	set_linger(0, 0);
	set_linger(backend, 0);
	return 0;
}
