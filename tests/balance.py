#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""Clients of several backends, for tests/balance.bats. The backends are
examples/nginx.conf: they answer with their name and the client's address and port.

balance.py map PORT CLIENTS COUNT TIMES
    So many clients connect so many times each. Prints "ADDRESS NAME" for each
    connection, in order of the addresses. CLIENTS: loopback, addresses of 127.0.0.0/8;
    v1 or v2, all of them behind a proxy that sends such a header; v1-ip6, v2-ip6.
balance.py formula CLIENTS COUNT NAME=BACKEND...
    What "map" prints, where TIMES is 1, if relay does what its manual page says.
balance.py spread NAME...
    Whether the names on stdin are spread over these as chance would do it.
balance.py alike COUNT SHARE
    Whether about so many of the addresses on stdin, which has "ADDRESS NAME" lines,
    have one name only.
balance.py fetch PORT COUNT [MIN MAX]
    So many connections, one after the other, and how long the first byte took: at
    least and, at the median, at most so many milliseconds.
balance.py load PORT THREADS RESULTS
    Connects without end until SIGTERM. Writes what became of each connection.
balance.py judge RESULTS LOG OUTAGES
    Whether each of these connections got a backend that was alive: compares what its
    client saw with relay's log, and when whom was stopped and started again.
"""
import collections
import concurrent.futures
import ipaddress
import math
import re
import signal
import socket
import statistics
import struct
import sys
import threading
import time

PATIENCE = 20
ONE_IN_A_MILLION = 1e-6


# ---- a client ----

def ask(port, source, header=b""):
    """Connects from there. Returns name, address and port that a backend tells."""
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        client.bind((source, 0))
        client.connect(("127.0.0.1", port))
        client.sendall(header + b"GET /client HTTP/1.0\r\n\r\n")
        answer = b""
        while more := client.recv(4096):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer
    return body.decode().split()


def address_of(clients, i):
    if clients == "loopback":
        return f"127.{1 + i // 200}.{i % 200}.7"
    if clients.endswith("ip6"):
        return f"2001:db8:{i:x}::{i * i:x}" if i else "2001:db8::"
    return str(ipaddress.IPv4Address("203.0.113.0") + i * 65537 % 2**24)


def header_of(clients, address):
    version, _, _ = clients.partition("-")
    server = "2001:db8::53" if ":" in address else "192.0.2.53"
    if version == "v1":
        return f"PROXY TCP{6 if ':' in address else 4} {address} {server} 4321 80\r\n".encode()
    if version == "v2":
        packed = ipaddress.ip_address(address).packed + ipaddress.ip_address(server).packed
        return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x21 if ":" in address else 0x11,
                                                     len(packed) + 4) + packed + struct.pack("!HH", 4321, 80)
    return b""


def map_(port, clients, count, times):
    def one(i):
        address = address_of(clients, i)
        header = header_of(clients, address)
        name, seen, _ = ask(int(port), "127.0.0.1" if header else address, header)
        assert ipaddress.ip_address(seen) == ipaddress.ip_address(address), (seen, address)
        return address, name

    everyone = [i for i in range(int(count)) for _ in range(int(times))]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for address, name in pool.map(one, everyone):
            print(address, name)


# ---- what is expected of them ----

def score(address, backend):
    """As relay.1 has it, SEVERAL BACKENDS. Numbers are of 64 bits."""
    bits = 2**64 - 1
    if "." in address:
        address = "::ffff:" + address
    h = 0xcbf29ce484222325
    for byte in ipaddress.IPv6Address(address).packed + backend.encode():
        h = ((h ^ byte) * 0x100000001b3) & bits
    h ^= h >> 33
    h = h * 0xff51afd7ed558ccd & bits
    h ^= h >> 33
    h = h * 0xc4ceb9fe1a85ec53 & bits
    return h ^ h >> 33


def formula(clients, count, *backends):
    pairs = [backend.split("=", 1) for backend in backends]
    for i in range(int(count)):
        address = address_of(clients, i)
        print(address, max(pairs, key=lambda pair: score(address, pair[1]))[0])


def improbable(total, share, ways):
    """How far from the mean, total * share, a binomial number has to be until chance
    takes one of so many of them there once in a million runs. Exact, both sides."""
    mean = total * share
    each = [math.exp(math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) +
                     k * math.log(share) + (total - k) * math.log(1 - share)) for k in range(total + 1)]
    for distance in range(total + 1):
        if ways * sum(p for k, p in enumerate(each) if abs(k - mean) > distance) < ONE_IN_A_MILLION:
            return distance
    raise AssertionError("no distance will do")


def spread(*names):
    counts = collections.Counter(sys.stdin.read().split())
    total = sum(counts.values())
    bound = improbable(total, 1 / len(names), len(names))
    print(f"{total} over {len(names)}: {', '.join(f'{name} {counts[name]}' for name in names)};",
          f"allowed: {total / len(names):.0f} +- {bound}",
          f"({bound / math.sqrt(total / len(names) * (1 - 1 / len(names))):.1f} sigma)")
    assert set(counts) <= set(names), counts
    for name in names:
        assert abs(counts[name] - total / len(names)) <= bound, name


def alike(total, share):
    names = collections.defaultdict(set)
    for line in sys.stdin:
        address, name = line.split()
        names[address].add(name)
    total, share = int(total), float(share)
    found = sum(len(found) == 1 for found in names.values())
    bound = improbable(total, share, 1)
    print(f"{found} of {len(names)} addresses have had one backend only;",
          f"allowed: {total * share:.1f} +- {bound}")
    assert len(names) == total
    assert abs(found - total * share) <= bound


def fetch(port, count, least="0", most="inf"):
    names, times = collections.Counter(), []
    for _ in range(int(count)):
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", int(port)), PATIENCE) as client:
            client.sendall(b"GET /client HTTP/1.0\r\n\r\n")
            answer = client.recv(4096)
            times.append((time.monotonic() - start) * 1000)
            while more := client.recv(4096):
                answer += more
            names[answer.split(b"\r\n\r\n")[1].split()[0].decode()] += 1
    times.sort()
    print(f"first byte: min {times[0]:.2f} p50 {statistics.median(times):.2f}",
          f"p99 {times[int(len(times) * .99)]:.2f} max {times[-1]:.2f} ms, from {dict(names)}")
    assert times[0] >= float(least)
    assert statistics.median(times) <= float(most)


# ---- under load ----

def load(port, threads, path):
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    results = []

    def client(thread):
        for i in range(1 << 16):
            if over.is_set():
                return
            # Each its own address: by it the connection is known in the log.
            source = f"127.{10 + thread}.{i >> 8}.{i & 255}"
            begun = time.time()
            try:
                outcome = ask(int(port), source)[0]
            except (OSError, AssertionError) as error:
                outcome = type(error).__name__
            results.append((source, begun, time.time(), outcome))

    with concurrent.futures.ThreadPoolExecutor(int(threads)) as pool:
        done = [pool.submit(client, i) for i in range(int(threads))]
        print("begun", flush=True)
        while not over.wait(1):
            pass
    for future in done:
        future.result()
    with open(path, "w", encoding="ascii") as file:
        for result in results:
            print(*result, file=file)


def judge(results, log, outages):
    with open(outages, encoding="ascii") as file:   # NAME BACKEND, when it was told, gone, started again
        down = [(name, backend, *map(float, times)) for name, backend, *times in map(str.split, file)]
    backends = {backend: name for name, backend, *_ in down}
    served, skipped, wrong = {}, collections.defaultdict(list), []
    with open(log, encoding="ascii") as file:
        for line in file:
            if not line.startswith("relay: "):
                continue
            client = re.search(r" client=([0-9.]+):", line)[1]
            to = re.search(r" backend=(\S+)", line)
            if line.startswith("relay: closed "):
                served[client] = backends[to[1]]
            elif line.startswith("relay: skipped ") and "Connection refused" in line:
                skipped[client].append(backends[to[1]])
            else:
                wrong.append(line)
    assert not wrong, wrong[:3]
    counts, lost, last = collections.Counter(), collections.Counter(), collections.Counter()
    with open(results, encoding="ascii") as file:
        for source, begun, ended, outcome in map(str.split, file):
            counts["connections"] += 1
            name = served.get(source)
            # Each has got a backend, and it was none that was down all the while.
            assert name, (source, outcome, "no backend")
            begun, ended = float(begun), float(ended)
            assert not any(who == name and gone < begun and ended < again
                           for who, _, _, gone, again in down), (source, outcome, name)
            if outcome == name:
                counts["answered"] += 1
                counts["past a dead backend"] += bool(skipped[source])
                last[name] = max(last[name], begun)
                continue
            # It was there when the backend went.
            assert any(who == name and begun <= gone and told <= ended
                       for who, _, told, gone, _ in down), (source, begun, ended, outcome, name)
            lost[outcome] += 1
    print(", ".join(f"{counts[what]} {what}" for what in ("connections", "answered", "past a dead backend")),
          f", {lost.total()} lost with the backend that had them: {dict(lost)}", sep="")
    assert all(last[name] > again for name, _, _, _, again in down), "never back in use"
    assert counts["past a dead backend"] > 100
    assert lost.total() < counts["connections"] / 20


if __name__ == "__main__":
    commands = {"map": map_, "formula": formula, "spread": spread, "alike": alike, "fetch": fetch,
                "load": load, "judge": judge}
    commands[sys.argv[1]](*sys.argv[2:])
