#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""Both ends of a chain of programs, to see what it carries besides the bytes.

chain.py [--tls] PORT BACKEND-PORT
    Is the backend at 127.0.0.1:BACKEND-PORT, and for each scenario a client of
    127.0.0.1:PORT, all at the same time. The header, of either version, must name that
    very client. Prints a line for each: what the backend has read and how that ended,
    then the client. An end is eof, reset, or open: nothing, for 4 seconds. With
    --tls the client's eof is what TLS says; that of TCP may come later.

    late-answer    the client asks and ends; a second later the backend answers, and ends
    late-words     the backend greets and ends; a second later the client speaks, and ends
    client-reset   the client resets the connection
    backend-reset  the backend does
"""
import argparse
import collections
import contextlib
import queue
import socket
import ssl
import struct
import threading
import time

LATE = 1.0      # longer than socat waits after a half-close
PATIENCE = 4.0
CLIENT = "127.0.0.2"
BACKENDS = collections.defaultdict(queue.Queue)     # by the client's port in the header


def half_close(end):
    if not isinstance(end, ssl.SSLSocket):
        end.shutdown(socket.SHUT_WR)
        return
    # To say it, not to wait for the other's word; but if that is there, unwrap takes
    # it, and from then on end reads TCP's bytes and TCP's end.
    end.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):
        end.unwrap()
    end.settimeout(PATIENCE)


def reset(end):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket(fileno=end.detach()).close()


def read_to_end(end):
    """What comes, and how it ends, as text."""
    if isinstance(end, ssl.SSLSocket) and not end.version():
        return "eof"        # half_close has read it
    data = b""
    try:
        while more := end.recv(65536):
            data += more
        how = "eof"
    except ssl.SSLZeroReturnError:      # so Python calls it when we have ended before
        how = "eof"
    except ConnectionResetError:
        how = "reset"
    except TimeoutError:
        how = "open"
    return f"{data.decode()} {how}".strip()


def late_answer(client, backend):
    client.sendall(b"question")
    half_close(client)
    asked = read_to_end(backend)
    time.sleep(LATE)
    with contextlib.suppress(ConnectionError):
        backend.sendall(b"answer")
    backend.close()
    return asked, read_to_end(client)


def late_words(client, backend):
    backend.sendall(b"greeting")
    half_close(backend)
    greeted = read_to_end(client)
    time.sleep(LATE)
    with contextlib.suppress(OSError):      # the connection may be over
        client.sendall(b"words")
        half_close(client)
    return read_to_end(backend), greeted


def client_reset(client, backend):
    client.sendall(b"question")
    asked = backend.recv(100).decode()
    reset(client)
    return asked + " " + read_to_end(backend), "-"


def backend_reset(client, backend):
    backend.sendall(b"greeting")
    greeted = client.recv(100).decode()
    reset(backend)
    return "-", greeted + " " + read_to_end(client)


def serve(listener):
    while True:
        end, _ = listener.accept()
        end.settimeout(PATIENCE)
        header, length = b"", None
        while not header.endswith(b"\r\n") if length is None else len(header) < length:
            header += end.recv(1) or b"(end)\r\n"
            if header == b"\r":         # the signature of version 2, IPv4's 28 bytes
                length = 28
        words = header.split()
        port = struct.unpack("!H", header[24:26])[0] if length else int(words[4]) if len(words) == 6 else None
        BACKENDS[port].put((header, end))


def run(scenario, args):
    """A scenario with a connection of its own. Returns the line to print."""
    client = socket.create_connection(("127.0.0.1", args.port), PATIENCE, (CLIENT, 0))
    port = client.getsockname()[1]
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(client, suppress_ragged_eofs=False)
    header, backend = BACKENDS[port].get(timeout=10)
    expected = f"PROXY TCP4 {CLIENT} 127.0.0.1 {port} {args.port}\r\n".encode()
    if len(header) == 28:
        expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(
            "!H4s4sHH", 12, socket.inet_aton(CLIENT), socket.inet_aton("127.0.0.1"), port, args.port)
    assert header == expected, header
    with client, backend:
        return "%s: backend %s, client %s" % (scenario, *SCENARIOS[scenario](client, backend))


SCENARIOS = {"late-answer": late_answer, "late-words": late_words,
             "client-reset": client_reset, "backend-reset": backend_reset}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("port", type=int)
    parser.add_argument("backend", type=int)
    args = parser.parse_args()

    listener = socket.create_server(("127.0.0.1", args.backend))
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    lines = dict.fromkeys(SCENARIOS)

    def keep(scenario):
        try:
            lines[scenario] = run(scenario, args)
        except Exception as error:
            lines[scenario] = f"{scenario}: {error!r}"

    threads = [threading.Thread(target=keep, args=(name,)) for name in SCENARIOS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*lines.values(), sep="\n")


main()
