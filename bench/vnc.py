# SPDX-License-Identifier: MIT
"""Pictures a second that a VNC viewer gets of a full-screen film, and a key's way to the picture.

The guest shows bench/vnc/kms_video.c at 1280x800 on a virtio-gpu without a renderer. The viewer is on
the same machine, asks for the next update when it has one, and decompresses what it gets. A picture
counts when the film's frame number is another and as many pixels have come as a picture has. The peer
is QEMU's TCG with its virtio-gpu and its VNC server, same kernel, same initramfs, same viewer.
"""
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

import boot
import harness

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))
sys.dont_write_bytecode = True

import guest  # noqa: E402  (found through the path set above)
import test_gpu  # noqa: E402
import viewer  # noqa: E402
from pvimage import initramfs  # noqa: E402

SIZE = (1280, 800)
ENCODINGS = {"ZRLE": viewer.ZRLE, "raw": viewer.RAW}
MARK_A, MARK_B = ord("a"), ord("b")


def add_arguments(parser):
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--program", default=str(ROOT / "build/pearvisor"))
    parser.add_argument("--engine", default="jit")
    parser.add_argument("--qemu", default="qemu-system-aarch64")
    parser.add_argument("--qemu-cpu", default="cortex-a72")
    parser.add_argument("--guest-cc", default="aarch64-linux-gnu-gcc")
    parser.add_argument("--release", default="13")
    parser.add_argument("--seconds", type=float, default=8, help="of film")
    parser.add_argument("--keys", type=int, default=40, help="that are pressed")
    parser.add_argument("--only", choices=("pearvisor", "qemu"), help="one of the two, for profiling")


class Watcher(viewer.Viewer):
    """Takes updates one by one, and looks only at the frame's number in the top left tile."""

    def __init__(self, path, encoding):
        super().__init__(path, (encoding,))
        self.tell(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.inflate = zlib.decompressobj().decompress
        self.seen = 0    # pixels
        self.bytes = 0
        self.number = None

    def ask(self, incremental=True):
        self.tell(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def update(self):
        """Takes an update in; returns whether it is of another frame."""
        kind, count = struct.unpack(">BxH", self.hear(4))
        if kind != 0:
            raise guest.Failure(f"an update, not message {kind}")
        before = self.number
        for _ in range(count):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.hear(12))
            self.seen += width * height
            if encoding == viewer.RAW:
                data = self.hear(4 * width * height)
                first = data[:3]
            else:
                data = self.hear(struct.unpack(">I", self.hear(4))[0])
                tiles = self.inflate(data)
                first = tiles[1:4] if tiles[0] == 1 else None  # a tile of one colour
            self.bytes += len(data)
            if (x, y) == (0, 0) and first:
                self.number = int.from_bytes(first, "little")
        return self.number != before


def make_initrd(arguments, folder):
    program, plain, image = folder / "kms_video", folder / "plain", folder / "initrd"
    subprocess.run([arguments.guest_cc, "-O2", "-static", "-o", program,
                    ROOT / "bench/vnc/kms_video.c"], check=True)
    test_gpu.build_initramfs(arguments.release, plain)
    cpio = initramfs.Cpio()
    cpio.file("kms_video", program.read_bytes(), 0o755)
    image.write_bytes(plain.read_bytes() + cpio.finish())
    return str(image)


def film(vm, path, encoding, seconds):
    """Pictures a second, and megabytes a second on the wire."""
    vm.send(f"/kms_video video {int(seconds * 1000 + 4000)}\n")
    vm.expect("^playing", 60)
    watcher = Watcher(path, encoding)
    watcher.ask(False)
    watcher.update()
    watcher.seen = watcher.bytes = frames = 0
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        watcher.ask()
        frames += watcher.update()
    took = time.monotonic() - started
    watcher.socket.close()
    vm.expect(r"^frames \d+", 60)
    whole = watcher.seen / (watcher.width * watcher.height)
    return min(frames, whole) / took, watcher.bytes / took / 1e6


def keys(vm, path, count):
    """Milliseconds from a key that the viewer sends to the picture that answers it."""
    vm.send("/kms_video keys /dev/input/event0 &\n")
    vm.expect("^listening", 60)
    watcher = Watcher(path, viewer.ZRLE)
    watcher.ask(False)
    watcher.update()
    times = []
    for index in range(count):
        key = (MARK_A, MARK_B)[index % 2]
        watcher.ask()
        started = time.monotonic()
        watcher.key(key, 1)
        while not watcher.update():
            watcher.ask()
        times.append(1000 * (time.monotonic() - started))
        watcher.key(key, 0)
        time.sleep(0.1)
    watcher.socket.close()
    return times


def measure_guest(arguments, name, command, path, figures):
    with guest.Guest(command=command) as vm:
        vm.expect("^PEARVISOR-USERSPACE-OK", 300)
        vm.expect("# ", 30)
        vm.send("stty -echo; PS1=\n")
        for title, encoding in ENCODINGS.items():
            rate, wire = film(vm, path, encoding, arguments.seconds)
            figures.setdefault(f"film, {title}", {}).setdefault(name, []).append(rate)
            boot.report(f"{name}, {title}: {rate:.1f} pictures/s, {wire:.1f} MB/s")
        times = keys(vm, path, arguments.keys)
        figures.setdefault("keys", {}).setdefault(name, []).extend(times)
        boot.report(f"{name}: key to picture {statistics.median(times):.1f} ms")


def measure(arguments):
    if arguments.only != "pearvisor" and not shutil.which(arguments.qemu):
        sys.exit(f"bench vnc: {arguments.qemu} is not installed (Debian: qemu-system-arm)")
    figures = {}
    with tempfile.TemporaryDirectory(prefix="pearvisor-") as temporary:
        folder = pathlib.Path(temporary)
        path = folder / "vnc"
        kernel, _ = boot.guest_files(arguments.release)
        loaded = ["-kernel", kernel, "-initrd", make_initrd(arguments, folder), "-append",
                  "console=ttyAMA0 quiet"]
        width, height = SIZE
        commands = {
            "pearvisor": [arguments.program, "run", "--engine", arguments.engine, "--cpus", "2",
                          "--memory", "512M", "--net", "none", "--gpu",
                          f"2d,size={width}x{height}", "--display", f"vnc=unix:{path}",
                          *("-" + word if word in loaded[::2] else word for word in loaded)],
            "qemu": [arguments.qemu, "-M", "virt,gic-version=3", "-accel", "tcg,thread=multi",
                     "-cpu", arguments.qemu_cpu, "-smp", "2", "-m", "512M", "-nic", "none",
                     "-display", "none", "-serial", "stdio", "-monitor", "none", "-vnc",
                     f"unix:{path}", "-device",
                     f"virtio-gpu-pci,xres={width},yres={height}", "-device",
                     "virtio-keyboard-pci", *loaded],
        }
        for _ in range(arguments.runs):
            for name, command in commands.items():
                if arguments.only in (None, name):
                    measure_guest(arguments, name, command, path, figures)
                    path.unlink(missing_ok=True)
    result = harness.Result("pictures/s", True, "pearvisor", "qemu")
    pressed = figures.pop("keys")
    for name, times in pressed.items():
        times.sort()
        result.notes.append(f"key to picture, {name}: median {statistics.median(times):.1f} ms, "
                            f"90% within {times[int(0.9 * (len(times) - 1))]:.1f} ms "
                            f"({len(times)} keys)")
    for title, rates in figures.items():
        ours, peer = rates.get("pearvisor"), rates.get("qemu")
        result.add(title, ours or peer, peer or ours)
    return result
