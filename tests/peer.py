#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""Small peers for the tests.

peer.py record TO DIRECTORY [--say TEXT] [--echo]
    A backend that records. Of connection N (1, 2, ...) it leaves in DIRECTORY:
    N.first what the first recv gave, N.all everything, and, once it is over,
    N.end: "eof" or "reset". --say: sent when the first segment has come.
    --echo: all that comes after the first segment is sent back.
    TO: HOST:PORT, [V6]:PORT, /path or @abstract.

peer.py syslog PATH
    Receives datagrams at PATH and prints each as a line.
"""
import argparse
import os
import socket
import sys
import threading


def listener(to):
    if to.startswith("/") or to.startswith("@"):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind("\0" + to[1:] if to.startswith("@") else to)
    else:
        host, port = to.rsplit(":", 1)
        host = host.strip("[]")
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, int(port)))
    sock.listen(128)
    return sock


def write(path, data):
    """All at once, for tests wait until the file is there."""
    with open(path + ".part", "wb") as file:
        file.write(data)
    os.rename(path + ".part", path)


def record(conn, path, say, echo):
    end = b"eof"
    with open(path + ".all", "wb", buffering=0) as everything:
        try:
            data = conn.recv(65536)
            everything.write(data)
            write(path + ".first", data)
            conn.sendall(say)
            while data:
                data = conn.recv(65536)
                everything.write(data)
                if echo:
                    conn.sendall(data)
        except OSError:
            end = b"reset"
    conn.close()
    write(path + ".end", end)


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("record")
    verb.add_argument("to")
    verb.add_argument("directory")
    verb.add_argument("--say", default="")
    verb.add_argument("--echo", action="store_true")
    verb = verbs.add_parser("syslog")
    verb.add_argument("path")
    args = parser.parse_args()

    if args.verb == "record":
        sock = listener(args.to)
        count = 0
        while True:
            conn, _ = sock.accept()
            count += 1
            path = os.path.join(args.directory, str(count))
            threading.Thread(target=record, daemon=True,
                             args=(conn, path, args.say.encode(), args.echo)).start()

    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(args.path)
    os.chmod(args.path, 0o666)
    while True:
        sys.stdout.buffer.write(sock.recv(65536).rstrip(b"\n\0") + b"\n")
        sys.stdout.flush()


main()
