#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares our A64 decoder with LLVM's: which words are allocated, and what they are.

usage: decoder.py DECODE-WORDS GEN-A64 DEF [--words N] [--seed S] [--progress]

Each word that we take must be one for LLVM too, under a mnemonic that belongs to our name for it.
Each one that LLVM knows, under a mnemonic that the table has too, must be one for us. Encoding
groups (bits 28:25, Arm ARM C4.1) in which the table has no line are left out.

The edges of every pattern are always tried: its free bits all zero, all one, each alone set, each
alone clear, and the same next door, where one of the fixed bits is another. Then at least N words:
half fill the patterns at random, a quarter are a fixed bit away from one, and a quarter are spread
evenly over the 2,048 values of bits 31:21.

Exit status 77 (skipped) when there is no llvm-mc.
"""
import argparse
import collections
import itertools
import random
import re
import shutil
import struct
import subprocess
import sys

BATCH = 65536
FEATURES = "+v8.2a,+crc,+lse,+rdm,+aes,+sha2,+dotprod,+rcpc,+lor,+ccpp,+fullfp16"
STEM = re.compile(r"^[A-Z0-9]+")
INVALID = re.compile(rb"<stdin>:(\d+):\d+: warning: invalid instruction encoding")
# Mnemonics that LLVM prints for our operation beside its own: aliases that -M no-aliases leaves on.
ALIASES = {
    "ASRV": "asr", "LSLV": "lsl", "LSRV": "lsr", "RORV": "ror",
    "BFM": "bfc bfi bfxil", "SBFM": "asr sbfiz sbfx sxtb sxth sxtw",
    "UBFM": "lsl lsr ubfiz ubfx uxtb uxth",
    "MOVN": "mov", "MOVZ": "mov", "ORR_IMM": "mov",
    "REV32": "rev", "REV64": "rev",
    "DUP_E": "mov", "SYS": "at dc ic tlbi",
    "CRC32": "crc32b crc32h crc32w crc32x", "CRC32C": "crc32cb crc32ch crc32cw crc32cx",
}


def llvm_mnemonics(tool, words):
    """The mnemonic of each word, None where LLVM knows no instruction."""
    text = "".join(",".join(f"{b:#x}" for b in struct.pack("<I", w)) + "\n" for w in words)
    done = subprocess.run(
        [tool, "--disassemble", "--triple=aarch64", f"--mattr={FEATURES}", "-M", "no-aliases"],
        input=text.encode(), capture_output=True, check=False)
    invalid = {int(m) for m in INVALID.findall(done.stderr)}
    lines = [line.split()[0] for line in done.stdout.decode().splitlines()
             if line.strip() and not line.strip().startswith(".")]
    if len(lines) + len(invalid) != len(words):
        sys.exit(f"{tool}: {len(words)} words gave {len(lines)} lines, {len(invalid)} warnings")
    answers = iter(lines)
    return [None if n in invalid else next(answers) for n in range(1, len(words) + 1)]


def our_names(program, words):
    done = subprocess.run([program], input=struct.pack(f"<{len(words)}I", *words),
                          capture_output=True, check=True)
    return done.stdout.decode().split()


def belongs(name, mnemonic):
    """Whether LLVM's mnemonic is one that our operation can have."""
    mnemonic = mnemonic.split(".")[0]
    if mnemonic in ALIASES.get(name, "").split():
        return True
    stem = STEM.match(name)[0].lower()
    if stem in ("ldst", "ld") or re.match("(LD|ST)1X", name):  # structures
        return re.fullmatch(r"(ld|st)[1-4]r?", mnemonic) is not None
    if name.endswith("_UR"):  # unscaled: LDRB_UR is ldurb
        stem = stem[:2] + "u" + stem[2:]
    if name.endswith("_NP"):  # no-allocate pair
        stem = stem[:2] + "n" + stem[2:]
    if stem.startswith(("cas", "swp", "ld", "st")) and mnemonic.startswith(stem):
        return re.fullmatch(r"(a|l|al)?(b|h)?|r[bh]?", mnemonic[len(stem):]) is not None
    # An operation on the upper half of its narrow operand is the same one with Q set.
    return mnemonic in (stem, stem + "2")


def patterns(gen, table):
    listing = subprocess.run([sys.executable, gen, table, "--list"], capture_output=True,
                             check=True, text=True)
    for line in listing.stdout.splitlines():
        name, mask, value, *_ = line.split()
        yield name, int(mask, 16), int(value, 16)


def edges(mask, value):
    """The words of a pattern at the ends of its fields, and its neighbours' likewise."""
    free = [1 << bit for bit in range(32) if not mask >> bit & 1]
    every = ~mask & 0xffffffff
    yield from (value, value | every)
    yield from (value | bit for bit in free)
    yield from (value | every ^ bit for bit in free)
    for near in (value ^ 1 << bit for bit in range(32) if mask >> bit & 1):
        yield from (near, near | every)


def sample(rows, count, rng):
    """The edges, then rounds of the three kinds of random words until those are `count`."""
    for mask, value in rows:
        yield from edges(mask, value)
    made = stratum = 0
    while made < count:
        for mask, value in rows:
            fixed = [bit for bit in range(32) if mask >> bit & 1]
            for _ in range(8):
                yield value | rng.getrandbits(32) & ~mask
            for _ in range(4):
                yield value ^ 1 << rng.choice(fixed) | rng.getrandbits(32) & ~mask
        strata = 4 * len(rows)
        for _ in range(strata):
            # A stride that is odd visits all of the 2,048 before it comes back to one.
            stratum = (stratum + 1001) % 2048
            yield stratum << 21 | rng.getrandbits(21)
        made += 12 * len(rows) + strata


def settled(word, name, mnemonic):
    """Differences that are LLVM's (docs/internals/decode.md has the rules)."""
    # MRS and MSR with op0 = 0 are unallocated: LLVM takes them for registers of no name.
    return name == "UNDEFINED" and mnemonic in ("mrs", "msr") and not word >> 19 & 3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("gen")
    parser.add_argument("table")
    parser.add_argument("--words", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--progress", action="store_true")
    options = parser.parse_args()
    tool = shutil.which("llvm-mc-14") or shutil.which("llvm-mc")
    if not tool:
        return 77
    rows = [(mask, value) for _, mask, value in patterns(options.gen, options.table)]
    groups = {value >> 25 & 15 for _, value in rows}
    words = sample(rows, options.words, random.Random(options.seed))
    total, excused = 0, 0
    met = collections.Counter()  # (our name, LLVM's mnemonic, group) of every word
    example = {}
    while batch := list(itertools.islice(words, BATCH)):
        total += len(batch)
        answers = zip(batch, our_names(options.program, batch), llvm_mnemonics(tool, batch))
        for word, name, mnemonic in answers:
            if settled(word, name, mnemonic):
                excused += 1
                continue
            key = name, mnemonic and mnemonic.split(".")[0], word >> 25 & 15
            met[key] += 1
            if met[key] == 1:
                example[key] = word
        if options.progress:
            print(f"{total} words", flush=True)

    known = {mnemonic for name, mnemonic, _ in met if mnemonic and name != "UNDEFINED"}
    wrong, absent = {}, set()
    for (name, mnemonic, group), count in met.items():
        if name != "UNDEFINED":
            if not mnemonic or not belongs(name, mnemonic):
                wrong[name, mnemonic, group] = count
        elif mnemonic in known and group in groups:
            wrong[name, mnemonic, group] = count
        elif mnemonic:
            absent.add(mnemonic)
    for key, count in sorted(wrong.items(), key=str):
        print(f"{count:6} x {example[key]:08x}: ours {key[0]}, LLVM's {key[1]}")
    print("not in the table: " + (" ".join(sorted(absent)) or "nothing"))
    print(f"{total} words, {excused} excused, {sum(wrong.values())} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
