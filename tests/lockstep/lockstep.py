#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Executes random instructions by our interpreter and by an oracle, and compares what they leave.

usage: lockstep.py ORACLE CHECK GEN-A64 DEF CLASS... [--words N] [--cases N] [--seed S]

ORACLE and CHECK are programs that read instruction words and write a 64-bit hash of the state after
each of a number of cases (int_case.h); ORACLE is an ARM64 program, run by qemu-aarch64-static where
this machine is none. The words are the table's patterns of the named classes, filled at random.

Exit status 77 (skipped) when the oracle cannot run here.
"""
import argparse
import collections
import platform
import random
import re
import shutil
import struct
import subprocess
import sys

# What cannot run as one instruction out of place, or is not the same on both sides by design.
LEFT_OUT = re.compile(r"LDR_LIT|LDRSW_LIT|LDST_LANE|LD_REPLICATE|(LD|ST)\dX\d")


def unpredictable(name, word):
    """CONSTRAINED UNPREDICTABLE register choices, where implementations may differ (K1.2)."""
    rt, rn, rt2, rs = word & 31, word >> 5 & 31, word >> 10 & 31, word >> 16 & 31
    vector = word >> 26 & 1
    pair = (word & 0x3a000000) == 0x28000000
    if name.endswith(("_PRE", "_POST")) and rn != 31 and not vector:
        if rn == rt or (pair and rn == rt2):
            return True
    if (pair or name in ("LDXP", "LDAXP")) and name.startswith("LD") and rt == rt2:
        return True
    if re.match(r"ST(L?)X[RP]", name):
        return rs in (rt, rn) or (name.endswith("P") and rs == rt2)
    return False


def astray(name, word):
    """A base or a target that the case cannot choose."""
    rn, rm = word >> 5 & 31, word >> 16 & 31
    return rn == 31 if name in ("BR", "BLR", "RET") else name.endswith("_REG") and rn == rm


def adapted(name, word, rng):
    """Keeps addresses inside the memory and branches at their one target."""
    if name.endswith("_UIMM"):
        return word & ~(0xfff << 10) | rng.randrange(64) << 10
    if name in ("B", "BL"):
        return word & ~0x03ffffff | 2
    if name in ("B_COND", "CBZ", "CBNZ"):
        return word & ~(0x7ffff << 5) | 2 << 5
    if name in ("TBZ", "TBNZ"):
        return word & ~(0x3fff << 5) | 2 << 5
    return word


def sample(options, rng):
    listing = subprocess.run([sys.executable, options.gen, options.table, "--list"],
                             capture_output=True, check=True, text=True)
    for line in listing.stdout.splitlines():
        name, mask, value, klass, _ = line.split()
        space = int(value, 16) >> 25 & 5  # loads and stores of any class: bits 27 and 25 are 1 0
        wanted = klass in options.classes or "ldst" in options.classes and space == 4
        if not wanted or LEFT_OUT.match(name):
            continue
        for _ in range(options.words):
            word = adapted(name, int(value, 16) | rng.getrandbits(32) & ~int(mask, 16), rng)
            stray = klass != "int" and astray(name, word)
            if not stray and not unpredictable(name, word):
                yield name, word


def hashes(command, words, cases):
    done = subprocess.run(command + [str(cases)], input=struct.pack(f"<{len(words)}I", *words),
                          capture_output=True, check=True)
    return struct.unpack(f"<{len(words) * cases}Q", done.stdout)


def main():
    parser = argparse.ArgumentParser()
    for name in ("oracle", "check", "gen", "table"):
        parser.add_argument(name)
    parser.add_argument("classes", nargs="+")
    parser.add_argument("--words", type=int, default=20)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    oracle = [options.oracle]
    if platform.machine() != "aarch64":
        emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
        if not emulator:
            return 77
        oracle = [emulator, "-cpu", "max", options.oracle]
    rows = list(sample(options, random.Random(options.seed)))
    words = [word for _, word in rows]
    theirs = hashes(oracle, words, options.cases)
    ours = hashes([options.check], words, options.cases)
    wrong = collections.Counter()
    example = {}
    for n, (a, b) in enumerate(zip(ours, theirs)):
        if a != b:
            name, word = rows[n // options.cases]
            wrong[name] += 1
            example.setdefault(name, (word, n % options.cases, a, b))
    for name, count in sorted(wrong.items()):
        word, case, a, b = example[name]
        print(f"{count:6} x {name}, such as {word:08x} case {case}: ours {a:x}, the oracle's {b:x}")
    raised = sum(h == 0 for h in theirs)
    print(f"{len(theirs)} cases, {len(words)} words, {raised} raise, {sum(wrong.values())} differ")
    return 1 if wrong or not words else 0


if __name__ == "__main__":
    sys.exit(main())
