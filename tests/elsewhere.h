/* relay as macOS would have it, as far as Linux can tell: the same things are missing or
 * have another name. Included before relay.c, which is otherwise as it is (see the Makefile).
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* What is used all the same does not compile, or does not link. */
#define TCP_KEEPALIVE 4
#undef TCP_KEEPIDLE
#undef SOCK_NONBLOCK
#undef MSG_NOSIGNAL
#define ppoll their_ppoll
#define pipe2 no_pipe2
#define splice no_splice

/* What Linux lacks: nothing comes of it. */
#define SO_NP_EXTENSIONS 0x1083
#define SONPX_SETOPTSHUT 1
struct so_np_extensions {
	uint32_t npx_flags, npx_mask;
};

#undef __linux__
#define __APPLE__ 1
