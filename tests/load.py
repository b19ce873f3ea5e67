#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""Many connections through relay, for tests/load.bats.

load.py SCENARIO [NAME=VALUE]...
    Runs one of the functions below that are marked so, with these arguments. It is
    all clients and the backend in one, so that it knows of every byte what became
    of it. Prints figures and how far it is; what failed goes to stderr, exit status 1.

launcher=PID is who listens on port=PORT (80) and starts relay for each connection,
with the backend 127.0.0.1:BACKEND (8080), which is here. All but `flood` are for a
network of their own: no other socket is in it.
"""
import asyncio
import collections
import contextlib
import itertools
import os
import re
import resource
import select
import socket
import struct
import subprocess
import sys
import time

from ends import LINGER_0, MIB, V2_SIGNATURE, noise, scenario, wait_until, SCENARIOS

PATIENCE = 100          # seconds before it gives up waiting
SECONDS = 10            # in which somebody is served who is served "within seconds"
CHUNK = 256 * 1024

# Each direction of each connection has noise of its own: the same, begun elsewhere.
# No power of two: what went astray by one is not what should be there.
PERIOD = MIB - 3
NOISE = noise(PERIOD) + noise(CHUNK)


def piece(key, position, size):
    """Bytes of the stream with that key, size of them at most."""
    start = (key * 7919 + position) % PERIOD
    return NOISE[start:start + min(size, CHUNK)]


def say(text):
    print(text, flush=True)


# ---- what the kernel tells ----

class Launcher:
    def __init__(self, pid):
        self.pid = pid

    def children(self):
        """Zombies, too."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
            return file.read().split()

    def relays(self):
        return [pid for pid in self.children() if name_of(pid) == "relay"]

    def descriptors(self):
        directory = f"/proc/{self.pid}/fd"
        return sorted(f"{fd} {os.readlink(f'{directory}/{fd}')}" for fd in os.listdir(directory))

    def memory(self):
        """KiB of its own."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(r"RssAnon:\s*(\d+)", file.read())[1])


class Machine:
    """One whose process 1 launches; namespaces tell which processes are its own."""

    def __init__(self, pid):
        self.pid = pid

    def relays(self):
        return relays("pid", self.pid)


def name_of(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read().rstrip("\n")


def relays(namespace="net", of="self"):
    """Processes of relay in this namespace of that process."""
    found = []
    own = os.readlink(f"/proc/{of}/ns/{namespace}")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if name_of(pid) == "relay" and os.readlink(f"/proc/{pid}/ns/{namespace}") == own:
                found.append(pid)
    return found


def sockets(port=80, backend=8080):
    """State and owner of each TCP socket in this network that does not listen: how many."""
    count = collections.Counter()
    lines = subprocess.run(["ss", "-Htan"], check=True, capture_output=True, text=True).stdout
    for state, _, _, local, peer, *_ in map(str.split, lines.splitlines()):
        local, peer = local.rpartition(":")[2], peer.rpartition(":")[2]
        if state != "LISTEN":
            count[state, "relay's to the client" if local == str(port) else
                  "the client's" if peer == str(port) else
                  "relay's to the backend" if peer == str(backend) else
                  "the backend's" if local == str(backend) else "somebody's"] += 1
    return count


def resting():
    """Of these, the ones in TIME-WAIT: who closes first has it."""
    return {owner: n for (state, owner), n in sorted(sockets().items()) if state == "TIME-WAIT"}


def nothing_left(launcher, descriptors, late=False):
    """No process, no descriptor of the launcher's, and no socket but in TIME-WAIT. late:
    after a flood the kernel tries for a while to send what clients said that have left, and
    an end to one that is in TIME-WAIT, for 60 s: the try behind that comes after 102 s."""
    def left():
        return launcher.children(), relays(), {kind: n for kind, n in sockets().items() if kind[0] != "TIME-WAIT"}

    if not late:
        wait_until(lambda: not launcher.children())
        assert not relays(), f"relays are left: {relays()}"
    try:
        wait_until(lambda: not any(left()), 130 if late else SECONDS)
    except AssertionError as error:
        raise AssertionError(f"there are left {left()}") from error
    assert launcher.descriptors() == descriptors, f"{launcher.descriptors()}, not {descriptors}"


def available_memory():
    """KiB."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(re.search(r"MemAvailable:\s*(\d+)", file.read())[1])


def condition():
    """Of the machine, in words."""
    with open("/proc/loadavg", encoding="ascii") as file:
        return f"load {file.read().split()[0]}, {available_memory() // 1024} MiB free"


# ---- the two ends ----

def new_listener(backend, family=socket.AF_INET, address="127.0.0.1"):
    listener = socket.socket(family)
    if family == socket.AF_INET:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, backend) if family == socket.AF_INET else backend)
    listener.listen(4096)
    return listener


class End:
    """One end of a connection, and how far the streams of it are."""

    def __init__(self, sock, sends, receives, early=b""):
        self.sock, self.early = sock, early
        self.sends, self.sent = sends, 0                # keys, and positions in the streams
        self.receives, self.received = receives, 0

    async def send(self, size):
        end = self.sent + size
        while self.sent < end:
            data = piece(self.sends, self.sent, end - self.sent)
            await asyncio.get_running_loop().sock_sendall(self.sock, data)
            self.sent += len(data)

    async def read(self, size):
        data, self.early = self.early[:size], self.early[size:]
        return data or await asyncio.get_running_loop().sock_recv(self.sock, size)

    async def receive(self, size):
        """So many bytes, and the right ones."""
        end = self.received + size
        while self.received < end:
            data = await self.read(min(CHUNK, end - self.received))
            assert data, f"EOF {end - self.received} bytes too early"
            assert data == piece(self.receives, self.received, len(data)), f"wrong bytes at {self.received}"
            self.received += len(data)

    async def ends(self):
        data = await self.read(1)
        assert data == b"", f"{data}, not EOF"

    async def is_reset(self):
        with contextlib.suppress(ConnectionResetError):
            data = await self.read(1)
            raise AssertionError(f"{data or 'EOF'}, not a reset")

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        self.close()

    def close(self):
        self.sock.close()


class Connection:
    def __init__(self, client, backend):
        self.client, self.backend = client, backend

    async def exchange(self, up, down):
        """So many bytes each way, at once."""
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as jobs:
            jobs.create_task(self.client.send(up))
            jobs.create_task(self.backend.send(down))
            jobs.create_task(self.backend.receive(up))
            jobs.create_task(self.client.receive(down))

    async def finish(self, how):
        """One of WAYS; the other end sees it."""
        first, other = self.client, self.backend
        if how.startswith("backend"):
            first, other = other, first
        async with asyncio.timeout(PATIENCE):
            if how.endswith("resets"):
                first.reset()
                await other.is_reset()
            else:
                first.half_close()
                await other.ends()
                other.close()
                await first.ends()
        first.close()
        other.close()


WAYS = ("client closes", "backend closes", "client resets", "backend resets")


class Network:
    """All connections to the backend, each known by its client's address: the header
    tells it."""

    def __init__(self, port=80, backend=8080):
        self.port = port
        self.opened = 0
        self.expected = {}      # by address, port and the port that it connects to
        self.listener = new_listener(backend)
        self.listener.setblocking(False)
        self.jobs, self.failures = set(), []
        self.begin(self.accept())

    def begin(self, job):
        task = asyncio.create_task(job)
        self.jobs.add(task)
        task.add_done_callback(self.end)
        return task

    def end(self, task):
        self.jobs.discard(task)
        if not task.cancelled() and task.exception():
            self.failures.append(task.exception())
            for future in self.expected.values():       # nobody need wait any longer
                if not future.done():
                    future.set_exception(task.exception())

    async def accept(self):
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self.listener)
            self.begin(self.welcome(sock))

    async def welcome(self, sock):
        """Its header is whole in the first segment. Nobody waits for a client that has
        left."""
        with contextlib.suppress(ConnectionError):
            if data := await asyncio.get_running_loop().sock_recv(sock, 65536):
                header, _, early = data.partition(b"\r\n")
                match = re.fullmatch(rb"PROXY TCP4 (127[.0-9]+) 127\.0\.0\.1 (\d+) (\d+)", header)
                assert match, f"no header: {data[:200]}"
                name = match[1].decode(), int(match[2]), int(match[3])
                if name in self.expected and not self.expected[name].done():
                    self.expected[name].set_result((sock, early))
                    return
        sock.close()

    async def call(self, address="127.0.0.1", port=None, first=b"", name=None):
        """A client's socket, and its name, by which the backend will know it."""
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.bind((address, 0))
            name = name or (*sock.getsockname(), port or self.port)
            self.expected[name] = asyncio.get_running_loop().create_future()
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port or self.port))
            sock.sendall(first)
            return sock, name
        except BaseException:
            self.forget(name)
            sock.close()
            raise

    async def arrival(self, name):
        """What it has at the backend: the socket, and what came behind the header."""
        await self.expected[name]
        return self.expected.pop(name).result()

    def forget(self, name):
        arrival = self.expected.pop(name, None)
        if arrival and arrival.done() and not arrival.cancelled() and not arrival.exception():
            arrival.result()[0].close()

    async def connect(self, address="127.0.0.1", port=None):
        self.opened += 1
        up = 2 * self.opened
        name = None
        try:
            async with asyncio.timeout(PATIENCE):
                client, name = await self.call(address, port)
                backend, early = await self.arrival(name)
        except BaseException:
            if name:
                self.forget(name)
                client.close()
            raise
        return Connection(End(client, up, up + 1), End(backend, up + 1, up, early))

    async def serve(self, address="127.0.0.1", port=None, how=WAYS[0]):
        """A client that behaves well, from beginning to end; seconds."""
        begun = time.monotonic()
        connection = await self.connect(address, port)
        await connection.exchange(1000, 100000)
        await connection.finish(how)
        return time.monotonic() - begun

    def close(self):
        for job in self.jobs:
            job.cancel()
        self.listener.close()
        assert not self.failures, self.failures


async def crew(size, jobs):
    """Does the jobs, so many at a time."""
    jobs = iter(jobs)

    async def work():
        for job in jobs:
            await job

    async with asyncio.TaskGroup() as workers:
        for _ in range(size):
            workers.create_task(work())


# ---- held at once ----

@scenario
async def hold(launcher, count):
    """So many at once; bytes go through all of them while others come and go."""
    launcher = Launcher(launcher)
    network = Network()
    await crew(8, (network.serve(how=WAYS[i % 4]) for i in range(100)))
    descriptors, memory, free = launcher.descriptors(), launcher.memory(), available_memory()
    held, passers = [], 0
    begun = time.monotonic()

    async def open_one():
        connection = await network.connect()
        await connection.exchange(100, 100)
        held.append(connection)
        if len(held) % (count // 5) == 0:
            say(f"{len(held)} held after {time.monotonic() - begun:.1f} s")

    await crew(64, (open_one() for _ in range(count)))
    assert len(launcher.children()) == len(relays()) == count, f"{len(launcher.children())} children, {len(relays())} relays"
    say(f"{(free - available_memory()) / count:.0f} KiB of the machine's memory for each, both its ends included; {condition()}")

    async def come_and_go():
        nonlocal passers
        while not over:
            await network.serve(how=WAYS[passers % 4])
            passers += 1

    over, begun = False, time.monotonic()
    come = [network.begin(come_and_go()) for _ in range(4)]
    for up, down in (1, 70000), (70000, 1), (5000, 5000), (100000, 100000):
        await crew(64, (connection.exchange(up, down) for connection in held))
    over = True
    for job in come:
        await job
    moved = sum(end.received for connection in held for end in (connection.client, connection.backend))
    say(f"{moved / 1e6:.0f} MB through the held ones, {passers} others came and went in {time.monotonic() - begun:.1f} s")
    assert passers > 100
    wait_until(lambda: len(launcher.children()) == count)
    await crew(64, (connection.finish(WAYS[i % 4]) for i, connection in enumerate(held)))
    await asyncio.to_thread(nothing_left, launcher, descriptors)
    say(f"the launcher has {launcher.memory()} KiB of its own, before {memory}; TIME-WAIT: {resting()}")
    network.close()


# ---- one after another ----

def read_piece(sock, key, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, "EOF too early"
        data += more
    assert data == piece(key, 0, size), f"wrong bytes: {data[:100]}"


def one(listener, key, client):
    """A connection from this client to its backend, both still open."""
    backend, _ = listener.accept()
    backend.settimeout(PATIENCE)
    header = b"PROXY TCP4 %s 127.0.0.1 %d %d\r\n" % (
        client.getsockname()[0].encode(), client.getsockname()[1], client.getpeername()[1])
    data = backend.recv(len(header))
    assert data == header, f"{data}, not {header}"
    client.sendall(piece(key, 0, 100))
    read_piece(backend, key, 100)
    backend.sendall(piece(key + 1, 0, 1000))
    read_piece(client, key + 1, 1000)
    return backend


def close_in_turn(first, other):
    first.shutdown(socket.SHUT_WR)
    assert other.recv(1) == b""
    other.close()
    assert first.recv(1) == b""
    first.close()


@scenario
def sequence(launcher, count, first):
    """So many, one after another; first closes first: client, or backend."""
    launcher = Launcher(launcher)
    listener = new_listener(8080)
    listener.settimeout(PATIENCE)

    def pass_through(n):
        for i in range(n):
            client = socket.create_connection(("127.0.0.1", 80), PATIENCE)
            backend = one(listener, i, client)
            close_in_turn(*((client, backend) if first == "client" else (backend, client)))

    pass_through(500)
    wait_until(lambda: not launcher.children())
    descriptors, memory, begun = launcher.descriptors(), launcher.memory(), time.monotonic()
    for tenth in range(1, 11):
        pass_through(count // 10)
        seconds = time.monotonic() - begun
        assert len(launcher.children()) <= 2, f"processes pile up: {launcher.children()}"
        say(f"{count // 10 * tenth} in {seconds:.0f} s; the launcher has {launcher.memory()} KiB of its own")
    nothing_left(launcher, descriptors)
    rest = resting()
    say(f"{count / seconds:.0f} a second; the {first} closes first; TIME-WAIT: {rest}")
    # Of a page it could not be told from the stack's.
    assert launcher.memory() - memory <= 8, f"the launcher had {memory} KiB, and has {launcher.memory()}"
    # Who closes first rests: where it is the backend, relay does so with the client.
    assert set(rest) <= ({"the client's", "relay's to the backend"} if first == "client" else
                         {"the backend's", "relay's to the client"}), rest
    assert len(rest) == 2, rest
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = map(int, file.read().split())
    assert max(rest.values()) <= high - low + 1
    listener.close()


@scenario
def ports_run_out(launcher, path):
    """A few local ports, and a backend that is not on loopback: 192.0.2.1. The client
    closes first, so relay's ports rest for a minute."""
    launcher = Launcher(launcher)
    descriptors = launcher.descriptors()
    listeners = [new_listener(8080, address="0.0.0.0"), new_listener(path, socket.AF_UNIX)]
    os.chmod(path, 0o777)
    own_port, served = 20000, 0

    def is_served(port, listener=listeners[0]):
        nonlocal own_port, served
        own_port += 1
        try:
            client = socket.create_connection(("127.0.0.1", port), PATIENCE, ("127.0.0.1", own_port))
        except ConnectionResetError:            # as fast as that
            return False
        ready, _, _ = select.select([client, listener], [], [], PATIENCE)
        if listener in ready:
            close_in_turn(client, one(listener, served, client))
            served += 1
            return True
        with contextlib.suppress(ConnectionResetError):
            raise AssertionError(f"{client.recv(100) or 'EOF'}, not a reset")
        client.close()
        return False

    def put(name, value):
        with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as file:
            file.write(value)

    put("ip_local_port_range", "40000 40063")
    while is_served(80):
        pass
    say(f"{served} connections with 64 ports")
    assert served == 64
    assert not is_served(80)
    for port, what in (81, "from another address"), (82, "to another of the backend's addresses"):
        assert is_served(port), what
    assert is_served(83, listeners[1]), "to a UNIX socket"
    # ip-sysctl: 2, the default, gives the ports of loopback free, after a second.
    served = 0
    while is_served(84):
        pass
    wait_until(lambda: is_served(84), SECONDS)
    assert not is_served(80)
    put("tcp_tw_reuse", "1")
    wait_until(lambda: is_served(80), SECONDS)
    put("tcp_tw_reuse", "2")
    assert not is_served(80)
    put("ip_local_port_range", "40000 40127")
    assert is_served(80)
    nothing_left(launcher, descriptors)
    for listener in listeners:
        listener.close()


# ---- bulk ----

@scenario
async def bulk(launcher, count, size):
    """So many at once, that many MiB each way through each."""
    launcher = Launcher(launcher)
    descriptors = launcher.descriptors()
    network = Network()
    connections = [await network.connect() for _ in range(count)]
    assert len(relays()) == count
    for pid in relays():
        assert os.stat(f"/proc/{pid}").st_uid != 0, "relay is root"
    begun, pipes = time.monotonic(), (0, 0)

    async def look_at_pipes():
        nonlocal pipes
        for i in itertools.count():
            has = []
            for pid in relays():
                directory = f"/proc/{pid}/fd"
                with contextlib.suppress(FileNotFoundError):
                    links = [os.readlink(f"{directory}/{fd}") for fd in os.listdir(directory) if int(fd) > 2]
                    has.append(sum(link.startswith("pipe:") for link in links) // 2)
            pipes = max(pipes, (sum(has), has.count(0)))
            if i % 8 == 0:
                moved = sum(end.received for c in connections for end in (c.client, c.backend))
                say(f"{moved // MIB} MiB; {sum(has)} pipes, {has.count(0)} relays without")
            await asyncio.sleep(0.25)

    job = network.begin(look_at_pipes())
    await crew(count, (connection.exchange(size * MIB, size * MIB) for connection in connections))
    seconds = time.monotonic() - begun
    job.cancel()
    say(f"{2 * count * size} MiB in {seconds:.1f} s: {2 * count * size * MIB / seconds / 1e9:.2f} GB/s in all; {condition()}")
    # pipe(7), pipe-user-pages-soft: 16384 pages of a user without privileges.
    with open("/proc/sys/fs/pipe-user-pages-soft", encoding="ascii") as file:
        room = int(file.read()) * 4096 // MIB
    assert 0 < pipes[0] <= room and pipes[1] > 0, f"{pipes[0]} pipes of {room}, {pipes[1]} relays without"
    await crew(count, (connection.finish(WAYS[i % 2]) for i, connection in enumerate(connections)))
    await asyncio.to_thread(nothing_left, launcher, descriptors)
    network.close()


# ---- clients that mean no good ----

@scenario
async def slowloris(launcher, count, timeout, slots):
    """So many clients of `relay -a any -t timeout` that drip a header which never ends,
    under a launcher that has as many slots. Others are served: at once where slots are
    free, else when a dripper's time is over."""
    launcher = Launcher(launcher)
    descriptors = launcher.descriptors()
    network = Network()
    endless = V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 60000) + bytes(60000)
    took, waits = [], []
    longest = -(-count // slots) * timeout + SECONDS    # for some begin when others have ended

    async def drip():
        begun = time.monotonic()
        client, _ = await network.call()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for byte in endless:
                client.send(bytes([byte]))
                await asyncio.sleep(0.2)
                assert time.monotonic() - begun < longest, "a dripper may go on"
        client.close()
        took.append(time.monotonic() - begun)

    async def behave():
        begun = time.monotonic()
        name = "127.9.9.9", len(waits) + 1, 80
        client, _ = await network.call(first=b"PROXY TCP4 127.9.9.9 127.0.0.1 %d 80\r\n" % name[1], name=name)
        backend, early = await network.arrival(name)
        connection = Connection(End(client, 1, 2), End(backend, 2, 1, early))
        await connection.exchange(1000, 1000)
        await connection.finish(WAYS[0])
        waits.append(time.monotonic() - begun)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as drippers:
        for _ in range(count):
            drippers.create_task(drip())
        while len(launcher.children()) < min(count, slots):
            await asyncio.sleep(0.01)
        while not took:
            await behave()
            await asyncio.sleep(0.05)
    say(f"{count} drippers, {slots} slots: each ended after {min(took):.1f} to {max(took):.1f} s; "
        f"meanwhile {len(waits)} others were served, each within {max(waits):.2f} s")
    assert min(took) >= timeout, "ended before its time"
    assert max(waits) < (longest if count >= slots else timeout), "others had to wait"
    await asyncio.to_thread(nothing_left, launcher, descriptors)
    network.close()


@scenario
async def flood(launcher, limit, count, over, addresses=1, port=80, backend=8080, other_address="127.0.0.1",
                other_port=None, others=0, after=SECONDS, machine=""):
    """That many clients at once, from so many addresses, and the launcher lets in limit:
    over it they `wait`, or are `closed`; or the kernel has them, whose queue is full. Then
    they come and go. Somebody else is served meanwhile, with other_address or other_port;
    others=1: so there is a process more. After that, within so many seconds, one of them
    is served; after=0: that is not asked."""
    launcher = (Machine if machine else Launcher)(launcher)
    descriptors = None if machine else launcher.descriptors()
    network = Network(port, backend)
    served, ended = [], []
    peak, least = 0, available_memory()

    async def look():
        nonlocal peak, least
        while True:
            peak = max(peak, len(launcher.relays()))
            least = min(least, available_memory())
            await asyncio.sleep(0.05 if machine else 0.005)

    async def hang_on(i):
        """Until it is sent away."""
        client, name = await network.call(address(i))
        ends = [client]
        try:
            arrival = asyncio.create_task(network.arrival(name))
            end = asyncio.create_task(asyncio.get_running_loop().sock_recv(client, 1))
            try:
                await asyncio.wait((arrival, end), return_when=asyncio.FIRST_COMPLETED)
            finally:
                end.cancel()
                arrival.cancel()
            if not arrival.done():
                assert await end == b""
                return
            sock, early = await arrival
            ends.append(sock)
            connection = Connection(End(client, 1, 2), End(sock, 2, 1, early))
            await connection.exchange(1000, 1000)
            served.append(i)
            await connection.client.ends()
        finally:
            network.forget(name)
            for end in ends:
                end.close()

    async def flooder(i):
        with contextlib.suppress(ConnectionError):
            await hang_on(i)
        ended.append(i)

    async def come_and_go(i):
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1):      # or it waits
                client, name = await network.call(address(i))
            network.forget(name)
            if i % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            client.close()

    def address(i):
        return f"127.0.1.{i % addresses + 1}"

    async def until(true):
        async with asyncio.timeout(PATIENCE):
            while not true():
                await asyncio.sleep(0.02)

    observer = network.begin(look())
    before, begun = condition(), time.monotonic()
    flooders = [network.begin(flooder(i)) for i in range(count)]
    await until(lambda: len(served) >= limit)
    took = time.monotonic() - begun
    other = await network.serve(other_address, other_port)
    so_far = None
    while so_far != (len(served), len(ended)):      # in a second one more would be let in
        so_far = len(served), len(ended)
        await asyncio.sleep(1)
    assert len(served) == limit, f"{len(served)} were let in, not {limit}"
    assert bool(ended) == (over == "closed"), f"{len(ended)} were sent away"
    say(f"{count} at once, limit {limit}: full after {took:.1f} s, {len(ended)} were sent away; "
        f"somebody else was served in {other:.2f} s; before: {before}; now: {condition()}")
    for job in flooders:
        job.cancel()
    await asyncio.wait(flooders)

    begun = time.monotonic()
    hammers = network.begin(crew(64, (come_and_go(i) for i in range(count))))
    other = await network.serve(other_address, other_port)
    await hammers
    took, begun = time.monotonic() - begun, time.monotonic()
    while after:
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(1):
                await network.serve(address(0))
                break
        assert time.monotonic() - begun < after, "nobody is served after the flood"
    say(f"{count} came and went in {took:.1f} s, somebody else was served in {other:.2f} s; then one of them in "
        f"{time.monotonic() - begun:.2f} s; {peak} processes at most, {least // 1024} MiB free at least; {condition()}")
    await until(lambda: not launcher.relays())
    if not machine:
        await asyncio.to_thread(nothing_left, launcher, descriptors, True)
    assert peak <= limit + others, f"{peak} processes at once"
    observer.cancel()
    network.close()


def main():
    name, *arguments = sys.argv[1:]
    values = dict(argument.split("=", 1) for argument in arguments)
    values = {key: int(value) if value.isdigit() else value for key, value in values.items()}
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError):       # without the right to more
        resource.setrlimit(resource.RLIMIT_NOFILE, (32768, max(32768, most)))
    job = SCENARIOS[name](**values)
    if asyncio.iscoroutine(job):
        asyncio.run(job)


if __name__ == "__main__":
    main()
