#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares our A64 decoder with LLVM's: which words are allocated, and what they are.

usage: decoder.py DECODE-WORDS GEN-A64 DEF [--per-pattern N] [--random N] [--seed S]

Two samples. Every pattern of the table is filled with random fields: each word that we take must
be one for LLVM too, under a mnemonic that belongs to our name for it. Then words next to a pattern
or random: each one that LLVM knows, under a mnemonic that the table has too, must be one for
us. Encoding groups (bits 28:25, Arm ARM C4.1) in which the table has no line are left out.

Exit status 77 (skipped) when there is no llvm-mc.
"""
import argparse
import collections
import random
import re
import shutil
import struct
import subprocess
import sys

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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("gen")
    parser.add_argument("table")
    parser.add_argument("--per-pattern", type=int, default=40)
    parser.add_argument("--random", type=int, default=40000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tool = shutil.which("llvm-mc-14") or shutil.which("llvm-mc")
    if not tool:
        return 77
    rng = random.Random(options.seed)
    rows = list(patterns(options.gen, options.table))
    words = [value | rng.getrandbits(32) & ~mask for _, mask, value in rows
             for _ in range(options.per_pattern)]
    # Words one bit away from a pattern find the edges of the space better than uniform ones do.
    words += [(value ^ 1 << rng.randrange(32)) | rng.getrandbits(32) & ~mask
              for _, mask, value in rows for _ in range(options.per_pattern // 4)]
    words += [rng.getrandbits(32) for _ in range(options.random)]
    ours, theirs = our_names(options.program, words), llvm_mnemonics(tool, words)

    groups = {value >> 25 & 15 for _, _, value in rows}
    known = {m.split(".")[0] for n, m in zip(ours, theirs) if m and n != "UNDEFINED"}
    wrong, absent = collections.Counter(), collections.Counter()
    example = {}
    for word, name, mnemonic in zip(words, ours, theirs):
        if name == "UNDEFINED":
            if not mnemonic:
                continue
            if mnemonic in ("mrs", "msr") and not word >> 19 & 3:
                continue  # op0 = 0: LLVM takes these for registers of no name
            if mnemonic.split(".")[0] not in known or word >> 25 & 15 not in groups:
                absent[mnemonic.split(".")[0]] += 1
                continue
        elif mnemonic and belongs(name, mnemonic):
            continue
        wrong[name, mnemonic] += 1
        example.setdefault((name, mnemonic), word)
    for (name, mnemonic), count in sorted(wrong.items(), key=str):
        print(f"{count:6} x {example[name, mnemonic]:08x}: ours {name}, LLVM's {mnemonic}")
    print(f"{len(words)} words, {sum(wrong.values())} differ; not in the table: "
          + (" ".join(sorted(absent)) or "nothing"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
