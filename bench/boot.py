# SPDX-License-Identifier: MIT
"""Seconds from start to the first line of userspace, against QEMU's TCG, same kernel and initramfs.

The kernels are stock Debian ones with the boot test's initramfs; console on PL011, 1 GiB.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

import harness

ROOT = pathlib.Path(__file__).resolve().parents[1]
MARKER = b"PEARVISOR-USERSPACE-OK"
LIMIT = 300


def add_arguments(parser):
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--program", default=str(ROOT / "build/pearvisor"))
    parser.add_argument("--engine", help="passed to pearvisor run")
    parser.add_argument("--qemu", default="qemu-system-aarch64")
    parser.add_argument("--qemu-cpu", default="cortex-a72")
    parser.add_argument("--release", action="append", choices=("12", "13"))
    parser.add_argument("--cpus", action="append", help="default: 1 and 2")


def seconds_to_marker(command):
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    limit = threading.Timer(LIMIT, process.kill)
    limit.start()
    try:
        for line in process.stdout:
            if MARKER in line:
                return time.monotonic() - started
        sys.exit(f"bench boot: no userspace within {LIMIT} s from: {' '.join(command)}")
    finally:
        limit.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def report(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def guest_files(release):
    done = subprocess.run([ROOT / "tools/image-builder/pv-image-build", "guest-kernel",
                           f"debian:{release}", "--offline"], stdout=subprocess.PIPE, text=True,
                          check=True)
    folder = pathlib.Path(done.stdout.strip().splitlines()[-1])
    return str(folder / "vmlinuz"), str(folder / "test.img")


def measure(arguments):
    if not shutil.which(arguments.qemu):
        sys.exit(f"bench boot: {arguments.qemu} is not installed (Debian: qemu-system-arm)")
    version = subprocess.run([arguments.qemu, "--version"], capture_output=True, text=True,
                             check=True).stdout
    qemu_version = re.search(r"version (\S+)", version)[1]
    result = harness.Result("seconds", False, "pearvisor", "qemu")
    result.notes.append(f"peer: QEMU {qemu_version}, "
                        f"-accel tcg,thread=multi -cpu {arguments.qemu_cpu}")
    engine = ["--engine", arguments.engine] if arguments.engine else []
    for release in arguments.release or ["12", "13"]:
        kernel, initrd = guest_files(release)
        for cpus in arguments.cpus or ["1", "2"]:
            append = "console=ttyAMA0"
            ours = [arguments.program, "run", *engine, "--cpus", cpus, "--memory", "1G",
                    "--net", "none", "--kernel", kernel, "--initrd", initrd, "--append", append]
            peer = [arguments.qemu, "-M", "virt,gic-version=3", "-accel", "tcg,thread=multi",
                    "-cpu", arguments.qemu_cpu, "-smp", cpus, "-m", "1G", "-nographic",
                    "-net", "none", "-kernel", kernel, "-initrd", initrd, "-append", append]
            figures = harness.interleave({"pearvisor": lambda: seconds_to_marker(ours),
                                          "qemu": lambda: seconds_to_marker(peer)},
                                         arguments.runs, report)
            result.add(f"Debian {release}, {cpus} vCPU", figures["pearvisor"], figures["qemu"])
    return result
