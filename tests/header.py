#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""PROXY headers, read from the specification and not by proxyhdr.c.

header.py show FILE
    The header that the file begins with, in words. Version 1: its line. Version 2:
    a line with command, family and transport, addresses; and one for each TLV, its
    type and its value: as text where it is all printable, else in hex; of SSL the
    parts. The checksum is computed anew: "right" or "wrong".

header.py peek DIRECTORY COMMAND...
    Leaves the header that waits on descriptor 0 there: in DIRECTORY/1, or the next
    free number. Then becomes that command, which reads it for itself.
"""
import os
import socket
import struct
import sys
import time

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
NAMES = {1: "ALPN", 2: "AUTHORITY", 3: "CRC32C", 4: "NOOP", 5: "UNIQUE_ID", 0x20: "SSL", 0x30: "NETNS"}
SSL_NAMES = {0x21: "VERSION", 0x22: "CN", 0x23: "CIPHER", 0x24: "SIG_ALG", 0x25: "KEY_ALG"}


def crc32c(data):
    """RFC 4960 appendix B, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def length(data):
    """Of the header, as soon as that shows; else 0."""
    if data.startswith(SIGNATURE):
        return 16 + struct.unpack("!H", data[14:16])[0] if len(data) >= 16 else 0
    return data.find(b"\r\n") + 2 if b"\r\n" in data else 0


def text(value):
    readable = value and all(0x20 <= byte < 0x7F for byte in value)
    return value.decode() if readable else "0x" + value.hex()


def tlvs(data, start):
    """Type, value, and where that begins, of each."""
    while start < len(data):
        kind, size = struct.unpack("!BH", data[start:start + 3])
        start += 3 + size
        assert start <= len(data), "a TLV ends beyond the header"
        yield kind, data[start - size:start], start - size


def show_tlv(header, kind, value, at):
    name = NAMES.get(kind, f"0x{kind:02X}")
    if kind == 3:
        right = value == struct.pack("!I", crc32c(header[:at] + bytes(4) + header[at + 4:]))
        return f"{name} {'right' if right else 'wrong'}"
    if kind == 4:
        return f"{name} {len(value)}"
    if kind == 0x20:
        client, verify = struct.unpack("!BI", value[:5])
        parts = [f"{SSL_NAMES.get(k, hex(k))}={text(v)}" for k, v, _ in tlvs(value, 5)]
        return " ".join([f"{name} client={client} verify={verify}", *parts])
    return f"{name} {text(value)}"


def show(header):
    if not header.startswith(SIGNATURE):
        print(header[:-2].decode())
        return
    command, family = {0x20: "LOCAL", 0x21: "PROXY"}[header[12]], header[13] >> 4
    transport = ("UNSPEC", "STREAM", "DGRAM")[header[13] & 15]
    size = (0, 12, 36, 216)[family]
    where = ""
    if family in (1, 2):
        af, n = (socket.AF_INET, 4) if family == 1 else (socket.AF_INET6, 16)
        ends = [socket.inet_ntop(af, header[i:i + n]) for i in (16, 16 + n)]
        where = " %s %s %d %d" % (*ends, *struct.unpack("!HH", header[16 + 2 * n:20 + 2 * n]))
    elif family == 3:
        where = " %s %s" % tuple(text(header[i:i + 108].rstrip(b"\0")) for i in (16, 124))
    print(command, ("UNSPEC", "INET", "INET6", "UNIX")[family], transport + where)
    for tlv in tlvs(header, 16 + size):
        print(show_tlv(header, *tlv))


def peek(directory):
    os.makedirs(directory, exist_ok=True)
    sock = socket.socket(fileno=os.dup(0))
    while True:
        data = sock.recv(65551, socket.MSG_PEEK)
        size = length(data)
        if not data or 0 < size <= len(data):
            break
        time.sleep(0.01)    # MSG_PEEK does not wait for more than there is
    number = 1
    while os.path.exists(f"{directory}/{number}"):
        number += 1
    with open(f"{directory}/{number}", "xb") as file:
        file.write(data[:size])


if __name__ != "__main__":
    pass
elif sys.argv[1] == "show":
    with open(sys.argv[2], "rb") as opened:
        everything = opened.read()
    show(everything[:length(everything)])
else:
    peek(sys.argv[2])
    os.execvp(sys.argv[3], sys.argv[3:])
