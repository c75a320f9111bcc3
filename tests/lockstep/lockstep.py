#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Executes random instructions by an engine and by an oracle, and compares what they leave.

usage: lockstep.py BUILD [CLASS...] [--engine NAME] [--oracle qemu|vixl] [--length N] [--total N]
                   [--cases N] [--seed S]

For each class (all, when none is named) words of the table's patterns are filled at random, each
runs on so many cases of registers and memory (case.h), and all patterns get the same share of N
cases in total. One line for each class says how many cases there were and how many differ; the
first difference of each pattern is shown register by register.

With --length the words run N in a row, which is what finds faults of a translator: they are picked
from those that do not raise, half of them with few registers, so that they depend on one another.
Classes that access memory, branch or change modes are left out then; class mix has all others.

The oracles: `qemu` runs BUILD/tests/lockstep/lockstep-oracle under qemu-aarch64-static, or as it is
on an ARM64 machine; `vixl` is BUILD/tests/lockstep/lockstep-vixl. Exit status 77 (skipped) when the
oracle is not there.

--golden FILE writes the oracle's answers for tests/unit/test_interp_simd.c instead.
"""
import argparse
import collections
import itertools
import pathlib
import platform
import random
import re
import shutil
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNKNOWN = 2  # instead of a hash: the oracle has no such instruction
CLASSES = ("int", "branch", "system", "ldst", "fp", "simd", "crypto")
STRAIGHT = ("int", "fp", "simd", "crypto", "mix")  # may run several in a row
LANES, HALF, SINGLE, DOUBLE, PLAIN_FP = 0, 1, 2, 3, 16
USUAL_FPCR = 32  # or-ed in: case.h
GOLDEN = {"simd": 1200, "crypto": 56}  # words recorded
SHOWN = 100  # differences at most
BATCH = 2048  # requests to the programs at a time
STATE = struct.Struct("<100Q4096s")
NAMES = ([f"x{n}" for n in range(31)] + "sp nzcv fpcr fpsr taken".split()
         + [f"v{n // 2}.d[{n % 2}]" for n in range(64)])
TAKEN, MEMORY = 16, (0x10000000 + 0x100 - 0x10080800) // 4  # from the instruction, in words
WORDS, NOP = 8, 0xd503201f  # of a request

# System instructions mean one thing at EL0 of any machine in these cases only. The registers are
# NZCV, FPCR and FPSR; the hints exclude those that wait.
SYSTEM = {"CLREX": (), "DSB": (), "DMB": (), "ISB": (), "HINT": (0, 1, 4, 5, 16, 20, 22),
          "MSR": (0x5a10, 0x5a20, 0x5a21), "MRS": (0x5a10, 0x5a20, 0x5a21)}
FLOAT = re.compile(r"F|[SU]CVTF_|URECPE_|URSQRTE_")


# Rows that found a fault, to be tried again by every run of rows.
FOUND = {
    # SUBS, CSEL with NV, SBCS: the translator took the select for one that keeps the host's flags.
    "int": [("SUBS_REG+CSEL+SBCS", (0x6b1a0466, 0x9a84f062, 0xfa01001e), LANES)],
}


def in_class(name, klass, value, wanted):
    if wanted == "mix":
        return any(in_class(name, klass, value, other) for other in STRAIGHT[:-1])
    if wanted == "fp":
        return klass == "fp" or klass == "simd" and FLOAT.match(name)
    if wanted == "ldst":
        return value >> 25 & 5 == 4  # of any class: bits 27 and 25 are 1 and 0
    if wanted == "system":
        return name in SYSTEM
    if wanted == "simd" and (FLOAT.match(name) or klass == "simd" and value >> 25 & 7 == 6):
        return False
    return klass == wanted


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
    if name in ("BR", "BLR", "RET"):
        return rn == 31
    return name.endswith("_REG") and rn == rm


def adapted(name, klass, word, rng):
    """Keeps addresses inside the memory and branches at their one target."""
    if name in SYSTEM and SYSTEM[name]:
        width = 7 if name == "HINT" else 16
        return word & ~((1 << width) - 1 << 5) | rng.choice(SYSTEM[name]) << 5
    if "_LIT" in name:
        return word & ~(0x7ffff << 5) | (MEMORY + rng.randrange(512) & 0x7ffff) << 5
    if name.endswith("_UIMM"):
        return word & ~(0xfff << 10) | rng.randrange(64) << 10
    if name in ("B", "BL"):
        return word & ~0x03ffffff | TAKEN
    if name in ("B_COND", "CBZ", "CBNZ"):
        return word & ~(0x7ffff << 5) | TAKEN << 5
    if name in ("TBZ", "TBNZ"):
        return word & ~(0x3fff << 5) | TAKEN << 5
    if word & 0xbe000000 == 0x0c000000:  # structures: Rm is 0, or a register, or 31 for the size
        if not word >> 23 & 1:
            return word & ~(31 << 16)
        return word | (31 << 16 if rng.random() < 0.4 else 0)
    return word


def kind_of(name, klass, word, rng):
    """What the operands are like."""
    if not in_class(name, klass, word, "fp"):
        return LANES
    if rng.random() < 0.25 and ("FCVT" in name or "CVTF" in name):
        return rng.choice((HALF, SINGLE, DOUBLE))
    if name.endswith("H"):
        return HALF
    scalar = word >> 24 & 15 in (14, 15) and word >> 28 & 1 and not word >> 30 & 1
    return (SINGLE, DOUBLE, SINGLE, HALF)[word >> 22 & (3 if scalar else 1)]


def near(word, mask, rng):
    """Half of the time, only the first four registers where a field is one (or part of another)."""
    for lsb in (0, 5, 16):
        if not mask >> lsb & 31 and rng.random() < 0.5:
            word &= ~(7 << lsb + 2)
    return word


def sample(wanted, options, rng):
    """Endless (name, (word,), kind), a round of all patterns of a class at a time."""
    listing = subprocess.run([sys.executable, ROOT / "tools/gen-a64.py", ROOT / "spec/a64.def",
                              "--list"], capture_output=True, check=True, text=True)
    rows = []
    for line in listing.stdout.splitlines():
        name, mask, value, klass, _ = line.split()
        if in_class(name, klass, int(value, 16), wanted):
            rows.append((name, klass, int(mask, 16), int(value, 16)))
    plain = PLAIN_FP if options.oracle == "vixl" else 0
    while rows:
        for name, klass, mask, value in rows:
            word = adapted(name, klass, value | rng.getrandbits(32) & ~mask, rng)
            if options.length > 1:
                word = near(word, mask, rng)
            if not unpredictable(name, word) and not astray(name, word):
                usual = rng.choice((0, USUAL_FPCR)) if klass == "fp" else 0
                yield name, (word,), kind_of(name, klass, word, rng) | plain | usual


def sequences(rows, options, check, rng):
    """Groups of words of sample() that do not raise and about which the oracles agree."""
    while True:
        pool = list(itertools.islice(rows, BATCH * options.length))
        pool = [row for row, answer in zip(pool, hashes(check, pool, 1))
                if answer and not settled(row, None, options.oracle)]
        rng.shuffle(pool)
        for at in range(0, len(pool) - options.length + 1, options.length):
            group = pool[at:at + options.length]
            yield ("+".join(name for name, _, _ in group), sum((words for _, words, _ in group), ()),
                   group[0][2])


def ask(command, rows, cases, *more):
    """Rows are (name, words, kind)."""
    blob = b"".join(struct.pack(f"<I{WORDS}I", kind, *words, *[NOP] * (WORDS - len(words)))
                    for _, words, kind in rows)
    done = subprocess.run([*command, str(cases), *more], input=blob, capture_output=True)
    if done.returncode:
        sys.exit(f"{command[-1]}: status {done.returncode}: {done.stderr.decode()[-500:]}")
    return done.stdout


def hashes(command, rows, cases):
    return struct.unpack(f"<{len(rows) * cases}Q", ask(command, rows, cases))


def show(row, case, cases, commands):
    """The registers and memory in which two programs differ."""
    words = " ".join(f"{word:08x}" for word in row[1])
    print(f"  {row[0]} {words} kind {row[2]} case {case}: engine, oracle")
    ours, theirs = (STATE.unpack_from(ask(command, [row], cases, "states"), case * STATE.size)
                    for command in commands)
    for name, a, b in zip(NAMES, ours, theirs):
        if a != b:
            print(f"    {name:8} {a:016x} {b:016x}")
    for at, (a, b) in enumerate(zip(ours[-1], theirs[-1])):
        if a != b:
            print(f"    memory[{at:#x}] {a:02x} {b:02x}")


def ask_both(batch, options, check, oracle):
    """Yields (row, case, our hash, the oracle's) for each case."""
    ours = hashes(check, batch, options.cases)
    if options.oracle == "vixl":
        # It is not made for words that are UNDEFINED: some it executes, with some it hangs.
        known = [row for n, row in enumerate(batch) if ours[n * options.cases]]
        answers = iter(hashes(oracle, known, options.cases))
        theirs = (next(answers) if ours[n - n % options.cases] else UNKNOWN
                  for n in range(len(ours)))
    else:
        theirs = hashes(oracle, batch, options.cases)
    for n, pair in enumerate(zip(ours, theirs)):
        yield batch[n // options.cases], n % options.cases, *pair


def compare(wanted, options, check, oracle):
    """Prints the table's line for a class; returns the number of cases that differ."""
    rng = random.Random(f"{options.seed} {wanted}")
    rows = sample(wanted, options, rng)
    if options.length > 1:
        rows = itertools.chain(FOUND.get(wanted, ()), sequences(rows, options, check, rng))
    total = raised = unknown = excused = 0
    wrong = collections.Counter()
    while total < options.total:
        size = min(BATCH, -(-(options.total - total) // options.cases))
        batch = list(itertools.islice(rows, size))
        for row, case, ours, theirs in ask_both(batch, options, check, oracle):
            total += 1
            raised += ours == 0
            if theirs == UNKNOWN:
                unknown += 1
            elif ours != theirs and settled(row, ours, options.oracle):
                excused += 1
            elif ours != theirs:
                wrong[row[0]] += 1
                if wrong[row[0]] == 1 and len(wrong) <= SHOWN:
                    show(row, case, options.cases, (check, oracle))
    for name, count in sorted(wrong.items())[:SHOWN]:
        print(f"  {name}: {count} differ")
    print(f"{wanted:8} {total:9} cases {raised:8} raise {unknown:8} unknown {excused:8} excused "
          f"{wrong.total():6} differ", flush=True)
    return wrong.total()


# docs/internals/oracles.md has the rule for each of these.
# Words that QEMU (7.2) takes wrongly, or by right of a feature that we do not have: mask, value, and
# whether we take the word as UNDEFINED.
QEMU_DIFFERS = (
    (0xfff0fc00, 0x5f10fc00, False),  # FCVTZS (vector, fixed-point) of a half keeps its sign above
    (0xfffffc00, 0x1e634000, True),  # BFCVT, FEAT_BF16
    (0xbff8fc00, 0x2f00fc00, True),  # FMOV (vector, immediate) of halves with op = 1
)
# Patterns that VIXL (5.1.0) gets wrong, and in which of their words.
VIXL_DIFFERS = (
    ("(LD|ST)TR", lambda word: True),  # not simulated
    ("(LD|ST)[1-4]|LDST_LANE|LD_REPLICATE", lambda word: word >> 5 & 31 == 31),  # no write-back
    ("LDSM(AX|IN)", lambda word: word >> 30 < 2),  # sign-extended
    ("MOVK", lambda word: not word >> 31),  # keeps bits 63:32
    ("[SU]CVTF_(V|N)|FCVTN_V", lambda word: True),  # keeps what is above the result
    ("FCVTXN", lambda word: True),  # of what underflows
    ("FRSQRTS", lambda word: True),  # halves an operand, which may round
    ("F(MUL|MULX|MLA|MLS)_E$", lambda word: word & 31 == word >> 16 & 31),  # Vd is cleared first
    ("F(MUL|MULX|MLA|MLS)_EH", lambda word: word & 31 == word >> 16 & 15),
    ("PMULL_V", lambda word: word & 31 in (word >> 5 & 31, word >> 16 & 31)),
    ("PMULL_D", lambda word: True),  # not simulated
)


def settled(row, ours, oracle):
    """Whether a difference is the oracle's own. `ours` None: whether there could be one."""
    name, words, _ = row
    word = words[0]
    if len(words) > 1:
        return False
    if oracle == "vixl":
        return any(re.match(pattern, name) and applies(word) for pattern, applies in VIXL_DIFFERS)
    return any(word & mask == value and (ours is None or (ours == 0) == undefined)
               for mask, value, undefined in QEMU_DIFFERS)


def write_golden(path, options, oracle):
    with open(path, "w", encoding="utf-8") as out:
        out.write("/* SPDX-License-Identifier: MIT */\n")
        out.write("/* Made by tests/lockstep/lockstep.py --golden. */\n")
        for wanted in GOLDEN:
            rng = random.Random(42)
            rows = list(itertools.islice(sample(wanted, options, rng), GOLDEN[wanted]))
            for (name, (word,), _), answer in zip(rows, hashes(oracle, rows, 1)):
                # Some patterns reach into scalar floating point, whose flags the test ignores.
                if answer and word >> 25 != 0x0f:
                    out.write(f'{{"{name}", {word:#010x}, UINT64_C({answer:#018x})}},\n')
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("classes", nargs="*", metavar="CLASS")
    parser.add_argument("--engine", default="interp")
    parser.add_argument("--oracle", choices=("qemu", "vixl"), default="qemu")
    parser.add_argument("--length", type=int, default=1, choices=range(1, WORDS + 1))
    parser.add_argument("--total", type=int, default=40000)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--golden", metavar="FILE")
    options = parser.parse_intermixed_args()
    classes = STRAIGHT if options.length > 1 else CLASSES
    for name in options.classes:
        if name not in classes:
            parser.error(f"no class '{name}' of this length: there are {', '.join(classes)}")
    folder = options.build / "tests/lockstep"
    oracle = [str(folder / "lockstep-oracle")]
    if options.oracle == "vixl":
        oracle = [str(folder / "lockstep-vixl")]
    elif platform.machine() != "aarch64":
        emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
        if not emulator:
            return 77
        # Features that words of the hint space have, and we have not.
        oracle = [emulator, "-cpu", "max,pauth=off", *oracle]
    if not pathlib.Path(oracle[-1]).exists():
        return 77
    if options.golden:
        return write_golden(options.golden, options, oracle)
    check = [str(folder / "lockstep-check"), options.engine]
    wrong = sum(compare(name, options, check, oracle) for name in options.classes or classes)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
