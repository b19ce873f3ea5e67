#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""Both ends of a connection whose client sends a PROXY header first, for
tests/inbound.bats. Usage, and what a scenario is: see ends.py.

Headers are made here from the specification, not by proxyhdr.c. Only `mutations`
asks that one, as the library $PROXYHDR.
"""
import contextlib
import ctypes
import functools
import os
import random
import re
import select
import socket
import struct
import subprocess
import time

from ends import (AT_ONCE, PATIENCE, V2_SIGNATURE, Background, Relay, half_close, is_silent, main,
                  noise, read, read_to_eof, read_to_reset, reset, scenario, traced, wait_until)
from header import crc32c

CLIENT4, SERVER4 = ("192.0.2.7", 51234), ("198.51.100.2", 443)
CLIENT6, SERVER6 = ("2001:db8::7", 51234), ("2001:db8::2", 443)
MAPPED = ("::ffff:192.0.2.7", 51234), ("::ffff:198.51.100.2", 443)
UNIX = (b"/run/client", b"/run/server")
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS, AWS = 1, 2, 3, 4, 5, 0x20, 0x30, 0xEA


# ---- headers ----

def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def v1(client=CLIENT4, server=SERVER4):
    return b"PROXY TCP%d %s %s %d %d\r\n" % (6 if ":" in client[0] else 4, client[0].encode(),
                                            server[0].encode(), client[1], server[1])


def v2(client=CLIENT4, server=SERVER4, tlvs=b"", command=1, transport=1):
    if client is None:
        family, transport, block = 0, 0, b""
    elif isinstance(client, bytes):
        family, block = 3, struct.pack("108s108s", client, server)
    else:
        family = 2 if ":" in client[0] else 1
        af = socket.AF_INET6 if family == 2 else socket.AF_INET
        block = (socket.inet_pton(af, client[0]) + socket.inet_pton(af, server[0]) +
                 struct.pack("!HH", client[1], server[1]))
    return V2_SIGNATURE + struct.pack("!BBH", 0x20 | command, family << 4 | transport,
                                      len(block) + len(tlvs)) + block + tlvs


def with_crc32c(header, wrong=0):
    """The header with a checksum behind its last TLV."""
    length = struct.unpack("!H", header[14:16])[0] + 7
    header = header[:14] + struct.pack("!H", length) + header[16:] + tlv(CRC32C, bytes(4))
    return header[:-4] + struct.pack("!I", crc32c(header) ^ wrong)


def shown(address):
    """As relay logs it."""
    return ("[%s]:%d" if ":" in address[0] else "%s:%d") % address


# ---- one connection ----

def passes(relay, sent, expected, payload=b"hello"):
    """The client sends a header, with payload in the same segment; the backend gets
    this one, then the payload, and nothing else. Answers get back."""
    client = relay.call()
    client.sendall(sent + payload)
    backend = relay.accept()
    got = read(backend, len(expected))
    assert got == expected, f"{got} is not {expected}"
    half_close(client)
    assert read_to_eof(backend) == payload
    backend.sendall(b"answer")
    backend.close()
    assert read_to_eof(client) == b"answer"
    assert relay.status() == 0
    return client


def not_contacted(relay):
    assert not select.select([relay.listener], [], [], 0)[0], "the backend was contacted"


def refuses(relay, client, pattern, within=PATIENCE):
    """With a reset and status 1, one line that names the client, and no backend. No
    client: it has seen its reset."""
    if client and relay.kind.startswith("tcp"):
        assert read_to_reset(client) == b""
    assert relay.status(within) == 1
    (line,) = relay.log()
    assert relay.find(rf'^relay: error msg="refused: {pattern}'), line
    if relay.names and relay.kind != "unix":
        assert re.search(f" (client|via)={re.escape(shown(relay.names[0]))} ", line), line
    not_contacted(relay)


CONVERSIONS = {
    "v1-ip4": (v1(), (CLIENT4, SERVER4)),
    "v1-ip6": (v1(CLIENT6, SERVER6), (CLIENT6, SERVER6)),
    "v2-ip4": (v2(), (CLIENT4, SERVER4)),
    "v2-ip6": (v2(CLIENT6, SERVER6), (CLIENT6, SERVER6)),
    # both ends IPv4 inside IPv6: IPv4
    "v2-mapped": (v2(*MAPPED), (CLIENT4, SERVER4)),
    "v1-mapped": (v1(*MAPPED), (CLIENT4, SERVER4)),
}


@scenario
def converts(name, version):
    """Any header to any other; the log has who it names, and who sent it."""
    sent, (source, destination) = CONVERSIONS[name]
    expected = {"-1": v1, "-2": v2, "-0": lambda *_: b""}[version](source, destination)
    with Relay("-v", version, "-a", "127.0.0.1") as relay:
        passes(relay, sent, expected)
        line = relay.closed()
        assert line["client"] == shown(source), line
        assert line["server"] == shown(destination), line
        assert line["via"] == shown(relay.names[0]), line
        assert (line["up"], line["down"], line["end"]) == ("5", "6", "done"), line


@scenario
def unix_to_unix():
    """The addresses of a UNIX connection in front go on; version 1 cannot say them."""
    for version, expected in ("-2", v2(*UNIX)), ("-1", b"PROXY UNKNOWN\r\n"), ("-0", b""):
        with Relay("-v", version, "-a", "unix", client="unix", backend="unix") as relay:
            passes(relay, v2(*UNIX), expected)
            line = relay.closed()
            assert (line["client"], line["server"]) == ("/run/client", "/run/server"), line


@scenario
def datagrams_stay_datagrams():
    """What v1 cannot say is UNKNOWN."""
    sent = v2(transport=2)
    with Relay("-2", "-a", "any") as relay:
        passes(relay, sent, sent)
    with Relay("-1", "-a", "any") as relay:
        passes(relay, sent, b"PROXY UNKNOWN\r\n")


@scenario
def without_addresses_the_socket_counts():
    """PROXY spec 2.1, 2.2: UNKNOWN, LOCAL and UNSPEC. LOCAL's block is discarded."""
    for sent in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 192.0.2.7 198.51.100.2 51234 443\r\n",
                 v2(None, command=0), v2(None, command=1), v2(command=0),
                 v2(command=0, tlvs=tlv(AWS, b"x"))):
        with Relay("-2", "-v", "-a", "127.0.0.1") as relay:
            client = relay.call()
            client.sendall(sent + b"hello")
            backend = relay.accept()
            expected = v2(*relay.names)
            assert (got := read(backend, len(expected))) == expected, got
            half_close(client)
            assert read_to_eof(backend) == b"hello", sent
            backend.close()
            read_to_eof(client)
            assert relay.closed()["client"] == shown(relay.names[0])


@scenario
def nothing_known_in_front():
    """Pipes, an UNKNOWN: nobody knows."""
    with Relay("-2", "-a", "any", client="pipes") as relay:
        passes(relay, b"PROXY UNKNOWN\r\n", v2(None))


# ---- how it comes ----

TLVS = tlv(ALPN, b"h2") + tlv(AUTHORITY, b"example.org") + tlv(AWS, b"\1vpce-08d2bf15fac5001c9")


@scenario
def byte_by_byte(client_kind="tcp"):
    for sent, expected in (v1(CLIENT6, SERVER6), v2(CLIENT6, SERVER6)), (v2(tlvs=TLVS), v2(tlvs=TLVS)):
        with Relay("-2", "-a", "any", client=client_kind) as relay:
            client = relay.call()
            if hasattr(client, "setsockopt") and client.family != socket.AF_UNIX:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(len(sent)):
                client.sendall(sent[i:i + 1])
                time.sleep(0.002)
            backend = relay.accept()
            assert read(backend, len(expected)) == expected
            is_silent(backend)
            client.sendall(b"hello")
            assert read(backend, 5) == b"hello"


@scenario
def split_anywhere():
    """In two segments, wherever the cut is; payload behind."""
    for sent in v1(), v2(tlvs=TLVS):
        def attempt(cut, sent=sent):
            with Relay("-2", "-a", "any") as relay:
                client = relay.call()
                client.sendall(sent[:cut])
                time.sleep(0.05)
                client.sendall(sent[cut:] + b"hello")
                half_close(client)
                backend = relay.accept()
                assert read_to_eof(backend).endswith(b"hello")
                backend.close()
                assert relay.status() == 0
        for start in range(1, len(sent), 8):
            jobs = [Background(attempt, cut) for cut in range(start, min(start + 8, len(sent)))]
            for job in jobs:
                job.result()


@scenario
def much_payload_behind():
    """More than relay's buffer holds, sent at once with the header: all of it arrives."""
    data = noise(8 << 20)
    with Relay("-1", "-a", "any") as relay:
        client = relay.call()
        push = Background(lambda: (client.sendall(v2(tlvs=TLVS) + data), half_close(client)))
        backend = relay.accept()
        assert read(backend, len(v1())) == v1()
        assert read_to_eof(backend) == data
        push.result()
        backend.sendall(data)
        half_close(backend)
        assert read_to_eof(client) == data
        assert relay.status() == 0


@scenario
def longest_headers():
    """65551 bytes, of one TLV and of many; a line of 107."""
    room = 65535 - 12
    many = b"".join(tlv(0xE0 + i % 16, noise(60 + i % 40)) for i in range(600))
    many += tlv(0xEF, noise(room - len(many) - 3))
    for tlvs in tlv(AWS, noise(room - 3)), many:
        sent = v2(tlvs=tlvs)
        assert len(sent) == 65551
        for version, expected in ("-2", sent), ("-1", v1()), ("-0", b""):
            with Relay(version, "-a", "any") as relay:
                passes(relay, sent, expected)
    line = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert len(line) == 107
    with Relay("-0", "-a", "any") as relay:
        passes(relay, line, b"")
    with Relay("-0", "-a", "any") as relay:
        client = relay.call()
        client.sendall(line[:-2] + b"x\r\n")
        refuses(relay, client, "no valid PROXY header")


@scenario
def server_speaks_first():
    """S1: behind the client's header ours leaves at once, and waits for no byte more."""
    with Relay("-2", "-a", "any") as relay:
        client = relay.call()
        client.sendall(v1())
        backend = relay.accept()
        backend.settimeout(AT_ONCE)
        assert backend.recv(1000) == v2()
        backend.sendall(b"220 welcome\r\n")
        assert read(client, 13) == b"220 welcome\r\n"


@scenario
def any_client():
    """S8: descriptors 0 and 1 as launchers leave them."""
    for kind in "tcp6", "unix", "inetd", "pipes", "pipe-in", "pipe-out":
        with Relay("-1", "-a", "any", client=kind) as relay:
            passes(relay, v2(), v1())


# ---- who may ----

NETWORKS = [        # the client is 127.0.0.1 or, where there is a tcp6, ::1
    ("tcp", "127.0.0.1", True), ("tcp", "127.0.0.0/8", True), ("tcp", "127.0.0.1/32", True),
    ("tcp", "0.0.0.0/0", True), ("tcp", "any", True), ("tcp", "::ffff:127.0.0.1", True),
    ("tcp", "::ffff:127.0.0.0/104", True), ("tcp", "10.0.0.0/8,127.0.0.0/31", True),
    ("tcp", "unix,::1,127.0.0.1", True), ("tcp", "127.0.0.1,unix", True),
    ("tcp", "[0000:0000:0000:0000:0000:ffff:255.255.255.255]/128,127.0.0.1", True),
    ("tcp", "127.0.0.0", False), ("tcp", "127.0.0.2", False), ("tcp", "127.0.0.0/32", False),
    ("tcp", "127.0.0.2/31", False), ("tcp", "126.0.0.0/8", False), ("tcp", "128.0.0.0/1", False),
    ("tcp", "::/0", False), ("tcp", "::1", False), ("tcp", "unix", False),
    ("tcp", "::127.0.0.1", False), ("tcp", "10.0.0.0/8,192.168.0.0/16,fc00::/7,unix", False),
    ("tcp6", "::1", True), ("tcp6", "::/0", True), ("tcp6", "::/127", True), ("tcp6", "any", True),
    ("tcp6", "0.0.0.0/0", False), ("tcp6", "::/128", False), ("tcp6", "::2/127", False),
    ("tcp6", "127.0.0.1", False), ("tcp6", "8000::/1", False), ("tcp6", "::ffff:0:0/96", False),
    ("unix", "unix", True), ("unix", "any", True), ("unix", "127.0.0.1,unix", True),
    ("unix", "0.0.0.0/0,::/0", False),
    # A pipe's other end may be anybody: nothing but `any` can mean it.
    ("pipes", "any", True), ("pipes", "unix", False), ("pipes", "0.0.0.0/0,::/0", False),
]


@scenario
def networks(kind):
    for client_kind, nets, accepted in NETWORKS:
        if client_kind != kind:
            continue
        # A reset must not come before the client has got to look.
        with Relay("-1", "-a", nets, client=kind, held=not accepted) as relay:
            if accepted:
                passes(relay, v2(), v1())
                continue
            client = relay.call()
            client.sendall(v2())
            relay.release()
            refuses(relay, client, "not in --accept-from")


@scenario
def long_names():
    """However long what a line tells is, it is told to its end."""
    strange = "\1" * 75
    with Relay("-v", "-2", "-u", "-a", "unix", client="unix", backend="unix") as relay:
        relay.listener = relay.keep(socket.socket(socket.AF_UNIX))
        relay.listener.bind("\0" + strange + "to")
        relay.listener.listen()
        relay.command[-1] = "@" + strange + "to"
        door = relay.keep(socket.socket(socket.AF_UNIX))
        door.bind(relay.directory + "/door")
        door.listen()
        client = relay.keep(socket.socket(socket.AF_UNIX))
        client.bind("\0" + strange + "from")
        client.connect(door.getsockname())
        zero = door.accept()[0]
        relay.process = subprocess.Popen(relay.command, stdin=zero, stdout=zero, stderr=relay.stderr)
        zero.close()
        client.sendall(v2(b"\1" * 108, b"\2" * 108, tlv(UNIQUE_ID, b"\3" * 128)))
        backend = relay.accept()
        client.close()
        backend.close()
        relay.status()
        (line,) = relay.log()
        for key in "client", "server", "via", "backend":
            assert f' {key}="' in line and '..."' in line, line
        assert f" id=0x{'03' * 128} up=0 " in line and re.search(" end=[a-z-]+$", line), line


@scenario
def stranger_is_not_waited_for():
    """It is sent away before it has said a word."""
    with Relay("-1", "-a", "192.0.2.0/24", held=True) as relay:
        client = relay.call()
        relay.release()
        refuses(relay, client, "not in --accept-from", AT_ONCE)


# ---- what is refused ----

@scenario
def bad_headers():
    bad = [b"GET / HTTP/1.1\r\n\r\n", b"\0", b"PROXX", b"PROXY TCP4 1.2.3.4\r\n", b"proxy TCP4 ",
           v1()[:-2] + b"\n", b"PROXY TCP4 192.0.2.7 198.51.100.2 51234 65536\r\n",
           v2()[:12] + b"\x31" + v2()[13:], v2()[:12] + b"\x22" + v2()[13:],
           v2()[:13] + b"\x41" + v2()[14:], v2()[:14] + b"\0\x0b" + v2()[16:],
           v2(tlvs=b"\x01\0\x05abcd"), v2(tlvs=tlv(UNIQUE_ID, bytes(129))),
           with_crc32c(v2(), wrong=1), with_crc32c(v2(tlvs=TLVS), wrong=0x80000000),
           v2(tlvs=tlv(CRC32C, b"abc")), V2_SIGNATURE[:11] + b"x"]
    for sent in bad:
        with Relay("-1", "-a", "any") as relay:
            client = relay.call()
            client.sendall(sent)
            refuses(relay, client, "no valid PROXY header: ")


@scenario
def cut_short():
    """A client that ends within its header, wherever; and one that says nothing."""
    for sent in v1(), v2(tlvs=TLVS):
        for cut in 1, 5, 12, 16, len(sent) - 1:
            with Relay("-1", "-a", "any") as relay:
                client = relay.call()
                client.sendall(sent[:cut])
                half_close(client)
                refuses(relay, client, "the client has ended within its PROXY header")
    for leave in half_close, reset:
        with Relay("-v", "-1", "-a", "any") as relay:
            leave(relay.call())
            assert relay.closed()["end"] == ("done" if leave is half_close else "client-reset")
            assert relay.status() == 0
            not_contacted(relay)


@scenario
def reset_within():
    """A client that resets its connection within its header has left: no failure."""
    with Relay("-v", "-1", "-a", "any") as relay:
        client = relay.call()
        client.sendall(v2()[:20])
        wait_until(lambda: relay.started() and relay.sleeps())
        reset(client)
        assert relay.status(AT_ONCE) == 0
        assert relay.closed()["end"] == "client-reset"
        not_contacted(relay)


@scenario
def reset_just_before():
    """So has one whose reset comes after relay has asked its socket, and before it reads."""
    tracer, lines = traced("getpeername,recvfrom", "recvfrom:delay_enter=1000000:when=1")

    def has_asked():
        with contextlib.suppress(FileNotFoundError):
            return any(line.startswith("getpeername(0,") for line in lines())

    with Relay("-v", "-1", "-a", "any", tracer=tracer) as relay:
        client = relay.call()
        wait_until(has_asked)
        reset(client)
        assert relay.closed()["end"] == "client-reset"
        assert relay.status() == 0
        not_contacted(relay)


@scenario
def too_late(sent):
    """--timeout is for the whole header, however it trickles."""
    with Relay("-1", "-a", "any", "-t", "1") as relay:
        client = relay.call()
        start = time.monotonic()
        if sent == "trickle":
            try:
                for byte in v2(tlvs=tlv(AWS, bytes(1000))):
                    client.sendall(bytes([byte]))
                    time.sleep(0.1)
            except ConnectionError:
                client = None
        elif sent == "some":
            client.sendall(v2()[:20])
        refuses(relay, client, "no PROXY header within 1 s" if sent == "none" else
                "no whole PROXY header within 1 s")
        assert 0.9 < time.monotonic() - start < 1 + AT_ONCE


@scenario
def rests_while_it_waits():
    """S5, for half a header."""
    with Relay("-1", "-a", "any") as relay:
        client = relay.call()
        client.sendall(v2()[:20])
        wait_until(relay.started)
        relay.assert_rests()
        reset(client)


# ---- TLVs ----

@scenario
def tlvs_travel():
    """All but CRC32C and NOOP, in their order; an own one replaces."""
    sent = with_crc32c(v2(tlvs=tlv(NOOP, b"") + TLVS + tlv(NOOP, bytes(9)) + tlv(UNIQUE_ID, b"id-1") +
                          tlv(NETNS, b"blue") + tlv(SSL, b"\1\0\0\0\1" + tlv(0x21, b"TLSv1.3"))))
    kept = (TLVS + tlv(UNIQUE_ID, b"id-1") + tlv(NETNS, b"blue") +
            tlv(SSL, b"\1\0\0\0\1" + tlv(0x21, b"TLSv1.3")))
    identity = tlv(UNIQUE_ID, b"id-1")
    without_alpn = kept[len(tlv(ALPN, b"h2")):]
    for options, expected in (
            ([], v2(tlvs=kept)),
            (["-c"], with_crc32c(v2(tlvs=kept))),
            (["-u"], v2(tlvs=kept.replace(identity, b"") + identity)),
            (["-x", "0xE1=abc"], v2(tlvs=kept + tlv(0xE1, b"abc"))),
            (["-x", "alpn=http/1.1", "-c"], with_crc32c(v2(tlvs=without_alpn + tlv(ALPN, b"http/1.1")))),
            (["-x", "alpn=h3", "-x", "alpn=h2"],
             v2(tlvs=without_alpn + tlv(ALPN, b"h3") + tlv(ALPN, b"h2")))):
        with Relay("-v", "-2", "-a", "any", *options) as relay:
            passes(relay, sent, expected)
            assert relay.closed().get("id") == ("id-1" if options == ["-u"] else None)
    # of several ids the first one counts, here and at the backend
    with Relay("-v", "-2", "-u", "-a", "any") as relay:
        passes(relay, v2(tlvs=identity + tlv(UNIQUE_ID, b"id-2") + tlv(UNIQUE_ID, b"")), v2(tlvs=identity))
        assert relay.closed()["id"] == "id-1"


@scenario
def tlvs_that_do_not_fit():
    """The client's leave no room for relay's own: refused, not cut off."""
    with Relay("-2", "-c", "-a", "any") as relay:
        client = relay.call()
        client.sendall(v2(tlvs=tlv(AWS, bytes(65535 - 12 - 3 - 7))))
        assert len(read(relay.accept(), 65551)) == 65551
    with Relay("-2", "-c", "-a", "any") as relay:
        client = relay.call()
        client.sendall(v2(tlvs=tlv(AWS, bytes(65535 - 12 - 3 - 6))))
        refuses(relay, client, "the TLVs of the client's header leave no room for relay's own")


@scenario
def twice_in_a_row():
    """relay behind relay: the first one's client, and the first one's id."""
    with Relay("-v", "-2", "-c", "-u", "-a", "127.0.0.1") as inner:
        with Relay("-v", "-2", "-u", "-x", "0xE0=first", client="tcp") as outer:
            outer.command[-1] = "%s:%d" % inner.door
            outer.launcher.terminate()
            outer.launcher.wait()
            outer.start_tcpserver()
            client = outer.call()
            client.sendall(b"hello")
            backend = inner.accept()
            header = read(backend, 28)
            assert header[:14] == V2_SIGNATURE + b"\x21\x11"
            assert header[16:] == v2(*outer.names)[16:]
            rest = read(backend, struct.unpack("!H", header[14:16])[0] - 12)
            ident = rest[rest.index(tlv(0xE0, b"first")) + 8:][3:35]
            assert read(backend, 5) == b"hello"
            client.close()
            backend.close()
            assert outer.closed()["id"] == inner.closed()["id"] == ident.decode()


# ---- anything ----

@functools.lru_cache
def proxyhdr():
    """The library that is asked what is right."""
    library = ctypes.CDLL(os.environ["PROXYHDR"])
    return lambda data: library.proxyhdr_parse(ctypes.create_string_buffer(4096), data, len(data))


def mutate(header, rng):
    data = bytearray(header)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data)) if data else 0
        what = rng.randrange(6)
        if what == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1 and data:
            data[at] = rng.randrange(256)
        elif what == 2 and data:
            del data[at:at + rng.randint(1, 4)]
        elif what == 3:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        elif what == 4 and len(data) > 15:
            data[14:16] = rng.randbytes(2) if rng.random() < 0.5 else bytes([0, rng.randrange(256)])
        elif data:
            other = rng.randrange(len(data))
            data[at], data[other] = data[other], data[at]
    return bytes(data)


@scenario
def mutations(count):
    """Each is accepted or refused as proxyhdr says, and no backend is contacted before
    the header is whole and right. The payload behind it arrives whole."""
    seed = int.from_bytes(os.urandom(4), "big")
    print("seed", seed)
    rng = random.Random(seed)
    valid = [v1(), v1(CLIENT6, SERVER6), b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN x y\r\n", v2(), v2(tlvs=TLVS),
             v2(CLIENT6, SERVER6, with_crc32c(v2(CLIENT6, SERVER6))[52:]), v2(*UNIX), v2(None),
             v2(None, command=0), with_crc32c(v2(tlvs=TLVS)), v2(tlvs=tlv(UNIQUE_ID, bytes(128)))]
    outcomes = [0, 0]
    with Relay("-0", "-a", "any", "-t", "5") as relay:
        for _ in range(int(count)):
            sent = mutate(rng.choice(valid), rng)
            payload = noise(rng.randint(0, 40))
            length = proxyhdr()(sent + payload)
            client = socket.create_connection(relay.door, PATIENCE)
            gone = False
            try:
                client.sendall(sent + payload)
                half_close(client)
            except OSError:     # refused by now, and reset
                gone = True
            if length > 0:
                backend, _ = relay.listener.accept()
                backend.settimeout(PATIENCE)
                assert (got := read_to_eof(backend)) == (sent + payload)[length:], (sent, payload, got)
                backend.close()
                assert read_to_eof(client) == b""
            elif sent + payload:
                assert gone or read_to_reset(client) == b"", sent
                not_contacted(relay)
            outcomes[length > 0] += 1
            client.close()
        relay.names = None
    print(outcomes[1], "accepted,", outcomes[0], "refused")
    assert min(outcomes) > int(count) / 20, outcomes


if __name__ == "__main__":
    main()
