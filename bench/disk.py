# SPDX-License-Identifier: MIT
"""Transfers per second on disks: in a guest against QEMU's TCG, on the host against qemu-img bench.

In the guest bench/disk/guest_load.c transfers past the guest's page cache, as many at once as it has
threads; both VMMs have the same kernel, a copy of the same image, and its host's page cache. On the host
tests/block/disk_load.c and `qemu-img bench` (its threads or io_uring, whichever is faster) do as many
transfers, one behind the other.
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

import guest  # noqa: E402  (found through the path set above)
from pvimage import initramfs  # noqa: E402

LOADS = (  # mode, order, block, at once
    ("read", "random", 4096, 8), ("write", "random", 4096, 8),
    ("read", "sequential", 262144, 2), ("write", "sequential", 262144, 2),
)
HOST_LOADS = (("read", 4096, 64, 200000), ("write", 4096, 64, 100000),
              ("read", 65536, 16, 20000), ("write", 65536, 16, 20000))
RATE = re.compile(r"transfers per second: (\d+)")
TOOK = re.compile(r"completed in ([\d.]+) seconds")


def add_arguments(parser):
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--program", default=str(ROOT / "build/pearvisor"))
    parser.add_argument("--load", default=str(ROOT / "build/tests/block/disk_load"))
    parser.add_argument("--engine", default="jit")
    parser.add_argument("--qemu", default="qemu-system-aarch64")
    parser.add_argument("--qemu-cpu", default="cortex-a72")
    parser.add_argument("--guest-cc", default="aarch64-linux-gnu-gcc")
    parser.add_argument("--release", default="13")
    parser.add_argument("--format", action="append", choices=("raw", "qcow2"))
    parser.add_argument("--size", type=int, default=512, help="of the disk, in MiB")
    parser.add_argument("--milliseconds", type=int, default=2000, help="of each load in the guest")
    parser.add_argument("--only", choices=("guest", "host"))


def make_images(arguments, folder):
    """One image of each format, all of it written: what is measured is not how it grows."""
    raw = folder / "raw"
    with raw.open("wb") as file:
        for _ in range(arguments.size):
            file.write(os.urandom(1 << 20))
    images = {"raw": raw}
    for name in arguments.format or ("raw", "qcow2"):
        if name != "raw":
            images[name] = folder / name
            subprocess.run(["qemu-img", "convert", "-O", name, raw, images[name]], check=True)
    return {name: images[name] for name in arguments.format or ("raw", "qcow2")}


def make_initrd(arguments, folder):
    kernel, initrd = boot.guest_files(arguments.release)
    program = folder / "guest_load"
    subprocess.run([arguments.guest_cc, "-O2", "-static", "-pthread", "-o", program,
                    ROOT / "bench/disk/guest_load.c"], check=True)
    cpio = initramfs.Cpio()
    cpio.file("guest_load", program.read_bytes(), 0o755)
    image = folder / "initrd"
    image.write_bytes(pathlib.Path(initrd).read_bytes() + cpio.finish())
    return kernel, str(image)


def guest_rates(arguments, command):
    """Transfers per second of each load, in one guest."""
    with guest.Guest(command=command) as vm:
        vm.expect("^PEARVISOR-USERSPACE-OK", 300)
        vm.expect("# ", 30)
        vm.send("stty -echo; PS1=\n")
        rates = []
        for mode, order, block, threads in LOADS:
            _, output = vm.command_output(f"/guest_load /dev/vda {mode} {order} {block} {threads} "
                                          f"{arguments.milliseconds}", 60)
            match = RATE.search(output)
            if not match:
                sys.exit(f"bench disk: {' '.join(command)}: {output.strip()}")
            rates.append(float(match[1]))
        vm.process.kill()
    return rates


def measure_guest(arguments, folder, images, result):
    kernel, initrd = make_initrd(arguments, folder)
    append = "console=ttyAMA0 quiet pv.run=shell"
    for name, image in images.items():
        ours = [arguments.program, "run", "--engine", arguments.engine, "--cpus", "2", "--memory",
                "512M", "--net", "none", "--disk", str(image), "--kernel", kernel, "--initrd",
                initrd, "--append", append]
        peer = [arguments.qemu, "-M", "virt,gic-version=3", "-accel", "tcg,thread=multi", "-cpu",
                arguments.qemu_cpu, "-smp", "2", "-m", "512M", "-nographic", "-nic", "none",
                "-drive", f"file={image},format={name},if=virtio,cache=writeback", "-kernel",
                kernel, "-initrd", initrd, "-append", append]
        figures = harness.interleave({"ours": lambda: guest_rates(arguments, ours),
                                      "qemu": lambda: guest_rates(arguments, peer)},
                                     arguments.runs, boot.report)
        for row, (mode, order, block, threads) in enumerate(LOADS):
            result.add(f"guest {name} {order} {mode} {block >> 10}k x{threads}",
                       [run[row] for run in figures["ours"]], [run[row] for run in figures["qemu"]])


def host_rate(arguments, image, name, load, aio):
    mode, block, depth, count = load
    if aio:
        done = subprocess.run(["qemu-img", "bench", "-i", aio, "-t", "writeback", "-f", name, "-c",
                               str(count), "-d", str(depth), "-s", str(block),
                               *(["-w"] if mode == "write" else []), image],
                              capture_output=True, text=True, check=True)
        return count / float(TOOK.search(done.stdout)[1])
    done = subprocess.run([arguments.load, image, mode, str(block), str(depth), str(count)],
                          capture_output=True, text=True, check=True)
    return count / float(done.stdout)


def measure_host(arguments, images, result):
    for name, image in images.items():
        for load in HOST_LOADS:
            figures = harness.interleave(
                {peer: lambda aio=aio: host_rate(arguments, image, name, load, aio)
                 for peer, aio in (("ours", None), ("threads", "threads"),
                                   ("io_uring", "io_uring"))}, arguments.runs)
            ours = figures.pop("ours")
            result.add_fastest(f"host {name} {load[0]} {load[1] >> 10}k x{load[2]}", ours, figures)


def measure(arguments):
    result = harness.Result("transfers/s", True, f"pearvisor {arguments.engine}", "QEMU")
    result.machine = harness.machine()
    with tempfile.TemporaryDirectory(prefix="pearvisor-bench-", dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        images = make_images(arguments, folder)
        if arguments.only != "host":
            measure_guest(arguments, folder, images, result)
        if arguments.only != "guest":
            measure_host(arguments, images, result)
    return result
