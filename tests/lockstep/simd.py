#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares Advanced SIMD and crypto instructions of the interpreter with an ARM64 oracle.

Takes the patterns of the integer SIMD sections of spec/a64.def, makes random words of each, and
runs simd_oracle.c (under qemu-aarch64-static, or natively) and simd_check.c on them.

    tests/lockstep/simd.py BUILD_DIR [--words N] [--cases N] [--seed N] [--golden FILE]
"""

import argparse
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SECTIONS = ("Advanced SIMD, integer", "Advanced SIMD loads", "Cryptography")
CFLAGS = ["-std=gnu17", "-O2", "-D_GNU_SOURCE", "-fno-strict-aliasing"]
CFLAGS += os.environ.get("CFLAGS", "").split()


def patterns():
    """Yields (name, mask, value) for every line of our sections."""
    ours = False
    for line in open(os.path.join(ROOT, "spec/a64.def")):
        section = re.match(r"# (.*) \(C4", line)
        if section:
            ours = section[1].startswith(SECTIONS)
        if not ours or line[0] in "#%\n":
            continue
        name, *tokens = line.split(";")[0].split()
        mask = value = 0
        for token in tokens:
            if re.fullmatch("[01]+", token):
                mask = mask << len(token) | (1 << len(token)) - 1
                value = value << len(token) | int(token, 2)
            else:
                width = int(token.partition(":")[2] or 1)
                mask, value = mask << width, value << width
        yield name, mask, value


def is_memory(word):
    return word & 0xBE000000 == 0x0C000000


def random_word(name, mask, value):
    """The cases have X0 to X15 only, and a base register that differs from the index."""
    word = random.getrandbits(32) & ~mask | value
    if is_memory(word) or name in ("DUP_R", "INS_R"):
        word &= ~(1 << 9)
    if name in ("SMOV", "UMOV"):
        word &= ~(1 << 4)
    if is_memory(word):
        if not word >> 23 & 1:
            word &= ~(31 << 16)
        elif random.random() < 0.4:
            word |= 31 << 16
        else:
            word &= ~(1 << 20)
    return word


def belongs_elsewhere(word):
    """Not allocated in our sections, but to scalar floating point, or FMOV (vector, immediate)."""
    return word >> 25 == 0x0F or word & 0x9FF8F400 == 0x0F00F400


def build(tmp, build_dir):
    check, oracle = os.path.join(tmp, "check"), os.path.join(tmp, "oracle")
    generated = os.path.join(build_dir, "src/engine")
    interp = os.path.join(ROOT, "src/engine/interp")
    names = ["simd_" + n for n in ("copy", "long", "mem", "misc", "same", "shift")] + ["crypto"]
    sources = [os.path.join(interp, n + ".c") for n in names]
    sources += [os.path.join(HERE, "simd_check.c"), os.path.join(generated, "a64-gen.c"),
                os.path.join(ROOT, "src/engine/a64/decode.c")]
    includes = ["-I", os.path.join(ROOT, "src"), "-I", generated]
    subprocess.check_call(["cc", *CFLAGS, *includes, "-o", check, *sources])
    # Not PIE: static programs of some cross toolchains lose their GOT under qemu-user.
    native = os.uname().machine == "aarch64"
    cross = "gcc" if native else "aarch64-linux-gnu-gcc"
    subprocess.check_call([cross, "-O2", "-static", "-fno-pie", "-no-pie", "-o", oracle,
                           os.path.join(HERE, "simd_oracle.c")])
    return [check], ([] if native else ["qemu-aarch64-static", "-cpu", "max"]) + [oracle]


def hashes(command, words, cases):
    blob = struct.pack("<%dI" % len(words), *words)
    out = subprocess.run(command + [str(cases)], input=blob, stdout=subprocess.PIPE, check=True)
    return struct.unpack("<%dQ" % (len(words) * cases), out.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build_dir")
    parser.add_argument("--words", type=int, default=20, help="words of each pattern")
    parser.add_argument("--cases", type=int, default=20, help="cases of each word")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--golden", help="write the oracle's answers for test_interp_simd.c")
    args = parser.parse_args()
    random.seed(args.seed)
    owners, words = [], []
    for name, mask, value in patterns():
        for _ in range(args.words):
            owners.append(name)
            words.append(random_word(name, mask, value))
    with tempfile.TemporaryDirectory() as tmp:
        check, oracle = build(tmp, args.build_dir)
        ours = hashes(check, words, args.cases)
        theirs = hashes(oracle, words, args.cases)
    bad = 0
    for i, (a, b) in enumerate(zip(ours, theirs)):
        word, case = words[i // args.cases], i % args.cases
        if a != b and not (a == 0 and belongs_elsewhere(word)):
            bad += 1
            if bad <= 20:
                print("%s %08x case %d: differs" % (owners[i // args.cases], word, case))
    print("%d cases, %d undefined, %d differ" % (len(ours), ours.count(0), bad))
    if args.golden:
        with open(args.golden, "w") as out:
            out.write("/* SPDX-License-Identifier: MIT */\n")
            out.write("/* Made by tests/lockstep/simd.py --golden. */\n")
            for i, word in enumerate(words):
                answer = theirs[i * args.cases]
                if not is_memory(word) and answer and not belongs_elsewhere(word):
                    out.write('{ "%s", 0x%08x, UINT64_C(0x%016x) },\n' % (owners[i], word, answer))
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
