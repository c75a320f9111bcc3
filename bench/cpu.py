# SPDX-License-Identifier: MIT
"""Nanoseconds per unit of work of small programs in a guest, against the fastest QEMU of each row.

The programs of bench/cpu are cross-compiled and are all there is in the guest's initramfs, as init.
Ours, native, and every QEMU (qemu.py) with each of two CPU models run in turn. The ratio is the time of
the QEMU that is fastest at a row over ours; a row whose result differs between guests ends the run.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import boot
import harness
import qemu

HERE = pathlib.Path(__file__).resolve().parent
LINE = re.compile(r"^BENCH (\S+) (\S+) (\S+)\s*$", re.MULTILINE)
LIMIT = 600
CPUS = 2
MEMORY = "512M"
FLAGS = {"vector.c": ["-O3", "-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math"]}


def add_arguments(parser):
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", help="only these, separated by commas")
    parser.add_argument("--program", default=str(HERE.parent / "build/pearvisor"))
    parser.add_argument("--engine", help="passed to pearvisor run")
    parser.add_argument("--release", default="12", choices=("12", "13"), help="the guest's kernel")
    parser.add_argument("--cc", default="aarch64-linux-gnu-gcc")
    qemu.add_arguments(parser)


def compiled(compiler, folder, *options):
    program = folder / f"suite-{compiler}"
    objects = []
    for source in sorted((HERE / "cpu").glob("*.c")):
        objects.append(folder / f"{compiler}-{source.name}.o")
        subprocess.run([compiler, "-std=gnu17", *FLAGS.get(source.name, ["-O2"]), *options, "-c",
                        source, "-o", objects[-1]], check=True)
    subprocess.run([compiler, "-static", "-pthread", *objects, "-lm", "-o", program], check=True)
    return program


def entry(name, mode, data=b"", major=0, minor=0):
    """One member of a cpio archive (newc)."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def initramfs(init):
    return (entry(b"dev", 0o40755) + entry(b"dev/console", 0o20600, major=5, minor=1)
            + entry(b"init", 0o100755, init) + entry(b"TRAILER!!!", 0))


def figures(command, environment=None):
    """What one run printed: name -> (nanoseconds, result)."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT,
                          env=environment)
    text = done.stdout.decode(errors="replace").replace("\r", "")
    found = {name: (float(value), result) for name, value, result in LINE.findall(text)}
    if not found or "BENCH-END" not in text:
        sys.exit(f"bench cpu: did not come to its end: {' '.join(command)}\n{text[-2000:]}")
    return found


def subjects(arguments, folder, rows):
    """Name -> a function that runs all rows once."""
    kernel, _ = boot.guest_files(arguments.release)
    initrd = folder / "initrd"
    initrd.write_bytes(initramfs(compiled(arguments.cc, folder, "-march=armv8.2-a+crypto")
                                 .read_bytes()))
    native = [str(compiled("cc", folder, "-march=native")), *rows]
    append = " ".join(["console=ttyAMA0", "quiet", "--", *rows])
    guest = ["-kernel", kernel, "-initrd", str(initrd), "-append", append]
    engine = ["--engine", arguments.engine] if arguments.engine else []
    ours = [arguments.program, "run", *engine, "--cpus", str(CPUS), "--memory", MEMORY, "--net",
            "none", "--kernel", kernel, "--initrd", str(initrd), "--append", append]
    found = {"pearvisor": lambda: figures(ours), "native": lambda: figures(native)}
    for peer in qemu.peers(arguments):
        for cpu in qemu.CPUS:
            found[f"{peer.version} {cpu.partition(',')[0]}"] = (
                lambda peer=peer, command=peer.command(cpu, CPUS, MEMORY, *guest):
                figures(command, peer.environment))
    return found


def measure(arguments):
    if not shutil.which(arguments.cc):
        sys.exit(f"bench cpu: {arguments.cc} is not installed (tools/install-deps names it)")
    rows = arguments.rows.split(",") if arguments.rows else []
    with tempfile.TemporaryDirectory() as folder:
        runs = harness.interleave(subjects(arguments, pathlib.Path(folder), rows), arguments.runs,
                                  boot.report)
    native = runs.pop("native")
    guests = [run for one in runs.values() for run in one]
    result = harness.Result("ns", False, "pearvisor", "fastest QEMU")
    result.notes.append(f"Debian {arguments.release} kernel, {CPUS} vCPUs, QEMU -accel "
                        f"tcg,thread=multi with -cpu {' and '.join(qemu.CPUS)}")
    for name in native[0]:
        if len({run[name][1] for run in guests}) != 1:
            sys.exit(f"bench cpu: the guests do not agree on the result of {name}: "
                     f"{ {kind: one[0][name][1] for kind, one in runs.items()} }")
        times = {kind: [run[name][0] for run in one] for kind, one in runs.items()}
        result.add_fastest(name, times.pop("pearvisor"), times)
        result.compare(name, "native", [run[name][0] for run in native])
    return result
