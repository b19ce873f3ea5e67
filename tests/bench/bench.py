#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""Measures relay beside what a user would take instead of it.

Run by run.sh, which installs and builds what it needs. All peers run at the same
time, idle, and are measured in turn; a round measures each once, and begins with
another one each time. Every value of every round goes to the results file, with the
median; what is measured, and how, stands at the functions below.

A peer is measured only after `load check` has seen every byte arrive through it,
both ways, and the backend has got the very header that the table of peers claims.
The backend says so again for each connection that is measured.
"""
import argparse
import contextlib
import datetime
import os
import platform
import pwd
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "tests/build/bench")
RELAY = os.path.join(BUILD, "relay")
LOAD, FLOOR, LEAST, STEPS, HEADERS = (
    os.path.join(BUILD, name) for name in ("load", "floor", "least", "steps", "headers"))
USER = pwd.getpwuid(os.getuid()).pw_name
PROXYD = "/lib/systemd/systemd-socket-proxyd"

# How much of everything. seconds: for one measurement of set-up; open_seconds: to
# open the connections of one step. Those who are too slow do fewer.
MODES = {
    "full": dict(crowd=(200, 30_000_000), rounds=5, at_once=(1, 8, 64), checked=16_000_001, setups=4000, seconds=1, trips=20_000,
                 stream=1_000_000_000, streaming=1, steps=(10, 500, 2000, 5000), passing=2000, open_seconds=10,
                 settle=4, settle_before=8, builds=2_000_000, stepped=True, sampled=4),
    "quick": dict(crowd=(200, 2_000_000), rounds=2, at_once=(1, 8, 64), checked=4_000_001, setups=200, seconds=1, trips=2000,
                  stream=128_000_000, streaming=0, steps=(10, 500), passing=500, open_seconds=1,
                  settle=2, settle_before=3, builds=200_000, stepped=False, sampled=0),
    "tiny": dict(crowd=(5, 1_000_000), rounds=1, at_once=(1, 4), checked=200_001, setups=8, seconds=1, trips=20,
                 stream=1_000_000, streaming=0, steps=(2, 5), passing=5, open_seconds=1,
                 settle=0, settle_before=0, builds=1000, stepped=False, sampled=1),
}
SAMPLES = 2500  # a second, of each processor: more would be in the way of what is looked at
PASSED = 1_000_000  # bytes, each way, through each idle connection
REST = 1.2  # seconds, until what is idle counts as idle again


class Failed(Exception):
    """What the user should read."""


class Skipped(Exception):
    """Why this machine cannot run it."""


# --- the peers ---

class Peer:
    """name, how it is started, and the header that the backend gets: 0, 1, 2, or h
    where there is no backend. only: measured, with what at; None: all. launched: what a launcher starts for each connection;
    whole: no process is there for one connection only; most: how many it can have."""

    def __init__(self, name, header, command, launched=None, only=None, needs=(), files=None, whole=False,
                 most=20_000):
        self.name, self.header, self.command, self.launched = name, header, command, launched
        self.only, self.needs, self.files, self.whole, self.most = only, needs, files or {}, whole, most
        self.port = self.process = None
        self.haunted = False

    def measured(self, what, at):
        return self.only is None or what in self.only or f"{what} {at}" in self.only


def tcpserver(port, command):
    return ["tcpserver", "-H", "-R", "-l", "0", "-c", "6000", "-b", "1024", "127.0.0.1", str(port), *command]


def own_run():
    """inetd writes /run/inetd.pid, and removes it: not that of an inetd that is at work."""
    if os.geteuid() != 0:
        return []
    return ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh"]


def haproxy(splice):
    return {"haproxy.cfg": f"""global
    maxconn 6000
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    {"option splice-auto" if splice else "no option splice-auto"}
listen bench
    bind 127.0.0.1:PORT
    server backend 127.0.0.1:BACKEND send-proxy
"""}


NGINX = """load_module /usr/lib/nginx/modules/ngx_stream_module.so;
pid nginx.pid;
error_log stderr;
worker_processes auto;
worker_rlimit_nofile 16000;
events { worker_connections 16000; }
stream {
    server {
        listen 127.0.0.1:PORT;
        proxy_pass 127.0.0.1:BACKEND;
        proxy_protocol on;
        proxy_timeout 1h;
    }
}
"""


def all_peers(backend):
    """In the order of the tables. What a launcher starts is relay with its default
    header; the others as their manual pages have it for this purpose."""
    to = f"127.0.0.1:{backend}"
    host, port = "127.0.0.1", str(backend)
    relay = [RELAY, "-1", to]
    launched = {
        "relay": ("1", relay, RELAY),
        "socat": ("0", ["socat", "-", f"TCP:{to}"], "socat"),
        "nc.openbsd": ("0", ["nc.openbsd", "-N", host, port], "nc.openbsd"),
        "ncat": ("0", ["ncat", host, port], "ncat"),
        "s6-ioconnect": ("0", ["tcpclient", "-H", "-R", "-l", "0", host, port, "s6-ioconnect"], "s6-ioconnect"),
    }
    peers = [
        Peer("direct", "0", None),
        Peer("floor", "h", lambda at: tcpserver(at, [FLOOR]), only=["setup"], needs=["tcpserver"]),
        Peer("floor, holding", "h", lambda at: tcpserver(at, [FLOOR, "hold"]), only=["hold"], needs=["tcpserver"]),
        Peer("least", "1", lambda at: tcpserver(at, [LEAST, host, port]), launched=[LEAST, host, port],
             only=["setup"], needs=["tcpserver"]),
    ]
    for name, directory in BUILDS.items():
        command = [os.path.join(BUILD, directory, "relay"), "-1", to]
        peers.append(Peer(name, "1", lambda at, command=command: tcpserver(at, command), launched=command,
                          only=["setup 1"], needs=["tcpserver"]))
    for name, (header, command, needed) in launched.items():
        peers.append(Peer(name, header, lambda at, command=command: tcpserver(at, command), launched=command,
                          needs=["tcpserver", needed, command[0]]))
    copying = [os.path.join(BUILD, "copying/relay"), "-1", to]
    peers += [
        Peer("relay without splice", "1", lambda at: tcpserver(at, copying), launched=copying, only=["stream"], needs=["tcpserver"]),
        Peer("relay in tcpsvd", "1", lambda at: ["tcpsvd", "-l", "0", "-c", "6000", "-b", "1024", host, str(at), *relay],
             needs=["tcpsvd"]),
        Peer("relay in inetd", "1", lambda at: [*own_run(), "inetd", "-i", "-q", "1024", "inetd.conf"], needs=["inetd"],
             files={"inetd.conf": f"127.0.0.1:PORT stream tcp nowait.1000000 {USER} {RELAY} relay -1 {to}\n"}),
        Peer("relay in systemd", "1", lambda at: ["sh", os.path.join(ROOT, "tests/bench/systemd.sh"), ".", RELAY, str(at), to],
             needs=["systemd-nspawn"]),
        Peer("HAProxy", "1", lambda at: ["haproxy", "-db", "-f", "haproxy.cfg"], needs=["haproxy"], files=haproxy(False), whole=True),
        Peer("HAProxy, splice", "1", lambda at: ["haproxy", "-db", "-f", "haproxy.cfg"], needs=["haproxy"],
             files=haproxy(True), whole=True),
        Peer("nginx stream", "1", lambda at: ["nginx", "-p", ".", "-c", "nginx.conf", "-g", "daemon off;"], needs=["nginx"],
             files={"nginx.conf": NGINX}, whole=True),
        Peer("systemd-socket-proxyd", "0", lambda at: ["systemd-socket-activate", "-l", f"127.0.0.1:{at}", PROXYD,
                                                       "--connections-max=6000", to], needs=["systemd-socket-activate", PROXYD],
             whole=True, most=3000),  # six descriptors each
        Peer("redir", "0", lambda at: ["redir", "-n", f"127.0.0.1:{at}", to], needs=["redir"]),
    ]
    return peers


# relay with other flags: see run.sh.
BUILDS = {
    "built with -O2": "O2",
    "built without sandbox": "open",
    "built without stack protector": "unprotected",
    "built with RELRO, separate code": "relro",
    "built as static PIE": "pie",
    "built with glibc, static": "glibc",
    "built with glibc, Debian's flags": "debian",
}

# Whose processor time is looked at more closely, and what the launched process is called.
PROFILED = {"floor": "floor", "least": "least", "built without sandbox": "relay", "relay": "relay"}

PACKAGES = ["ucspi-tcp", "ipsvd", "openbsd-inetd", "s6", "netcat-openbsd", "socat", "ncat", "haproxy", "nginx", "redir", "systemd"]


# --- processes and the machine ---

def free_port(first=12000, last=31999):
    """Below the ephemeral range: no client's."""
    while True:
        port = random.randint(first, last)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("0.0.0.0", port))
            return port


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def listens(port):
    """In the kernel's table: it is not connected to."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        tables = table.read()
    with contextlib.suppress(OSError), open("/proc/net/tcp6", encoding="ascii") as table:
        tables += table.read()
    return re.search(rf":{port:04X} 0+:0000 0A ", tables) is not None


def processes(dead=False):
    """Of each that lives, or is dead and still in its parent's books: its id, parent,
    session and when it began."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
                if (fields[0] == "Z") == dead:
                    yield int(entry), int(fields[1]), int(fields[3]), int(fields[19])


def tree(pid):
    """The process, all in its session and all that descend from it: when each began."""
    found = {}
    everyone = list(processes())
    while True:
        more = {each: begun for each, parent, session, begun in everyone
                if each not in found and (pid in (each, session) or parent in found)}
        if not more:
            return found
        found.update(more)


def cpu_seconds(pid):
    """Of all threads of all processes that live now in its tree."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{each}/task"):
                with open(f"/proc/{each}/task/{task}/schedstat", encoding="ascii") as stat:
                    total += int(stat.read().split()[0])
    return total / 1e9


def is_relay(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
        return comm.read() == "relay\n"
    return False


def available():
    """KiB: with the free pages that each processor keeps for itself, which MemAvailable
    leaves out: of them there are the more, the more has been freed just before."""
    with open("/proc/meminfo", encoding="ascii") as info:
        kib = int(re.search(r"MemAvailable: +(\d+)", info.read()).group(1))
    with open("/proc/zoneinfo", encoding="ascii") as zones:
        kept = sum(map(int, re.findall(r"^ +count: +(\d+)", zones.read(), re.M)))
    return kib + kept * os.sysconf("SC_PAGE_SIZE") // 1024


def settled(seconds):
    """The memory available, once it has stopped changing; or after these seconds."""
    deadline, seen = time.monotonic() + seconds, [available()]
    while time.monotonic() < deadline:
        time.sleep(0.3)
        seen = [*seen[-3:], available()]
        if len(seen) == 4 and max(seen) - min(seen) < 1024:
            break
    return seen[-1]


def load(*arguments, seconds=60):
    """Runs it, returns the words that it prints."""
    command = [LOAD, *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"load {arguments[0]}: not within {seconds} s") from None
    if done.returncode != 0:
        raise Failed(done.stderr.strip() or f"load {arguments[0]}: exit status {done.returncode}")
    return done.stdout.split()


# --- a run ---

class Bench:
    def __init__(self, mode, results, only):
        self.mode, self.file, self.only = MODES[mode], results, only
        self.begun = time.monotonic()
        self.values = {}  # (measure, at, peer, unit) -> a value of each round
        self.notes = [("mode", mode)]
        self.failures = 0
        # As most real ones, it has a reserved port, where that is allowed.
        self.backend = free_port(700, 1023) if os.geteuid() == 0 else free_port()
        self.started = []
        self.peers = []

    def say(self, *words):
        print(f"{time.monotonic() - self.begun:7.1f} s ", *words, flush=True)

    def note(self, key, value):
        self.notes.append((key, value))

    def add(self, measure, at, peer, unit, value):
        self.values.setdefault((measure, str(at), peer, unit), []).append(value)

    # - starting and ending -

    def spawn(self, name, command, directory):
        with open(os.path.join(directory, "log"), "wb") as log:
            process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)
        self.started.append((name, process))
        return process

    def start(self, temp):
        """The backend, and each peer that is installed and passes the check."""
        directory = os.path.join(temp, "backend")
        os.mkdir(directory)
        self.spawn("backend", [LOAD, "backend", str(self.backend)], directory)
        wait_until(lambda: listens(self.backend), 10, "the backend listens")
        for peer in all_peers(self.backend):
            if self.only and not re.search(self.only, peer.name):
                continue
            missing = [need for need in peer.needs if shutil.which(need) is None]
            if missing:
                self.skip(peer, f"{missing[0]} is not installed")
                continue
            try:
                self.start_peer(peer, os.path.join(temp, re.sub(r"\W+", "-", peer.name)))
                self.peers.append(peer)
            except Skipped as reason:
                self.skip(peer, reason)
            except Failed as reason:
                self.failures += 1
                self.note(f"check {peer.name}", f"FAILED: {reason}")
                self.say(f"{peer.name}: FAILED: {reason}")

    def skip(self, peer, reason):
        self.note(f"check {peer.name}", f"skipped: {reason}")
        self.say(f"{peer.name}: skipped: {reason}")

    def start_peer(self, peer, directory):
        peer.port = self.backend
        if peer.command:
            os.mkdir(directory)
            peer.port = free_port()
            for name, text in peer.files.items():
                with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                    file.write(text.replace("PORT", str(peer.port)).replace("BACKEND", str(self.backend)))
            command = peer.command(peer.port)
            self.note(f"options {peer.name}", self.shown(peer, " ".join(command)))
            for name, text in peer.files.items():
                self.note(f"options {peer.name}, {name}", self.shown(peer, "; ".join(text.split("\n"))))
            peer.process = self.spawn(peer.name, command, directory)
            listening = False
            try:
                wait_until(lambda: listens(peer.port) or peer.process.poll() is not None, 60, f"{peer.name} listens")
                if peer.process.poll() is not None:
                    raise Failed("it has ended")
                listening = True
                self.check(peer)
            except Failed as reason:
                with open(os.path.join(directory, "log"), encoding="utf-8", errors="replace") as log:
                    said = f"{reason}; it said: {log.read()[-500:].strip() or 'nothing'}"
                # Containers cannot be had everywhere.
                raise (Skipped if peer.name == "relay in systemd" and not listening else Failed)(said) from None
        else:
            self.check(peer)

    def shown(self, peer, text):
        """Without paths and ports of this machine."""
        text = text.replace(ROOT + "/", "").replace("tests/build/bench/", "")
        text = re.sub(rf"\b{peer.port}\b", "PORT", text)
        return re.sub(rf"\b{self.backend}\b", "BACKEND", text)

    def check(self, peer):
        """Every byte, both ways; and whose address the header has."""
        said = {"0": "sends no header", "1": "sends a v1 header", "2": "sends a v2 header", "h": "has no backend"}
        if peer.header == "h":
            load("setup", peer.port, "h", 1, 1, 10)
        else:
            load("check", peer.port, peer.header, self.mode["checked"])
        self.note(f"check {peer.name}", f"ok, {said[peer.header]}")
        self.say(f"{peer.name}: ok, {said[peer.header]}")

    def stop(self):
        for name, process in reversed(self.started):
            before = tree(process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            for pid, _, _, begun in list(processes()):
                if before.get(pid) == begun:
                    print(f"{name}: a process did not end: killed", file=sys.stderr)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            process.wait()

    def connections(self, peer):
        """The processes that are there for one connection each."""
        if peer.process is None or peer.whole:
            return []
        pids = tree(peer.process.pid)
        return [pid for pid in pids if pid != peer.process.pid and (peer.name != "relay in systemd" or is_relay(pid))]

    def quiet(self, peer):
        """Waits until the processes of earlier connections are gone."""
        deadline = time.monotonic() + 10
        while left := self.connections(peer):
            if time.monotonic() > deadline:
                self.say(f"{peer.name}: {len(left)} processes were left over: killed")
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                deadline += 10
            time.sleep(0.01)
        # The dead take 12 KiB each until their parent asks for them: of redir's that is
        # process 1, which may be late, or never do it.
        while peer.process and not peer.haunted:
            family = tree(peer.process.pid)
            if not any(parent in family or session == peer.process.pid for _, parent, session, _ in processes(dead=True)):
                break
            peer.haunted = time.monotonic() > deadline
            time.sleep(0.1)

    # - one measurement of one peer -

    def setup(self, peer, clients):
        """1. From before connect to the byte that has come back from the backend."""
        for rate in self.values.get(("setup_rate", "8", peer.name, "1/s"), [])[-1:]:
            if clients / rate > 5 * self.mode["seconds"]:
                return f"not measured: at {rate:.0f}/s this takes too long"
        n = max(self.mode["setups"], 4 * clients)
        words = load("setup", peer.port, peer.header, clients, n, self.mode["seconds"])
        n, p50, p99, rate = int(words[0]), *map(float, words[1:])
        self.add("setup_p50", clients, peer.name, "us", p50)
        self.add("setup_p99", clients, peer.name, "us", p99)
        self.add("setup_rate", clients, peer.name, "1/s", rate)
        return f"p50 {p50:.0f} us, p99 {p99:.0f} us, {rate:.0f}/s, n={n}"

    def rtt(self, peer, size):
        """2. One after the other, on forty connections in turn."""
        n, p50, p99, _ = load("rtt", peer.port, size, self.mode["trips"], self.mode["seconds"])
        self.add("rtt_p50", size, peer.name, "us", float(p50))
        self.add("rtt_p99", size, peer.name, "us", float(p99))
        return f"p50 {p50} us, p99 {p99} us, n={n}"

    def stream(self, peer, direction):
        """3. GB (10^9 bytes) a second; for `both`, each way. CPU time: of all processes
        of the peer, the launcher among them, from the first byte to the last, for each
        GB that was carried."""
        until, said = time.monotonic() + self.mode["streaming"], []
        while not said or time.monotonic() < until:     # who is fast is measured more often
            said.append(self.stream_once(peer, direction))
        return "; ".join(said)

    def stream_once(self, peer, direction):
        size = self.mode["stream"]
        with subprocess.Popen([LOAD, "stream", str(peer.port), direction, str(size)], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            answer = client.stdout.readline()
            before = cpu_seconds(peer.process.pid) if peer.process else 0
            if answer == "ready\n":
                client.stdin.write("\n")
                client.stdin.flush()
                answer = client.stdout.readline()
            used = (cpu_seconds(peer.process.pid) if peer.process else 0) - before
            client.stdin.close()
            if client.wait() != 0:
                raise Failed(client.stderr.read().strip())
        rate = size / float(answer) / 1e9
        self.add("stream", direction, peer.name, "GB/s", rate)
        if not peer.process:
            return f"{rate:.2f} GB/s"
        used /= size / 1e9 * (2 if direction == "both" else 1)
        self.add("stream_cpu", direction, peer.name, "s/GB", used)
        return f"{rate:.2f} GB/s, {used:.2f} CPU seconds a GB"

    def hold(self, peer, _):
        """4 and 7. KiB for each idle connection, all told: by how much MemAvailable is
        less than before, the client's and the backend's ends included. Then the set-up
        of further ones while they are open. More than those through which bytes pass
        are opened anew, after them."""
        steps = [step for step in self.mode["steps"] if step <= peer.most]
        said = self.hold_steps(peer, [step for step in steps if step <= self.mode["passing"]], True)
        more = [step for step in steps if step > self.mode["passing"]]
        if more and said[-1] != "no more in time":
            self.quiet(peer)
            said += self.hold_steps(peer, more, False)
        return "; ".join(said)

    def hold_steps(self, peer, steps, passing):
        said = []
        before = settled(self.mode["settle_before"])
        with subprocess.Popen([LOAD, "hold", str(peer.port), str(self.mode["open_seconds"])], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            def order(text):
                client.stdin.write(text + "\n")
                client.stdin.flush()
                answer = client.stdout.readline()
                if not answer:
                    raise Failed(client.stderr.read().strip())
                return int(answer)

            for step in steps:
                opened = order(f"open {step}")
                each = (before - settled(self.mode["settle"])) / opened
                self.add("memory", opened, peer.name, "KiB", each)
                _, p50, _, _ = load("setup", peer.port, peer.header, 1, self.mode["setups"] // 4, 1)
                self.add("growth", opened, peer.name, "us", float(p50))
                said.append(f"{opened}: {each:.0f} KiB, {p50} us")
                if opened < step:
                    break
            if passing and peer.header != "h":
                order(f"pass {PASSED}")
                time.sleep(REST)
                after = (before - settled(self.mode["settle"])) / opened
                self.add("memory_after", opened, peer.name, "KiB", after)
                said.append(f"{after:.0f} KiB after {PASSED / 1e6:.0f} MB")
            if opened < step:
                said.append("no more in time")
            client.stdin.close()
            client.wait()
        return said

    def round(self, number, deadline):
        measures = [("setup", clients) for clients in self.mode["at_once"]]
        measures += [("rtt", 64), ("rtt", 4096), ("stream", "up"), ("stream", "down"), ("stream", "both"), ("hold", "")]
        before, late = self.peers[0], {}
        for what, at in measures:
            shift = number % len(self.peers)
            for peer in self.peers[shift:] + self.peers[:shift]:
                if not peer.measured(what, at):
                    continue
                if time.monotonic() > deadline:
                    late.setdefault(f"{what} {at}".strip(), []).append(peer.name)
                    continue
                for one in (before, peer):
                    self.quiet(one)
                before = peer
                try:
                    said = getattr(self, what)(peer, at)
                except Failed as reason:
                    self.failures += 1
                    said = f"FAILED: {reason}"
                    self.note(f"failed {peer.name}", f"{what} {at}: {reason}")
                self.say(f"{number + 1}/{self.mode['rounds']}  {what} {at}".ljust(17), peer.name.ljust(22), said)
        for what, names in late.items():
            self.say(f"no time left for {what} of {len(names)} programs")

    def attempt(self, what, measure, peer):
        try:
            measure(peer)
        except Failed as reason:
            self.failures += 1
            self.note(f"failed {peer.name}", f"{what}: {reason}")
            self.say(f"{what}: {peer.name}: FAILED: {reason}")

    # - what needs no rounds -

    def launched_once(self, command, header):
        """One connection through a program, as a launcher starts it."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            client = subprocess.Popen([LOAD, "setup", str(listener.getsockname()[1]), header, "1", "1", "600"],
                                      stdout=subprocess.DEVNULL)
            conn, _ = listener.accept()
            with conn, subprocess.Popen(command, stdin=conn, stdout=conn, stderr=subprocess.DEVNULL) as program:
                conn.close()
                if client.wait() != 0:
                    program.kill()
                    raise Failed(f"{command[0]} {command[1]}: no answer")
                try:
                    program.wait(10)
                except subprocess.TimeoutExpired:
                    program.kill()

    def start_up(self, peer):
        """5. From execve to the first bytes that the backend gets: see steps.c. Page
        faults of a whole small connection: by perf, from execve to the exit."""
        directory = tempfile.mkdtemp(dir=self.temp)
        out = os.path.join(directory, "out")

        def counted(prefix, pattern):
            self.launched_once(prefix + peer.launched, peer.header)
            with open(out, encoding="utf-8") as file:
                return [int(number) for number in re.search(pattern, file.read(), re.M).groups()]

        calls, faults = counted([STEPS, "calls", out, str(self.backend)], r"(\d+) (\d+)")
        self.add("syscalls", "header", peer.name, "calls", calls)
        self.add("faults", "header", peer.name, "faults", faults)
        said = f"{calls} system calls and {faults} page faults to the first byte sent"
        # One by one: that takes minutes of those who do not stand here.
        if peer.name == "relay" or (self.mode["stepped"] and calls < 50):
            instructions, _ = counted([STEPS, "instructions", out, str(self.backend)], r"(\d+) (\d+)")
            self.add("instructions", "header", peer.name, "instructions", instructions)
            said += f", {instructions} instructions"
        if shutil.which("perf"):
            for _ in range(self.mode["rounds"]):
                faults, = counted(["perf", "stat", "-x,", "-e", "page-faults", "-o", out], r"^(\d+),,page-faults")
                self.add("faults", "whole", peer.name, "faults", faults)
            said += f", {faults} page faults in all"
        if peer.name == "relay" and shutil.which("strace"):
            self.launched_once(["strace", "-qq", "-o", out, *peer.launched], peer.header)
            with open(out, encoding="utf-8") as file:
                names = [line.partition("(")[0] for line in file]
            self.note("calls relay", " ".join(names[1:calls + 1]))
            said += ": " + " ".join(names[1:calls + 1])
        self.say("start-up".ljust(16), peer.name.ljust(22), said)

    def profile(self, peer):
        """1, by what the processors do meanwhile: microseconds of theirs for each
        connection, of everybody and, of the program, in each system call."""
        data = os.path.join(tempfile.mkdtemp(dir=self.temp), "data")
        record = ["perf", "record", "-q", "-a", "-g", "-e", "cpu-clock", "-F", str(SAMPLES), "-o", data, "--"]
        done = subprocess.run([*record, LOAD, "setup", str(peer.port), peer.header, "1", "1000000", str(self.mode["sampled"])],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(done.stderr.strip())
        connections = int(done.stdout.split()[0])
        script = subprocess.run(["perf", "script", "-i", data, "-F", "comm,period,ip,sym"],
                                capture_output=True, text=True, check=True)
        spent = {at: 0 for measure, at, name, _ in self.values if (measure, name) == ("profile", peer.name)}
        for sample in script.stdout.split("\n\n"):
            head, _, stack = sample.strip().partition("\n")
            comm, _, nanoseconds = head.strip().rpartition(" ")
            who = {"tcpserver": "tcpserver", "load": "client and backend", PROFILED[peer.name]: "the program"}.get(
                comm.strip(), "others")
            if comm.startswith("swapper") or not comm:
                continue  # idle
            each = int(nanoseconds) / 1000 / connections
            spent[who] = spent.get(who, 0) + each
            if who == "the program":
                call = re.search(r"__\w+_sys_(\w+)|do_(seccomp)", stack)
                part = "page fault" if "page_fault" in stack else call[1] or call[2] if call else "else"
                spent[part] = spent.get(part, 0) + each
        for part, took in spent.items():
            self.add("profile", part, peer.name, "us", took)
        self.say("profile".ljust(16), peer.name.ljust(22),
                 ", ".join(f"{part} {took:.0f}" for part, took in sorted(spent.items(), key=lambda item: -item[1])))

    def crowd(self, peer):
        """3, with many at once, of a user without privileges: all of a user's pipes
        share fs.pipe-user-pages-soft. All of them down, GB/s together."""
        clients, size = self.mode["crowd"]
        port, directory = free_port(), tempfile.mkdtemp(dir=self.temp)
        os.chmod(directory, 0o755)
        program = shutil.copy(peer.launched[0], directory)
        launcher = self.spawn("crowd", ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                        *tcpserver(port, [program, *peer.launched[1:]])], directory)
        wait_until(lambda: listens(port), 10, "tcpserver listens")
        crowd = [subprocess.Popen([LOAD, "stream", str(port), "down", str(size)], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(clients)]
        for client in crowd:
            client.stdout.readline()
        before, begun = cpu_seconds(launcher.pid), time.monotonic()
        for client in crowd:
            client.stdin.write("\n")
            client.stdin.flush()
        for client in crowd:
            client.stdout.readline()
        took, used = time.monotonic() - begun, cpu_seconds(launcher.pid) - before
        for client in crowd:
            client.stdin.close()
        if sum(client.wait() for client in crowd):
            raise Failed("a client of the crowd has failed")
        self.add("crowd", clients, peer.name, "GB/s", clients * size / took / 1e9)
        self.add("crowd_cpu", clients, peer.name, "s/GB", used / (clients * size / 1e9))
        self.say(f"crowd {clients}".ljust(16), peer.name.ljust(22),
                 f"{clients * size / took / 1e9:.2f} GB/s, {used / (clients * size / 1e9):.2f} CPU seconds a GB")

    def headers(self):
        """6. proxyhdr, and libproxyprotocol where run.sh had it: see headers.c."""
        done = subprocess.run([HEADERS, str(self.mode["builds"])], capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            kind, size, *times = line.split()
            for library, build, parse in zip(("proxyhdr", "libproxyprotocol"), times[::2], times[1::2]):
                for measure, took in (("header_build", build), ("header_parse", parse)):
                    if took != "-":
                        self.add(measure, kind, library, "ns", float(took))
            self.say(f"{kind}, {size} bytes: ns to build, to parse:", *times)

    # - the results -

    def run(self, seconds):
        with tempfile.TemporaryDirectory(prefix="relay-bench.") as self.temp:
            os.chmod(self.temp, 0o755)
            try:
                self.describe_machine()
                self.start(self.temp)
                if not self.peers:
                    return 1
                for peer in self.peers:
                    if peer.launched and platform.machine() == "x86_64":
                        self.attempt("start-up", self.start_up, peer)
                for name, path in (("relay", RELAY), *((name, f"{BUILD}/{at}/relay") for name, at in BUILDS.items())):
                    self.add("binary", "file", name, "bytes", os.path.getsize(path))
                perf = shutil.which("perf") and subprocess.run(
                    ["perf", "record", "-q", "-a", "-e", "cpu-clock", "-o", "/dev/null", "true"], check=False,
                    stderr=subprocess.DEVNULL).returncode == 0
                if not perf:
                    self.note("profile", "skipped: perf may not look at all processors")
                for number in range(self.mode["rounds"]):
                    self.headers()
                    for peer in self.peers:
                        if os.geteuid() == 0 and peer.name in ("relay", "relay without splice"):
                            self.crowd(peer)
                    for peer in self.peers:
                        if perf and peer.name in PROFILED and self.mode["sampled"]:
                            self.attempt("profile", self.profile, peer)
                    self.round(number, self.begun + seconds)
                    self.write()
                    if time.monotonic() - self.begun > seconds * (number + 1) / (number + 2):
                        break  # no time for another one
            finally:
                self.stop()
        self.write()
        return self.failures

    def describe_machine(self):
        def output(*command):
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
            return (done.stdout + done.stderr).strip()

        with open("/proc/cpuinfo", encoding="utf-8") as info:
            model = re.search(r"^model name\s*: (.*)", info.read(), re.M)
        changed = " and changes" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
        self.note("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"))
        self.note("commit", output("git", "rev-parse", "--short", "HEAD") + changed)
        self.note("machine", f"{os.cpu_count()} cores, {model.group(1) if model else platform.machine()}, "
                             f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 30} GiB")
        self.note("kernel", platform.release())
        # Enough descriptors for whom they are counted out; the same for all.
        most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 20_000)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.note("descriptors", f"{most} for a process")
        self.note("load", "%.1f %.1f %.1f before the run" % os.getloadavg())
        if os.getloadavg()[0] > os.cpu_count() / 2:
            self.say("THE MACHINE IS BUSY WITH OTHER THINGS: the figures will say little")
        self.note("version relay", output(RELAY, "--version").split("\n")[0])
        for package in PACKAGES:
            self.note(f"version {package}", output("dpkg-query", "-W", "-f", "${Version}", package).split("\n")[-1])
        for key, value in self.notes:
            self.say(f"{key}: {value}")

    def write(self):
        with open(self.file + ".part", "w", encoding="utf-8") as file:
            for key, value in self.notes:
                print(f"# {key}: {value}", file=file)
            print("measure", "at", "peer", "unit", "median", "least", "most", "values", sep="\t", file=file)
            for key, values in self.values.items():
                numbers = [f"{value:.6g}" for value in (statistics.median(values), min(values), max(values), *values)]
                print(*key, *numbers[:3], " ".join(numbers[3:]), sep="\t", file=file)
        os.rename(self.file + ".part", self.file)


# --- what it comes to ---

class Results:
    """A results file."""

    def __init__(self, path):
        self.notes, self.median, self.names = {}, {}, []
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith("# "):
                    key, _, value = line[2:].rstrip("\n").partition(": ")
                    self.notes[key] = value
                    continue
                measure, at, peer, _, median = line.split("\t")[:5]
                if measure == "measure":
                    continue
                self.median[measure, at, peer] = float(median)
                if peer not in self.names and not peer.startswith(("proxyhdr", "libproxy")):
                    self.names.append(peer)

    def largest(self, measure, peer):
        """At the largest number of connections: that number, and the value."""
        found = [(int(at), value) for (m, at, p), value in self.median.items() if (m, p) == (measure, peer)]
        return max(found, default=None)

    def table(self):
        """In Markdown."""
        columns = [("setup_p50", "1"), ("setup_p99", "1"), ("setup_p50", "8"), ("setup_p50", "64"), ("setup_rate", "64"),
                   ("rtt_p50", "64"), ("rtt_p50", "4096"), ("stream", "up"), ("stream", "down"), ("stream", "both"),
                   ("stream_cpu", "up"), ("stream_cpu", "down")]
        head = ["", "header", "set-up p50 µs", "p99", "p50, 8 at once", "64 at once", "a second", "64 B rtt µs", "4 KiB",
                "up GB/s", "down", "both, each way", "CPU s/GB up", "down", "idle KiB", "after 1 MB"]
        lines = [head, ["---"] * len(head)]
        for name in self.names:
            if name.startswith("built "):
                continue
            header = re.search(r"(v[12]|no) header", self.notes.get(f"check {name}", ""))
            row = [name, header.group(1) if header else ""]
            for key in columns:
                value = self.median.get((*key, name))
                row.append("" if value is None else f"{value:.2f}" if key[0].startswith("stream") else f"{value:.0f}")
            for measure in ("memory", "memory_after"):
                found = self.idle(measure, name)
                row.append("" if found is None else f"{found[1]:.0f} ({found[0]})")
            lines.append(row)
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def idle(self, measure, name):
        """At the number at which 1 MB has passed."""
        after = self.largest("memory_after", name)
        if after and measure == "memory":
            return after[0], self.median["memory", str(after[0]), name]
        if measure == "memory" and ("memory", "2000", name) in self.median:
            return 2000, self.median["memory", "2000", name]
        return self.largest(measure, name)

    def goals(self):
        """Each as: what, its value, the limit."""
        m = self.median
        others = [name for name in self.names if not name.startswith(("relay", "direct", "floor", "least", "built"))]

        def best(pick, *key):
            return pick(m[(*key, name)] for name in others if (*key, name) in m)

        yield "set-up / (floor + direct)", m["setup_p50", "1", "relay"] / (
            m["setup_p50", "1", "floor"] + m["setup_p50", "1", "direct"]), "<=", 1.15
        yield "set-up / the least relay's", m["setup_p50", "1", "relay"] / m["setup_p50", "1", "least"], "<=", 1.05
        yield "set-up / nc's", m["setup_p50", "1", "relay"] / m["setup_p50", "1", "nc.openbsd"], "<=", 1 / 3
        yield "set-up / socat's", m["setup_p50", "1", "relay"] / m["setup_p50", "1", "socat"], "<=", 1 / 5
        yield "set-up, 64 at once / (floor + direct)", m["setup_p50", "64", "relay"] / (
            m["setup_p50", "64", "floor"] + m["setup_p50", "64", "direct"]), "<=", 1.15
        for size in ("64", "4096"):
            yield f"round trip of {size} B / the fastest peer's", m["rtt_p50", size, "relay"] / best(min, "rtt_p50", size), "<=", 1
        for direction in ("up", "down", "both"):
            rate = m["stream", direction, "relay"]
            yield f"throughput {direction} / the fastest peer's", rate / best(max, "stream", direction), ">=", 1
            yield f"throughput {direction} / HAProxy's with splice", rate / m["stream", direction, "HAProxy, splice"], ">=", 1.25
            yield f"CPU seconds a GB {direction} / the best peer's", (
                m["stream_cpu", direction, "relay"] / best(min, "stream_cpu", direction)), "<=", 1
        _, floor = self.idle("memory", "floor, holding")
        yield "idle memory / the floor's", self.idle("memory", "relay")[1] / floor, "<=", 1.2
        yield "idle memory after 1 MB / the floor's", self.idle("memory_after", "relay")[1] / floor, "<=", 1.2
        yield "page faults of a small connection", m["faults", "whole", "relay"], "<=", 10
        yield "system calls to the header", m["syscalls", "header", "relay"], "<=", 12
        yield "binary, KiB", m["binary", "file", "relay"] / 1024, "<=", 64
        for measure in ("header_build", "header_parse"):
            kind, took = max(((at, value) for (x, at, peer), value in m.items() if (x, peer) == (measure, "proxyhdr")),
                             key=lambda pair: pair[1])
            yield f"{measure}, ns, the slowest ({kind})", took, "<=", 100
            theirs = [(m[measure, at, peer] / m[measure, at, "proxyhdr"], at) for (x, at, peer) in m
                      if (x, peer) == (measure, "libproxyprotocol")]
            if theirs:
                times, kind = min(theirs)
                yield f"{measure}, libproxyprotocol's / proxyhdr's, the least ({kind})", times, ">=", 5

    def builds(self):
        """What each flag costs, in Markdown."""
        lines = [["", "set-up p50 µs", "page faults", "file, KiB"], ["---"] * 4]
        for name in ("relay", *(name for name in self.names if name.startswith("built "))):
            keys = ("setup_p50", "1", name), ("faults", "whole", name), ("binary", "file", name)
            took, faults, size = (self.median.get(key, 0) for key in keys)
            lines.append([name, f"{took:.0f}", f"{faults:.0f}", f"{size / 1024:.0f}"])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def profiles(self):
        """Microseconds of processor time for a connection, in Markdown: everybody's, then
        the program's parts, those that take two or more of any of them."""
        whole = ["tcpserver", "client and backend", "others", "the program"]
        same = {"exit": "exit_group", "poll": "ppoll"}
        spent = {}
        for (measure, at, peer), value in self.median.items():
            if measure == "profile":
                part = spent.setdefault(same.get(at, at), {})
                part[peer] = part.get(peer, 0) + value
        parts = [at for at, took in spent.items() if at not in (*whole, "else") and max(took.values()) >= 2]
        parts.sort(key=lambda at: -spent[at].get("relay", 0))
        spent["else"] = {peer: took - sum(spent[at].get(peer, 0) for at in parts)
                         for peer, took in spent.get("the program", {}).items()}
        lines = [["", *PROFILED], ["---"] * (1 + len(PROFILED))]
        lines += [[at, *(f"{spent.get(at, {}).get(name, 0):.0f}" for name in PROFILED)] for at in (*whole, *parts, "else")]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def print(self):
        print(self.table())
        print()
        print(self.builds())
        print()
        if any(measure == "profile" for measure, _, _ in self.median):
            print(self.profiles())
            print()
        print("What the project has set itself, and whether this run has reached it:")
        try:
            for what, value, relation, limit in self.goals():
                reached = value <= limit if relation == "<=" else value >= limit
                print(f"{'ok ' if reached else 'NO '} {what}: {value:.2f}, to be {relation} {limit:.2f}")
        except (KeyError, TypeError, ValueError):
            print("The others cannot be told: not all was measured.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", dest="mode", action="store_const", const="quick", default="full",
                        help="ends within two minutes")
    parser.add_argument("--tiny", dest="mode", action="store_const", const="tiny", help="does it work at all?")
    parser.add_argument("--rounds", type=int, help="instead of five (quick: two)")
    parser.add_argument("--only", metavar="REGEX", help="only peers with such a name")
    parser.add_argument("--results", help="where they go: tests/bench/results.tsv (quick: tests/build/bench/quick.tsv)")
    parser.add_argument("--show", action="store_true", help="measure nothing, show what is in that file")
    options = parser.parse_args()
    failures = 0
    if not options.results:
        full = options.mode == "full"
        options.results = os.path.join(ROOT, "tests/bench/results.tsv") if full else f"{BUILD}/{options.mode}.tsv"
    if options.rounds:
        MODES[options.mode]["rounds"] = options.rounds
    if not options.show:
        seconds = 95 if options.mode == "quick" else 1e9
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        failures = Bench(options.mode, os.path.abspath(options.results), options.only).run(seconds)
    if options.mode != "tiny" or options.show:
        Results(options.results).print()
        print(f"\nAll of it is in {os.path.relpath(options.results)}; --show prints this again.")
    if failures:
        print(f"bench: {failures} failed: see the lines above", file=sys.stderr)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
