/* headers: how long proxyhdr takes to build and to parse each kind of header.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 *   headers N     builds and parses each kind N times
 *
 * Prints a line for each kind: "NAME BYTES BUILD PARSE", in nanoseconds. Built with
 * -DLIBPROXYPROTOCOL, two columns more: the same by that library. "-": it makes no
 * such header, or, of a checksum, it takes only its own (in the machine's byte order).
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxyhdr.h"
#ifdef LIBPROXYPROTOCOL
#include "proxy_protocol.h"
#endif

enum { SIZE = 1024 };

struct kind {
	const char *name;
	int version;
	enum proxyhdr_command command;
	int family;
	const char *src, *dst;
	int crc32c, tlvs;
};

#define V4 AF_INET, "203.0.113.177", "198.51.100.22"
#define V6 AF_INET6, "2001:db8:85a3::8a2e:370:7334", "2001:db8:1234:5678:9abc:def0:1:2"

static const struct kind kinds[] = {
	{ "v1-TCP4", 1, PROXYHDR_PROXY, V4, 0, 0 },
	{ "v1-TCP6", 1, PROXYHDR_PROXY, V6, 0, 0 },
	{ "v1-UNKNOWN", 1, PROXYHDR_PROXY, AF_UNSPEC, "", "", 0, 0 },
	{ "v2-INET", 2, PROXYHDR_PROXY, V4, 0, 0 },
	{ "v2-INET6", 2, PROXYHDR_PROXY, V6, 0, 0 },
	{ "v2-UNIX", 2, PROXYHDR_PROXY, AF_UNIX, "/run/client.sock", "/run/relay.sock", 0, 0 },
	{ "v2-LOCAL", 2, PROXYHDR_LOCAL, AF_UNSPEC, "", "", 0, 0 },
	{ "v2-INET+CRC32C", 2, PROXYHDR_PROXY, V4, 1, 0 },
	{ "v2-INET6+TLVs", 2, PROXYHDR_PROXY, V6, 0, 1 },
	{ "v2-INET6+TLVs+CRC32C", 2, PROXYHDR_PROXY, V6, 1, 1 },
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void fill_address(union proxyhdr_addr *addr, int family, const char *text, in_port_t port)
{
	memset(addr, 0, sizeof *addr);
	addr->sa.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		inet_pton(AF_INET, text, &addr->in.sin_addr);
		addr->in.sin_port = htons(port);
	} else if (family == AF_INET6) {
		inet_pton(AF_INET6, text, &addr->in6.sin6_addr);
		addr->in6.sin6_port = htons(port);
	} else if (family == AF_UNIX) {
		strcpy(addr->un.sun_path, text);
	}
}

static struct proxyhdr header_of(const struct kind *kind)
{
	struct proxyhdr hdr = { .version = kind->version, .command = kind->command };
	hdr.transport = kind->family == AF_UNSPEC ? PROXYHDR_UNSPEC : PROXYHDR_STREAM;
	fill_address(&hdr.src, kind->family, kind->src, 51234);
	fill_address(&hdr.dst, kind->family, kind->dst, 443);
	return hdr;
}

static int build(const struct kind *kind, const struct proxyhdr *hdr, unsigned char *buf)
{
	int len = proxyhdr_build(buf, SIZE, hdr);
	if (kind->tlvs) {
		proxyhdr_add_tlv(buf, SIZE, PROXYHDR_ALPN, "h2", 2);
		proxyhdr_add_tlv(buf, SIZE, PROXYHDR_AUTHORITY, "www.example.com", 15);
		len = proxyhdr_add_tlv(buf, SIZE, PROXYHDR_UNIQUE_ID, "0123456789abcdef0123456789abcdef", 32);
	}
	if (kind->crc32c)
		len = proxyhdr_add_crc32c(buf, SIZE);
	if (len <= 0)
		errx(1, "%s: %s", kind->name, proxyhdr_strerror(len));
	return len;
}

#ifdef LIBPROXYPROTOCOL
static uint8_t *their_build(const struct kind *kind, uint16_t *len)
{
	static const uint8_t families[] = { [AF_INET] = ADDR_FAMILY_INET, [AF_INET6] = ADDR_FAMILY_INET6,
	                                    [AF_UNIX] = ADDR_FAMILY_UNIX };
	pp_info_t info = { .address_family = families[kind->family], .src_port = 51234, .dst_port = 443 };
	int32_t error;
	info.transport_protocol = TRANSPORT_PROTOCOL_STREAM;
	info.pp2_info.crc32c = (uint8_t)kind->crc32c;
	strcpy(info.src_addr, kind->src);
	strcpy(info.dst_addr, kind->dst);
	if (kind->tlvs) {
		pp_info_add_alpn(&info, 2, (const uint8_t *)"h2");
		pp_info_add_authority(&info, 15, (const uint8_t *)"www.example.com");
		pp_info_add_unique_id(&info, 32, (const uint8_t *)"0123456789abcdef0123456789abcdef");
	}
	uint8_t *buf = pp_create_hdr((uint8_t)kind->version, &info, len, &error);
	pp_info_clear(&info);
	if (buf == NULL)
		errx(1, "%s: libproxyprotocol: %s", kind->name, pp_strerror(error));
	return buf;
}

static void measure_theirs(const struct kind *kind, const unsigned char *ours, int our_len, long n)
{
	pp_info_t info;
	uint16_t len = 0;
	if (kind->family == AF_UNSPEC) {
		printf(" - -\n");
		return;
	}
	double begun = now();
	for (long i = 0; i < n; i++)
		free(their_build(kind, &len));
	double built = now();
	if (len != our_len)
		errx(1, "%s: libproxyprotocol made %d bytes, not %d", kind->name, len, our_len);
	if (kind->crc32c) {
		printf(" %.1f -\n", (built - begun) / (double)n);
		return;
	}
	for (long i = 0; i < n; i++) {
		if (pp_parse_hdr(ours, (uint32_t)our_len, &info) != our_len)
			errx(1, "%s: libproxyprotocol does not parse it", kind->name);
		pp_info_clear(&info);
	}
	printf(" %.1f %.1f\n", (built - begun) / (double)n, (now() - built) / (double)n);
}
#else
static void measure_theirs(const struct kind *kind, const unsigned char *ours, int our_len, long n)
{
	(void)kind, (void)ours, (void)our_len, (void)n;
	printf("\n");
}
#endif

static void measure(const struct kind *kind, long n)
{
	unsigned char buf[SIZE];
	struct proxyhdr hdr = header_of(kind), parsed;
	int len = 0;

	double begun = now();
	for (long i = 0; i < n; i++)
		len = build(kind, &hdr, buf);
	double built = now();
	for (long i = 0; i < n; i++)
		if (proxyhdr_parse(&parsed, buf, (size_t)len) != len)
			errx(1, "%s: what was built does not parse", kind->name);
	double done = now();
	printf("%s %d %.1f %.1f", kind->name, len, (built - begun) / (double)n, (done - built) / (double)n);
	measure_theirs(kind, buf, len, n);
}

int main(int argc, char **argv)
{
	long n = argc == 2 ? atol(argv[1]) : 0;
	if (n <= 0)
		errx(100, "usage: headers N");
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		measure(&kinds[i], n);
	return 0;
}
