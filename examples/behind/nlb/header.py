#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""The header of AWS's Network Load Balancer, to try relay without one: see README.md.

Try it:  header.py CLIENT PORT SERVER PORT [ENDPOINT]    a client's; ENDPOINT is the VPC
                                                         endpoint (vpce-...) it came through
         header.py                                       a health check's
"""
import socket
import struct
import sys

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
CRC32C, NOOP, AWS = 0x03, 0x04, 0xEA
LENGTH = 84  # of what follows the first 16 bytes


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def header(client=None, client_port=0, server=None, server_port=0, endpoint=None):
    # A health check's names IPv4 and has no addresses: LOCAL, so nobody reads them.
    command, family, addresses = LOCAL, 1, b""
    if client:
        command, family = PROXY, 2 if ":" in client else 1
        af = socket.AF_INET6 if family == 2 else socket.AF_INET
        addresses = (socket.inet_pton(af, client) + socket.inet_pton(af, server) +
                     struct.pack("!HH", int(client_port), int(server_port)))
    rest = tlv(AWS, b"\x01" + endpoint.encode()) if endpoint else b""
    padding = max(0, LENGTH - len(addresses) - 7 - len(rest) - 3)
    rest += tlv(NOOP, bytes(padding))
    start = SIGNATURE + struct.pack("!BBH", command, family << 4 | 1, len(addresses) + 7 + len(rest))
    start += addresses
    checksum = crc32c(start + tlv(CRC32C, bytes(4)) + rest)
    return start + tlv(CRC32C, struct.pack("!I", checksum)) + rest


if __name__ == "__main__":
    sys.stdout.buffer.write(header(*sys.argv[1:]))
