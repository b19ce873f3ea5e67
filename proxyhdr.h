/* proxyhdr: build and parse PROXY protocol headers, versions 1 and 2.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC, in full at the end
 *
 * Two files to drop into any C or C++ program: compile proxyhdr.c with the rest. A server
 * behind a proxy learns with them who its client is. The header comes before all else.
 * Whenever there is something to read, on a socket that blocks or not, buf and *len kept
 * with the connection, *len 0 at first (examples/receiver.c is a whole server):
 *
 *	static int read_header(int fd, struct proxyhdr *hdr, unsigned char *buf, size_t *len)
 *	{
 *		ssize_t got = read(fd, buf + *len, PROXYHDR_MAX - *len);
 *
 *		if (got < 0 && (errno == EAGAIN || errno == EINTR))
 *			return 0;
 *		if (got <= 0)
 *			return PROXYHDR_ENOTPROXY;      // it ended before its header did
 *		*len += (size_t)got;
 *		return proxyhdr_parse(hdr, buf, *len);
 *	}       // 0: wait, and call it again; n > 0: what is in buf[n..*len) is the client's
 *
 * A buffer smaller than PROXYHDR_MAX will do (PROXYHDR_BUILD_MAX for any header without
 * TLVs): once it is full, that read is of 0 bytes, and the client is refused.
 *
 * A proxy sends its header in one write, before anything else and without waiting for the
 * client's first byte:
 *
 *	static int write_header(int client, unsigned char *buf, size_t size, const char *name)
 *	{
 *		struct proxyhdr hdr;
 *		socklen_t src = sizeof hdr.src, dst = sizeof hdr.dst;
 *
 *		memset(&hdr, 0, sizeof hdr);
 *		hdr.version = 2;
 *		hdr.command = PROXYHDR_PROXY;           // 0 is LOCAL: no addresses are sent
 *		hdr.transport = PROXYHDR_STREAM;
 *		if (getpeername(client, &hdr.src.sa, &src) < 0 ||
 *		    getsockname(client, &hdr.dst.sa, &dst) < 0 ||
 *		    proxyhdr_build(buf, size, &hdr) < 0 ||
 *		    proxyhdr_add_tlv(buf, size, PROXYHDR_AUTHORITY, name, strlen(name)) < 0)
 *			return -1;
 *		return proxyhdr_add_crc32c(buf, size);  // the length, or what is wrong
 *	}
 *
 * One rule for every return value: a length in bytes (> 0); 0 where there is
 * not enough yet; a negative enum proxyhdr_error where something is wrong.
 *
 * Threads, signals   Pure functions: no I/O, no globals. Any of them, anywhere.
 * Memory             No allocation, under 1 KiB of stack. TLVs are given where they are,
 *                    in the caller's buffer: copy them before it moves or is used again.
 * Byte order         Addresses and ports as socket calls have them, all other numbers
 *                    the machine's own, a TLV's value as it is sent.
 * The caller's part  Who may send a header: whoever may can claim any address. How long
 *                    one is waited for. Escaping what is logged: names and paths are any
 *                    bytes. sa_len, on systems that have it: it stays 0. An IPv6 socket
 *                    has IPv4 peers as ::ffff:a.b.c.d: make them AF_INET before comparing
 *                    them, and both before building if the receiver should see IPv4.
 * Limits             Of TLVs' values only CRC32C, UNIQUE_ID's length and that SSL has 5
 *                    bytes are checked. Where sun_path has less than PROXY's 108 bytes,
 *                    the rest is left out.
 * Which copy         In relay's repository, "git log --find-object=$(git hash-object FILE)"
 *                    names the commit that brought it, and one that replaced it.
 *
 * "PROXY spec" is https://github.com/haproxy/haproxy/blob/master/doc/proxy-protocol.txt
 * of 2026-04-27.
 */
#ifndef PROXYHDR_H
#define PROXYHDR_H

#include <stddef.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sizes in bytes. */
enum {
	PROXYHDR_V1_MAX = 107,        /* the longest line, CR LF counted */
	PROXYHDR_V2_FIXED = 16,       /* before addresses and TLVs */
	PROXYHDR_BUILD_MAX = 232,     /* the longest that proxyhdr_build writes */
	PROXYHDR_MAX = 16 + 65535,    /* the longest header that there is */
	PROXYHDR_UNIQUE_ID_MAX = 128  /* the longest value of that TLV */
};

enum proxyhdr_command { PROXYHDR_LOCAL, PROXYHDR_PROXY };
enum proxyhdr_transport { PROXYHDR_UNSPEC, PROXYHDR_STREAM, PROXYHDR_DGRAM };

/* TLV types, PROXY spec 2.2. */
enum proxyhdr_type {
	PROXYHDR_ALPN = 0x01,
	PROXYHDR_AUTHORITY = 0x02,
	PROXYHDR_CRC32C = 0x03,
	PROXYHDR_NOOP = 0x04,
	PROXYHDR_UNIQUE_ID = 0x05,
	PROXYHDR_SSL = 0x20,
	PROXYHDR_SSL_VERSION = 0x21,  /* this and the next seven: inside PROXYHDR_SSL */
	PROXYHDR_SSL_CN = 0x22,
	PROXYHDR_SSL_CIPHER = 0x23,
	PROXYHDR_SSL_SIG_ALG = 0x24,
	PROXYHDR_SSL_KEY_ALG = 0x25,
	PROXYHDR_SSL_GROUP = 0x26,
	PROXYHDR_SSL_SIG_SCHEME = 0x27,
	PROXYHDR_SSL_CLIENT_CERT = 0x28,
	PROXYHDR_NETNS = 0x30
};

/* Bits of the first byte of PROXYHDR_SSL's value, PROXY spec 2.2.6. Four bytes follow,
 * all 0 where the client gave a certificate and it was verified. */
enum proxyhdr_client {
	PROXYHDR_CLIENT_SSL = 1,        /* it came over TLS */
	PROXYHDR_CLIENT_CERT_CONN = 2,  /* it gave a certificate, on this connection */
	PROXYHDR_CLIENT_CERT_SESS = 4   /* or earlier in this TLS session */
};

enum proxyhdr_error {
	PROXYHDR_ENOTPROXY = -1,   /* neither version's first bytes */
	PROXYHDR_ELINE = -2,       /* v1: no CR LF where one must be */
	PROXYHDR_EPROTOCOL = -3,   /* v1: not TCP4, TCP6 or UNKNOWN */
	PROXYHDR_EADDRESS = -4,    /* v1: malformed address */
	PROXYHDR_EPORT = -5,       /* v1: malformed port */
	PROXYHDR_EVERSION = -6,    /* v2: version nibble is not 2 */
	PROXYHDR_ECOMMAND = -7,    /* v2: neither LOCAL nor PROXY */
	PROXYHDR_EFAMILY = -8,     /* v2: unassigned address family */
	PROXYHDR_ETRANSPORT = -9,  /* v2: unassigned transport */
	PROXYHDR_ELENGTH = -10,    /* v2: too short for its addresses */
	PROXYHDR_ETLV = -11,       /* v2: a TLV ends beyond the header, or SSL is under 5 bytes */
	PROXYHDR_ECRC32C = -12,    /* v2: checksum wrong, malformed or doubled */
	PROXYHDR_EUNIQUEID = -13,  /* v2: unique id longer than 128 bytes */
	PROXYHDR_ESPACE = -14,     /* building: does not fit */
	PROXYHDR_EARGUMENT = -15   /* building: arguments that make no header */
};

/* An address as getpeername(2) gives it: network byte order. Of a UNIX socket
 * all of sun_path counts, padded with NUL: set the union to zero first. A path of
 * 108 bytes has no NUL behind it, an abstract name has one before it. */
union proxyhdr_addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

struct proxyhdr {
	int version;                      /* 1 or 2 */
	enum proxyhdr_command command;    /* v1: always PROXY */
	enum proxyhdr_transport transport;
	/* AF_INET, AF_INET6 or AF_UNIX, the same in both. AF_UNSPEC, with
	 * transport UNSPEC, for LOCAL, UNKNOWN and UNSPEC: the receiver uses the
	 * addresses of the connection itself. */
	union proxyhdr_addr src, dst;
	/* v2: the TLVs, in the buffer that was parsed, CRC32C and NOOP too; for
	 * proxyhdr_next_tlv. */
	const unsigned char *tlvs;
	size_t tlvs_len;
};

struct proxyhdr_tlv {
	unsigned type;                /* 0 to 255: see enum proxyhdr_type */
	const unsigned char *value;   /* in the buffer that was walked */
	size_t len;
};

/* Parses the header at the start of buf[0..len), len being what has arrived so
 * far. Returns the header's length, payload begins there; 0 if more bytes are
 * needed to tell; or why it is none, as soon as that shows: addresses and TLVs
 * are looked at when all of the header is there. Fills *hdr only where a length
 * is returned. Takes any length up to PROXYHDR_MAX and checks every TLV's
 * length, CRC32C, UNIQUE_ID and SSL's first 5 bytes. PROXY spec 2.1, 2.2.
 *
 * Where the command is LOCAL, or family or transport is UNSPEC, addresses are
 * skipped. Nothing says where TLVs begin in a block of no family: it is given as
 * TLVs if it reads as such to its end (HAProxy sends them so), else skipped, as
 * is all of a LOCAL header that names a family. */
int proxyhdr_parse(struct proxyhdr *hdr, const void *buf, size_t len);

/* Reads the TLV at the start of tlvs[0..len). Returns its length, type and
 * length bytes counted; 0 if len is 0; PROXYHDR_ETLV if it does not fit.
 * For hdr->tlvs, where that error cannot come; and for the TLVs inside PROXYHDR_SSL, from
 * tlv.value + 5, tlv.len - 5 bytes in all: proxyhdr_parse has seen to the 5, not
 * to what is in them, where the error can. PROXY spec 2.2. */
int proxyhdr_next_tlv(struct proxyhdr_tlv *tlv, const void *tlvs, size_t len);

/* Writes the header *hdr to buf[0..size). Returns its length,
 * at most PROXYHDR_BUILD_MAX; PROXYHDR_ESPACE; or PROXYHDR_EARGUMENT for a
 * version that is neither 1 nor 2, unequal or other address families, or
 * addresses with transport UNSPEC. *hdr's TLVs are not written. What v1 cannot
 * say (UNIX, DGRAM, LOCAL, no addresses) becomes UNKNOWN. LOCAL is written
 * without addresses. PROXY spec 2.1, 2.2. */
int proxyhdr_build(void *buf, size_t size, const struct proxyhdr *hdr);

/* Appends a TLV to the v2 header at buf, of size bytes in all. Returns the
 * header's new length; PROXYHDR_ESPACE if that is over size or PROXYHDR_MAX;
 * PROXYHDR_EARGUMENT if there is no v2 header or type is over 255. After an
 * error the header is as it was. Values are not checked. PROXY spec 2.2. */
int proxyhdr_add_tlv(void *buf, size_t size, unsigned type,
                     const void *value, size_t len);

/* Appends the checksum, as proxyhdr_add_tlv does. Call it last: it covers the
 * whole header as it then is. PROXY spec 2.2.3. */
int proxyhdr_add_crc32c(void *buf, size_t size);

/* The reason behind a negative return value, in a few words. */
const char *proxyhdr_strerror(int error);

#ifdef __cplusplus
}
#endif
#endif

/* ISC License
 *
 * Permission to use, copy, modify, and/or distribute this software for any
 * purpose with or without fee is hereby granted, provided that the above
 * copyright notice and this permission notice appear in all copies.
 *
 * THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES
 * WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF
 * MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR
 * ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
 * WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN
 * ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF
 * OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
 */
