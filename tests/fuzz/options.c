/* The command line: all of it; and each word as a backend, as NETS, as a time and as
 * a TLV, beside readers that know only regular expressions and inet_pton.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 * An input is the words, a NUL between them.
 */
#include <regex.h>

#include "alone.h"

/* Whether the text is as the pattern says. Its parts go to parts[1..count). */
static bool matches(const char *text, const char *pattern, regmatch_t *parts, size_t count)
{
	static struct { const char *pattern; regex_t regex; } known[8];
	size_t i;

	for (i = 0; known[i].pattern != NULL && known[i].pattern != pattern; i++)
		CHECK(i + 2 < sizeof known / sizeof *known);
	if (known[i].pattern == NULL) {
		CHECK(regcomp(&known[i].regex, pattern, REG_EXTENDED) == 0);
		known[i].pattern = pattern;
	}
	return regexec(&known[i].regex, text, count, parts, 0) == 0;
}

/* Digits, of which none is too many. -1: over max. */
static long number(const char *digits, size_t len, long max)
{
	long n = 0;

	for (; len > 0; digits++, len--)
		if ((n = n * 10 + (*digits - '0')) > max)
			return -1;
	return n;
}

/* An address, in brackets too if it is IPv6. Its bytes go to ip. Returns its family;
 * AF_UNSPEC: it is none. */
static int pton(const char *text, size_t len, unsigned char ip[16])
{
	char word[64];

	if (len >= sizeof word)
		return AF_UNSPEC;
	memcpy(word, text, len);
	word[len] = '\0';
	if (inet_pton(AF_INET, word, ip) == 1)
		return AF_INET;
	if (len > 2 && word[0] == '[' && word[len - 1] == ']') {
		word[len - 1] = '\0';
		return inet_pton(AF_INET6, word + 1, ip) == 1 ? AF_INET6 : AF_UNSPEC;
	}
	return inet_pton(AF_INET6, word, ip) == 1 ? AF_INET6 : AF_UNSPEC;
}

/* Wrong usage: one line, status 100. */
static void check_refused(int with)
{
	CHECK(with == 100);
	check_logged();
}

/* ---- NETS ---- */

struct nets {
	const char *text;
	const union proxyhdr_addr *peer;
	bool found;
};

static void call_match_networks(void *arg)
{
	struct nets *nets = arg;

	nets->found = match_networks(nets->text, nets->peer);
}

/* The last 32 bits of what begins as ::ffff:0:0/96 does. */
static bool get_ip4(const unsigned char ip[16], int family, uint32_t *ip4)
{
	static const unsigned char mapped[12] = { [10] = 0xFF, [11] = 0xFF };
	uint32_t n;

	if (family == AF_INET6 && memcmp(ip, mapped, 12) != 0)
		return false;
	memcpy(&n, family == AF_INET ? ip : ip + 12, 4);
	*ip4 = ntohl(n);
	return true;
}

/* Whether net[0..len) has the peer: -1 if it is no network. */
static int net_has(const char *net, size_t len, const union proxyhdr_addr *peer)
{
	const char *slash = memchr(net, '/', len);
	size_t ip_len = slash != NULL ? (size_t)(slash - net) : len;
	unsigned char ip[16], peer_ip[16];
	uint32_t ip4 = 0, peer4 = 0;
	long bits, width, i;
	int family = pton(net, ip_len, ip), peer_family = peer->sa.sa_family;
	bool net_is_4, peer_is_4;

	if (len == 3 && memcmp(net, "any", 3) == 0)
		return 1;
	if (len == 4 && memcmp(net, "unix", 4) == 0)
		return peer_family == AF_UNIX;
	if (family == AF_UNSPEC || len > 52)    /* longer than any, but for zeros in front of the bits */
		return -1;
	bits = width = family == AF_INET ? 32 : 128;
	if (slash != NULL) {
		for (i = 1; i < (long)(len - ip_len); i++)
			if (slash[i] < '0' || slash[i] > '9')
				return -1;
		bits = i > 1 ? number(slash + 1, len - ip_len - 1, width) : -1;
	}
	if (bits < 0)
		return -1;
	for (i = bits; i < width; i++)
		if (ip[i / 8] & 0x80 >> i % 8)
			return -1;
	if (peer_family != AF_INET && peer_family != AF_INET6)
		return 0;
	memcpy(peer_ip, peer_family == AF_INET ? (const void *)&peer->in.sin_addr :
	       (const void *)&peer->in6.sin6_addr, peer_family == AF_INET ? 4 : 16);
	peer_is_4 = get_ip4(peer_ip, peer_family, &peer4);
	net_is_4 = (family == AF_INET || bits >= 96) && get_ip4(ip, family, &ip4);
	if (net_is_4 != peer_is_4)
		return 0;
	if (net_is_4) {
		bits -= width - 32;
		return bits == 0 || ip4 >> (32 - bits) == peer4 >> (32 - bits);
	}
	return memcmp(ip, peer_ip, (size_t)bits / 8) == 0 &&
	       (bits % 8 == 0 || (ip[bits / 8] ^ peer_ip[bits / 8]) >> (8 - bits % 8) == 0);
}

static int nets_have(const char *text, const union proxyhdr_addr *peer)
{
	int found = 0, has;

	for (;; text++) {
		size_t len = strcspn(text, ",");

		if ((has = net_has(text, len, peer)) < 0)
			return -1;
		found |= has;
		text += len;
		if (*text == '\0')
			return found;
	}
}

static void check_peer(const char *text, const union proxyhdr_addr *peer)
{
	struct nets nets = { text, peer, false };
	int has = nets_have(text, peer), with = run(call_match_networks, &nets);

	if (has < 0)
		check_refused(with);
	else
		CHECK(with == -1 && nets.found == (has == 1));
}

/* Peers around the networks that the text names: each first address, with one bit
 * changed, and as the other family has it. */
static void check_nets(const char *text)
{
	union proxyhdr_addr peer;
	const char *p;
	unsigned flip;

	memset(&peer, 0, sizeof peer);
	check_peer(text, &peer);
	peer.sa.sa_family = AF_UNIX;
	check_peer(text, &peer);
	memset(&peer, 0, sizeof peer);
	peer.sa.sa_family = AF_INET;
	check_peer(text, &peer);                /* 0.0.0.0, :: */
	peer.sa.sa_family = AF_INET6;
	check_peer(text, &peer);
	for (p = text; ; p++) {
		size_t len = strcspn(p, ",/");
		unsigned char ip[16];
		int family = pton(p, len, ip), size = family == AF_INET ? 4 : 16;

		for (flip = 0; family != AF_UNSPEC && flip < 8u * (unsigned)size; flip += 1 + flip / 3) {
			ip[flip / 8] ^= (unsigned char)(0x80 >> flip % 8);
			memset(&peer, 0, sizeof peer);
			peer.sa.sa_family = (sa_family_t)family;
			if (family == AF_INET)
				memcpy(&peer.in.sin_addr, ip, 4);
			else
				memcpy(&peer.in6.sin6_addr, ip, 16);
			check_peer(text, &peer);
			if (family == AF_INET) {
				memset(&peer, 0, sizeof peer);
				peer.sa.sa_family = AF_INET6;
				peer.in6.sin6_addr.s6_addr[10] = peer.in6.sin6_addr.s6_addr[11] = 0xFF;
				memcpy(peer.in6.sin6_addr.s6_addr + 12, ip, 4);
				check_peer(text, &peer);
			}
			ip[flip / 8] ^= (unsigned char)(0x80 >> flip % 8);
		}
		p += len;
		if (*p == '\0')
			break;
	}
}

/* ---- backends ---- */

struct wanted {
	union proxyhdr_addr address;
	socklen_t len;
	char host[256], port[16];
	int in, out;
};

/* Reads a backend's host, text[0..len), for that port. */
static bool read_host(struct wanted *w, const char *text, size_t len, long port)
{
	unsigned char ip[16];
	int family = pton(text, len, ip);

	if (len == 0 || len > 255)
		return false;
	if (text[0] == '[' ? text[len - 1] != ']' || len == 2 : memchr(text, ':', len) != NULL)
		return false;
	if (family == AF_UNSPEC) {      /* a name, or an address with a zone */
		bool bracket = text[0] == '[';

		memcpy(w->host, bracket ? text + 1 : text, bracket ? len - 2 : len);
		snprintf(w->port, sizeof w->port, "%u", (unsigned)port);
		return !bracket || memchr(text, '%', len) != NULL;
	}
	w->address.sa.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		memcpy(&w->address.in.sin_addr, ip, 4);
		w->address.in.sin_port = htons((in_port_t)port);
		w->len = sizeof w->address.in;
	} else {
		memcpy(&w->address.in6.sin6_addr, ip, 16);
		w->address.in6.sin6_port = htons((in_port_t)port);
		w->len = sizeof w->address.in6;
	}
	return true;
}

static bool read_backend(struct wanted *w, const char *text)
{
	static const char fd[] = "^fd:([0-9]+)(,([0-9]+))?$", host_port[] = "^(.*):([0-9]+)$";
	size_t len = strlen(text);
	regmatch_t m[4];
	long port;

	memset(w, 0, sizeof *w);
	if (*text == '/' || *text == '@') {
		if (len < 2 || len > 107)
			return false;
		w->address.un.sun_family = AF_UNIX;
		memcpy(w->address.un.sun_path, text, len);
		if (*text == '@')
			w->address.un.sun_path[0] = '\0';
		w->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (*text == '/'));
		return true;
	}
	if (strncmp(text, "fd:", 3) == 0) {
		if (!matches(text, fd, m, 4))
			return false;
		w->in = w->out = (int)number(text + m[1].rm_so, (size_t)(m[1].rm_eo - m[1].rm_so), INT_MAX);
		if (m[3].rm_so >= 0)
			w->out = (int)number(text + m[3].rm_so, (size_t)(m[3].rm_eo - m[3].rm_so), INT_MAX);
		return w->in >= 3 && w->out >= 3;
	}
	if (strstr(text, "://") != NULL || strncmp(text, "unix:/", 6) == 0 || !matches(text, host_port, m, 3))
		return false;
	port = number(text + m[2].rm_so, (size_t)(m[2].rm_eo - m[2].rm_so), 65535);
	return port > 0 && read_host(w, text, (size_t)m[1].rm_eo, port);
}

struct named {
	struct backend backend;
	const char *text;
};

static void call_parse_backend(void *arg)
{
	struct named *named = arg;

	parse_backend(&named->backend, named->text);
}

static void check_backend(const char *text)
{
	struct named named = { .text = text };
	struct backend *b = &named.backend;
	struct wanted w;
	int with;

	conn.text = NULL;
	with = run(call_parse_backend, &named);
	if (!read_backend(&w, text)) {
		check_refused(with);
		return;
	}
	CHECK(with == -1 && b->text == text);
	CHECK(strcmp(b->host, w.host) == 0 && strcmp(b->port, w.port) == 0);
	CHECK(b->descriptors.in == w.in && b->descriptors.out == w.out);
	CHECK(w.host[0] != '\0' || b->address.ai_addrlen == w.len);
	CHECK(w.host[0] != '\0' || are_same(&b->sockaddr, &w.address, sizeof w.address));
	CHECK(b->address.ai_addr == &b->sockaddr.sa && b->address.ai_family == w.address.sa.sa_family);
}

/* ---- times, TLVs ---- */

struct seconds {
	const char *text;
	int min, ms;
};

static void call_parse_seconds(void *arg)
{
	struct seconds *s = arg;

	s->ms = parse_seconds("--timeout", s->text, s->min);
}

/* Milliseconds, rounded up; -1: it is no number, or too large a one. */
static int read_seconds(const char *text)
{
	static const char pattern[] = "^([0-9]*)(\\.([0-9]*))?$";
	const int max = INT_MAX / 1000 - 1;
	char fraction[4] = "000";
	regmatch_t m[4];
	size_t digits = 0;
	long whole;
	int ms;

	if (!matches(text, pattern, m, 4))
		return -1;
	if (m[3].rm_so >= 0)
		digits = (size_t)(m[3].rm_eo - m[3].rm_so);
	if (digits == 0 && m[1].rm_eo == 0)
		return -1;
	whole = number(text, (size_t)m[1].rm_eo, max);
	if (whole < 0)
		return -1;
	memcpy(fraction, text + (digits > 0 ? m[3].rm_so : 0), digits < 3 ? digits : 3);
	ms = (int)whole * 1000 + atoi(fraction);
	return digits > 3 && strspn(text + m[3].rm_so + 3, "0") < digits - 3 ? ms + 1 : ms;
}

static void check_seconds(const char *text)
{
	struct seconds s = { .text = text };
	int ms = read_seconds(text);

	for (s.min = 0; s.min < 2; s.min++) {
		int with = run(call_parse_seconds, &s);

		if (ms < s.min)
			check_refused(with);
		else
			CHECK(with == -1 && s.ms == ms);
	}
}

static void call_parse_tlv(void *arg)
{
	parse_tlv(arg);
}

/* The value of a hexadecimal digit; 16: it is none. */
static unsigned hex_value(char c)
{
	return c >= '0' && c <= '9' ? (unsigned)(c - '0') :
	       (c | 32) >= 'a' && (c | 32) <= 'f' ? (unsigned)((c | 32) - 'a') + 10 : 16;
}

/* Returns the type, or -1 if it is none. */
static long read_type(const char *text, size_t len)
{
	size_t i;

	if (len == 4 && memcmp(text, "alpn", 4) == 0)
		return 1;
	if (len == 9 && memcmp(text, "authority", 9) == 0)
		return 2;
	if (len == 5 && memcmp(text, "netns", 5) == 0)
		return 0x30;
	if (len == 4 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X') &&
	    hex_value(text[2]) < 16 && hex_value(text[3]) < 16)
		return (long)(hex_value(text[2]) << 4 | hex_value(text[3]));
	for (i = 0; i < len; i++)
		if (text[i] < '0' || text[i] > '9')
			return -1;
	return len > 0 ? number(text, len, 255) : -1;
}

static void check_tlv(const char *text)
{
	const char *equals = strchr(text, '=');
	char *copy = allocate(strlen(text) + 1), *value = allocate(strlen(text) + 1);
	long type = equals != NULL ? read_type(text, (size_t)(equals - text)) : -1;
	bool right = type >= 0 && type != 3 && type != 4 && type != 0x20;
	size_t len = 0, i;
	int with;

	strcpy(copy, text);
	conn.own_len = 0;
	with = run(call_parse_tlv, copy);
	free(copy);
	if (equals != NULL)
		len = strlen(strcpy(value, equals + 1));
	if (len >= 2 && value[0] == '0' && (value[1] == 'x' || value[1] == 'X')) {
		right &= len % 2 == 0;
		for (i = 2; i + 1 < len; i += 2) {
			right &= hex_value(value[i]) < 16 && hex_value(value[i + 1]) < 16;
			value[i / 2 - 1] = (char)(hex_value(value[i]) << 4 | (hex_value(value[i + 1]) & 15));
		}
		len = len / 2 - 1;
	}
	right &= (type != 5 || len <= 128) && len <= sizeof large.own - 19;
	if (right) {
		const unsigned char *own = large.own;

		CHECK(with == -1 && conn.own_len == 19 + len);
		CHECK(own[16] == type && get16be(own + 17) == len && memcmp(own + 19, value, len) == 0);
	} else {
		check_refused(with);
	}
	free(value);
}

/* ---- all of the command line ---- */

static void call_parse_options(void *arg)
{
	struct texts *words = arg;

	parse_options(words->count, words->text, &conn.options);
}

/* What holds of any command line that is taken. */
static void check_taken(void)
{
	const struct options *o = &conn.options;
	union proxyhdr_addr nobody;
	struct proxyhdr hdr;
	struct wanted w;
	int i;

	CHECK(o->count > 0 && o->timeout > 0 && o->idle >= 0);
	for (i = 0; i < o->count; i++)
		CHECK(read_backend(&w, o->backends[i]));
	memset(&nobody, 0, sizeof nobody);
	CHECK(o->accept_from == NULL || nets_have(o->accept_from, &nobody) >= 0);
	CHECK(conn.own_len == 0 || proxyhdr_parse(&hdr, large.own, conn.own_len) == (int)conn.own_len);
	CHECK(o->bind.sa.sa_family == AF_UNSPEC || o->bind.sa.sa_family == AF_INET ||
	      o->bind.sa.sa_family == AF_INET6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct texts words;
	int i, with;

	take_texts(&words, &in);
	begin_anew(-1, -1);
	for (i = 0; i < words.count; i++) {
		check_nets(words.text[i]);
		check_backend(words.text[i]);
		check_seconds(words.text[i]);
		check_tlv(words.text[i]);
	}
	begin_anew(-1, -1);
	if (words.count > 0) {
		with = run(call_parse_options, &words);
		if (with == -1)
			check_taken();
		else if (with != 0 || logged_len > 0)   /* neither --help nor --version */
			check_refused(with);
	}
	free_texts(&words);
	return 0;
}
