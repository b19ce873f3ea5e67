/* What relay makes of the environment: who the client is, and what TLS it speaks; with
 * any options, and a header of the client's own. Beside it a reader that knows only
 * inet_pton; and what is sent to the backend must parse, and say just that.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 * An input is texts, a NUL between them: NAME=VALUE belongs to the environment, others
 * are arguments. Behind an empty text it goes on with what the client sends.
 */
#include "alone.h"

static struct texts arguments, variables_set;

/* The first one of that name, as getenv has it. */
static const char *value_of(const char *name)
{
	size_t len = strlen(name);
	int i;

	for (i = 0; i < variables_set.count; i++)
		if (strncmp(variables_set.text[i], name, len) == 0 && variables_set.text[i][len] == '=')
			return variables_set.text[i] + len + 1;
	return NULL;
}

static const char *value_or_null(const char *name)
{
	const char *value = value_of(name);

	return value != NULL && *value != '\0' ? value : NULL;
}

/* Sorts the texts into what is a variable and what an argument. */
static void take_input(struct input *in)
{
	struct texts all;
	int i;

	take_texts(&all, in);
	arguments.count = variables_set.count = 0;
	for (i = 0; i < all.count; i++) {
		const char *equals = strchr(all.text[i], '=');
		struct texts *to = equals != NULL && all.text[i][0] != '-' && equals != all.text[i] ?
		                   &variables_set : &arguments;

		to->text[to->count++] = all.text[i];
	}
	variables_set.text[variables_set.count] = arguments.text[arguments.count] = NULL;
}

/* ---- the second reader ---- */

enum found { NOTHING, ADDRESS, NOBODY, WRONG };

/* One address and port, as the manual page has them. */
static enum found read_variables(union proxyhdr_addr *a, const char *ip_name, const char *port_name)
{
	const char *ip = value_or_null(ip_name), *port = value_of(port_name), *p;
	char word[64];
	enum found no_ip;
	bool is_port;
	size_t len;
	long n = 0;

	if (ip == NULL)
		return NOTHING;
	memset(a, 0, sizeof *a);
	no_ip = port == NULL || *port == '\0' || strncmp(ip, "vsock:", 6) == 0 ? NOBODY : WRONG;
	for (p = port; p != NULL && *p >= '0' && *p <= '9' && n <= 65535; p++)
		n = n * 10 + (*p - '0');
	is_port = port == NULL || (p != port && *p == '\0' && n <= 65535);
	if (inet_pton(AF_INET, ip, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons((in_port_t)n);
		return is_port ? ADDRESS : WRONG;
	}
	len = strlen(ip);
	if (len >= sizeof word)
		return no_ip;
	strcpy(word, ip);
	if (word[0] == '[' && word[len - 1] == ']') {
		word[len - 1] = '\0';
		memmove(word, word + 1, len - 1);
	}
	a->in6.sin6_family = AF_INET6;
	a->in6.sin6_port = htons((in_port_t)n);
	if (inet_pton(AF_INET6, word, &a->in6.sin6_addr) == 1)
		return is_port ? ADDRESS : WRONG;
	memset(a, 0, sizeof *a);
	return no_ip;
}

/* The addresses' 16 bytes, IPv4 as it is inside IPv6. */
static void get_ip6(unsigned char ip[16], const union proxyhdr_addr *a)
{
	static const unsigned char mapped[12] = { [10] = 0xFF, [11] = 0xFF };

	if (a->sa.sa_family == AF_INET6) {
		memcpy(ip, &a->in6.sin6_addr, 16);
		return;
	}
	memcpy(ip, mapped, 12);
	memcpy(ip + 12, &a->in.sin_addr, 4);
}

static bool is_same_address(const union proxyhdr_addr *a, const union proxyhdr_addr *b)
{
	unsigned char ip_a[16], ip_b[16];

	get_ip6(ip_a, a);
	get_ip6(ip_b, b);
	return memcmp(ip_a, ip_b, 16) == 0 && a->in.sin_port == b->in.sin_port;
}

static bool is_any_address(const union proxyhdr_addr *a)
{
	static const unsigned char zeros[16];

	return a->in.sin_port == 0 &&
	       memcmp(a->sa.sa_family == AF_INET ? (const void *)&a->in.sin_addr : (const void *)&a->in6.sin6_addr,
	              zeros, a->sa.sa_family == AF_INET ? 4 : 16) == 0;
}

/* Who the client is, and what is told of the server. */
static enum found read_environment(union proxyhdr_addr *client, union proxyhdr_addr *server)
{
	static const char *const beginnings[] = { NULL, "SOCAT_", "NCAT_", "REMOTE_" };
	static const char *const ends[][4] = {
		{ "REMOTEIP", "REMOTEPORT", "LOCALIP", "LOCALPORT" },
		{ "PEERADDR", "PEERPORT", "SOCKADDR", "SOCKPORT" },
		{ "REMOTE_ADDR", "REMOTE_PORT", "LOCAL_ADDR", "LOCAL_PORT" },
		{ "ADDR", "PORT", NULL, NULL }
	};
	const char *proto = value_or_null("PROTO");
	enum found found = NOTHING;
	char names[4][64];
	int i, k;

	server->sa.sa_family = AF_UNSPEC;
	for (i = 0; i < 4 && found == NOTHING; i++) {
		const char *beginning = i > 0 ? beginnings[i] : proto;

		/* fd: backend and all: tcpclient has said what PROTO names */
		if (beginning == NULL || strlen(beginning) >= 16 || (i == 0 && conn.options.has_fd))
			continue;
		for (k = 0; k < 4; k++)
			snprintf(names[k], sizeof names[k], "%s%s", beginning, ends[i][k] != NULL ? ends[i][k] : "=");
		found = read_variables(client, names[0], names[1]);
		if (found == NOBODY && i == 0)
			found = WRONG;
		if (found == ADDRESS && ends[i][2] != NULL && read_variables(server, names[2], names[3]) >= NOBODY)
			found = WRONG;
	}
	return found;
}

/* ---- who is the client ---- */

static void call_find_client(void *arg)
{
	(void)arg;
	find_client(&conn.ends[CLIENT]);
}

static void check_refused(int with, int wanted)
{
	CHECK(with == wanted);
	if (conn.options.quiet)
		CHECK(logged_len == 0);
	else
		check_logged();
}

/* systemd's LISTEN_FDS, for this process. */
static bool is_listen_fd(const char **fds)
{
	const char *pid = value_of("LISTEN_PID");

	*fds = value_of("LISTEN_FDS");
	return pid != NULL && *fds != NULL && strspn(pid, "0123456789") == strlen(pid) &&
	       strlen(pid) < 12 && strtoull(pid, NULL, 10) == PROCESS;
}

/* Returns whether relay went on. */
static bool check_client(void)
{
	union proxyhdr_addr client, server;
	enum found found;
	const char *fds;
	bool listens = is_listen_fd(&fds);
	int with = run(call_find_client, NULL);

	if (listens && strcmp(fds, "1") != 0) {
		check_refused(with, 100);
		return false;
	}
	CHECK(conn.ends[CLIENT].in == (listens ? 3 : conn.ends[CLIENT].out));
	found = read_environment(&client, &server);
	if (found == WRONG) {
		check_refused(with, 100);
		return false;
	}
	CHECK(with == -1);
	if (found == NOTHING || found == NOBODY) {
		CHECK(conn.client.sa.sa_family == AF_UNSPEC && conn.server.sa.sa_family == AF_UNSPEC);
		return true;
	}
	CHECK(conn.client.sa.sa_family == conn.server.sa.sa_family);
	CHECK(conn.client.sa.sa_family == AF_INET || conn.client.sa.sa_family == AF_INET6);
	CHECK(is_same_address(&conn.client, &client));
	if (server.sa.sa_family == AF_UNSPEC)
		CHECK(is_any_address(&conn.server));
	else
		CHECK(is_same_address(&conn.server, &server));
	return true;
}

/* ---- what the backend is told ---- */

struct tlv_list {
	const unsigned char *p;
	size_t len;
};

/* Finds the last one of that type. Returns whether there is one. */
static bool get_tlv(struct proxyhdr_tlv *found, struct tlv_list list, unsigned type)
{
	struct proxyhdr_tlv tlv;
	bool is_there = false;
	int n;

	for (; (n = proxyhdr_next_tlv(&tlv, list.p, list.len)) > 0; list.p += n, list.len -= (size_t)n)
		if (tlv.type == type) {
			*found = tlv;
			is_there = true;
		}
	CHECK(n == 0);
	return is_there;
}

/* Whether the list has a text of that type, or has none where text is NULL. */
static bool has_text(struct tlv_list list, unsigned type, const char *text)
{
	struct proxyhdr_tlv tlv;

	if (!get_tlv(&tlv, list, type))
		return text == NULL;
	return text != NULL && tlv.len == strlen(text) && memcmp(tlv.value, text, tlv.len) == 0;
}

static const char *first_of(const char *name, const char *other)
{
	const char *value = value_or_null(name);

	return value != NULL ? value : value_or_null(other);
}

/* What --ssl tells is what the environment says. */
static void check_ssl(struct tlv_list list)
{
	static const char *const verifying[] = {
		"SSL_CLIENT_S_DN_CN", "SSL_CLIENT_S_DN", "SSL_PEER_CERT_SUBJECT", "SSL_PEER_CERT_HASH"
	};
	static const char *const others[] = { "SSL_PEER_CERT_CN", "SSL_CLIENT_DN", "SOCAT_OPENSSL_X509_COMMONNAME" };
	const char *version = first_of("SSL_PROTOCOL", "SOCAT_OPENSSL_PROTO_VERSION");
	const char *verify = value_or_null("SSL_CLIENT_VERIFY"), *name = NULL;
	bool certificate = false, verified = false;
	struct proxyhdr_tlv tlv;
	struct tlv_list parts;
	int i;

	for (i = 0; i < 4; i++)
		verified |= value_or_null(verifying[i]) != NULL;
	certificate = verified;
	for (i = 0; i < 3; i++)
		certificate |= value_or_null(others[i]) != NULL;
	if (verify != NULL && strcmp(verify, "SUCCESS") != 0)
		verified = false;
	if (!get_tlv(&tlv, list, 0x20)) {
		CHECK(version == NULL && !certificate);
		return;
	}
	CHECK(tlv.len >= 5);
	CHECK(tlv.value[0] == (certificate ? 7 : 1));
	CHECK(memcmp(tlv.value + 1, "\0\0", 3) == 0 && tlv.value[4] == !verified);
	parts = (struct tlv_list){ tlv.value + 5, tlv.len - 5 };
	CHECK(has_text(parts, 0x21, version));
	CHECK(has_text(parts, 0x23, first_of("SSL_CIPHER", "SOCAT_OPENSSL_CIPHER")));
	if ((name = value_or_null("SSL_CLIENT_S_DN_CN")) != NULL)
		CHECK(has_text(parts, 0x22, name));
	else if (!certificate)
		CHECK(has_text(parts, 0x22, NULL));
	if (get_tlv(&tlv, parts, 0x22))         /* what a C program would read short */
		CHECK(tlv.len > 0 && memchr(tlv.value, 0, tlv.len) == NULL);
}

/* Whether the client's own header has something to say of TLS. */
static bool tells_ssl(const struct input *client)
{
	struct proxyhdr_tlv tlv;
	struct proxyhdr hdr;

	return conn.options.accept_from != NULL && proxyhdr_parse(&hdr, client->p, client->left) > 0 &&
	       get_tlv(&tlv, (struct tlv_list){ hdr.tlvs, hdr.tlvs_len }, PROXYHDR_SSL);
}

/* The header says who the client is, and nothing that relay was not told. */
static void check_header(const unsigned char *p, int len, const struct input *client)
{
	const struct options *o = &conn.options;
	bool known = conn.client.sa.sa_family == AF_INET || conn.client.sa.sa_family == AF_INET6 ||
	             (conn.client.sa.sa_family == AF_UNIX && o->version == 2);
	struct proxyhdr_tlv tlv;
	struct proxyhdr hdr;
	struct tlv_list list;

	CHECK(proxyhdr_parse(&hdr, p, (size_t)len) == len);
	CHECK(hdr.version == o->version && hdr.command == PROXYHDR_PROXY);
	if (o->version == 1 && conn.inbound.transport == PROXYHDR_DGRAM)
		known = false;
	if (known) {
		CHECK(hdr.transport == (conn.inbound.transport == PROXYHDR_DGRAM ? PROXYHDR_DGRAM : PROXYHDR_STREAM));
		CHECK(are_same(&hdr.src, &conn.client, sizeof hdr.src));
		CHECK(are_same(&hdr.dst, &conn.server, sizeof hdr.dst));
	} else {
		CHECK(hdr.src.sa.sa_family == AF_UNSPEC && hdr.transport == PROXYHDR_UNSPEC);
	}
	if (o->version == 1)
		return;
	list = (struct tlv_list){ hdr.tlvs, hdr.tlvs_len };
	CHECK(get_tlv(&tlv, list, PROXYHDR_CRC32C) == o->crc32c);
	CHECK(!get_tlv(&tlv, list, PROXYHDR_NOOP));
	if (o->unique_id)
		CHECK(get_tlv(&tlv, list, PROXYHDR_UNIQUE_ID) && tlv.len > 0 && conn.id[0] != '\0');
	/* what the client's header tells of TLS, and the environment does not, is passed on */
	if (o->ssl && !(tells_ssl(client) && get_tlv(&tlv, list, PROXYHDR_SSL)))
		check_ssl(list);
}

static void call_write_header(void *arg)
{
	if (conn.options.accept_from != NULL)
		ask_header(&conn.ends[CLIENT], arg);
	write_header(arg);
}

/* The header, and behind it what came with the client's. */
static void check_sent(const struct input *client)
{
	struct direction *up = &conn.directions[CLIENT];
	int with;

	up->buf = large.buffers[CLIENT];
	with = run(call_write_header, up);
	if (with != -1) {
		/* a bad header is a refusal, but a client that says nothing has just left */
		if (with != 0)
			check_refused(with, with == 1 ? 1 : 100);
		return;
	}
	CHECK(up->header <= up->held && up->start + up->held <= BUFFER_SIZE);
	if (conn.options.version > 0)
		check_header(up->buf + up->start, (int)up->header, client);
	CHECK((up->held > up->header) <= (conn.options.accept_from != NULL));
	if (up->held > up->header) {
		size_t rest = up->held - up->header;

		CHECK(rest <= client->left);
		CHECK(memcmp(up->buf + up->start + up->header, client->p + client->left - rest, rest) == 0);
	}
}

/* ---- names in certificates ---- */

/* Writes a value as RFC 4514 asks, each byte in one of the ways that it allows. */
static char *escape(char *p, const unsigned char *value, size_t len, bool quotes, unsigned how)
{
	bool quoted = quotes && how & 0x80;
	size_t i;

	if (quoted)
		*p++ = '"';
	for (i = 0; i < len; i++, how = how >> 1 | how << 7) {
		bool special = strchr(quoted ? "\"\\" : ",+\"\\<>;=#", value[i]) != NULL ||
		               ((i == 0 || i + 1 == len) && value[i] == ' ');

		if (value[i] < ' ' || (special && how & 1))
			p += sprintf(p, how & 2 ? "\\%02x" : "\\%02X", value[i]);
		else
			p += sprintf(p, special ? "\\%c" : "%c", value[i]);
	}
	if (quoted)
		*p++ = '"';
	*p = '\0';
	return p;
}

/* A subject of the input's making: what relay reads in it is the first common name
 * without a NUL. */
static void check_subject(struct input in)
{
	static const char *const keys[] = { "CN=", "O=", "CNX=", "xCN=", "CN=", "emailAddress=" };
	bool quotes = take8(&in) & 1, wanted = false;
	unsigned char value[24], name[24];
	char subject[VARIABLE_MAX + 1], *p = subject;
	const char *found;
	size_t name_len = 0;

	*p = '\0';
	while (in.left > 0 && p - subject < VARIABLE_MAX - 100) {
		unsigned how = take8(&in);
		const char *key = keys[how % 6];
		size_t len = take8(&in) % sizeof value, i;

		for (i = 0; i < len; i++)
			value[i] = (unsigned char)take8(&in);
		if (p > subject)
			p += sprintf(p, how & 0x40 ? " + " : ", ");
		p = escape(p + sprintf(p, "%s", key), value, len, quotes, how ^ take8(&in));
		if (!wanted && key[0] == 'C' && key[2] == '=' && memchr(value, 0, len) == NULL) {
			wanted = true;
			memcpy(name, value, name_len = len);
		}
	}
	found = common_name(subject, quotes);
	CHECK((found != NULL) == wanted);
	CHECK(!wanted || (strlen(found) == name_len && memcmp(found, name, name_len) == 0));
}

/* ---- one input ---- */

static void call_parse_options(void *arg)
{
	struct texts *words = arg;

	parse_options(words->count, words->text, &conn.options);
}

/* Options that are wrong usage are options.c's. */
static bool take_options(void)
{
	static char name[] = "relay", backend[] = "127.0.0.1:25";
	static struct texts words;      /* conn refers to it */
	int i;

	words.text[0] = name;
	words.count = 1;
	for (i = 0; i < arguments.count && words.count < TEXTS_MAX - 1; i++)
		words.text[words.count++] = arguments.text[i];
	words.text[words.count++] = backend;
	words.text[words.count] = NULL;
	return run(call_parse_options, &words) == -1 && !conn.options.check;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int pair[2];

	(void)argc, (void)argv;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	return pair[0] != 3 && pair[1] != 3 && dup2(pair[0], 3) < 0;    /* LISTEN_FDS's */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *none[] = { NULL };
	struct input in = { data, size };
	char **own = environ;
	int pair[2];

	check_subject(in);
	take_input(&in);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	if (in.left > 65536)
		in.left = 65536;
	CHECK(in.left == 0 || send(pair[1], in.p, in.left, MSG_DONTWAIT) == (ssize_t)in.left);
	shutdown(pair[1], SHUT_WR);
	begin_anew(pair[0], pair[0]);
	if (take_options()) {
		environ = variables_set.count > 0 ? variables_set.text : none;
		if (check_client()) {
			conn.ends[CLIENT].in = conn.ends[CLIENT].out = pair[0];
			check_sent(&in);
		}
		environ = own;
	}
	close(pair[0]);
	close(pair[1]);
	free_texts(&arguments);
	free_texts(&variables_set);
	return 0;
}
