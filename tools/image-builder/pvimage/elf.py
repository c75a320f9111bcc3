# SPDX-License-Identifier: MIT
"""What a 64-bit little-endian ELF file needs of others (System V ABI, chapter 5)."""

import struct

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5


def is_elf(data):
    return data[:6] == b"\x7fELF\x02\x01"


def _segments(data):
    offset, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, _, start, address, _, length = struct.unpack_from("<IIQQQQ", data, offset + i * size)
        yield kind, start, address, length


def _string(data, offset):
    return data[offset:data.index(b"\0", offset)].decode()


def needed(data):
    """The libraries that it names."""
    segments = list(_segments(data))
    entries = []
    for kind, start, _, length in segments:
        if kind == PT_DYNAMIC:
            entries = list(struct.iter_unpack("<QQ", data[start:start + length // 16 * 16]))
    tables = [value for tag, value in entries if tag == DT_STRTAB]
    if not tables:
        return []
    strings = next(start + tables[0] - address for kind, start, address, length in segments
                   if kind == PT_LOAD and address <= tables[0] < address + length)
    return [_string(data, strings + value) for tag, value in entries if tag == DT_NEEDED]


def interpreter(data):
    """The path of its dynamic loader, or None."""
    return next((_string(data, start) for kind, start, _, _ in _segments(data)
                 if kind == PT_INTERP), None)
