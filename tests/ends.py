#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""Both ends of a connection through relay, for tests/promises.bats.

ends.py [--results DIRECTORY] SCENARIO[:ARGUMENT]...
    Runs scenarios at the same time: the functions below that are marked so. Each
    is client and backend in one, so that it sees what either does to the other.
    Prints what failed, exits 1. --results: leaves SCENARIO[:ARGUMENT].ok or .failed
    in DIRECTORY as each is over.

$RELAY is the program, $TCPSERVER6 the tcpserver that knows IPv6. Files go below
$BATS_TEST_TMPDIR or $BATS_FILE_TMPDIR.
"""
import contextlib
import ctypes
import fcntl
import functools
import hashlib
import os
import re
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback

RELAY = os.environ["RELAY"]
DIRECTORY = os.environ.get("BATS_TEST_TMPDIR") or os.environ.get("BATS_FILE_TMPDIR")
MIB = 1 << 20
PATIENCE = 20           # seconds before a test gives up waiting
AT_ONCE = 1.0           # seconds in which what happens at once has happened
LINGER_0 = struct.pack("ii", 1, 0)
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


# ---- what is asked of an end ----

@functools.lru_cache
def noise(size):
    """Bytes that differ from place to place, the same ones every time. The shorter
    noise is the beginning of the longer."""
    return hashlib.shake_128().digest(size)


def wait_until(condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
    return result


class Pair:
    """One file or socket to read and one to write, used as one socket is."""

    def __init__(self, reads, writes):
        self.reads, self.writes = reads, writes

    def recv(self, size):
        assert select.select([self.reads], [], [], PATIENCE)[0], "timed out"
        return os.read(self.reads.fileno(), size)

    def send(self, data):
        return os.write(self.writes.fileno(), data)

    def sendall(self, data):
        while data:
            data = data[self.send(data):]

    def setblocking(self, blocking):
        os.set_blocking(self.writes.fileno(), blocking)

    def shutdown(self, how):
        if isinstance(self.writes, socket.socket):
            self.writes.shutdown(how)
        else:
            self.writes.close()

    def close(self):
        self.reads.close()
        self.writes.close()


def pipe():
    """A pipe's two ends."""
    reads, writes = os.pipe()
    return os.fdopen(reads, "rb", buffering=0), os.fdopen(writes, "wb", buffering=0)


def half_close(end):
    end.shutdown(socket.SHUT_WR)


def reset(end):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    end.close()


def read(end, size):
    """Exactly so many bytes."""
    data = bytearray()
    while len(data) < size:
        more = end.recv(min(MIB, size - len(data)))
        assert more, f"EOF after {len(data)} bytes of {size}: {bytes(data[-200:])}"
        data += more
    return bytes(data)


def read_to_eof(end):
    data = bytearray()
    while more := end.recv(MIB):
        data += more
    return bytes(data)


def read_to_reset(end):
    """All bytes until the reset. A clean EOF is what must not be."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while more := end.recv(MIB):
            data += more
        raise AssertionError(f"EOF, not a reset, after {len(data)} bytes")
    return bytes(data)


def is_reset(end):
    """Whether a reset has come, whatever there is to read before it."""
    poll = select.poll()
    poll.register(end, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def is_silent(end):
    """Whether there is nothing to read, neither bytes nor an end."""
    return not select.select([end], [], [], 0)[0]


def fill(*ends):
    """Sends noise into all ends until none takes more. Returns how much each took."""
    data, taken, moved = memoryview(noise(64 * MIB)), [0] * len(ends), time.monotonic()
    for end in ends:
        end.setblocking(False)
    while time.monotonic() - moved < 0.4:
        for i, end in enumerate(ends):
            with contextlib.suppress(BlockingIOError):
                taken[i] += end.send(data[taken[i]:taken[i] + MIB])
                moved = time.monotonic()
        if time.monotonic() - moved > 0.01:
            time.sleep(0.01)
    for end in ends:
        end.setblocking(True)
        if isinstance(end, socket.socket):
            end.settimeout(PATIENCE)
    assert max(taken) < len(data), "never full"
    return taken


class Background(threading.Thread):
    """A function in a thread. result() waits and returns, or raises, what it did."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function, self.args = function, args
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.function(*self.args)
        except BaseException as error:
            self.error = error

    def result(self):
        self.join(60)
        assert not self.is_alive(), f"{self.function.__name__} does not end"
        if self.error:
            raise self.error
        return self.value


# ---- relay, its launcher and its backend ----

class Relay:
    """relay as a launcher starts it for one client, and the backend it is given.

    client   tcp: through tcpserver. tcp6: so, over IPv6. unix: a UNIX socket. accepted: a
             TCP socket on descriptors 0 and 1. inetd: on 0, 1 and 2. pipes: one on 0, one
             on 1. pipes-2: and that one on 2, too. pipes-socket: behind filters, the socket
             itself on 2. pipe-in, pipe-out: a pipe on 0 or 1, a TCP socket on the other
    backend  tcp, tcp6, unix, abstract. refusing: nobody listens. full, full-unix: the
             accept queue is full
    before, after  further backends, of these kinds, on the command line before and after
    held     relay is not started before release()
    tracer   a command before relay's own
    """

    def __init__(self, *options, client="tcp", backend="tcp", before=(), after=(), held=False, tracer=()):
        self.options, self.kind = options, client
        self.directory = tempfile.mkdtemp(dir=DIRECTORY, prefix="ends")
        self.log_path = self.directory + "/log"
        self.stderr = open(self.log_path, "wb")
        self.open = contextlib.ExitStack()
        self.launcher = self.process = None
        self.names = self.far = None    # the client connection's two addresses; relay's 0, 1, 2
        made = [self.make_backend(kind) for kind in (*before, backend, *after)]
        self.listener, self.to = made.pop(len(before))
        self.others = made      # their listeners, and how they are written
        self.command = [*tracer, RELAY, *options, *(to for _, to in made[:len(before)]), self.to,
                        *(to for _, to in made[len(before):])]
        if held:
            wait = 'until [ -e "$0" ]; do sleep 0.01; done; exec "$@"'
            self.command = ["sh", "-c", wait, self.directory + "/go", *self.command]
        if client in ("tcp", "tcp6"):
            self.start_tcpserver()

    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _traceback):
        """Closes both ends. relay must end then: there is nobody left."""
        self.open.close()
        try:
            if self.started() and not error:
                self.status()
        except AssertionError as left:
            left.add_note("relay outlives both its ends")
            error = left
            raise
        finally:
            if self.started() and not self.ended():
                os.kill(self.pid(), signal.SIGKILL)
            for process in filter(None, (self.launcher, self.process)):
                process.terminate()
                process.wait()
            self.stderr.close()
            if error:
                error.add_note(f"--- {' '.join(self.command)}\n{self.text()}---")

    def keep(self, end):
        """To be closed when the test is over."""
        if isinstance(end, socket.socket):
            end.settimeout(PATIENCE)
        self.open.callback(end.close)
        return end

    def make_backend(self, kind):
        path = tempfile.mktemp(dir=self.directory, prefix="backend")
        family = socket.AF_UNIX if kind in ("unix", "full-unix", "abstract") else \
            socket.AF_INET6 if kind == "tcp6" else socket.AF_INET
        listener = self.keep(socket.socket(family))
        if family == socket.AF_UNIX:
            listener.bind("\0" + path if kind == "abstract" else path)
            to = "@" + path if kind == "abstract" else path
        else:
            listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            to = ("[%s]:%d" if family == socket.AF_INET6 else "%s:%d") % listener.getsockname()[:2]
        if kind != "refusing":
            listener.listen(0 if kind.startswith("full") else 16)
        while kind.startswith("full"):
            other = self.keep(socket.socket(family))
            other.settimeout(0.3)
            try:
                other.connect(listener.getsockname())
            except (TimeoutError, BlockingIOError):     # it is kept waiting
                other.close()
                break
        return listener, to

    def start_tcpserver(self):
        address, program = "127.0.0.1", ["tcpserver"]
        if self.kind == "tcp6":
            address, program = "::1", [os.environ["TCPSERVER6"], "-6"]
        # -1: it prints its port once it listens
        self.launcher = subprocess.Popen(
            [*program, "-1", "-v", "-R", "-H", "-l0", address, "0", *self.command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.stderr)
        port = self.keep(self.launcher.stdout).readline()
        assert port, self.text()
        self.door = (address, int(port))

    def jam_log(self):
        """Nobody reads what relay logs, and there is no room for more."""
        reads, writes = pipe()
        self.keep(reads)
        os.set_blocking(writes.fileno(), False)
        while writes.write(bytes(4096)):
            pass
        os.set_blocking(writes.fileno(), True)
        self.stderr.close()
        self.stderr = writes

    # -- the two ends --

    def connect(self):
        """Both ends of a new connection, the header already taken."""
        client = self.call()
        return client, self.answer()

    def call(self, receive_buffer=None):
        """A client's end. relay starts."""
        if self.launcher:
            near = self.keep(socket.socket(socket.AF_INET6 if self.kind == "tcp6" else socket.AF_INET))
            if receive_buffer:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            near.connect(self.door)
            self.names = near.getsockname()[:2], self.door
            return near
        if self.kind.startswith("pipes"):
            (zero, writes), (reads, one) = pipe(), pipe()
            near = Pair(reads, writes)
        else:
            near, zero = self.socket_and_peer()
            one = zero
        if self.kind == "pipe-in":
            zero, writes = pipe()
            near = Pair(near, writes)
        elif self.kind == "pipe-out":
            reads, one = pipe()
            near = Pair(reads, near)
        two = one if self.kind in ("inetd", "pipes-2") else self.stderr
        if self.kind == "pipes-socket":
            self.beyond, two = map(self.keep, self.socket_and_peer())
        self.process = subprocess.Popen(self.command, stdin=zero, stdout=one, stderr=two)
        if self.kind == "pipes-socket":
            two.close()
        if self.kind == "pipes-kept":
            self.far = [self.keep(zero), self.keep(one)]
        else:
            zero.close()
            one.close()
        return self.keep(near)

    def socket_and_peer(self):
        """A client's socket and the one that accept(2) gives its launcher."""
        with socket.socket(socket.AF_UNIX if self.kind == "unix" else socket.AF_INET) as door:
            door.bind(self.directory + "/door" if self.kind == "unix" else ("127.0.0.1", 0))
            door.listen()
            near = socket.socket(door.family)
            near.connect(door.getsockname())
            self.names = near.getsockname(), near.getpeername()
            return near, door.accept()[0]

    def answer(self):
        """The backend's end, the header taken."""
        backend, header = self.accept(), self.header()
        assert (got := read(backend, len(header))) == header, got
        return backend

    def accept(self):
        return self.keep(self.listener.accept()[0])

    def header(self):
        """The header that the backend is due."""
        two = "-2" in self.options
        if self.kind == "unix" and two:
            return V2_SIGNATURE + b"\x21\x31" + struct.pack(
                "!H108s108s", 216, self.names[0].encode(), self.names[1].encode())
        if self.kind.startswith("pipes") or self.kind in ("unix", "pipe-in"):
            return V2_SIGNATURE + b"\x21\0\0\0" if two else b"PROXY UNKNOWN\r\n"
        (client, port), (server, server_port) = self.names
        if not two:
            return b"PROXY TCP%d %s %s %d %d\r\n" % (
                6 if ":" in client else 4, client.encode(), server.encode(), port, server_port)
        assert ":" not in client
        return V2_SIGNATURE + b"\x21\x11" + struct.pack(
            "!H4s4sHH", 12, socket.inet_aton(client), socket.inet_aton(server), port, server_port)

    # -- the process --

    def release(self):
        open(self.directory + "/go", "w").close()

    def text(self):
        with open(self.log_path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read()

    def log(self):
        """What relay itself has written, a list of lines."""
        return [line for line in self.text().splitlines() if not line.startswith("tcpserver: ")]

    def closed(self):
        """The fields of the one line of -v."""
        self.status()
        (line,) = self.log()
        assert line.startswith("relay: closed "), line
        return dict(word.split("=", 1) for word in line.split()[2:])

    def find(self, pattern):
        return re.search(pattern, self.text(), re.M)

    def started(self):
        return self.process or (self.launcher and self.find(r"^tcpserver: pid (\d+) from"))

    def pid(self):
        if self.process:
            return self.process.pid
        return int(wait_until(lambda: self.find(r"^tcpserver: pid (\d+) from"))[1])

    def ended(self):
        if self.process:
            return self.process.poll() is not None
        return self.find(rf"^tcpserver: end {self.pid()} status (\d+)")

    def status(self, within=PATIENCE):
        """Waits for its end. The exit status, or minus the signal that ended it."""
        pid = self.pid()
        wait_until(self.ended, within)
        if self.process:
            return self.process.returncode
        return os.waitstatus_to_exitcode(int(self.find(rf"^tcpserver: end {pid} status (\d+)")[1]))

    def stat(self):
        """The fields of proc(5)'s stat, from the third."""
        with open(f"/proc/{self.pid()}/stat", encoding="ascii") as file:
            return file.read().rpartition(") ")[2].split()

    def sleeps(self):
        """Whether relay, not the launcher yet, is waiting for something."""
        with open(f"/proc/{self.pid()}/comm", encoding="ascii") as file:
            return file.read() == "relay\n" and self.stat()[0] == "S"

    def effort(self):
        """CPU time, in ticks of 10 ms, and how often it has gone to sleep."""
        with open(f"/proc/{self.pid()}/status", encoding="ascii") as file:
            sleeps = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", file.read(), re.M)
        return sum(map(int, self.stat()[11:13])), int(sleeps[1])

    def assert_rests(self, seconds=3.0):
        """S5: once what could move has moved it does nothing at all, not even wake up."""
        def settled():
            before = self.effort()
            time.sleep(0.3)
            return self.sleeps() and self.effort() == before

        wait_until(settled, 5)
        ticks, wakes = self.effort()
        time.sleep(seconds)
        assert not self.ended()
        used, woke = self.effort()
        assert used - ticks <= 2, f"{used - ticks} ticks of CPU time in {seconds} s"
        assert woke - wakes <= 2, f"woke up {woke - wakes} times in {seconds} s"


# ---- S1: the header ----

def data_segments_in(sock):
    """linux/tcp.h, tcpi_data_segs_in: how many segments with data have come in."""
    return struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 152)[0]


@scenario
def header_comes_first(version, backend_kind="tcp", client_kind="tcp"):
    with Relay(version, client=client_kind, backend=backend_kind) as relay:
        client = relay.call()           # and it does not say a word
        backend = relay.accept()
        accepted = time.monotonic()
        first = backend.recv(65536)
        assert time.monotonic() - accepted < 0.5
        assert first == relay.header(), first
        if "tcp" in backend_kind:
            assert data_segments_in(backend) == 1
        backend.sendall(b"220 the server speaks first\r\n")
        assert read(client, 29) == b"220 the server speaks first\r\n"
        client.sendall(b"QUIT\r\n")
        assert read(backend, 6) == b"QUIT\r\n"
        half_close(backend)
        half_close(client)
        assert read_to_eof(backend) == b"" and read_to_eof(client) == b""
        assert relay.status() == 0


@scenario
def header_is_one_write_before_all_else(version):
    trace = tempfile.mktemp(dir=DIRECTORY, prefix="strace")
    tracer = ["strace", "-D", "-s", "300", "-xx", "-o", trace, "-e",
              "trace=read,readv,recvfrom,recvmsg,splice,write,writev,sendto,sendmsg"]
    with Relay(version, tracer=tracer, held=True) as relay:
        client = relay.call()
        client.sendall(b"early bird")   # it is there before relay is
        relay.release()
        backend = relay.answer()
        assert read(backend, 10) == b"early bird"
        half_close(client)
        half_close(backend)
        assert relay.status() == 0
        header = "".join(f"\\x{byte:02x}" for byte in relay.header())
    with open(trace, encoding="ascii") as file:
        calls = file.read().splitlines()
    writes = [i for i, call in enumerate(calls) if re.match("write|send", call) and header[:40] in call]
    assert len(writes) == 1 and f'"{header}"' in calls[writes[0]], calls
    assert calls[writes[0]].endswith(f"= {len(relay.header())}"), calls[writes[0]]
    reads = [i for i, call in enumerate(calls) if re.match(r"(read|recv|splice)\w*\(0,", call)]
    assert reads and writes[0] < reads[0], calls


# ---- S2: every byte ----

def send_all(end, data):
    end.sendall(data)
    half_close(end)


def read_slowly(end):
    """All until EOF, with a rest at the start and after each 4 MiB. Its sha256."""
    digest, size = hashlib.sha256(), 0
    time.sleep(0.5)
    while data := end.recv(MIB):
        digest.update(data)
        if size // (4 * MIB) != (size + len(data)) // (4 * MIB):
            time.sleep(0.05)
        size += len(data)
    return digest.hexdigest()


@scenario
def much_both_ways_at_once(client_kind="tcp", backend_kind="tcp"):
    up, down = noise(64 * MIB), noise(64 * MIB)[::-1]
    with Relay("-v", client=client_kind, backend=backend_kind) as relay:
        client, backend = relay.connect()
        jobs = [Background(send_all, client, up), Background(send_all, backend, down)]
        readers = [Background(read_slowly, backend), Background(read_slowly, client)]
        for job in jobs:
            job.result()
        assert readers[0].result() == hashlib.sha256(up).hexdigest()
        assert readers[1].result() == hashlib.sha256(down).hexdigest()
        assert relay.status() == 0
        assert relay.closed()["up"] == relay.closed()["down"] == str(64 * MIB)


@scenario
def trickle():
    data = noise(2048)
    with Relay() as relay:
        client, backend = relay.connect()
        for end in client, backend:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(data)):
            client.sendall(data[i:i + 1])
            backend.sendall(data[-1 - i:][:1])
        half_close(client)
        half_close(backend)
        assert read_to_eof(backend) == data
        assert read_to_eof(client) == data[::-1]
        assert relay.status() == 0


@scenario
def urgent_bytes_are_bytes(when):
    with Relay(held=when == "early") as relay:
        client = relay.call()
        if when == "early":             # before relay is there
            client.sendall(b"one ")
            client.send(b"!", socket.MSG_OOB)
            client.sendall(b" two ")
            relay.release()
        backend = relay.answer()
        if when == "late":
            client.sendall(b"one ")
            client.send(b"!", socket.MSG_OOB)
            client.sendall(b" two ")
            backend.sendall(b"three ")
            backend.send(b"?", socket.MSG_OOB)
            backend.send(b"?", socket.MSG_OOB)
        client.send(b"!", socket.MSG_OOB)
        assert read(backend, 11) == b"one ! two !"
        half_close(client)
        half_close(backend)
        assert read_to_eof(client) == (b"three ??" if when == "late" else b"")
        assert relay.status() == 0


@scenario
def quick_close():
    data = noise(MIB)
    with Relay("-v") as relay:
        client = relay.call()
        client.sendall(data)
        client.close()
        backend = relay.accept()
        got = read_to_eof(backend)
        assert got.startswith(b"PROXY TCP4 127.0.0.1 ") and got.partition(b"\r\n")[2] == data
        backend.close()
        assert relay.status() == 0
        assert relay.closed()["up"] == str(MIB) and relay.closed()["end"] == "done"


@scenario
def fire_and_forget(when, client_kind):
    """The client hangs up as soon as it has sent, perhaps before relay even starts."""
    data = noise(32 * 1024)
    with Relay("-v", client=client_kind, held=True) as relay:
        client = relay.call()
        if when == "early":
            client.sendall(data)
            client.close()
        relay.release()
        backend = relay.answer()
        if when == "late":
            client.sendall(data)
            client.close()
        assert read_to_eof(backend) == data
        backend.close()
        assert relay.status() == 0
        assert relay.closed()["end"] == "done"


@scenario
def fire_and_forget_to_a_slow_backend(client_kind):
    with Relay("-v", client=client_kind) as relay:
        client, backend = relay.connect()
        (sent,) = fill(client)
        client.close()
        time.sleep(0.5)
        assert read_to_eof(backend) == noise(64 * MIB)[:sent]
        backend.close()
        assert relay.status() == 0
        assert relay.closed()["up"] == str(sent)


@scenario
def what_is_under_way_arrives_after_relay_has_ended():
    """Most of it is in the kernel then: the client has room for little."""
    data = noise(64 * 1024)
    with Relay() as relay:
        client = relay.call(receive_buffer=4096)
        backend = relay.answer()
        half_close(client)
        assert read_to_eof(backend) == b""
        backend.sendall(data)
        backend.close()
        assert relay.status() == 0
        assert read_to_eof(client) == data


# ---- S3: half-close ----

@scenario
def late_answer_after_client_half_close(client_kind="tcp", backend_kind="tcp"):
    late_words(0, client_kind, backend_kind)


@scenario
def late_words_after_backend_half_close(client_kind="tcp", backend_kind="tcp"):
    late_words(1, client_kind, backend_kind)


def late_words(half_closer, client_kind, backend_kind):
    data = noise(4 * MIB)
    with Relay("-v", client=client_kind, backend=backend_kind) as relay:
        ends = relay.connect()
        early, late = ends[half_closer], ends[not half_closer]
        early.sendall(b"that is all")
        half_close(early)
        assert read_to_eof(late) == b"that is all"
        time.sleep(3)
        words = Background(send_all, late, data)
        assert read_to_eof(early) == data
        words.result()
        assert relay.status() == 0
        assert relay.closed()["end"] == "done"


@scenario
def half_close_with_both_directions_full(client_kind="tcp", backend_kind="tcp"):
    with Relay("-v", client=client_kind, backend=backend_kind) as relay:
        client, backend = relay.connect()
        up, down = fill(client, backend)
        half_close(client)
        half_close(backend)
        time.sleep(0.3)
        assert not relay.ended()
        assert read_to_eof(backend) == noise(64 * MIB)[:up]
        assert read_to_eof(client) == noise(64 * MIB)[:down]
        assert relay.status() == 0
        assert relay.closed()["up"] == str(up) and relay.closed()["down"] == str(down)


# ---- S4: a cut looks cut ----

@scenario
def client_reset_reaches_the_backend():
    resets(0, 0, "client-reset")


@scenario
def backend_reset_reaches_the_client():
    resets(1, 111, "backend-reset")


def resets(who, status, end):
    for _ in range(20):
        with Relay("-v") as relay:
            ends = relay.connect()
            ends[who].sendall(b"last words")
            reset(ends[who])
            assert read_to_reset(ends[not who]) == b"last words"
            assert relay.status() == status
            assert relay.closed()["end"] == end


@scenario
def reset_after_a_half_close():
    """Whoever has half-closed is still there to reset, and to be reset. A backend that had
    finished is no failure: it has closed, and the client has sent more."""
    for who in range(2):
        for half_closer in range(2):
            with Relay() as relay:
                ends = relay.connect()
                half_close(ends[half_closer])
                assert ends[not half_closer].recv(1) == b""
                reset(ends[who])
                wait_until(lambda: is_reset(ends[not who]), AT_ONCE)
                assert relay.status() == (111 if who and not half_closer else 0)


def unacknowledged(sock):
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]


def upload(client):
    """As HTTP clients do it: on and on, until it fails."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for _ in range(64):
            client.sendall(noise(MIB))
        raise AssertionError("all sent, no reset")


@scenario
def answer_before_a_reset_arrives(size):
    """HTTP's 413: the backend answers, closes with the upload unread, so resets."""
    answer = noise(int(size))
    for _ in range(20):
        with Relay() as relay:
            client, backend = relay.connect()
            sender = Background(upload, client)
            read(backend, 10000)
            got = bytearray()
            backend.sendall(answer)
            wait_until(lambda: unacknowledged(backend) == 0)    # relay's kernel has it
            backend.close()
            with contextlib.suppress(ConnectionResetError):
                while more := client.recv(65536):
                    got += more
            sender.result()             # which saw the reset, if reading did not
            assert got == answer, f"{len(got)} bytes of {size}"
            assert relay.status() == 111


@scenario
def busy_backend_is_heard():
    """It says so and closes, without a look at the header: a reset follows."""
    for _ in range(20):
        with Relay() as relay:
            client = relay.call()
            backend = relay.accept()
            backend.sendall(b"421 too busy\r\n")
            wait_until(lambda: not is_silent(backend))
            backend.close()
            assert read_to_reset(client) == b"421 too busy\r\n"
            assert relay.status() == 111


def transfer(client, backend):
    """Both directions busy, on and on, until a reset. Background jobs."""
    def push(end):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while True:
                end.sendall(noise(MIB))

    def pull(end):
        with contextlib.suppress(ConnectionResetError):
            while end.recv(MIB):
                pass

    return [Background(push, client), Background(push, backend)], \
           [Background(pull, client), Background(pull, backend)]


@scenario
def killed_in_mid_transfer(name):
    """The two ends of it, each seen by a reader whose socket nobody else uses."""
    with Relay("-v") as relay:
        client, backend = relay.connect()
        # Down only: the backend writes all the time, the client reads all the time.
        job = Background(upload, backend)
        read(client, 4 * MIB)
        os.kill(relay.pid(), getattr(signal, name))
        read_to_reset(client)
        job.result()
        assert relay.status(AT_ONCE) == -getattr(signal, name)
        assert name == "SIGKILL" or relay.closed()["end"] == "signal"


def slowed(calls, milliseconds, when="1+"):
    """A tracer that makes relay pause before these system calls."""
    return ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=" + calls,
            "-e", f"inject={calls}:delay_enter={milliseconds * 1000}:when={when}"]


@scenario
def terminated_at_full_speed():
    """SIGTERM finds its way in even where relay never has to wait: each time that it
    asks, there is more, for it is the slowest of the three."""
    with Relay("-v", tracer=slowed("poll,ppoll,?epoll_wait,epoll_pwait", 10)) as relay:
        client, backend = relay.connect()
        pushers, pullers = transfer(client, backend)
        time.sleep(0.5)
        os.kill(relay.pid(), signal.SIGTERM)
        assert relay.status(AT_ONCE) == -signal.SIGTERM
        for job in pushers + pullers:
            job.result()
        assert relay.closed()["end"] == "signal"


@scenario
def killed_at_rest(name):
    """With nothing unread anywhere, so that no kernel resets of its own accord."""
    with Relay("-v") as relay:
        client, backend = relay.connect()
        client.sendall(b"ping")
        assert read(backend, 4) == b"ping"
        wait_until(relay.sleeps)
        os.kill(relay.pid(), getattr(signal, name))
        assert read_to_reset(client) == read_to_reset(backend) == b""
        assert relay.status() == -getattr(signal, name)
        assert name == "SIGKILL" or relay.closed()["end"] == "signal"


@scenario
def killed_after_a_half_close():
    """An answer cut short must not look whole."""
    with Relay() as relay:
        client, backend = relay.connect()
        half_close(client)
        assert read_to_eof(backend) == b""
        backend.sendall(b"half of an ans")
        assert read(client, 14) == b"half of an ans"
        os.kill(relay.pid(), signal.SIGKILL)
        assert read_to_reset(client) == b""
        wait_until(lambda: is_reset(backend), AT_ONCE)


@scenario
def killed_while_it_connects():
    with Relay(backend="full") as relay:
        client = relay.call()
        wait_until(relay.sleeps)
        os.kill(relay.pid(), signal.SIGKILL)
        assert read_to_reset(client) == b""


@scenario
def refused_is_a_reset():
    with Relay(backend="refusing") as relay:
        with contextlib.suppress(ConnectionResetError):     # connect(2) may tell it already
            assert read_to_reset(relay.call()) == b""
        assert relay.status() == 111
        (line,) = relay.log()
        assert line.startswith("relay: error msg="), line
        assert "refused" in line and f"backend={relay.to}" in line, line


@scenario
def wrong_usage_is_a_reset():
    with Relay("--no-such-option") as relay:
        with contextlib.suppress(ConnectionResetError):     # connect(2) may tell it already
            assert read_to_reset(relay.call()) == b""
        assert relay.status() == 100


# ---- S5: when nothing can move, nothing runs ----

@scenario
def rests_when_idle(client_kind="tcp", backend_kind="tcp"):
    with Relay("-v", "--idle=100", client=client_kind, backend=backend_kind) as relay:
        relay.connect()
        relay.assert_rests()


@scenario
def rests_with_both_directions_full(client_kind="tcp", backend_kind="tcp"):
    with Relay(client=client_kind, backend=backend_kind) as relay:
        fill(*relay.connect())
        relay.assert_rests()


@scenario
def rests_when_half_closed(who, client_kind="tcp", backend_kind="tcp"):
    with Relay(client=client_kind, backend=backend_kind) as relay:
        client, backend = relay.connect()
        first, second = (client, backend) if who == "client" else (backend, client)
        half_close(first)
        assert read_to_eof(second) == b""
        relay.assert_rests()


@scenario
def rests_when_half_closed_and_full(client_kind="tcp", backend_kind="tcp"):
    with Relay(client=client_kind, backend=backend_kind) as relay:
        client, backend = relay.connect()
        fill(client, backend)
        half_close(client)
        half_close(backend)
        relay.assert_rests()


@scenario
def rests_when_its_client_has_hung_up(client_kind="unix", backend_kind="tcp"):
    """poll(2) tells POLLHUP for ever, and the backend takes nothing."""
    with Relay(client=client_kind, backend=backend_kind) as relay:
        client, backend = relay.connect()
        (sent,) = fill(client)
        client.close()
        relay.assert_rests()
        assert read_to_eof(backend) == noise(64 * MIB)[:sent]


@scenario
def rests_when_nobody_reads_a_pipe():
    """poll(2) tells POLLERR for ever."""
    with Relay(client="pipes") as relay:
        client, _ = relay.connect()
        client.reads.close()
        relay.assert_rests()


@scenario
def rests_while_it_connects(client_kind="tcp"):
    with Relay("-v", client=client_kind, backend="full") as relay:
        client = relay.call()
        client.sendall(b"hello?")
        if client_kind == "unix":
            client.close()              # POLLHUP, here too
        relay.assert_rests()


# ---- S6: when one side is gone, so is the other ----

@scenario
def client_gone_while_the_backend_is_stalled():
    with Relay("-v") as relay:
        client, backend = relay.connect()
        fill(client)
        reset(client)
        wait_until(lambda: is_reset(backend), AT_ONCE)
        assert relay.status() == 0
        assert relay.closed()["end"] == "client-reset"


@scenario
def backend_gone_while_the_client_is_stalled():
    with Relay("-v") as relay:
        client, backend = relay.connect()
        fill(backend)
        reset(backend)
        wait_until(lambda: is_reset(client), AT_ONCE)
        assert relay.status() == 111
        assert relay.closed()["end"] == "backend-reset"


@scenario
def gone_with_both_directions_full(who):
    with Relay() as relay:
        client, backend = relay.connect()
        fill(client, backend)
        gone, left = (client, backend) if who == "client" else (backend, client)
        reset(gone)
        wait_until(lambda: is_reset(left), AT_ONCE)
        relay.status(AT_ONCE)


@scenario
def hung_up_client_ends_it(client_kind, backend_kind="tcp"):
    """All that it said has been passed on, and nobody is left to answer to."""
    with Relay("-v", client=client_kind, backend=backend_kind) as relay:
        client, backend = relay.connect()
        client.sendall(b"bye")
        half_close(client)
        assert read_to_eof(backend) == b"bye"
        wait_until(relay.sleeps)
        assert not relay.ended()
        client.close()
        assert relay.status(AT_ONCE) == 0
        assert relay.closed()["end"] == "done"


@scenario
def reader_of_a_pipe_gone():
    """That alone ends nothing, for the client may go on to speak."""
    with Relay("-v", client="pipes") as relay:
        client, backend = relay.connect()
        client.reads.close()
        client.sendall(b"I am still here")
        assert read(backend, 15) == b"I am still here"
        wait_until(relay.sleeps)
        backend.sendall(b"who?")
        assert read_to_reset(backend) == b""
        assert relay.status(AT_ONCE) == 0
        assert relay.closed()["end"] == "client-reset"


@scenario
def dead_peers_are_asked_for(how):
    """SO_KEEPALIVE runs on both sockets, 60 s from when they are idle, or busy for
    longer than a short connection is."""
    with Relay() as relay:
        client, backend = relay.connect()

        def keepalive():
            for ours in client, backend:
                here, there = ours.getpeername(), ours.getsockname()
                line = subprocess.run(
                    ["ss", "-Htno", "src", "%s:%d" % here, "and", "dst", "%s:%d" % there],
                    stdout=subprocess.PIPE, check=True, text=True).stdout
                timer = re.search(r"timer:\(keepalive,(?:(\d+)min)?(?:(\d+)sec)?", line)
                yield timer and 0 < int(timer[1] or 0) * 60 + int(timer[2] or 0) <= 60

        if how == "busy":
            begun = time.monotonic()
            for _ in range(8):
                client.sendall(b"ping")
                assert read(backend, 4) == b"ping"
            wait_until(lambda: all(keepalive()))
            assert time.monotonic() - begun < 1
        else:
            client.sendall(b"ping")
            assert read(backend, 4) == b"ping"
            wait_until(lambda: all(keepalive()), 3)


@scenario
def options_are_set_on_both_sockets():
    """Nagle's algorithm is off; who is dead is found after 60 s and 6 x 20 s more."""
    trace = tempfile.mktemp(dir=DIRECTORY, prefix="strace")
    with Relay(tracer=["strace", "-D", "-o", trace, "-e", "trace=setsockopt"]) as relay:
        relay.connect()

        def calls():
            with open(trace, encoding="ascii") as file:
                return re.findall(r"^setsockopt\((\d+), \w+, (\w+), \[(\d+)\], 4\)\s+= 0$", file.read(), re.M)

        wait_until(lambda: len(calls()) == 12, 5)
    found = {}
    for fd, name, value in calls():
        found.setdefault(fd, {})[name] = int(value)
    assert len(found) == 2 and "0" in found, found
    for options in found.values():
        assert options["TCP_NODELAY"] == options["SO_KEEPALIVE"] == 1, options
        assert options["TCP_KEEPIDLE"] + options["TCP_KEEPINTVL"] * options["TCP_KEEPCNT"] == 180, options


@scenario
def client_gone_while_relay_connects(kind):
    with Relay("-v", backend=kind) as relay:
        client = relay.call()
        wait_until(relay.sleeps)
        reset(client)
        assert relay.status(AT_ONCE) == 0
        assert relay.closed()["end"] == "client-reset"


@scenario
def client_gone_before_relay(how):
    with Relay("-v" if how == "told" else "-1", held=True) as relay:
        client = relay.call()
        reset(client)
        relay.release()
        assert relay.status() == 0
        if how == "told":
            assert relay.closed()["end"] == "client-reset"
        else:
            assert relay.log() == []
        assert is_silent(relay.listener), "the backend was asked"


# ---- S7: small messages ----

@scenario
def small_messages_are_not_held_back():
    """Nagle's algorithm keeps a second small message until the first is acknowledged,
    and without TCP_QUICKACK that takes the receiver's kernel 40 ms."""
    with Relay() as relay:
        ends = relay.connect()
        for sender, receiver in ends, ends[::-1]:
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            times = []
            for _ in range(25):
                receiver.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
                sender.sendall(b"1")
                assert read(receiver, 1) == b"1"
                begin = time.monotonic()
                sender.sendall(b"2")
                assert read(receiver, 1) == b"2"
                times.append(time.monotonic() - begin)
            assert statistics.median(times) < 0.02, times


# ---- S8: descriptors ----

@scenario
def any_descriptors(client_kind):
    data = noise(MIB)
    with Relay("-v", client=client_kind) as relay:
        client, backend = relay.connect()
        jobs = Background(send_all, client, data), Background(send_all, backend, data[::-1])
        got = Background(read_to_eof, backend)
        assert read_to_eof(client) == data[::-1]
        assert got.result() == data
        for job in jobs:
            job.result()
        assert relay.status() == 0
        assert relay.closed()["end"] == "done"


@scenario
def flags_of_shared_pipes_stay(polarity):
    """Of each pipe we keep the very end that relay has: it has the same flags."""
    with Relay(client="pipes-kept", held=True) as relay:
        client = relay.call()
        for end in relay.far:
            os.set_blocking(end.fileno(), polarity == "blocking")

        def flags():
            return [fcntl.fcntl(end, fcntl.F_GETFL) for end in relay.far]

        before = flags()
        relay.release()
        backend = relay.answer()
        client.sendall(b"ping")
        assert read(backend, 4) == b"ping"
        assert flags() == before
        fill(client, backend)
        assert flags() == before
        reset(backend)
        assert relay.status() == 111
        assert flags() == before


@scenario
def full_pipe_does_not_block_the_other_direction():
    """write(2) to a blocking pipe would, where more is written than fits."""
    with Relay(client="pipes") as relay:
        client, backend = relay.connect()
        (down,) = fill(backend)
        data = noise(4 * MIB)
        words = Background(send_all, client, data)
        assert read_to_eof(backend) == data
        words.result()
        half_close(backend)
        assert read_to_eof(client) == noise(64 * MIB)[:down]
        assert relay.status() == 0


# ---- S9: nothing but the backend's bytes reaches the client ----

@scenario
def error_goes_elsewhere(client_kind):
    """Descriptor 2 is the client: promises.bats looks for the message in syslog."""
    with Relay(client=client_kind, backend="refusing") as relay:
        client = relay.call()
        if client_kind.startswith("pipes"):
            assert read_to_eof(client) == b""
        else:
            assert read_to_reset(client) == b""
        assert client_kind != "pipes-socket" or read_to_eof(relay.beyond) == b""
        assert relay.status() == 111


@scenario
def wrong_usage_goes_elsewhere(client_kind):
    with Relay("--no-such-option", client=client_kind) as relay:
        client = relay.call()
        with contextlib.suppress(ConnectionResetError):
            assert read_to_eof(client) == b""
        assert relay.status() == 100


@scenario
def log_goes_elsewhere(client_kind):
    """-v's line, at the end of a connection that the backend half-closes first."""
    with Relay("-v", client=client_kind) as relay:
        client, backend = relay.connect()
        backend.sendall(b"only this")
        half_close(backend)
        assert read(client, 9) == b"only this"
        assert read_to_eof(client) == b""       # S3: on 2 it must not be held open
        half_close(client)
        assert relay.status() == 0


@scenario
def stuck_log_holds_up_no_signal():
    """The last line waits a second for room in the log; whoever ends relay then does not."""
    with Relay("-v", client="unix") as relay:
        relay.jam_log()
        client, backend = relay.connect()
        backend.close()
        assert read_to_eof(client) == b""
        client.close()
        wait_until(relay.sleeps)
        os.kill(relay.pid(), signal.SIGTERM)
        relay.status(AT_ONCE)


@scenario
def journal_gets_levels():
    with Relay(backend="refusing", client="unix") as relay:
        info = os.fstat(relay.stderr.fileno())
        relay.command = ["env", f"JOURNAL_STREAM={info.st_dev}:{info.st_ino}"] + relay.command
        client = relay.call()
        assert read_to_eof(client) == b""
        assert relay.status() == 111
        (line,) = relay.log()
        assert line.startswith("<3>relay: error msg="), line


# ---- S10: one clear line ----

@scenario
def bad_option_is_one_clear_line():
    with Relay("--no-such-option") as relay:
        with contextlib.suppress(ConnectionResetError):     # connect(2) may tell it already
            relay.call()
        assert relay.status() == 100
        (line,) = relay.log()
        assert line.startswith('relay: error msg="'), line
        assert "--no-such-option" in line and "relay --help" in line, line
        assert is_silent(relay.listener), "the backend was asked"


# ---- options ----

@scenario
def idle_cuts():
    with Relay("-v", "--idle=1") as relay:
        client, backend = relay.connect()
        client.sendall(b"ping")
        assert read(backend, 4) == b"ping"
        moved = time.monotonic()
        assert read_to_reset(client) == b""
        assert 0.95 < time.monotonic() - moved < 1.5
        assert read_to_reset(backend) == b""
        assert relay.status() == 0
        assert relay.closed()["end"] == "idle"


@scenario
def idle_is_put_off_by_moving_bytes():
    with Relay("--idle=2") as relay:
        client, backend = relay.connect()
        for sender, receiver in [(client, backend), (backend, client)] * 2:
            time.sleep(0.7)     # a busy machine may make twice as much of it
            sender.sendall(b"ping")
            assert read(receiver, 4) == b"ping"
        moved = time.monotonic()
        assert read_to_reset(client) == read_to_reset(backend) == b""
        assert 1.95 < time.monotonic() - moved < 2.5


@scenario
def idle_counts_a_half_closed_connection():
    with Relay("-v", "--idle=1") as relay:
        client, backend = relay.connect()
        half_close(client)
        assert read_to_eof(backend) == b""
        begin = time.monotonic()
        assert read_to_reset(client) == b""
        assert time.monotonic() - begin < 1.5
        wait_until(lambda: is_reset(backend), AT_ONCE)
        assert relay.closed()["end"] == "idle"


@scenario
def idle_counts_a_stalled_connection():
    noise(64 * MIB)     # made now: it must not take up the second
    with Relay("-v", "--idle=1") as relay:
        client, backend = relay.connect()
        fill(client, backend)
        wait_until(lambda: is_reset(client) and is_reset(backend), 2)
        assert relay.closed()["end"] == "idle"


@scenario
def counts_are_right(version):
    with Relay("-v", version) as relay:
        client, backend = relay.connect()
        name = "%s:%d"
        client_name, server_name = name % relay.names[0], name % relay.names[1]
        client.sendall(noise(1248)[:1234])
        assert len(read(backend, 1234)) == 1234
        backend.sendall(noise(56800)[:56789])
        assert len(read(client, 56789)) == 56789
        half_close(client)
        half_close(backend)
        fields = relay.closed()
        seconds = float(fields.pop("seconds"))
        assert 0 <= seconds < 5
        assert fields == {"client": client_name, "server": server_name, "backend": relay.to,
                          "up": "1234", "down": "56789", "end": "done"}, fields


@scenario
def counts_are_right_where_the_header_fails():
    with Relay("-v", backend="unix", tracer=slowed("write,sendto,sendmsg", 300, "1")) as relay:
        client = relay.call()
        relay.accept().close()
        assert read_to_reset(client) == b""
        assert relay.closed()["up"] == relay.closed()["down"] == "0", relay.closed()
        assert relay.status() == 111


@scenario
def timeout_of_a_connection(backend_kind, client_kind="tcp"):
    with Relay("--timeout=1", backend=backend_kind, client=client_kind) as relay:
        begin = time.monotonic()
        client = relay.call()
        if client_kind == "unix":
            time.sleep(0.6)
            client.close()              # which is no reason to begin anew
        else:
            assert read_to_reset(client) == b""
        assert relay.status() == 111
        assert 0.95 < time.monotonic() - begin < 1.5, time.monotonic() - begin
        (line,) = relay.log()
        assert line.startswith("relay: error msg=") and f"backend={relay.to}" in line, line


@scenario
def binds_to_an_address():
    with Relay("--bind=127.0.0.5") as relay:
        relay.call()
        backend = relay.answer()
        assert backend.getpeername()[0] == "127.0.0.5"


@scenario
def backend_of_another_family(client_kind, backend_kind):
    with Relay(client=client_kind, backend=backend_kind) as relay:
        client, backend = relay.connect()
        client.sendall(b"ping")
        half_close(client)
        assert read_to_eof(backend) == b"ping"
        backend.sendall(b"pong")
        backend.close()
        assert read_to_eof(client) == b"pong"
        assert relay.status() == 0


# ---- the two paths of the bytes: a buffer, and a pipe for bulk ----

def traced(calls, *inject):
    """A tracer, and a function that gives the lines it has written."""
    trace = tempfile.mktemp(dir=DIRECTORY, prefix="strace")
    tracer = ["strace", "-D", "-qq", "-o", trace, "-e", "trace=" + calls]
    for what in inject:
        tracer += ["-e", "inject=" + what]

    def lines():
        with open(trace, encoding="ascii") as file:
            return file.read().splitlines()

    return tracer, lines


@scenario
def bulk_goes_through_a_pipe():
    tracer, lines = traced("splice,recvfrom,pipe2")
    with Relay(tracer=tracer) as relay:
        client, backend = relay.connect()
        for _ in range(100):
            client.sendall(noise(4096))
            assert read(backend, 4096) == noise(4096)
        assert not [line for line in lines() if line.startswith(("splice", "pipe2"))], lines()
        job = Background(send_all, backend, noise(64 * MIB))
        assert read(client, 64 * MIB) == noise(64 * MIB)
        job.result()
        half_close(client)
        assert relay.status() == 0
    assert len([line for line in lines() if line.startswith("pipe2")]) == 1, lines()
    moved = [int(line.rpartition(" = ")[2]) for line in lines() if re.match(r"splice\([^0].*= \d+$", line)]
    assert sum(moved) > 32 * MIB, sum(moved)


def rests(relay):
    """Of what it has written to, its stack apart, it has kept one page: see `large` in
    relay.c. Of a static relay, by musl and GNU ld."""
    with open(f"/proc/{relay.pid()}/smaps", encoding="ascii") as file:
        maps = re.findall(r"^\w+-\w+ rw.*?^Anonymous: +(\d+) kB", file.read().partition("[stack]")[0], re.M | re.S)
    return sum(map(int, maps)) * 1024 == os.sysconf("SC_PAGE_SIZE")


def ping(client, backend, times):
    for _ in range(times):
        client.sendall(b"ping")
        assert read(backend, 4) == b"ping"
        backend.sendall(b"pong")
        assert read(client, 4) == b"pong"


@scenario
def idle_gives_memory_back():
    """After a transfer as before it; and it works on."""
    with Relay() as relay:
        client, backend = relay.connect()

        def holds():
            with open(f"/proc/{relay.pid()}/smaps_rollup", encoding="ascii") as file:
                kib = int(re.search(r"^Anonymous: +(\d+) kB", file.read(), re.M)[1])
            return kib, len(os.listdir(f"/proc/{relay.pid()}/fd"))

        ping(client, backend, 1)
        time.sleep(1.5)
        before = holds()
        for _ in range(2):
            jobs = [Background(end.sendall, noise(16 * MIB)) for end in (client, backend)]
            readers = [Background(read, end, 16 * MIB) for end in (client, backend)]
            for job in jobs:
                job.result()
            assert readers[0].result() == readers[1].result() == noise(16 * MIB)
            assert holds() > before, (holds(), before)
            wait_until(lambda: holds() <= before, 5)
        half_close(client)
        half_close(backend)
        assert relay.status() == 0


@scenario
def rest_takes_one_page_of_data():
    """Also where it has lasted before it rests, and after each rest."""
    with Relay() as relay:
        client, backend = relay.connect()
        for times in (20, 1, 1):
            begun = time.monotonic()
            ping(client, backend, times)
            assert not rests(relay) or time.monotonic() - begun > 1
            wait_until(lambda: rests(relay), 5)
        half_close(client)
        half_close(backend)
        assert relay.status() == 0


@scenario
def stalled_bulk_keeps_its_bytes():
    """What relay itself holds, for longer than it takes to give memory back."""
    with Relay() as relay:
        client, backend = relay.connect()
        down, up = fill(backend, client)
        time.sleep(2)
        half_close(client)
        half_close(backend)
        got = Background(read_to_eof, client)
        assert read_to_eof(backend) == noise(64 * MIB)[:up]
        assert got.result() == noise(64 * MIB)[:down]
        assert relay.status() == 0


@scenario
def bulk_waits_for_nobody():
    """Somebody else who has the client's socket lets it wait. Bulk for a client that does
    not read must not hold up what the client says."""
    with Relay(client="inetd") as relay:
        client, backend = relay.connect()
        job = Background(backend.sendall, noise(16 * MIB))
        read(client, 16 * MIB)
        job.result()
        pidfd = os.pidfd_open(relay.pid())
        theirs = ctypes.CDLL(None).syscall(438, pidfd, 0, 0)    # pidfd_getfd
        assert theirs >= 0 and not os.get_blocking(theirs)
        os.set_blocking(theirs, True)
        os.close(theirs)
        os.close(pidfd)
        fill(backend)
        for _ in range(30):     # a few of which make room
            client.sendall(b"words")
            assert read(backend, 5) == b"words"
        reset(client)


@scenario
def reset_in_mid_bulk_is_no_end():
    """A splice that has written some, and then met the reset, tells only of the former:
    what is read next from that side looks like its end. Where it happens is chance."""
    for i in range(1000):
        with Relay(client="inetd") as relay:
            client, backend = relay.connect()
            backend.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
            job = Background(read_to_reset, backend)    # which sends no more by then
            backend.sendall(noise(2 * MIB))
            read(client, 64 * 1024 + i * 1024)
            reset(client)
            assert job.result() == b""


@scenario
def pipe_that_cannot_be_had(*inject):
    """Each system call that the pipe needs is refused, now and then or always."""
    tracer, lines = traced("splice,pipe2,fcntl", *(what.replace("=", ":error=", 1).replace("/", ":") for what in inject))
    data = noise(32 * MIB)
    with Relay(tracer=tracer) as relay:
        client, backend = relay.connect()
        jobs = [Background(send_all, end, data) for end in (client, backend)]
        readers = [Background(read_to_eof, end) for end in (client, backend)]
        for job in jobs:
            job.result()
        assert readers[0].result() == data and readers[1].result() == data
        assert relay.status() == 0
    assert any("(INJECTED)" in line for line in lines()), lines()


# ---- the sandbox ----

@scenario
def sandbox_is_closed_before_the_first_byte(client_kind="tcp"):
    tracer, lines = traced("all")
    with Relay("-2", tracer=tracer, client=client_kind) as relay:
        client, backend = relay.connect()
        wait_until(lambda: "seccomp" in "".join(lines()))
        with open(f"/proc/{relay.pid()}/status", encoding="ascii") as file:
            status = file.read()
        assert "NoNewPrivs:\t1\n" in status and "Seccomp:\t2\n" in status, status
        client.sendall(noise(16 * MIB)[:5])
        assert read(backend, 5) == noise(16 * MIB)[:5]
        job = Background(backend.sendall, noise(16 * MIB))
        read(client, 16 * MIB)
        job.result()
        half_close(client)
        half_close(backend)
        assert relay.status() == 0
    made = [line.partition("(")[0] for line in lines()]
    closed = made.index("seccomp")
    assert lines()[closed].endswith(" = 0"), lines()[closed]
    before, after = made[:closed], set(made[closed + 1:])
    assert "read" not in before and "recvfrom" not in before, before
    assert after <= {"setsockopt", "getsockopt", "ppoll", "recvfrom", "sendto", "read", "write", "pipe2", "fcntl",
                     "splice", "shutdown", "madvise", "rt_sigaction", "close", "poll", "exit_group"}, after


@scenario
def sandbox_forbids(name):
    """tests/forbidden.h: the client's words are done. See sandbox_is_what_forbids."""
    with Relay("-v") as relay:
        client, backend = relay.connect()
        client.sendall(b"call " + name.encode())
        assert read_to_reset(client) == b"" and read_to_reset(backend) == b""
        assert relay.status() == 111
        assert relay.find(r'error msg="the sandbox forbids system call \d+: please report this" client=')


@scenario
def sandbox_is_what_forbids(name):
    """Without it nothing happens: the words go on to the backend, as all others do."""
    with Relay("-v") as relay:
        client, backend = relay.connect()
        for word in (b"call " + name.encode(), b"words"):
            client.sendall(word)
            assert read(backend, len(word)) == word
        half_close(client)
        half_close(backend)
        assert relay.status() == 0
        assert relay.closed()["end"] == "done"


# ---- to run them ----

def run(name, results):
    function, *arguments = name.split(":")
    failure = None
    try:
        SCENARIOS[function](*arguments)
    except BaseException:
        failure = f"{name}: {traceback.format_exc()}"
        print(failure, file=sys.stderr)
    if results:
        path = os.path.join(results, name)
        with open(path + ".part", "w", encoding="utf-8") as file:
            file.write(failure or "")
        os.rename(path + ".part", path + (".failed" if failure else ".ok"))
    return not failure


def main():
    names, results = sys.argv[1:], None
    if names[:1] == ["--results"]:
        results = names[1]
        names = names[2:]
    if len(names) == 1:
        sys.exit(not run(names[0], results))
    noise(64 * MIB)     # made now: none of those that take the time is to wait for it
    jobs = [Background(run, name, results) for name in names]
    for job in jobs:
        job.join()
    sys.exit(not all(job.value for job in jobs))


if __name__ == "__main__":
    main()
