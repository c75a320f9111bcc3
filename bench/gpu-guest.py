# SPDX-License-Identifier: MIT
"""Vulkan in a guest against the same client natively on the host's driver.

tests/gpu/vk_client runs in the gpu-minimal guest (stock kernel, busybox, Mesa's Venus driver) and on
the host, in turns, the guest idle while the host's turn is. Both must have the same results. Ratios are
native / guest (1.0: as fast as native). The GPU-bound modes are sized so that the host takes 200 ms and
1 s. "...-on-gpu" is the time that the device itself took by its own timestamps, in the same run.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import boot
import harness

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))
sys.path.insert(0, str(ROOT / "tools/image-builder"))
sys.dont_write_bytecode = True

import guest  # noqa: E402  (found through the path set above)
import test_gpu_venus  # noqa: E402
from pvimage.initramfs import Cpio  # noqa: E402

GPU_BOUND_MS = {"compute": 200, "matmul": 1000}
MODES = ("compute", "matmul", "bandwidth", "draw", "submits 2000", "pipelines 100", "frames 1000",
         "calls")
LINE = re.compile(r"^(time|result) (\S+) (\S+)$", re.MULTILINE)


def add_arguments(parser):
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--program", default=str(ROOT / "build/pearvisor"))
    parser.add_argument("--client", default=str(ROOT / "build/tests/gpu/vk_client"))
    parser.add_argument("--guest-client", type=pathlib.Path,
                        default=ROOT / "build/tests/gpu/vk-client-guest")
    parser.add_argument("--native-icd", help="the host driver's (default: the loader's choice)")
    parser.add_argument("--markdown", type=pathlib.Path, help="also write the table to this file")
    parser.add_argument("--mode", action="append", choices=[mode.split()[0] for mode in MODES])


def parse(output):
    """What the client printed: results, and microseconds by name."""
    rows = LINE.findall(output)
    return ({name: value for kind, name, value in rows if kind == "result"},
            {name: 1000 * float(value) for kind, name, value in rows if kind == "time"})


class Native:
    def __init__(self, arguments):
        self.client = arguments.client
        self.environment = {**os.environ}
        if arguments.native_icd:
            self.environment.update(VK_DRIVER_FILES=arguments.native_icd,
                                    VK_ICD_FILENAMES=arguments.native_icd)

    def run(self, mode):
        return parse(subprocess.run([self.client, *mode.split()], env=self.environment, text=True,
                                    capture_output=True, timeout=300, check=True).stdout)


class InGuest:
    def __init__(self, shell):
        self.shell = shell

    def run(self, mode):
        return parse(self.shell.run(f"vk_client {mode}"))


def sized(mode, native):
    """The mode with as many dispatches as the host takes its time for."""
    if mode not in GPU_BOUND_MS:
        return mode
    each = native.run(f"{mode} 1")[1][mode] / 1000
    return f"{mode} {max(1, min(20000, int(GPU_BOUND_MS[mode] / each)))}"


def compare(result, mode, subjects, runs):
    times = {name: {} for name in subjects}
    results = {}
    for _ in range(runs):
        for name, subject in subjects.items():
            results[name], figures = subject.run(mode)
            for title, value in figures.items():
                times[name].setdefault(title, []).append(value)
    same = results["guest"] == results["native"]
    boot.report(f"{mode}: results {'identical' if same else 'DIFFERENT'}")
    if not same:
        sys.exit(f"bench gpu-guest: {mode}: {results}")
    for title, native in times["native"].items():
        if title in times["guest"]:
            result.add(title, times["guest"][title], native)


def markdown(result):
    rows = [f"Machine: {result.machine or harness.machine()}.", "",
            "| what | guest, µs | native, µs | native / guest |", "| --- | --- | --- | --- |"]
    rows += [f"| {name} | {ours:.2f} | {peer:.2f} | {peer / ours:.2f} |"
             for name, ours, peer, *_ in result.rows]
    return "\n".join(rows) + "\n"


def make_initrd(arguments, folder, temporary):
    extra = Cpio()
    extra.file("usr/bin/vk_client", arguments.guest_client.read_bytes(), 0o755)
    base = (folder / "gpu.img").read_bytes()
    initrd = pathlib.Path(temporary, "initrd")
    initrd.write_bytes(base + bytes(-len(base) % 4) + extra.finish())
    return initrd


def measure(arguments):
    guest.PROGRAM = arguments.program
    native = Native(arguments)
    folder = test_gpu_venus.minimal_guest("13")
    result = harness.Result("microseconds", False, "guest", "native")
    guests = []

    def start(*options):
        guests.append(guest.Guest(*options))
        return guests[-1]

    with tempfile.TemporaryDirectory(prefix="pearvisor-") as temporary:
        try:
            shell = test_gpu_venus.Shell(start, folder, make_initrd(arguments, folder, temporary))
            subjects = {"native": native, "guest": InGuest(shell)}
            for mode in MODES:
                if not arguments.mode or mode.split()[0] in arguments.mode:
                    compare(result, sized(mode, native), subjects, arguments.runs)
            shell.vm.send("poweroff -f\n")
            shell.vm.wait(60)
        finally:
            for vm in guests:
                vm.__exit__()
    if arguments.markdown:
        arguments.markdown.write_text(markdown(result), encoding="utf-8")
    return result
