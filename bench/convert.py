# SPDX-License-Identifier: MIT
"""Converting disk images: pearvisor disk convert against qemu-img convert, with as many threads.

The disk has a third each of random bytes, text and zeroes; the sparse one has 1 MiB in each 64. Both
programs have what they made on the medium at their end (qemu-img: -t writeback); what qemu-img takes
by default (-t unsafe) is a column besides. Of its ways, in order and out of order (-W), the faster
one counts. Contents are compared once.
"""
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import harness

ROOT = pathlib.Path(__file__).resolve().parents[1]
MIB = 1 << 20
# What, from, to, compressed?
CASES = (
    ("raw to qcow2", "raw", "qcow2", False), ("qcow2 to raw", "qcow2", "raw", False),
    ("raw to compressed qcow2", "raw", "qcow2", True), ("compressed to raw", "packed", "raw", False),
    ("compressed to compressed", "packed", "qcow2", True), ("sparse to qcow2", "sparse", "qcow2", False),
)


def add_arguments(parser):
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--program", default=str(ROOT / "build/pearvisor"))
    parser.add_argument("--qemu-img", default="qemu-img")
    parser.add_argument("--size", type=int, default=384, help="of the disk, in MiB")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", default="/var/tmp", help="where images lie")


def make_sources(arguments, folder):
    """Name -> (path, qemu's name of its format)."""
    words = random.Random(1)
    text = " ".join("%x" % words.getrandbits(words.randrange(4, 40)) for _ in range(160000))
    text = text.encode()[:MIB]
    with (folder / "raw").open("wb") as raw, (folder / "sparse").open("wb") as sparse:
        for index in range(arguments.size):
            kind = index % 3
            raw.write(os.urandom(MIB) if kind == 0 else
                      text[index:] + text[:index] if kind == 1 else bytes(MIB))
        for index in range(64):
            sparse.seek(index * 64 * MIB)
            sparse.write(os.urandom(MIB))
        sparse.truncate(4096 * MIB)
    for name, options in (("qcow2", ()), ("packed", ("-c",))):
        subprocess.run([arguments.qemu_img, "convert", "-O", "qcow2", *options, folder / "raw",
                        folder / name], check=True)
    return {"raw": (folder / "raw", "raw"), "sparse": (folder / "sparse", "raw"),
            "qcow2": (folder / "qcow2", "qcow2"), "packed": (folder / "packed", "qcow2")}


def took(command, out):
    out.unlink(missing_ok=True)
    os.sync()  # what was written before is nobody's here
    started = time.monotonic()
    subprocess.run([*command, out], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def measure_case(arguments, folder, case, source, result):
    what, _, to, packed = case
    path, form = source
    out = folder / "out"
    ours = [arguments.program, "disk", "convert", "--format", to, "--threads",
            str(arguments.threads), *(["--compress"] if packed else []), path]
    peer = [arguments.qemu_img, "convert", "-f", form, "-O", to, "-m", str(arguments.threads),
            *(["-c"] if packed else [])]
    ways = {"ours": ours, "in order": [*peer, "-t", "writeback", path],
            "unsafe": [*peer, path]}
    if not packed:
        ways["-W"] = [*peer, "-t", "writeback", "-W", path]
    took(ours, out)
    subprocess.run([arguments.qemu_img, "compare", "-q", path, out], check=True)
    figures = harness.interleave({name: lambda way=way: took(way, out)
                                  for name, way in ways.items()}, arguments.runs,
                                 lambda text: print(f"{what}: {text}", file=sys.stderr))
    mine, unsafe = figures.pop("ours"), figures.pop("unsafe")
    result.add_fastest(what, mine, figures)
    result.compare(what, "-t unsafe", unsafe)


def measure(arguments):
    result = harness.Result("s", False, "pearvisor", "qemu-img")
    with tempfile.TemporaryDirectory(prefix="pearvisor-bench-", dir=arguments.folder) as name:
        folder = pathlib.Path(name)
        sources = make_sources(arguments, folder)
        for case in CASES:
            measure_case(arguments, folder, case, sources[case[1]], result)
    result.notes.append(f"{arguments.threads} threads each, a disk of {arguments.size} MiB")
    return result
