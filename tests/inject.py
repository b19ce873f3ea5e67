#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""What becomes of a connection when one system call fails, for tests/inject.bats.

inject.py KIND...
    Has a connection of each kind, and strace(1) record the system calls that relay
    makes. Then has it again and again, and each time one of these calls fails, with
    one of its errors. Prints how many injections were made and what became of them;
    exits 1 if one of them came to something else than judge allows.
inject.py --short KIND...
    The same of calls that do less than they are asked for, one byte: relay is then a
    program that can be told so by $SHORT, the library made of tests/short.c.

$INJECT=all: each call with each error, and with more than one byte. Else each call
with one, which differs from call to call and is the same one every time.

$RELAY, and where files go: see ends.py. /dev/log and 127.0.0.53:53 have to be free.
"""
import collections
import concurrent.futures
import contextlib
import dataclasses
import errno
import os
import re
import select
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
import typing
import zlib

import ends
from ends import MIB, V2_SIGNATURE, Background, Relay, half_close, noise, reset, wait_until

ends.PATIENCE = 8
AT_A_TIME = 6           # connections, which mostly wait
ALL = os.environ.get("INJECT") == "all"

# ---- which errors ----

ANYWHERE = ("EINTR", "EAGAIN", "ENOBUFS", "ENOMEM")
BESIDE = {              # what else a call is known to fail with
    "recvfrom": ("ECONNRESET", "ETIMEDOUT"),
    "sendto": ("ECONNRESET", "EPIPE"),
    "splice": ("ECONNRESET", "EINVAL"),
    "read": ("EIO",),
    "write": ("EIO", "EPIPE", "ENOSPC"),
    "socket": ("EMFILE", "ENFILE", "EACCES"),
    "connect": ("EADDRNOTAVAIL", "ECONNREFUSED", "ENETUNREACH"),
    "bind": ("EADDRINUSE", "EADDRNOTAVAIL"),
    "setsockopt": ("EACCES", "EPERM"),
    "getsockopt": ("EACCES",),
    "pipe2": ("EMFILE", "ENFILE"),
    "fcntl": ("EPERM",),
    "seccomp": ("EINVAL", "EACCES"),
    "prctl": ("EINVAL",),
}
OF_PEERS = ("ECONNRESET", "EPIPE", "ETIMEDOUT", "EIO")

# Calls that are not made to fail, and why.
SPARED = {
    "execve": "relay has not begun",
    "arch_prctl": "nor has its C library, which would crash",
    "set_tid_address": "",
    "getpid": "has no failure",
    "kill": "nor has relay's, to itself",
    "exit_group": "",
    "exit": "",
    "rt_sigreturn": "",
    "rt_sigaction": "has none, of these signals",
    "rt_sigprocmask": "",
    "rt_sigpending": "",
    "restart_syscall": "",
    "close": "closes, whatever it returns: strace's does not, that of tests/short.c does",
}


# ---- what may become of it ----

WENT_ON = "went on"                     # all is as it is without the failure
ELSEWHERE = "went on elsewhere"         # so, with the next backend, and one more line
FAILED = "failed cleanly"               # resets, status 111, and one line that says why
CUT = "were a peer's cut"               # resets, and no line but -v's
UNTOLD = "were not told"                # as each of these, but for a line that is missing
OTHERWISE = "went otherwise"

# Where it is not one of the first four: a call as strace writes it, errors, what else or
# what alone may become of it. The first that matches counts.
RULES = [
    (r'write\(2,|sendto\(-?\d+, "<\d+>relay|poll\(\[\{fd=2,', ".*", (WENT_ON, UNTOLD, FAILED),
     "what failed is the log"),
    (r"fstat\([012],|socket\(AF_UNIX, SOCK_DGRAM", ".*", (WENT_ON, UNTOLD),
     "it is told in the system's log, or nowhere"),
    (r"setsockopt\(\d+, (SOL_TCP|SOL_IP, IP_BIND|SOL_SOCKET, SO_(KEEP|OOB))", ".*", (WENT_ON,),
     "is not needed"),
    (r"(recvfrom|sendto|splice|read\(0|write)\b", "EINTR|EAGAIN", (WENT_ON,), "is called again"),
    (r"p?poll\(", "EINTR", (WENT_ON,), "is called again"),
    (r"fcntl\(\d+, F_GETFL\)", ".*", (OTHERWISE,), "fails where there is no such descriptor: that is told"),
    (r"seccomp\(", "EINVAL|EACCES", (WENT_ON,), "the system has none"),
    (r"seccomp\(", ".*", (FAILED,), "is not gone without"),
    (r"(madvise|munmap|prctl|fcntl|pipe2|ioctl)\(", ".*", (WENT_ON,), "is gone without"),
]


# ---- the two ends ----

class Over(Exception):
    """It has ended before what was waited for."""


class End:
    """A peer: what it has said and heard, and how that ended."""

    def __init__(self, relay):
        self.relay, self.socket = relay, None
        self.said, self.heard, self.how = b"", bytearray(), "never"

    def say(self, data):
        self.socket.sendall(data)
        self.said += data

    def hear(self, words=None):
        """Until these words have come; without, until the end."""
        while words is None or not self.heard.endswith(words):
            if data := self.socket.recv(MIB):
                self.heard += data
            elif words is None:
                self.how = "eof"
                break
            else:
                raise Over

    def run(self, sock, part):
        self.socket, self.how = sock, "open"
        try:
            part(self)
        except Over:
            self.how = "eof"
        except (ConnectionResetError, BrokenPipeError):
            self.how = "reset"
        except (TimeoutError, AssertionError):
            self.how = "hang"
        except OSError as error:
            assert error.errno == errno.ENOTCONN, error
            self.how = "reset"

    def answer(self, part):
        """As the backend, whichever it is that relay takes. One that is dropped before it
        has heard a word is none."""
        while not self.heard and self.how != "hang":
            ready = select.select(self.relay.taking, [], [], 0.02)[0]
            if ready:
                self.run(self.relay.keep(ready[0].accept()[0]), part)
            elif self.relay.ended():
                break


# ---- what they say to each other ----

def asks(client):
    client.say(b"one question")
    client.hear(b"one answer")
    client.say(b"another question")
    half_close(client.socket)
    client.hear()


def answers(backend):
    backend.hear(b"one question")
    backend.say(b"one answer")
    backend.hear()
    backend.say(b"another answer")
    half_close(backend.socket)


def listens(client):
    client.hear()
    client.say(b"late words")
    half_close(client.socket)


def greets(backend):
    backend.say(b"greeting")
    half_close(backend.socket)
    backend.hear()


def says_much(end):
    job = Background(ends.send_all, end.socket, noise(2 * MIB))
    end.said += noise(2 * MIB)
    try:
        end.hear()
    finally:
        job.join(ends.PATIENCE)
    job.result()                # a reset is told once, to whoever asks first


def rests(client):
    client.say(noise(2 * MIB))
    client.hear(b"rest")
    time.sleep(1.2)             # after 1 s relay gives back what it does not need
    client.say(b"awake")
    half_close(client.socket)
    client.hear()


def lets_rest(backend):
    backend.hear(noise(2 * MIB)[-16:])
    backend.say(b"rest")
    backend.hear()
    half_close(backend.socket)


def asks_slowly(client):
    """A resolver that does not answer is asked again meanwhile."""
    client.say(b"one question")
    client.hear(b"one answer")
    time.sleep(0.8)
    client.say(b"another question")
    half_close(client.socket)
    client.hear()


def waits(client):
    client.say(b"one question")
    client.hear()


def keeps_waiting(backend):
    backend.hear(b"one question")
    backend.say(b"one answer")
    backend.hear()


def terminates(client):
    client.say(b"one question")
    client.hear(b"one answer")
    client.relay.settles()
    if not client.relay.ended():
        os.kill(client.relay.pid(), signal.SIGTERM)
    client.hear()


def resets(end):
    """As soon as all that it has said is on its way."""
    wait_until(lambda: ends.unacknowledged(end.socket) == 0 or ends.is_reset(end.socket))
    reset(end.socket)
    end.how = "reset"


def asks_and_resets(client):
    client.say(b"one question")
    client.hear(b"one answer")
    resets(client)


def answers_and_resets(backend):
    backend.hear(b"one question")
    backend.say(b"one answer")
    resets(backend)


def asks_in_a_header(client):
    for piece in INBOUND[:5], INBOUND[5:30], INBOUND[30:]:
        client.socket.sendall(piece)
        client.relay.settles()
    asks(client)


def sends_no_header(client):
    client.say(b"GET / HTTP/1.0\r\n\r\n")
    client.hear()


def leaves(client):
    client.relay.settles()
    half_close(client.socket)
    client.hear()


# ---- the kinds of connections ----

BLOCK = struct.pack("!4s4sHH", bytes([192, 0, 2, 7]), bytes([198, 51, 100, 2]), 51234, 443) + b"\xe0\0\5inner"
INBOUND = V2_SIGNATURE + b"\x21\x11" + struct.pack("!H", len(BLOCK)) + BLOCK
TLS = ("env", "SSL_PROTOCOL=TLSv1.3", "SSL_TLS_SNI_SERVERNAME=relay.example")
ON_6 = ("bash", "-c", 'exec 6<>"/dev/tcp/127.0.0.1/$0"; exec "$@"', "{port}")
CLOSED = "relay: closed client=.* backend=.* "


@dataclasses.dataclass
class Kind:
    """A connection, and what becomes of it when nothing fails."""
    options: tuple = ()
    client: str = "accepted"            # see ends.Relay; this: a TCP socket on 0 and 1
    backend: str = "tcp"                # too; nobody: a name that no resolver knows
    before: tuple = ()
    after: tuple = ()
    to: str = ""                        # how the backend is written, if not as an address
    parts: tuple = (asks, answers)
    header: typing.Optional[bytes] = None       # if it is not what Relay.header says; b"": any
    status: int = 0
    how: tuple = ("eof", "eof")         # it ends, for the client and for the backend
    log: tuple = ()                     # regular expressions
    prefix: tuple = ()                  # of the command
    on_2: bool = False                  # descriptor 2 is the client as well


KINDS = {
    "v1": Kind(),
    "backend_first": Kind(parts=(listens, greets)),
    "tlvs": Kind(("-2", "-c", "-u", "-s", "-x", "0xE0=text"), header=b"", prefix=TLS),
    "accept_from": Kind(("-2", "-a", "127.0.0.0/8"), parts=(asks_in_a_header, answers), header=INBOUND),
    "hash": Kind(("-l", "hash"), before=("tcp",), after=("tcp",)),
    "random": Kind(("-l", "random"), before=("tcp",), after=("tcp",)),
    "skips": Kind(("-t", "2"), before=("refusing", "full-unix"),
                  log=("relay: skipped .*refused.*", "relay: skipped .*no answer.*")),
    "name": Kind(to="backend.test:{port}"),
    "left_behind": Kind(before=("nobody",), parts=(asks_slowly, answers), log=("relay: skipped .*no answer.*",)),
    "unix": Kind(("-2",), client="unix", backend="unix"),
    "bind": Kind(("-b", "127.0.0.5")),
    "bind_client": Kind(("-b", "client")),
    "descriptor": Kind(to="fd:6", prefix=ON_6),
    "pipes": Kind(client="pipes"),
    "pipes_on_2": Kind(("-v",), client="pipes", on_2=True, parts=(listens, greets),
                       log=("<30>relay: closed .* up=10 down=8 .* end=done",)),
    "bulk": Kind(parts=(says_much, says_much)),
    "bulk_from_a_pipe": Kind(client="pipe-in", parts=(says_much, says_much)),
    "rest": Kind(parts=(rests, lets_rest)),
    "verbose": Kind(("-v",), log=(CLOSED + "up=28 down=24 .* end=done",)),
    "syslog": Kind(("-v",), on_2=True, log=("<30>" + CLOSED + "up=28 down=24 .* end=done",)),
    "idle": Kind(("-v", "-i", "0.3"), parts=(waits, keeps_waiting), how=("reset", "reset"),
                 log=(CLOSED + "up=12 down=10 .* end=idle",)),
    "signal": Kind(("-v",), parts=(terminates, keeps_waiting), status=-signal.SIGTERM, how=("reset", "reset"),
                   log=(CLOSED + "up=12 down=10 .* end=signal",)),
    "client_resets": Kind(("-v",), parts=(asks_and_resets, keeps_waiting), how=("reset", "reset"),
                          log=(CLOSED + "up=12 down=10 .* end=client-reset",)),
    "backend_resets": Kind(("-v",), parts=(waits, answers_and_resets), how=("reset", "reset"), status=111,
                           log=(CLOSED + "up=12 down=10 .* end=backend-reset",)),
    "refusing": Kind(backend="refusing", parts=(waits, None), how=("reset", "never"), status=111,
                     log=("relay: error .*refused.*",)),
    "refusing_syslog": Kind(backend="refusing", on_2=True, parts=(waits, None), how=("reset", "never"),
                            status=111, log=("<27>relay: error .*refused.*",)),
    "no_header": Kind(("-a", "any"), parts=(sends_no_header, None), how=("reset", "never"), status=1,
                      log=("relay: error .*refused: no valid PROXY header.*",)),
    "leaves": Kind(("-v", "-a", "any"), parts=(leaves, None), how=("reset", "never"),
                   log=("relay: closed .* up=0 down=0 .* end=done",)),
}


class Dialogue(Relay):
    """A connection of a kind."""

    def __init__(self, kind, tracer):
        # a tracer keeps its own 2: a pipe would have no end
        tracer = *tracer, *(("sh", "-c", 'exec "$@" 2>&1', "sh") if kind.on_2 else ())
        super().__init__(*kind.options, client=kind.client, backend=kind.backend,
                         before=kind.before, after=kind.after, tracer=tracer)
        port = self.to.rpartition(":")[2]
        if kind.to:
            self.command[self.command.index(self.to)] = kind.to.format(port=port)
        self.command[:0] = [word.format(port=port) for word in kind.prefix]
        made = zip((*kind.before, *kind.after, kind.backend), (*self.others, (self.listener, self.to)))
        self.taking = [listener for what, (listener, _) in made if what in ("tcp", "unix")]

    def make_backend(self, kind):
        return (None, "nobody.test:80") if kind == "nobody" else super().make_backend(kind)

    def settles(self):
        """Until it has nothing to do."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            wait_until(lambda: self.ended() or self.sleeps())

    def without_chance(self, text):
        """What differs from one time to the next is made the same."""
        for _, to in *self.others, (self.listener, self.to):
            text = text.replace(to, "BACKEND")
        text = re.sub(r"(?<=[0-9\]t]):\d+\b", ":PORT", text.replace(self.directory, "DIRECTORY"))
        text = re.sub(r"\bseconds=[0-9.]+", "seconds=0", re.sub(r"^(<\d+>relay)\[\d+\]", r"\1", text))
        return re.sub(r"\bid=[0-9a-f]{32}\b", "id=ID", text)

    def bytes_without_chance(self, data):
        """The same of what begins with a header."""
        head, rest = data[:512], data[512:]
        if self.names and isinstance(self.names[0], tuple):
            ports = self.names[0][1], self.names[1][1]
            head = head.replace(b" %d %d\r" % ports, b" ? ?\r").replace(struct.pack("!HH", *ports), b"????")
        head = head.replace(self.directory.encode(), b"?" * len(self.directory))
        head = re.sub(rb"\x05\0\x20[0-9a-f]{32}", b"\x05\0\x20" + b"?" * 32, head)
        return re.sub(rb"\x03\0\x04....", b"\x03\0\x04????", head, flags=re.S) + rest


# ---- a connection, and all that can be seen of it ----

@dataclasses.dataclass
class Facts:
    status: object
    client: tuple       # what it has heard, and how that ended
    backend: tuple
    log: list
    asked: int = dataclasses.field(compare=False)       # bytes that the client has said


class Syslog:
    """/dev/log, and what it is told."""

    def __init__(self):
        self.lines = collections.defaultdict(list)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("/dev/log")
        Background(self.receive)

    def receive(self):
        while True:
            line = self.socket.recv(4096).decode()
            relay = re.match(r"<\d+>relay\[(\d+)\]: ", line)
            self.lines[relay[1] if relay else line].append(line)

    def told_by(self, pid):
        """All that this process has told, which has ended."""
        mark = f"{pid} has ended"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(mark.encode(), "/dev/log")
        wait_until(lambda: mark in self.lines)
        del self.lines[mark]
        return self.lines.pop(str(pid), [])


def resolve(sock):
    """Knows backend.test, and does not answer to any other name."""
    while True:
        question, peer = sock.recvfrom(512)
        if b"\7backend\4test" in question:
            count = question[-4:-2] == b"\0\1"          # it has an A, no AAAA
            sock.sendto(question[:2] + b"\x81\x80\0\1\0" + bytes([count, 0, 0, 0, 0]) + question[12:] +
                        count * b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1", peer)


def observe(kind, syslog, tracer, check=False):
    """Has a connection. Returns the facts and the process id. check: they are what the
    kind says."""
    with Dialogue(kind, tracer) as relay:
        client, backend = End(relay), End(relay)
        near = relay.call()
        job = Background(backend.answer, kind.parts[1])
        client.run(near, kind.parts[0])
        job.result()
        try:
            status = relay.status()
        except AssertionError:
            status = "hang"
            os.kill(relay.pid(), signal.SIGKILL)
        facts = Facts(status, (bytes(client.heard), client.how),
                      (relay.bytes_without_chance(bytes(backend.heard)), backend.how),
                      [relay.without_chance(line) for line in relay.log() + syslog.told_by(relay.pid())],
                      len(client.said))
        if check:
            header = relay.bytes_without_chance(relay.header() if kind.header is None else kind.header)
            assert (facts.status, (client.how, backend.how)) == (kind.status, kind.how), facts
            assert facts.client[0] == backend.said, facts
            if backend.how != "never":
                assert facts.backend[0].endswith(header + client.said), facts
                assert header in (b"", facts.backend[0][:-len(client.said)]), facts
            assert len(facts.log) == len(kind.log) and all(map(re.fullmatch, kind.log, facts.log)), facts
        return facts, relay.pid()


class Failing:
    """strace, which lets a system call fail, and records all."""
    spared = SPARED

    def __init__(self, call=None, n=0, error=None):
        self.path = tempfile.mktemp(dir=ends.DIRECTORY, prefix="trace")
        self.tracer = ["strace", "-D", "-f", "-o", self.path]
        if call:
            self.tracer += ["-e", f"inject={call}:error={error}:when={n}"]
        self.lines = []

    @staticmethod
    def ways(call):
        return ANYWHERE + BESIDE.get(call, ())

    def read(self, pid):
        """When that process has ended."""
        def whole():
            with open(self.path, encoding="utf-8", errors="backslashreplace") as file:
                text = file.read()
            return re.search(rf"^{pid} +\+\+\+ (exited|killed)", text, re.M) and text

        self.lines = wait_until(whole).splitlines()
        os.unlink(self.path)

    def calls(self):
        """How often each was made by relay, and before it by what has started it. Where a
        thread of relay's makes it too, the one that does it most often counts."""
        made, before = collections.Counter(), collections.Counter()
        for line in self.lines:
            if call := re.match(r"(\d+) +(\w+)\(", line):
                made[call.groups()] += 1
                if call[2] == "execve":
                    before.update(made)
                    made.clear()
        counts = {}
        for (pid, call), count in made.items():
            if count > counts.get(call, (0, 0))[0]:
                counts[call] = count, before[pid, call]
        return counts

    def injected(self):
        """The call that failed, and how it was called; None: it was not made."""
        for i, line in enumerate(self.lines):
            if line.endswith("(INJECTED)"):
                if resumed := re.match(r"(\d+ +)<\.\.\. (\w+) resumed>", line):
                    begin = resumed[1] + resumed[2] + "("
                    line = next(other for other in self.lines[i::-1] if other.startswith(begin)) + line
                return line.partition(" ")[2].lstrip()
        return None


class Short(Failing):
    """tests/short.c, which lets a call do less than it is asked for."""
    spared = {}

    def __init__(self, call=None, n=0, size=None):
        super().__init__()
        self.tracer = ["env", "LD_PRELOAD=" + os.environ["SHORT"], "SHORT_LOG=" + self.path]
        if call:
            self.tracer += [f"SHORT={call} {n} {size}"]

    @staticmethod
    def ways(call):
        return ("1", "1000") if call != "close" else ("EINTR",)

    def read(self, pid):
        with open(self.path, encoding="ascii") as file:
            self.lines = file.read().splitlines()
        os.unlink(self.path)

    def calls(self):
        counts = collections.Counter(line.partition("(")[0] for line in self.lines)
        return {call: (count, 0) for call, count in counts.items()}

    def injected(self):
        return next((line for line in self.lines if line.endswith("short")), None)


# ---- what became of it ----

def lines_of(log, what):
    return [line for line in log if f"relay: {what} " in line]


def hides_nothing(kind, base, facts):
    """Each has heard what the other has said, from its start. If that was not all, it
    knows: it has been reset. S2, S4, S9; and S1 of the header."""
    for side, may_be_reset in ("client", kind.client == "accepted"), ("backend", kind.backend != "unix"):
        (whole, usual), (heard, how) = getattr(base, side), getattr(facts, side)
        assert whole.startswith(heard), f"the {side} has heard what nobody has said: {heard[:200]}"
        assert how in ("eof", "reset", "never"), f"the {side} sees no end: {how}"
        # a backend that has heard nothing, no header either, has no client
        if how == "eof" and may_be_reset and (heard or side == "client"):
            assert heard == whole and usual == "eof", f"the {side} sees an end, and not all has come"
    heard, whole = facts.backend[0], base.backend[0]
    assert not heard or len(heard) >= len(whole) - base.asked, f"a part of a header: {heard}"


# What musl calls some of them.
NAMES = {
    "ENOMEM": "Out of memory",
    "EMFILE": "No file descriptors available",
    "EADDRNOTAVAIL": "Address not available",
    "EADDRINUSE": "Address in use",
    "ENETUNREACH": "Network unreachable",
    "ENOTCONN": "Socket not connected",
    "ETIMEDOUT": "Operation timed out",
}


def is_clear(log, error):
    """It names the cause; that of a look-up is the resolver's to tell."""
    causes = os.strerror(getattr(errno, error, 0)), NAMES.get(error, "looking up"), "looking up", "cannot look up"
    return any(cause in line for cause in causes for line in log)


def outcome(kind, base, facts, error):
    """What became of it, by all that can be seen."""
    if facts == base:
        return WENT_ON
    hides_nothing(kind, base, facts)
    same = (facts.status, facts.client, facts.backend) == (base.status, base.client, base.backend)
    skipped, errors, closed = (lines_of(facts.log, what) for what in ("skipped", "error", "closed"))
    others = [line for line in facts.log if line not in skipped]
    backends = len(kind.before) + 1 + len(kind.after)
    if same and others == [line for line in base.log if "skipped" not in line]:
        if len(skipped) < backends and is_clear(skipped, error):
            return ELSEWHERE
    if same and all(any(line.partition("relay: ")[2] in whole for whole in base.log) for line in facts.log):
        return UNTOLD
    if facts.status == 111 and not closed and len(skipped) <= backends:
        if len(errors) == 1 and is_clear(facts.log, error):
            return FAILED
        if not errors and error not in OF_PEERS:
            return UNTOLD
    if error in OF_PEERS and facts.status in (0, 111) and not errors and len(skipped) < backends:
        if len(closed) == ("-v" in kind.options) and all(line.endswith("-reset") for line in closed):
            return CUT
    return OTHERWISE


def judge(kind, base, facts, call, error):
    """What became of it. Raises what must not be."""
    assert "hang" not in (facts.status, facts.client[1], facts.backend[1]), "it hangs"
    result = outcome(kind, base, facts, error)
    for pattern, errors, allowed, _ in RULES:
        if re.match(pattern, call) and re.fullmatch(errors, error):
            break
    else:
        allowed = (WENT_ON, ELSEWHERE, FAILED, CUT)
    assert result in allowed, f"is not what may become of it: {result}"
    return result


# ---- all of it, one call at a time ----

def some(count):
    """Which of so many calls are made to fail: of very many alike, not all."""
    dense, step = (40, 5) if ALL else (12, 16)
    return [n for n in range(1, count + 1) if n <= dense or n % step == 0]


def one(name, tool, syslog, base, length, call, n, way):
    """One connection with one failure. Returns what became of it; what is wrong."""
    kind = KINDS[name]
    trace = facts = injected = None
    try:
        for _ in range(3):
            trace = tool(call, n, way)
            facts, pid = observe(kind, syslog, trace.tracer)
            trace.read(pid)
            if injected := trace.injected():
                break
        if not injected:
            assert facts == base, "it is otherwise without a failure"
            return "were not made", None
        result = judge(kind, base, facts, injected, way)
        assert len(trace.lines) < 3 * length + 200, "it spins"
        return result, None
    except BaseException as error:
        expected = isinstance(error, AssertionError)
        text = str(error) if expected else "".join(traceback.format_exception(error))
        seen = dataclasses.replace(facts, client=(facts.client[0][-100:], facts.client[1]),
                                   backend=(facts.backend[0][-100:], facts.backend[1])) if facts else ""
        tail = "\n    ".join(trace.lines[-25:]) if trace else ""
        return "WRONG", f"{name}: {call} {n} {way}: {text}\n  {injected}\n  {seen}\n    {tail}"


def examine(name, tool, syslog):
    """All of a kind of connections. Returns whether all is well."""
    kind, trace = KINDS[name], tool()
    base, pid = observe(kind, syslog, trace.tracer, check=True)
    trace.read(pid)
    tasks = []
    for call, (count, before) in sorted(trace.calls().items()):
        for n in some(count) if call not in tool.spared else ():
            ways = tool.ways(call)
            chosen = zlib.crc32(f"{name} {call} {n}".encode()) % len(ways)
            tasks += [(call, before + n, way) for way in (ways if ALL else ways[chosen:chosen + 1])]
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        results = list(pool.map(lambda task: one(name, tool, syslog, base, len(trace.lines), *task), tasks))
    counts = collections.Counter(result for result, _ in results)
    calls, failing = sum(count for count, _ in trace.calls().values()), len({task[:2] for task in tasks})
    print(f"{name}: of {calls} calls {failing} were made to fail, {len(tasks)} times: " +
          ", ".join(f"{count} {what}" for what, count in sorted(counts.items())), flush=True)
    if ALL:
        table = collections.Counter((task[0], result) for task, (result, _) in zip(tasks, results))
        for (call, result), count in sorted(table.items()):
            print(f"    {call}: {count} {result}")
    for _, wrong in results:
        if wrong:
            print(wrong, file=sys.stderr)
    return not any(wrong for _, wrong in results) and counts["were not made"] <= len(tasks) / 2


def main():
    names, tool = sys.argv[1:], Failing
    if names[:1] == ["--short"]:
        names, tool = names[1:], Short
    names = names or list(KINDS)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.53", 53))
    Background(resolve, sock)
    syslog = Syslog()
    sys.exit(not all([examine(name, tool, syslog) for name in names]))


if __name__ == "__main__":
    main()
