#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/cross/macos: what `sign` makes `check-program` finds right, and any change to it wrong."""
import importlib.machinery
import importlib.util
import struct
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools/cross/macos"
sys.path.insert(0, str(TOOLS))
sys.dont_write_bytecode = True

import macho  # noqa: E402


def load(name):
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(TOOLS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


sign, checker = load("sign"), load("check-program")
ENTITLEMENTS = (ROOT / "dist/macos/pearvisor.entitlements").read_bytes()
TEXT, LINKEDIT, OLD_SIGNATURE = 0x8000, 0x1230, 64


def segment(name, address, vmsize, offset, filesize):
    return struct.pack("<2I16s4Q4I", macho.LC_SEGMENT_64, 72, name, address, vmsize, offset,
                       filesize, 5, 5, 0, 0)


def program():
    """A program of no code, with the linker's signature at its end."""
    end = TEXT + LINKEDIT
    commands = (segment(b"__TEXT", 1 << 32, TEXT, 0, TEXT) +
                segment(b"__LINKEDIT", (1 << 32) + TEXT, 0x4000, TEXT, LINKEDIT + OLD_SIGNATURE) +
                struct.pack("<4I", macho.LC_CODE_SIGNATURE, 16, end, OLD_SIGNATURE))
    header = struct.pack("<8I", macho.MH_MAGIC_64, macho.CPU_TYPE_ARM64, 0, macho.MH_EXECUTE, 3,
                         len(commands), 0, 0)
    body = bytes(i * 7 & 0xff for i in range(end - 32 - len(commands)))
    return header + commands + body + bytes(OLD_SIGNATURE)


def wrong(data, entitlements=ENTITLEMENTS):
    return list(checker.check_signature(data, entitlements))


class Sign(unittest.TestCase):
    def setUp(self):
        self.signed = sign.sign(program(), ENTITLEMENTS)

    def test_right(self):
        self.assertEqual(wrong(self.signed), [])
        self.assertEqual(self.signed, sign.sign(program(), ENTITLEMENTS))

    def test_signed_again(self):
        self.assertEqual(sign.sign(self.signed, ENTITLEMENTS), self.signed)

    def test_each_page_is_covered(self):
        limit, _ = macho.Program(self.signed).signature_range()
        for at in [*range(0x200, limit, 1 << macho.PAGE_BITS), limit - 1]:
            changed = bytearray(self.signed)
            changed[at] ^= 1
            self.assertEqual(wrong(changed), [f"the hash of page {at >> 12} is wrong"])

    def test_each_byte_of_the_entitlements_is_covered(self):
        key = b"com.apple.security.hypervisor"
        for start in (self.signed.index(key), self.signed.rindex(key)):
            changed = bytearray(self.signed)
            changed[start + 3] ^= 1
            self.assertTrue(any("the hash of part" in line for line in wrong(changed)))

    def test_other_entitlements(self):
        self.assertIn("the entitlements are not those wanted",
                      wrong(self.signed, ENTITLEMENTS.replace(b"true", b"false")))

    def test_unsigned_and_cut_short(self):
        self.assertTrue(wrong(program()))
        self.assertTrue(wrong(self.signed[:-1]))

    def test_der(self):
        # Encoded by hand: [APPLICATION 16] { INTEGER 1, [16] { SEQUENCE { "a", TRUE } } }.
        self.assertEqual(sign.entitlements_der({"a": True}),
                         bytes.fromhex("700d 020101 b008 3006 0c0161 0101ff"))
        self.assertEqual(sign.der(0x30, bytes(200))[:3], bytes.fromhex("3081c8"))
        self.assertRaises(macho.MachOError, sign.entitlements_der, {"a": "text"})

    def test_not_a_program(self):
        for data in (b"", b"\x7fELF" + bytes(100), program()[:60]):
            self.assertRaises(macho.MachOError, sign.sign, data, ENTITLEMENTS)


class Stubs(unittest.TestCase):
    def test_functions_exist(self):
        self.assertEqual(list(checker.check_stubs()), [])

    def test_declared_is_stubbed(self):
        """A function of the framework that we declare is there to link to, and the other way."""
        header = (TOOLS / "include/Hypervisor/Hypervisor.h").read_text(encoding="utf-8")
        for symbol in checker.stubs()["Hypervisor"]["symbols"].split():
            self.assertRegex(header, rf"\b{symbol}\(")


if __name__ == "__main__":
    unittest.main()
