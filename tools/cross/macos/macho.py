# SPDX-License-Identifier: MIT
"""The little of a 64-bit Mach-O file that signing it and checking that need.

Facts are those of <mach-o/loader.h> and <kern/cs_blobs.h>: load commands are little-endian, all of
a code signature is big-endian.
"""
import hashlib
import struct

MH_MAGIC_64 = 0xfeedfacf
CPU_TYPE_ARM64 = 0x0100000c
MH_EXECUTE = 2
LC_SEGMENT_64 = 0x19
LC_CODE_SIGNATURE = 0x1d

MAGIC_SUPERBLOB = 0xfade0cc0
MAGIC_DIRECTORY = 0xfade0c02
MAGIC_REQUIREMENTS = 0xfade0c01
MAGIC_ENTITLEMENTS = 0xfade7171
MAGIC_ENTITLEMENTS_DER = 0xfade7172
MAGIC_CMS = 0xfade0b01

SLOT_DIRECTORY = 0
SLOT_REQUIREMENTS = 2
SLOT_ENTITLEMENTS = 5
SLOT_ENTITLEMENTS_DER = 7
SLOT_CMS = 0x10000

CS_ADHOC = 0x2
HASH_SHA256 = 2
PAGE_BITS = 12
EXECSEG_MAIN_BINARY = 1

# A CodeDirectory of version 0x20400: magic, length, version, flags, hashOffset, identOffset,
# nSpecialSlots, nCodeSlots, codeLimit, hashSize, hashType, platform, pageSize, spare2,
# scatterOffset, teamOffset, spare3, codeLimit64, execSegBase, execSegLimit, execSegFlags.
DIRECTORY = struct.Struct(">9I4B4I4Q")
DIRECTORY_VERSION = 0x20400


class MachOError(Exception):
    """What is wrong with the file, in a line."""


class Program:
    """An arm64 executable with room for a signature."""

    def __init__(self, data):
        self.data = bytearray(data)
        if len(data) < 32:
            raise MachOError("not a Mach-O file: too short")
        magic, cpu, _, kind, count, size, _, _ = struct.unpack_from("<8I", data)
        if magic != MH_MAGIC_64 or cpu != CPU_TYPE_ARM64 or kind != MH_EXECUTE:
            raise MachOError("not an arm64 Mach-O program")
        if 32 + size > len(data):
            raise MachOError("its load commands go beyond the file")
        self.segments, self.signature = {}, None
        at = 32
        for _ in range(count):
            command, length = struct.unpack_from("<2I", data, at)
            if length < 8 or at + length > 32 + size:
                raise MachOError("a load command goes beyond the others")
            if command == LC_SEGMENT_64:
                self.segments[data[at + 8:at + 24].rstrip(b"\0").decode()] = at
            elif command == LC_CODE_SIGNATURE:
                self.signature = at
            at += length
        if self.signature is None or not {"__TEXT", "__LINKEDIT"} <= self.segments.keys():
            raise MachOError("it has no __TEXT, no __LINKEDIT or no LC_CODE_SIGNATURE")

    def segment(self, name):
        """(vmaddr, vmsize, fileoff, filesize)"""
        return struct.unpack_from("<4Q", self.data, self.segments[name] + 24)

    def set_segment_size(self, name, vmsize, filesize):
        address, _, offset, _ = self.segment(name)
        struct.pack_into("<4Q", self.data, self.segments[name] + 24, address, vmsize, offset,
                         filesize)

    def signature_range(self):
        """(offset, size) in the file"""
        return struct.unpack_from("<2I", self.data, self.signature + 8)

    def set_signature_size(self, size):
        struct.pack_into("<I", self.data, self.signature + 12, size)


def page_hashes(data):
    page = 1 << PAGE_BITS
    return [hashlib.sha256(data[at:at + page]).digest() for at in range(0, len(data), page)]
