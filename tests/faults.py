#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""What can go wrong around a connection, and what either end and the log then see, for
tests/faults.bats. Usage, and what a scenario is: see ends.py.

Those that speak of names, packets or syslog run in network and mount namespaces of their
own, as faults.bats makes them.
"""
import concurrent.futures
import contextlib
import ctypes
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from ends import (AT_ONCE, DIRECTORY, MIB, PATIENCE, Background, Relay, fill, half_close,
                  is_reset, is_silent, main, noise, pipe, read, read_to_eof, reset, scenario,
                  slowed, upload, wait_until)

# A shell ignores it for what it starts in the background; so would relay.
signal.signal(signal.SIGINT, signal.SIG_DFL)
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGPIPE")


# ---- what the two ends and the log see ----

def seen(end):
    """All that still comes, and how it ends: what a program at this end sees."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while more := end.recv(MIB):
            data += more
        return bytes(data), "eof"
    return bytes(data), "reset"


def error(relay, status, text):
    """relay has ended so, with that one line, which names the client."""
    assert relay.status() == status, relay.status()
    (line,) = relay.log()
    assert line.startswith('relay: error msg="') and text in line, line
    assert f" client={relay.names[0][0]}:{relay.names[0][1]} " in line, line


def closed(relay, status, end):
    """relay has ended so, and with -v has said so."""
    assert relay.status() == status, relay.status()
    if "-v" in relay.options:
        fields = relay.closed()
        assert fields["end"] == end, fields
    else:
        assert relay.log() == [], relay.text()


def not_contacted(relay):
    assert is_silent(relay.listener), "the backend was asked"


def carries(client, backend, size=2 * MIB):
    """As much as goes through a pipe, both ways at once."""
    data = noise(size)
    jobs = [Background(end.sendall, data) for end in (client, backend)]
    readers = [Background(read, end, size) for end in (client, backend)]
    for job in jobs:
        job.result()
    for reader in readers:
        assert reader.result() == data


def both_end(client, backend):
    half_close(client)
    assert seen(backend) == (b"", "eof")
    backend.sendall(b"bye")
    half_close(backend)
    assert seen(client) == (b"bye", "eof")


def ends_in_order(relay, client, backend):
    both_end(client, backend)
    closed(relay, 0, "done")


def lives(relay, client, backend):
    carries(client, backend)
    ends_in_order(relay, client, backend)


def descriptors(relay):
    """What relay's descriptors are."""
    links = {}
    for entry in os.scandir(f"/proc/{relay.pid()}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links[int(entry.name)] = os.readlink(entry.path)
    return links


def has_pipe(relay):
    return sum(link.startswith("pipe:") for link in descriptors(relay).values()) >= 2


# ---- signals ----

@contextlib.contextmanager
def at(phase, *options):
    """relay there in its life, and the ends that there are by then."""
    if phase == "header":
        options += "-a", "any"
    with Relay(*options, client="socket", backend="full" if phase == "connect" else "tcp",
               tracer=("prlimit", "--nofile=5") if phase == "copied" else ()) as relay:
        if phase == "look-up":
            relay.command[-1] = "name.example:80"
        client, backend = relay.call(), None
        if phase not in ("header", "look-up", "connect"):
            backend = relay.answer()
            client.sendall(b"ping")
            assert read(backend, 4) == b"ping"
        if phase == "half-closed":
            half_close(client)
            assert seen(backend) == (b"", "eof")
        elif phase == "half-closed by the backend":
            half_close(backend)
            assert seen(client) == (b"", "eof")
        elif phase == "full":
            fill(client, backend)
        if phase in ("copied", "spliced"):      # all the time
            job = Background(upload, backend)
            assert read(client, 4 * MIB) == noise(MIB) * 4
            assert has_pipe(relay) == (phase == "spliced")
            yield relay, client, backend
            job.result()
        else:
            wait_until(lambda: relay.sleeps() and (phase != "look-up" or threads(relay) == 2))
            yield relay, client, backend


def signalled(phase, name, *options):
    with at(phase, *options) as (relay, client, backend):
        number = getattr(signal, name)
        os.kill(relay.pid(), number)
        if name == "SIGPIPE" and backend:       # relay has to do with it itself then
            time.sleep(0.1)
            assert not relay.ended()
            reset(client)
            return
        if phase == "half-closed by the backend":       # has read the end already
            wait_until(lambda: is_reset(client), AT_ONCE)
        else:
            data, how = seen(client)
            assert how == "reset", how
            assert noise(64 * MIB).startswith(data) or phase in ("copied", "spliced"), "not what was sent"
        if backend and phase not in ("copied", "spliced"):      # there a writer sees it
            wait_until(lambda: is_reset(backend), AT_ONCE)
        elif not backend and phase != "connect":
            not_contacted(relay)
        assert relay.status(AT_ONCE) == -number, relay.status()
        told = "-v" in options and name not in ("SIGKILL", "SIGPIPE")
        assert len(relay.log()) == told, relay.text()
        assert not told or relay.closed()["end"] == "signal", relay.text()


@scenario
def signals(phase):
    """Whatever the signal, with -v and without: both ends are reset, at once. But SIGPIPE
    ends nothing once there are two ends."""
    for name in SIGNALS:
        for options in (), ("-v",):
            try:
                signalled(phase, name, *options)
            except Exception as why:
                why.add_note(f"{name} {options}")
                raise


@scenario
def process_1_ends_too():
    """The kernel keeps process 1 of a PID namespace from ending itself by a signal."""
    with Relay("-v", client="socket", tracer=("unshare", "--pid", "--fork")) as relay:
        client, backend = relay.connect()
        with open(f"/proc/{relay.pid()}/task/{relay.pid()}/children", encoding="ascii") as children:
            os.kill(int(children.read()), signal.SIGTERM)
        assert seen(client) == seen(backend) == (b"", "reset")
        assert relay.status() == 128 + signal.SIGTERM, relay.status()
        assert relay.closed()["end"] == "signal"


@scenario
def ignored_hangup():
    """What nohup(1) has asked for stays so."""
    for options in (), ("-v",):
        with Relay(*options, client="socket", tracer=("nohup",)) as relay:
            client, backend = relay.connect()
            wait_until(relay.sleeps)
            os.kill(relay.pid(), signal.SIGHUP)
            lives(relay, client, backend)


# ---- the backend ----

@scenario
def backend_resets_before_the_header():
    """The connection is there, and gone before relay has written a byte; perhaps before it
    has seen that it is there."""
    with Relay("-v", client="socket", tracer=slowed("sendto", 500, "1")) as relay:
        client = relay.call()
        client.sendall(b"hello")
        backend = relay.accept()
        reset(backend)
        assert seen(client) == (b"", "reset")
        assert relay.status() == 111
        (line,) = relay.log()
        assert line.endswith(" end=backend-reset") and " up=0 down=0 " in line or \
            'error msg="cannot connect: Connection reset by peer: ' in line, line


@scenario
def backend_resets_during_the_header():
    """Of a long one, some is read and some is under way."""
    with Relay("-v", "-2", "-x", "0xE0=" + "x" * 30000, client="socket") as relay:
        relay.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client = relay.call()
        backend = relay.accept()
        read(backend, 100)
        assert unsent(relay, backend), "all of it has arrived"
        reset(backend)
        assert seen(client) == (b"", "reset")
        closed(relay, 111, "backend-reset")
        assert relay.closed()["up"] == "0", relay.text()


def unsent(relay, backend):
    """Whether relay's socket holds bytes that its peer has no room for."""
    line = subprocess.run(["ss", "-Htn", "src", "%s:%d" % backend.getpeername(), "and", "dst", relay.to],
                          stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(line.split()[2]) > 0


@scenario
def backend_resets_after_the_header():
    """With words of the client's that it has not read."""
    with Relay("-v", client="socket") as relay:
        client, backend = relay.connect()
        client.sendall(b"hello")
        wait_until(lambda: not is_silent(backend))
        backend.close()
        assert seen(client) == (b"", "reset")
        closed(relay, 111, "backend-reset")


@scenario
def backend_closes_at_once(how):
    """With the header unread that is a reset (RFC 9293 3.10.7.4), else the end of what it
    has to say: the client may go on, and finds out by the reset that its words meet."""
    with Relay("-v", client="socket") as relay:
        client = relay.call()
        if how == "unread":
            backend = relay.accept()
            wait_until(lambda: not is_silent(backend))
            backend.close()
            assert seen(client) == (b"", "reset")
            closed(relay, 111, "backend-reset")
            return
        relay.answer().close()
        assert seen(client) == (b"", "eof")
        wait_until(relay.sleeps)
        assert not relay.ended()
        if how == "and the client too":
            client.close()
            closed(relay, 0, "done")
        else:
            client.sendall(b"are you there?")
            wait_until(lambda: is_reset(client), AT_ONCE)
            closed(relay, 0, "backend-reset")


@scenario
def backend_never_reads():
    """It does not even accept: its kernel does. That is no failure, and lasts until either
    side has had enough."""
    with Relay("-v", client="socket") as relay:
        client = relay.call()
        client.sendall(b"hello")
        half_close(client)
        time.sleep(1)
        assert not relay.ended() and is_silent(client)
        reset(client)
        closed(relay, 0, "client-reset")
    with Relay("-v", "--idle=1", client="socket") as relay:
        client = relay.call()
        client.sendall(b"hello")
        assert seen(client) == (b"", "reset")
        assert seen(relay.accept())[1] == "reset"
        closed(relay, 0, "idle")
        assert relay.closed()["up"] == "5", relay.text()


# ---- the client ----

@scenario
def client_gone_before_relay_in_order():
    """With what it has said unread, and with nothing: both arrive, as does its end."""
    for words in b"", b"hello":
        with Relay("-v", client="tcp", held=True) as relay:
            client = relay.call()
            client.sendall(words)
            client.close()
            relay.release()
            backend = relay.answer()
            assert seen(backend) == (words, "eof")
            backend.close()
            closed(relay, 0, "done")


@scenario
def client_gone_in_look_up(how):
    with at("look-up", "-v", "-t", "3") as (relay, client, _):
        if how == "reset":
            reset(client)
            assert relay.status(AT_ONCE) == 0
            closed(relay, 0, "client-reset")
        else:       # it may have said all that it has to say
            half_close(client)
            time.sleep(0.3)
            assert not relay.ended()
            assert seen(client) == (b"", "reset")
            error(relay, 111, "looking up name.example: no answer within 3 s")
        not_contacted(relay)


@scenario
def client_gone_in_connect_in_order():
    """Its end arrives behind its words as soon as there is a backend."""
    with Relay("-v", client="socket", backend="full") as relay:
        client = relay.call()
        wait_until(relay.sleeps)
        client.sendall(b"hello")
        client.close()
        time.sleep(0.3)
        assert not relay.ended()
        relay.accept().close()          # who has filled its queue
        relay.open.callback(relay.listener.close)
        backend = relay.answer()
        assert seen(backend) == (b"hello", "eof")
        backend.close()
        closed(relay, 0, "done")


# ---- the network: in a namespace ----

def nft(*rules):
    text = "add table inet t\nadd chain inet t input { type filter hook input priority 0; }\n" + \
        "".join(f"add rule inet t input {rule}\n" for rule in rules)
    subprocess.run(["nft", "-f", "-"], input=text, check=True, text=True)


def heal(port):
    """Deletes the rules with that port."""
    listed = subprocess.run(["nft", "-a", "list", "chain", "inet", "t", "input"], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    for handle in re.findall(rf"port {port} .*# handle (\d+)", listed):
        subprocess.run(["nft", "delete", "rule", "inet", "t", "input", "handle", handle], check=True)


def port_of(end):
    """The port by which the rules know it: one that only its connection has."""
    return end.getsockname()[1]


def black_hole(end):
    """All packets to and from it vanish."""
    nft(f"tcp dport {port_of(end)} drop", f"tcp sport {port_of(end)} drop")


LOST = {"client": (0, "client-reset"), "backend": (111, "backend-reset")}


def after_the_hole(end):
    """What relay told it is lost. It learns so by its next word."""
    assert is_silent(end)
    heal(port_of(end))
    end.sendall(b"where have I been?")
    assert seen(end) == (b"", "reset")


@scenario
def idle_with_a_black_hole(who):
    with Relay("-v", "--idle=2", client="socket") as relay:
        start = time.monotonic()
        client, backend = relay.connect()
        gone, left = (client, backend) if who == "client" else (backend, client)
        black_hole(gone)
        assert seen(left) == (b"", "reset")
        assert 1.9 < time.monotonic() - start < 2 + 3 * AT_ONCE
        closed(relay, 0, "idle")
        after_the_hole(gone)


@scenario
def words_into_a_black_hole(who):
    """tcp(7), tcp_retries2: the kernel gives up in the end, here after some seconds."""
    with open("/proc/sys/net/ipv4/tcp_retries2", "w", encoding="ascii") as file:
        file.write("3")
    with Relay("-v", client="socket") as relay:
        client, backend = relay.connect()
        gone, left = (client, backend) if who == "client" else (backend, client)
        black_hole(gone)
        left.sendall(b"are you there?")
        assert seen(left) == (b"", "reset")
        closed(relay, *LOST[who])
        after_the_hole(gone)


KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 6}


@contextlib.contextmanager
def sockets_of(relay):
    """relay's own two, in this process: pidfd_getfd(2)."""
    with contextlib.ExitStack() as stack:
        pidfd, sockets = os.pidfd_open(relay.pid()), []
        stack.callback(os.close, pidfd)
        for number, link in descriptors(relay).items():
            if number > 0 and link.startswith("socket:"):       # 0 is 1
                fd = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, number, 0)
                assert fd >= 0, os.strerror(ctypes.get_errno())
                sockets.append(stack.enter_context(socket.socket(fileno=fd)))
        assert len(sockets) == 2, descriptors(relay)
        yield sockets


@scenario
def dead_peer(who, how):
    """Not a word from either side, and one of them vanishes. How: waits for the three
    minutes that the manual says, or looks that it will be them, and makes the kernel hurry."""
    with Relay("-v", client="socket") as relay:
        client, backend = relay.connect()
        gone, left = (client, backend) if who == "client" else (backend, client)
        start = time.monotonic()
        with sockets_of(relay) as sockets:
            def times(s):
                return s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) and \
                    {name: s.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in KEEPALIVE}

            wait_until(lambda: all(times(s) == KEEPALIVE for s in sockets), 5)
            black_hole(gone)
            for s in sockets if how == "hurried" else ():
                for name in KEEPALIVE:
                    s.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), 3 if name == "TCP_KEEPCNT" else 1)
        expected = 4 if how == "hurried" else 180
        left.settimeout(expected + PATIENCE)
        assert seen(left) == (b"", "reset")
        took = time.monotonic() - start
        print(f"{who}: after {took:.1f} s")
        assert expected - 2 < took < expected + 10, took
        closed(relay, *LOST[who])
        after_the_hole(gone)


@scenario
def lossy():
    """One packet in thirty is lost, each way, on both sides of relay."""
    with Relay("-v", client="socket") as relay:
        client, backend = relay.connect()
        for end in client, backend:
            nft(*(f"tcp {way} {port_of(end)} numgen random mod 30 0 drop" for way in ("sport", "dport")))
        lives(relay, client, backend)
        assert relay.closed()["up"] == str(2 * MIB), relay.text()


@scenario
def lost_syn():
    """It is sent again after a second (RFC 6298): well within --timeout."""
    with Relay("-v", client="socket") as relay:
        port = port_of(relay.listener)
        nft(f"tcp dport {port} drop")
        client = relay.call()
        wait_until(relay.sleeps)
        time.sleep(0.3)
        heal(port)
        lives(relay, client, relay.answer())


@scenario
def unreachable_in_mid_connection():
    """ICMP says so of a connection that lives: that may pass, and nothing is lost."""
    with Relay("-v", client="socket") as relay:
        client, backend = relay.connect()
        port = port_of(relay.listener)
        nft(f"tcp dport {port} reject with icmp type host-unreachable")
        client.sendall(b"into the void")
        time.sleep(0.5)
        assert not relay.ended()
        heal(port)
        assert read(backend, 13) == b"into the void"
        lives(relay, client, backend)


# ---- names: in a namespace where 127.0.0.53 is the resolver ----

def threads(relay):
    return len(os.listdir(f"/proc/{relay.pid()}/task"))


@contextlib.contextmanager
def dnsmasq(*options):
    with subprocess.Popen(["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                           "--user=root", "--pid-file=", "--listen-address=127.0.0.53", "--bind-interfaces",
                           "--log-facility=-", "--local=/example/", *options], stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: subprocess.run(["ss", "-Huln", "src 127.0.0.53 and sport = :53"], check=True,
                                          stdout=subprocess.PIPE).stdout)
        try:
            yield process
        finally:
            process.kill()


@scenario
def slow_answer():
    """After three seconds: that is in time."""
    with dnsmasq("--host-record=name.example,127.0.0.1") as resolver:
        os.kill(resolver.pid, signal.SIGSTOP)
        with Relay("-v", client="socket") as relay:
            relay.command[-1] = f"name.example:{port_of(relay.listener)}"
            client = relay.call()
            time.sleep(3)
            not_contacted(relay)
            os.kill(resolver.pid, signal.SIGCONT)
            lives(relay, client, relay.answer())
            assert relay.closed()["backend"] == relay.to, relay.text()


@scenario
def too_late_an_answer(what, *how):
    """Another backend has won meanwhile, and the sandbox is shut, for the look-up's thread
    as well. The answer arrives there: that ends nothing."""
    with dnsmasq("--host-record=name.example,127.0.0.1,::1") as resolver:    # they are sorted: more calls
        os.kill(resolver.pid, signal.SIGSTOP)
        with Relay(*(() if "quiet" in how else ("-v",)), client="socket") as relay:
            relay.command.insert(-1, f"{what}.example:{port_of(relay.listener)}")
            client = relay.call()
            backend = relay.answer()
            wait_until(relay.sleeps)
            tasks = set(os.listdir(f"/proc/{relay.pid()}/task"))
            assert len(tasks) == 2, "no look-up is left"
            for task in tasks:
                with open(f"/proc/{relay.pid()}/task/{task}/status", encoding="ascii") as file:
                    assert re.search(r"^Seccomp:\s+2$", file.read(), re.M), "not in the sandbox"
            (thread,) = tasks - {str(relay.pid())}

            def waits_in():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    with open(f"/proc/{relay.pid()}/task/{thread}/syscall", encoding="ascii") as file:
                        return file.read().split()[:3]

            before = waits_in()
            os.kill(resolver.pid, signal.SIGCONT)
            wait_until(lambda: waits_in() not in (before, ["running"]))
            time.sleep(0.3)
            client.sendall(b"ping")
            assert read(backend, 4) == b"ping"
            assert [line for line in relay.log() if "skipped" not in line] == [], relay.text()
            if "killed" in how:
                os.kill(relay.pid(), signal.SIGTERM)
                assert seen(client) == seen(backend) == (b"", "reset")
                assert relay.status(AT_ONCE) == -signal.SIGTERM
                ending = "signal"
            else:
                carries(client, backend, 16 * MIB)
                wait_until(relay.sleeps)
                half_close(client)
                assert seen(backend) == (b"", "eof")
                half_close(backend)
                assert seen(client) == (b"", "eof")
                assert relay.status(AT_ONCE) == 0
                ending = "done"
            skipped, *last = relay.log()
            assert skipped.startswith('relay: skipped msg="no answer yet'), skipped
            assert ("quiet" in how and not last) or last[0].endswith(f" end={ending}"), last


class Liar(threading.Thread):
    """A resolver on 127.0.0.53 whose answers are not what was asked for. The first label
    of a name says what."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.53", 53))
        self.start()

    def run(self):
        while True:
            question, peer = self.socket.recvfrom(4096)
            end = question.index(b"\0", 12) + 1
            how = question[13:13 + question[12]].decode()
            kind, = struct.unpack_from("!H", question, end)
            for answer in self.answers(how, question[:2], question[12:end], kind, question[end:end + 4]):
                self.socket.sendto(answer, peer)

    @staticmethod
    def record(address, name=b"\xc0\x0c", kind=1):
        return name + struct.pack("!HHIH", kind, 1, 60, len(address)) + address

    def answers(self, how, ident, name, kind, tail):
        def packet(*records, status=0, claims=None, asked=name + tail, ident=ident, truncated=0):
            return ident + struct.pack("!BBHHHH", 0x81 | truncated, 0x80 | status, 1,
                                       len(records) if claims is None else claims, 0, 0) + asked + b"".join(records)

        local = socket.inet_aton("127.0.0.1")
        lies = {
            "servfail": packet(status=2), "refused": packet(status=5), "formerr": packet(status=1),
            "empty": packet(),
            "text": packet(self.record(b"\x07127.0.0", kind=16)),
            "short": packet(self.record(local[:3])),
            "long": packet(self.record(local * 100)),
            "claims": packet(claims=0xFFFF),
            "cut": packet(self.record(local))[:-3],
            "nothing": ident,
            "garbage": ident + random.Random(7).randbytes(500),
            "loop": packet(self.record(b"\xc0\x0c", kind=5)),
            "pointers": packet(b"\xc0\x0c" * 200, claims=200, asked=b"\xc0\x0c" + tail),
            "otherid": packet(self.record(local), ident=bytes(b ^ 0xFF for b in ident)),
            "othername": packet(self.record(local, b"\5other\7example\0"), asked=b"\5other\7example\0" + tail),
            "nowhere": packet(self.record(socket.inet_aton("255.255.255.255"))),
            "multicast": packet(self.record(socket.inet_aton("224.0.0.1"))),
            "wrongclass": packet(self.record(local).replace(b"\0\1\0\1", b"\0\1\0\3")),
            "reserved": packet(self.record(socket.inet_aton("240.0.0.1"))),
        }
        if how in lies:
            return [lies[how]]
        if kind != 1:
            return [packet()]
        if how == "huge":           # 3000 addresses, the last one of which is right
            return [packet(*(self.record(socket.inet_aton(f"127.1.{i // 250}.{i % 250 + 1}")) for i in range(2999)),
                           self.record(local))]
        if how == "many":           # as many as one answer of 512 bytes has
            return [packet(*(self.record(socket.inet_aton(f"127.1.1.{i + 1}")) for i in range(28)), self.record(local))]
        if how == "twice":
            return [packet(self.record(local)), packet(self.record(socket.inet_aton("127.9.9.9")))]
        return [packet(self.record(local))]


NO_ADDRESS = ("servfail", "refused", "formerr", "empty", "text", "short", "long", "claims", "nothing", "garbage", "loop", "pointers", "otherid")
WHATEVER = ("huge", "cut", "othername", "wrongclass")      # libraries differ
NO_WAY_THERE = ("nowhere", "multicast", "reserved")


@scenario
def lies():
    """Each ends as if there were no answer, within --timeout; or where it leads to, for
    whoever answers for a name decides where that is."""
    Liar()

    def told(name, text, status=111):
        with Relay("-v", "-t", "2", client="socket") as relay:
            relay.command[-1] = f"{name}.example:{port_of(relay.listener)}"
            client, start = relay.call(), time.monotonic()
            assert seen(client) == (b"", "reset"), name
            assert time.monotonic() - start < 2 + 2 * AT_ONCE, name
            error(relay, status, text.format(name))
            not_contacted(relay)

    def served(name):
        with Relay("-v", "-t", "5", client="socket") as relay:
            relay.command[-1] = f"{name}.example:{port_of(relay.listener)}"
            client = relay.call()
            lives(relay, client, relay.answer())
            assert relay.closed()["backend"] == relay.to, relay.text()

    def told_or_served(name):
        with Relay("-v", "-t", "2", client="socket") as relay:
            relay.command[-1] = f"{name}.example:{port_of(relay.listener)}"
            client = relay.call()
            wait_until(lambda: relay.ended() or not is_silent(relay.listener))
            if relay.ended():
                assert seen(client) == (b"", "reset")
                error(relay, 111, "")
            else:
                lives(relay, client, relay.answer())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = {name: pool.submit(told, name, "looking up {}.example: ") for name in NO_ADDRESS}
        jobs |= {name: pool.submit(told, name, "cannot connect: ") for name in NO_WAY_THERE}
        jobs |= {name: pool.submit(told_or_served, name) for name in WHATEVER}
        jobs |= {name: pool.submit(served, name) for name in ("honest", "many", "twice")}
        for name, job in jobs.items():
            try:
                job.result()
            except Exception as why:
                why.add_note(f"({name})")
                raise


# ---- descriptors ----

def tcp_pair(receive_buffer=None):
    """A connection's two ends, and where the first one's bytes go."""
    with socket.create_server(("127.0.0.1", 0)) as door, socket.socket() as first:
        if receive_buffer:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        first.connect(door.getsockname())
        near, far = first.dup(), door.accept()[0]
    near.settimeout(PATIENCE)
    return near, far


@scenario
def two_sockets_each(how):
    """S2, S4: a client and a backend of two TCP sockets each: all bytes arrive, and a cut is
    one on each of the four."""
    data = noise(300000)
    (sends, zero), (reads, one) = tcp_pair(), tcp_pair(4096)
    (answers, given_in), (hears, given_out) = tcp_pair(), tcp_pair(4096)
    theirs = zero, one, given_in, given_out
    with subprocess.Popen([os.environ["RELAY"], "-0", f"fd:{given_in.fileno()},{given_out.fileno()}"],
                          stdin=zero, stdout=one, pass_fds=(given_in.fileno(), given_out.fileno())) as relay:
        for end in theirs:
            end.close()
        if how == "killed":
            sends.sendall(b"ping")
            assert read(hears, 4) == b"ping"
            relay.kill()
            for end in sends, reads, answers, hears:
                assert seen(end) == (b"", "reset")
            return
        for end in sends, answers:
            end.sendall(data)
            half_close(end)
        assert relay.wait(PATIENCE) == 0
        assert read_to_eof(hears) == read_to_eof(reads) == data
    for end in sends, reads, answers, hears:
        end.close()


# ---- what runs out ----

@scenario
def few_descriptors(number):
    """relay needs one of its own, and where it has no more it copies."""
    limit = ("prlimit", "--nofile=" + number)
    for options in (), ("-v",):
        with Relay(*options, client="socket", tracer=limit) as relay:
            client = relay.call()
            if number == "3":
                assert seen(client) == (b"", "reset")
                error(relay, 111, "cannot connect: ")
                not_contacted(relay)
            else:
                backend = relay.answer()
                lives(relay, client, backend)
    with Relay("-v", client="socket", tracer=limit) as relay:
        relay.command[-1] = f"localhost:{port_of(relay.listener)}"
        client = relay.call()
        if int(number) < 6:         # two are the look-up's pipe, and one is what it reads
            assert seen(client) == (b"", "reset")
            error(relay, 111, "looking up localhost: " if number == "5" else "cannot look up localhost: ")
            not_contacted(relay)
        else:
            lives(relay, client, relay.answer())


@scenario
def few_descriptors_under_inetd(number):
    """Where syslog is told, it is asked for a socket, and may have to do without."""
    with Relay("-v", client="inetd", tracer=("prlimit", "--nofile=" + number)) as relay:
        client = relay.call()
        if number == "3":
            assert seen(client) == (b"", "reset")
            assert relay.status() == 111
        else:
            backend = relay.answer()
            carries(client, backend)
            both_end(client, backend)
            assert relay.status() == 0, relay.status()


@scenario
def few_descriptors_and_a_pipe_on_2():
    """S3, S9: it is the client's, and not held open for want of a socket to syslog."""
    with Relay("-v", client="pipes-2", tracer=("prlimit", "--nofile=4")) as relay:
        client, backend = relay.connect()
        backend.sendall(b"only this")
        half_close(backend)
        assert seen(client) == (b"only this", "eof")
        client.sendall(b"I see")
        half_close(client)
        assert seen(backend) == (b"I see", "eof")
        assert relay.status() == 0, relay.status()


@scenario
def few_descriptors_and_several_backends():
    """One hangs, and has the last descriptor: the living one is not passed over for that."""
    with Relay("-v", "-t", "1", client="socket", before=("full",), tracer=("prlimit", "--nofile=4")) as relay:
        client = relay.call()
        backend = relay.answer()
        carries(client, backend)
        half_close(client)
        half_close(backend)
        assert relay.status() == 0
        skipped, last = relay.log()
        assert skipped.startswith('relay: skipped msg="cannot connect: Operation timed out') and \
            skipped.endswith(relay.others[0][1]), skipped
        assert last.endswith(" end=done"), last


@scenario
def look_up_waits_for_a_descriptor():
    """What hangs may leave one soon."""
    short = ("strace", "-fo", "/dev/null", "-e", "trace=pipe", "-e", "inject=pipe:error=EMFILE:when=1..3")
    with Relay("-v", "-t", "1", client="socket", before=("full",), tracer=short) as relay:
        relay.command[-1] = f"localhost:{port_of(relay.listener)}"
        client = relay.call()
        backend = relay.answer()
        carries(client, backend)
        half_close(client)
        half_close(backend)
        assert relay.status() == 0, relay.status()
        passed_over, _ = relay.log()
        assert passed_over.endswith(relay.others[0][1]), passed_over


@scenario
def no_memory(kind):
    """RLIMIT_AS, from next to nothing up. Where the system can start relay at all, the
    connection works or one line says why it does not."""
    outcomes = set()
    for kib in [*range(600, 1400, 50), 2048, 4096]:
        with Relay("-v", client="socket", tracer=("prlimit", f"--as={kib * 1024}")) as relay:
            if kind == "name":
                relay.command[-1] = f"localhost:{port_of(relay.listener)}"
            client = relay.call()
            wait_until(lambda: relay.ended() or not is_silent(relay.listener))
            if not relay.ended():
                lives(relay, client, relay.answer())
                outcomes.add("works")
            elif relay.status() < 0 and relay.text() == "":
                outcomes.add("not started")     # execve(2) has failed half-way
            else:
                assert seen(client) == (b"", "reset")
                error(relay, 111, "")
                outcomes.add("told")
                print(relay.text())
    print(outcomes)
    assert "works" in outcomes and (kind != "name" or "told" in outcomes), outcomes


@scenario
def no_thread():
    """RLIMIT_NPROC for a user who is not root: there is no look-up, and nothing else is
    the worse for it."""
    limit = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "prlimit", "--nproc=0")
    with Relay("-v", client="socket", tracer=limit) as relay:
        relay.command[-1] = f"localhost:{port_of(relay.listener)}"
        client = relay.call()
        assert seen(client) == (b"", "reset")
        error(relay, 111, "cannot look up localhost: ")
        not_contacted(relay)
    with Relay("-v", client="socket", tracer=limit) as relay:
        lives(relay, *relay.connect())
    with Relay("-v", client="socket", before=("tcp",), tracer=limit) as relay:
        relay.command[-2] = f"localhost:{port_of(relay.listener)}"
        client, backend = relay.connect()
        carries(client, backend)
        client.close()
        backend.close()
        assert relay.status() == 0
        assert relay.log()[0].startswith('relay: skipped msg="cannot look up localhost: '), relay.text()


@scenario
def pipes_used_up():
    """pipe(7), pipe-user-pages-soft: the user who runs relay has as much in pipes as is
    allowed. Bulk is copied."""
    user = 64000 + os.getpid() % 1000
    hoard = """
import fcntl, os, sys
os.setgid(65534); os.setuid(int(sys.argv[1]))
try:
    while True:
        fcntl.fcntl(os.pipe()[1], fcntl.F_SETPIPE_SZ, 1 << 20)
except OSError:
    print("full", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", hoard, str(user)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as hoarder:
        assert hoarder.stdout.readline() == b"full\n"
        with Relay("-v", client="socket", tracer=("setpriv", f"--reuid={user}", "--clear-groups")) as relay:
            client, backend = relay.connect()
            carries(client, backend, 4 * MIB)
            assert not has_pipe(relay)
            ends_in_order(relay, client, backend)
        hoarder.stdin.close()
    with Relay("-v", client="socket", tracer=("setpriv", f"--reuid={user}", "--clear-groups")) as relay:
        client, backend = relay.connect()
        carries(client, backend, 4 * MIB)
        assert has_pipe(relay)          # that was the reason
        ends_in_order(relay, client, backend)


@scenario
def large_environment():
    """1 MB of it, and a thousand backends."""
    variables = [f"FILLER{i}={'x' * 100000}" for i in range(10)]
    with Relay("-v", client="socket", tracer=("env", *variables)) as relay:
        _, refusing = relay.make_backend("refusing")
        relay.command[-1:] = [refusing] * 999 + [relay.to]
        client = relay.call()
        backend = relay.answer()
        with open(f"/proc/{relay.pid()}/environ", "rb") as file:
            assert len(file.read()) > 1000000
        carries(client, backend)
        client.close()
        backend.close()
        assert relay.status() == 0
        assert len(relay.log()) == 1000 and relay.log()[-1].endswith(" end=done")


# ---- the log ----

@scenario
def log_cannot_be_written(how):
    """The connection is the same, and so is the exit status."""
    def spoil(relay):
        relay.stderr.close()
        if how == "full":
            relay.stderr = open("/dev/full", "wb", buffering=0)
        else:
            reads, relay.stderr = pipe()
            reads.close()

    with Relay("-v", client="socket") as relay:
        spoil(relay)
        client, backend = relay.connect()
        carries(client, backend)
        both_end(client, backend)
        assert relay.status() == 0, relay.status()
    with Relay("-v", client="socket") as relay:
        spoil(relay)
        client, backend = relay.connect()
        reset(backend)
        assert seen(client) == (b"", "reset")
        assert relay.status() == 111, relay.status()
    with Relay(client="socket", backend="refusing") as relay:
        spoil(relay)
        assert seen(relay.call()) == (b"", "reset")
        assert relay.status() == 111, relay.status()
    with Relay(client="socket", before=("refusing",)) as relay:
        spoil(relay)
        lives_quietly(relay)


def lives_quietly(relay):
    client, backend = relay.connect()
    carries(client, backend)
    client.close()
    backend.close()
    assert relay.status() == 0, relay.status()


@scenario
def stuck_log_holds_up_nobody():
    """Of a connection that has failed: it is reset before the log is told, relay does not
    wait for that for ever, and syslog is told in its place."""
    with syslog() as log, Relay(client="socket", backend="refusing") as relay:
        relay.jam_log()
        assert seen(relay.call()) == (b"", "reset")
        wait_until(relay.sleeps)
        assert relay.status(5) == 111
        assert b" error msg=" in log.recv(4096)


@contextlib.contextmanager
def syslog(receives=True):
    """What binds /dev/log, in a /dev of the test's own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        log.settimeout(PATIENCE)
        try:
            yield log
        finally:
            os.unlink("/dev/log")


def through_inetd(relay):
    client, backend = relay.connect()
    client.sendall(b"ping")
    assert read(backend, 4) == b"ping"
    half_close(client)
    assert seen(backend) == (b"", "eof")
    half_close(backend)
    assert seen(client) == (b"", "eof")


def refused_under_inetd(within):
    with Relay(client="inetd", backend="refusing") as relay:
        start = time.monotonic()
        assert seen(relay.call()) == (b"", "reset")
        assert relay.status(within) == 111
        return time.monotonic() - start


@scenario
def no_syslog():
    """Nobody reads what is sent there, and nobody is held up."""
    assert not os.path.lexists("/dev/log")
    with Relay("-v", client="inetd") as relay:
        through_inetd(relay)
        assert relay.status(AT_ONCE) == 0
    refused_under_inetd(AT_ONCE)


@scenario
def full_syslog():
    """It has no room, and nobody makes any: the ends are told first, and relay does not wait
    for ever; nor at all before there is a connection."""
    with syslog():
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
            other.setblocking(False)
            while True:
                other.sendto(b"<30>somebody: else", "/dev/log")
        with Relay("-v", client="inetd") as relay:
            through_inetd(relay)
            assert relay.status(5) == 0
        refused_under_inetd(5)
        with Relay("-v", client="inetd", before=("refusing",) * 20) as relay:
            start = time.monotonic()
            through_inetd(relay)
            assert time.monotonic() - start < 5 * AT_ONCE
            assert relay.status(5) == 0
        with Relay("-v", client="inetd") as relay:      # nor does it hold up a signal
            client, backend = relay.connect()
            wait_until(relay.sleeps)
            os.kill(relay.pid(), signal.SIGTERM)
            assert seen(client) == seen(backend) == (b"", "reset")
            assert relay.status(5) == -signal.SIGTERM


@scenario
def busy_syslog():
    """Many have something to say at once, more than it has room for. It comes to read it,
    and nothing is lost."""
    with syslog() as log, contextlib.ExitStack() as stack:
        relays = [stack.enter_context(Relay("-v", client="inetd")) for _ in range(40)]
        ends = [relay.connect() for relay in relays]
        for client, backend in ends:
            half_close(client)
            assert seen(backend) == (b"", "eof")
        for client, backend in ends:
            half_close(backend)
        for client, backend in ends:
            assert seen(client) == (b"", "eof")
        time.sleep(0.3)
        lines = [log.recv(4096) for _ in relays]
        assert all(line.endswith(b" end=done") for line in lines), lines
        assert all(relay.status() == 0 for relay in relays)


@scenario
def restarted_syslog():
    """While a connection lasts: it is the new one that is told."""
    with Relay("-v", client="inetd") as relay:
        with syslog():
            client, backend = relay.connect()
            client.sendall(b"ping")
            assert read(backend, 4) == b"ping"
        with syslog() as log:
            client.close()
            backend.close()
            assert log.recv(4096).endswith(b" end=done")
        assert relay.status() == 0


@scenario
def no_dev_null():
    """It is what relay puts on 2 where that is closed: else the backend's socket would be
    there, and get what is meant for the log."""
    os.unlink("/dev/null")
    with syslog() as log, Relay("-v", client="socket", tracer=("sh", "-c", 'exec "$@" 2>&-', "sh")) as relay:
        assert seen(relay.call()) == (b"", "reset")
        assert relay.status() == 111
        line = log.recv(4096).decode()
        assert 'error msg="descriptor 2 is closed, and /dev/null: No such file or directory"' in line, line
        not_contacted(relay)


# ---- time ----

@scenario
def stopped_for_longer_than_idle(how):
    """SIGSTOP, and SIGCONT after more than --idle. What has come meanwhile has moved, so
    counts; where nothing has come, the connection is idle."""
    with Relay("-v", "--idle=2", client="socket") as relay:
        client, backend = relay.connect()
        client.sendall(b"ping")
        assert read(backend, 4) == b"ping"
        wait_until(relay.sleeps)
        os.kill(relay.pid(), signal.SIGSTOP)
        if how == "bytes":
            client.sendall(b"are you asleep?")
            backend.sendall(b"yes")
        time.sleep(3)
        assert is_silent(client) and is_silent(backend)
        os.kill(relay.pid(), signal.SIGCONT)
        if how == "bytes":
            assert read(backend, 15) == b"are you asleep?"
            assert read(client, 3) == b"yes"
            time.sleep(1)
            lives(relay, client, backend)
        else:
            start = time.monotonic()
            assert seen(client) == seen(backend) == (b"", "reset")
            assert time.monotonic() - start < 2 + 2 * AT_ONCE
            closed(relay, 0, "idle")


@scenario
def stopped_in_set_up(where):
    """For longer than --timeout. What has come meanwhile is taken, late as it is."""
    options = ("-a", "any") if where == "header" else ()
    with Relay("-v", "-t", "2", *options, client="socket", backend="full" if where == "connect" else "tcp") as relay:
        client = relay.call()
        wait_until(relay.sleeps)
        time.sleep(0.2)                 # its clock has begun
        os.kill(relay.pid(), signal.SIGSTOP)
        start = time.monotonic()
        if where == "connect":
            relay.accept().close()      # who has filled its queue
            wait_until(lambda: not is_silent(relay.listener))
        else:
            client.sendall(relay.header())
        time.sleep(max(0, start + 2.5 - time.monotonic()))
        os.kill(relay.pid(), signal.SIGCONT)
        lives(relay, client, relay.answer())


@scenario
def another_monotonic_clock():
    """time_namespaces(7): one that has run for decades, or has only just begun."""
    for seconds in "2200000000", "-":
        offset = seconds if seconds != "-" else str(2 - int(time.monotonic()))
        tracer = ("unshare", "--time", "--fork", "--monotonic", offset, "--")
        with Relay("-v", "--idle=1", client="socket", tracer=tracer) as relay:
            start = time.monotonic()
            client, backend = relay.connect()
            carries(client, backend)
            assert seen(client) == seen(backend) == (b"", "reset")
            assert 0.9 < time.monotonic() - start < 1 + 3 * AT_ONCE
            closed(relay, 0, "idle")
            assert 0.9 < float(relay.closed()["seconds"]) < 10, relay.text()
        with Relay("-v", "-t", "1", client="socket", backend="full", tracer=tracer) as relay:
            start = time.monotonic()
            assert seen(relay.call()) == (b"", "reset")
            assert 0.9 < time.monotonic() - start < 1 + 3 * AT_ONCE
            error(relay, 111, "cannot connect: ")


@scenario
def the_clock_is_set():
    """By ten years, forth and back: no time limit is met sooner or later."""
    path = os.path.join(DIRECTORY, "now")

    def set_clock(text):
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.rename(path + ".new", path)

    set_clock("+0")
    tracer = ("env", "LD_PRELOAD=" + os.environ["LIBFAKETIME"], "FAKETIME_TIMESTAMP_FILE=" + path, "FAKETIME_NO_CACHE=1",
              "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1")
    dates = subprocess.run([*tracer, "date", "+%Y"], stdout=subprocess.PIPE, check=True, text=True).stdout
    set_clock("+3650d")
    later = subprocess.run([*tracer, "date", "+%Y"], stdout=subprocess.PIPE, check=True, text=True).stdout
    assert int(later) - int(dates) in (9, 10), (dates, later)
    for first, second in ("+0", "+3650d"), ("+0", "-3650d"):
        set_clock(first)
        with Relay("-v", "--idle=2", client="socket", tracer=tracer) as relay:
            client, backend = relay.connect()
            client.sendall(b"ping")
            assert read(backend, 4) == b"ping"
            start = time.monotonic()
            time.sleep(0.5)
            set_clock(second)
            client.sendall(b"ping")
            assert read(backend, 4) == b"ping"
            time.sleep(1)
            client.sendall(b"ping")
            assert read(backend, 4) == b"ping"
            assert seen(client) == seen(backend) == (b"", "reset")
            assert 3.4 < time.monotonic() - start < 3.5 + 3 * AT_ONCE
            closed(relay, 0, "idle")
            assert 3.4 < float(relay.closed()["seconds"]) < 10, relay.text()


@scenario
def time_limit_of_quick_failures():
    """A name with many addresses, each of which refuses soon, and not at once: --timeout is
    for all of them."""
    with Relay("-v", "-t", "1", client="socket", tracer=("strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=ppoll",
                                                         "-e", "inject=ppoll:delay_exit=150000")) as relay:
        relay.command[-1] = "many.example:1"
        start = time.monotonic()
        assert seen(relay.call()) == (b"", "reset")
        took = time.monotonic() - start
        error(relay, 111, "cannot connect: ")
        assert took < 1 + 2 * AT_ONCE, took


# ---- failures of system calls that are no word about the client ----

def injecting(what):
    return ("strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=" + what.partition(":")[0], "-e", "inject=" + what)


@scenario
def failing_call(call, name, text):
    """It is the machine's failure: the client has not left."""
    with Relay("-v", "-a", "any", client="socket", tracer=injecting(f"{call}:error={name}:when=1")) as relay:
        client = relay.call()
        assert seen(client)[1] == "reset"
        assert relay.status() == 111, (relay.status(), relay.text())
        (line,) = relay.log()
        assert line.startswith(f'relay: error msg="{text}'), line
        not_contacted(relay)


@scenario
def bind_that_fails():
    """--bind's address is the same for all backends: one line, and none of them is asked."""
    with Relay("-v", "--bind=192.0.2.1", client="socket", after=("tcp",)) as relay:
        assert seen(relay.call()) == (b"", "reset")
        error(relay, 111, "--bind: ")
        for listener in relay.listener, relay.others[0][0]:
            assert is_silent(listener)


if __name__ == "__main__":
    main()
