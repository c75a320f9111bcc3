# SPDX-License-Identifier: MIT
"""Nanoseconds per unit of work of small programs in a guest, against QEMU's TCG.

bench/cpu/suite.c is cross-compiled and is all there is in the guest's initramfs, as init. The ratio
is QEMU's time over ours. A native run of the same source is printed in a note.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import boot
import harness

HERE = pathlib.Path(__file__).resolve().parent
LINE = re.compile(r"^BENCH (\S+) (\S+)\s*$", re.MULTILINE)
LIMIT = 600


def add_arguments(parser):
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--program", default=str(HERE.parent / "build/pearvisor"))
    parser.add_argument("--engine", help="passed to pearvisor run")
    parser.add_argument("--qemu", default="qemu-system-aarch64")
    parser.add_argument("--qemu-cpu", default="max,pauth-impdef=on")
    parser.add_argument("--release", default="13", choices=("12", "13"), help="the guest's kernel")
    parser.add_argument("--cc", default="aarch64-linux-gnu-gcc")


def compiled(compiler, folder, *options):
    program = folder / "suite"
    subprocess.run([compiler, "-O2", "-static", *options, "-o", program, HERE / "cpu/suite.c"],
                   check=True)
    return program


def entry(name, mode, data=b"", major=0, minor=0):
    """One member of a cpio archive (newc)."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def initramfs(init):
    return (entry(b"dev", 0o40755) + entry(b"dev/console", 0o20600, major=5, minor=1)
            + entry(b"init", 0o100755, init) + entry(b"TRAILER!!!", 0))


def figures(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
    found = {name: float(value) for name, value in LINE.findall(done.stdout.decode(errors="replace")
                                                               .replace("\r", ""))}
    if not found:
        sys.exit(f"bench cpu: no figures from: {' '.join(command)}")
    return found


def measure(arguments):
    for tool in (arguments.qemu, arguments.cc):
        if not shutil.which(tool):
            sys.exit(f"bench cpu: {tool} is not installed")
    kernel, _ = boot.guest_files(arguments.release)
    result = harness.Result("ns", False, "pearvisor", "qemu")
    result.notes.append(f"peer: {arguments.qemu} -accel tcg,thread=multi "
                        f"-cpu {arguments.qemu_cpu}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        initrd = folder / "initrd"
        initrd.write_bytes(initramfs(compiled(arguments.cc, folder, "-march=armv8.1-a")
                                     .read_bytes()))
        native = figures([str(compiled("cc", folder))])
        engine = ["--engine", arguments.engine] if arguments.engine else []
        append = "console=ttyAMA0 quiet"
        commands = {
            "pearvisor": [arguments.program, "run", *engine, "--memory", "512M", "--net", "none",
                          "--kernel", kernel, "--initrd", str(initrd), "--append", append],
            "qemu": [arguments.qemu, "-M", "virt,gic-version=3", "-accel", "tcg,thread=multi",
                     "-cpu", arguments.qemu_cpu, "-m", "512M", "-nographic", "-net", "none",
                     "-kernel", kernel, "-initrd", str(initrd), "-append", append]}
        runs = harness.interleave({name: lambda command=command: figures(command)
                                   for name, command in commands.items()}, arguments.runs)
    result.notes.append("native: " + ", ".join(f"{name} {value:g}"
                                               for name, value in native.items()))
    for name in native:
        result.add(name, [run[name] for run in runs["pearvisor"]],
                   [run[name] for run in runs["qemu"]])
    return result
