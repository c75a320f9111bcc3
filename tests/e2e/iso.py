# SPDX-License-Identifier: MIT
"""The smallest ISO 9660 image with one file, for CD-ROM tests (ECMA-119)."""

import struct

BLOCK = 2048
ROOT, FILE = 20, 21   # blocks


def both(fmt, value):
    """A number in both byte orders (7.2.3, 7.3.3)."""
    return struct.pack("<" + fmt, value) + struct.pack(">" + fmt, value)


def record(name, block, size, folder):
    """A directory record (9.1)."""
    body = (b"\0" + both("I", block) + both("I", size) + bytes([100, 1, 1, 0, 0, 0, 0])
            + bytes([2 if folder else 0, 0, 0]) + both("H", 1) + bytes([len(name)]) + name)
    body += b"\0" * (len(body) % 2 == 0)
    return bytes([len(body) + 1]) + body


def build(name, data, label="PEARVISOR"):
    """`name` is 8.3 in capitals."""
    blocks = FILE + (len(data) + BLOCK - 1) // BLOCK
    root = record(b"\0", ROOT, BLOCK, True)
    primary = (b"\1CD001\1\0" + b" " * 32 + label.encode().ljust(32) + bytes(8)
               + both("I", blocks) + bytes(32) + both("H", 1) + both("H", 1) + both("H", BLOCK)
               + both("I", 10) + struct.pack("<II", 18, 0) + struct.pack(">II", 19, 0) + root)
    primary = primary.ljust(881, b" ") + b"\1"
    path = bytes([1, 0])
    tables = [path + struct.pack(order + "IH", ROOT, 1) + b"\0\0" for order in "<>"]
    folder = root + record(b"\1", ROOT, BLOCK, True) + record(
        name.encode() + b";1", FILE, len(data), False)
    image = bytearray(blocks * BLOCK)
    for block, content in ((16, primary), (17, b"\xffCD001\1"), (18, tables[0]), (19, tables[1]),
                           (ROOT, folder), (FILE, data)):
        image[block * BLOCK:block * BLOCK + len(content)] = content
    return bytes(image)
