#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""Both ends of a connection for which there are several backends, for
tests/several.bats. Usage, and what a scenario is: see ends.py.
"""
import contextlib
import os
import select
import signal
import socket
import subprocess
import time

from ends import (AT_ONCE, PATIENCE, Relay, main, read, read_to_eof, read_to_reset, reset,
                  scenario, wait_until)

STAGGER = 0.25
KINDS = ("tcp", "tcp6", "unix", "abstract")


def skips(relay, *expected):
    """The lines that tell who was passed over: these backends, for these reasons."""
    lines = [line for line in relay.log() if line.startswith("relay: skipped ")]
    assert len(lines) == len(expected), lines
    for line, (backend, why) in zip(lines, expected):
        assert f'msg="{why}' in line, (line, why)
        assert line.endswith(f" backend={backend}"), (line, backend)
        assert f" client={relay.names[0][0]}:{relay.names[0][1]} " in line, line


def serves(relay, within=AT_ONCE):
    """The connection is the right backend's, soon enough, and works."""
    start = time.monotonic()
    client, backend = relay.connect()
    assert (took := time.monotonic() - start) < within, f"took {took:.3f} s"
    client.sendall(b"ping")
    assert read(backend, 4) == b"ping"
    backend.sendall(b"pong")
    backend.close()
    assert read(client, 4) == b"pong"
    client.close()
    assert relay.status() == 0
    return took


def untouched(listener):
    """Nobody has sent a byte there: whoever has connected was just closed again."""
    listener.settimeout(0.3)
    with contextlib.suppress(TimeoutError, BlockingIOError):
        while True:
            end = listener.accept()[0]
            end.settimeout(AT_ONCE)
            with end, contextlib.suppress(ConnectionResetError, TimeoutError):
                assert end.recv(100) == b""


@scenario
def first_is_first():
    """In the order given, whatever they are."""
    for kind in KINDS:
        with Relay("-v", backend=kind, after=KINDS) as relay:
            serves(relay)
            skips(relay)
            for listener, _ in relay.others:
                assert not select.select([listener], [], [], 0)[0]


@scenario
def refusing_is_skipped(kind):
    """At once."""
    with Relay("-v", before=("refusing",), backend=kind) as relay:
        serves(relay, STAGGER)
        skips(relay, (relay.others[0][1], "cannot connect: Connection refused"))


@scenario
def missing_path_is_skipped():
    with Relay("-v") as relay:
        relay.command.insert(-1, "/nonexistent/socket")
        relay.command.insert(-1, "@nobody-is-here")
        relay.launcher.terminate()
        relay.launcher.wait()
        relay.start_tcpserver()
        serves(relay, STAGGER)
        skips(relay, ("/nonexistent/socket", "cannot connect: No such file or directory"),
              ("@nobody-is-here", "cannot connect: Connection refused"))


@scenario
def many_are_skipped():
    """More than are ever tried at once."""
    with Relay("-v", before=("refusing",) * 100) as relay:
        serves(relay, 2 * AT_ONCE)
        skips(relay, *((to, "cannot connect: Connection refused") for _, to in relay.others))


@scenario
def all_fail():
    with Relay(backend="refusing", before=("refusing",), after=("refusing",)) as relay:
        client = relay.call()
        with contextlib.suppress(ConnectionResetError):
            assert read_to_eof(client) == b""
        assert relay.status() == 111
        assert len(relay.log()) == 4
        assert relay.log()[-1].startswith('relay: error msg="none of the 3 backends takes the connection" client=')


@scenario
def all_hang():
    """--timeout is each one's; they are waited for side by side."""
    with Relay("-t", "1", backend="full", before=("full",), after=("full-unix",)) as relay:
        client = relay.call()
        start = time.monotonic()
        assert read_to_reset(client) == b""
        assert 1 <= time.monotonic() - start < 1 + 2 * STAGGER + AT_ONCE
        assert relay.status() == 111
        skipped = relay.log()[:3]
        assert all('skipped msg="cannot connect: ' in line and "timed out" in line for line in skipped), skipped
        for listener in (relay.listener, *(other for other, _ in relay.others)):
            untouched(listener)


@scenario
def hanging_costs_the_stagger(hanging, kind="tcp"):
    """And it gets no byte of a header."""
    with Relay("-v", "-2", before=(hanging,), backend=kind) as relay:
        took = serves(relay, STAGGER + AT_ONCE)
        assert took >= STAGGER - 0.01, took
        skips(relay, (relay.others[0][1], "no answer yet"))
        untouched(relay.others[0][0])


@scenario
def several_hanging_cost_as_many():
    with Relay("-v", before=("full", "full-unix", "refusing", "full")) as relay:
        took = serves(relay, 3 * STAGGER + AT_ONCE)
        assert took >= 3 * STAGGER - 0.01, took
        assert sum(line.startswith("relay: skipped ") for line in relay.log()) == 4
        for i in 0, 1, 3:
            untouched(relay.others[i][0])


@scenario
def hanging_one_may_still_win():
    """It is waited for beside the others, for all of --timeout."""
    with Relay("-t", "5", backend="full", after=("full",)) as relay:
        client = relay.call()
        wait_until(lambda: relay.started() and relay.sleeps())
        time.sleep(2 * STAGGER)
        while select.select([relay.listener], [], [], 0)[0]:    # room in its queue
            relay.accept().close()
        backend = wait_until(lambda: select.select([relay.listener], [], [], 0.1)[0]) and relay.accept()
        assert read(backend, 6) == b"PROXY "
        untouched(relay.others[0][0])
        client.close()
        backend.close()


@contextlib.contextmanager
def connected_on(relay, number):
    """A client of relay, which has the backend's connection on that descriptor: the
    other end of it, and the process."""
    near, far = socket.socketpair()
    os.dup2(far.fileno(), number)
    far.close()
    one, zero = relay.socket_and_peer()
    process = subprocess.Popen(relay.command, stdin=zero, stdout=zero, stderr=relay.stderr, pass_fds=[number])
    zero.close()
    os.close(number)
    near.settimeout(PATIENCE)
    with near, one:
        yield near, process
    assert process.wait(PATIENCE) in (0, 111)


@scenario
def descriptors_among_others():
    """fd: is connected already: it needs no more than to be reached."""
    with Relay("-v", client="inetd", before=("refusing",), after=("tcp",)) as relay:
        relay.command[-2] = "fd:30"
        with connected_on(relay, 30) as (near, _):
            assert read(near, 6) == b"PROXY "
        assert not select.select([relay.others[1][0]], [], [], 0)[0]


@scenario
def descriptors_end_the_race():
    """Whoever has not answered before is told in the log, and not waited for."""
    with Relay("-v", client="inetd", before=("full", "full-unix")) as relay:
        relay.command[-1] = "fd:30"
        with connected_on(relay, 30) as (near, process):
            assert read(near, 6) == b"PROXY "
            links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{process.pid}/fd")]
            sockets = {link for link in links if link.startswith("socket:")}
            assert len(sockets) == 2, links
            skips(relay, *((to, "no answer yet") for _, to in relay.others))
            for listener, _ in relay.others:
                untouched(listener)


@scenario
def client_reset_ends_the_race():
    with Relay("-v", backend="full", before=("full",)) as relay:
        client = relay.call()
        wait_until(lambda: relay.started() and relay.sleeps())
        time.sleep(STAGGER)
        reset(client)
        assert relay.status(AT_ONCE) == 0
        for listener in relay.listener, relay.others[0][0]:
            untouched(listener)
    # nor is who was skipped the backend of the connection
    with Relay("-v", backend="full", after=("refusing",)) as relay:
        client = relay.call()
        wait_until(lambda: relay.find("skipped"))
        reset(client)
        assert relay.status(AT_ONCE) == 0
        assert "backend=" not in relay.log()[-1], relay.text()


@scenario
def the_log_tells_who_has_it():
    """The address is that backend's and nothing of another one's, be that longer."""
    with Relay("-v", backend="abstract", after=("tcp",)) as relay:
        full, _ = relay.make_backend("full-unix")
        short = relay.keep(socket.socket(socket.AF_UNIX))
        short.bind("\0" + os.path.basename(relay.directory))
        short.listen(0)
        waiting = relay.keep(socket.socket(socket.AF_UNIX))
        waiting.connect(short.getsockname())
        to = "@" + short.getsockname()[1:].decode()
        relay.command[-2:] = [to, full.getsockname()]
        relay.launcher.terminate()
        relay.launcher.wait()
        relay.start_tcpserver()
        client = relay.call()
        wait_until(lambda: relay.started() and relay.sleeps())
        time.sleep(2 * STAGGER)
        short.accept()[0].close()
        backend = relay.keep(short.accept()[0])
        client.close()
        backend.close()
        assert relay.closed()["backend"] == to, relay.text()


@scenario
def stuck_log_holds_up_nobody():
    """Who is skipped is told before the connection is made: not at its cost."""
    with Relay(client="unix", before=("refusing",)) as relay:
        relay.jam_log()
        serves(relay)


@scenario
def of_two_at_once_the_first():
    """Two that make room while relay does not run: the order decides."""
    for kind in "full-unix", "full":
        with Relay("-t", "30", backend=kind, after=(kind,)) as relay:
            client = relay.call()
            wait_until(lambda: relay.started() and relay.sleeps())
            time.sleep(3 * STAGGER)
            os.kill(relay.pid(), signal.SIGSTOP)
            listeners = relay.listener, relay.others[0][0]
            for listener in listeners:
                while select.select([listener], [], [], 0)[0]:
                    listener.accept()[0].close()
            time.sleep(4 if kind == "full" else 0)      # the kernel asks again
            os.kill(relay.pid(), signal.SIGCONT)
            assert read(relay.accept(), 6) == b"PROXY "
            client.close()


@scenario
def rests_in_the_race():
    """S5: nothing runs while nothing is due."""
    with Relay(backend="full", before=("full",)) as relay:
        client = relay.call()
        time.sleep(2 * STAGGER)
        relay.assert_rests(2)
        reset(client)


@scenario
def rests_when_no_more_may_start():
    """S5: so many are tried at once, and no more, until one of them fails."""
    with Relay("-t", "60", backend="full") as relay:
        relay.command[-1:] = [relay.to] * 40
        relay.launcher.terminate()
        relay.launcher.wait()
        relay.start_tcpserver()
        client = relay.call()
        time.sleep(33 * STAGGER)
        relay.assert_rests(2)
        reset(client)


@scenario
def longest_timeout():
    """However long each one is waited for: the next has as long."""
    with Relay("-v", "-t", "2147482", before=("full",) * 9) as relay:
        serves(relay, 9 * STAGGER + AT_ONCE)
        skips(relay, *((to, "no answer yet") for _, to in relay.others))


@scenario
def a_thousand_on_the_command_line():
    with Relay("-v") as relay:
        _, refusing = relay.make_backend("refusing")
        relay.command[-1:] = [refusing] * 999 + [relay.to]
        relay.launcher.terminate()
        relay.launcher.wait()
        relay.start_tcpserver()
        serves(relay, 10 * AT_ONCE)
        assert sum(line.startswith("relay: skipped ") for line in relay.log()) == 999


if __name__ == "__main__":
    main()
