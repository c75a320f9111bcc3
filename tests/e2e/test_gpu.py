#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""virtio-gpu with a stock Debian kernel's driver: what the guest's framebuffer holds is what the
PNG file, a VNC viewer and a window show, byte for byte."""

import argparse
import hashlib
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import guest
import xserver
from guest import Failure
from viewer import Viewer

sys.path.insert(0, str(guest.ROOT / "tools/image-builder"))
sys.dont_write_bytecode = True

from pvimage import BuildError, initramfs, kernels  # noqa: E402
from pvimage.archive import Archive  # noqa: E402
from pvimage.main import cache_folder  # noqa: E402

MODULES = initramfs.BOOT_MODULES + ["virtio_gpu", "virtio_input", "evdev", "virtio_scsi", "sd_mod"]
INIT = initramfs.COMMON + "\necho PEARVISOR-USERSPACE-OK\nsetsid cttyhack sh\npoweroff -f\n"
WIDTH, HEIGHT = 1024, 600


def build_initramfs(release, path):
    archive = Archive(release, cache_folder(), None, True)
    try:
        archive.update()
        kernel = kernels.Kernel(archive)
    except BuildError as error:
        guest.skip(str(error))
    try:
        path.write_bytes(initramfs.build(kernel.busybox, kernel.modules, MODULES, INIT))
    finally:
        kernel.close()


class Shell:
    """A guest with a framebuffer console and, on its UART, a quiet root shell."""

    def __init__(self, start, args, folder, *options, restore=None):
        image = folder / "initrd"
        if not image.exists():
            build_initramfs(args.release, image)
        self.vm = start("--kernel", guest.guest_kernel(args.release) / "vmlinuz", "--initrd", image,
                        "--append", "console=tty0 console=ttyAMA0 quiet panic=-1 "
                        "vt.global_cursor_default=0 consoleblank=0", "--memory", "512M",
                        "--net", "none", *options,
                        *(("--restore", restore) if restore else ()))
        if not restore:
            self.vm.expect("^PEARVISOR-USERSPACE-OK", 120)
        self.vm.send("stty -echo; PS1=\n")
        self.run("true")

    def run(self, line, timeout=60):
        status, output = self.vm.command_output(line, timeout)
        if status != 0:
            raise Failure(f"'{line}' succeeds, not status {status}: {output.strip()}")
        return output.strip()

    def framebuffer(self):
        """A hash of what /dev/fb0 shows."""
        return self.run("md5sum </dev/fb0").split()[0]

    def end(self):
        self.vm.send("poweroff -f\n")
        if self.vm.wait(30) != 0:
            raise Failure("exit status 0 after power-off")


def read_png(path):
    """Width, height and the pixels as the guest's framebuffer has them: B, G, R, 0."""
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise Failure(f"{path} is a PNG file")
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if zlib.crc32(kind + body) != struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]:
            raise Failure(f"the checksum of {kind} is right")
        chunks[kind] = body
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    rows = zlib.decompress(chunks[b"IDAT"])
    if (depth, colour) != (8, 2) or len(rows) != (3 * width + 1) * height:
        raise Failure("the PNG has 8-bit RGB rows")
    pixels = bytearray(4 * width * height)
    for y in range(height):
        row = rows[y * (3 * width + 1):(y + 1) * (3 * width + 1)]
        if row[0]:
            raise Failure("rows have no filter")
        for colour in range(3):
            pixels[4 * width * y + colour:4 * width * (y + 1):4] = row[3 - colour::3]
    return width, height, bytes(pixels)


def saved(vm, path):
    """The picture that SIGUSR1 saves."""
    before = path.stat().st_mtime_ns if path.exists() else None
    vm.vm.process.send_signal(signal.SIGUSR1)
    for _ in range(100 * guest.PATIENCE):
        if path.exists() and path.stat().st_mtime_ns != before:
            return read_png(path)
        time.sleep(0.1)
    raise Failure("SIGUSR1 saves a picture")


def check_picture(vm, picture):
    width, height, pixels = picture
    if (width, height) != (WIDTH, HEIGHT):
        raise Failure(f"a picture of {WIDTH}x{HEIGHT}, not {width}x{height}")
    want = vm.framebuffer()
    if hashlib.md5(pixels).hexdigest() != want:
        raise Failure("the picture is the framebuffer's")
    if len(set(pixels)) < 2:
        raise Failure("there is something in the picture")


def settle(vm, text):
    """Writes on the framebuffer console, and waits until the driver has flushed it."""
    vm.run(f"echo '{text}' >/dev/tty1; sleep 1")


def png(start, args, folder):
    path = folder / "picture.png"
    vm = Shell(start, args, folder, "--gpu", f"2d,size={WIDTH}x{HEIGHT}", "--display",
               f"png={path}")
    vm.run("grep -q virtio_gpu /proc/fb")
    settle(vm, "hello from the guest")
    first = saved(vm, path)
    check_picture(vm, first)
    settle(vm, "and again")
    second = saved(vm, path)
    check_picture(vm, second)
    if first == second:
        raise Failure("more text changes the picture")
    settle(vm, "the end")
    last = vm.framebuffer()
    vm.end()
    if hashlib.md5(read_png(path)[2]).hexdigest() != last:
        raise Failure("the last picture is kept at the end")


def snapshot(start, args, folder):
    """A VM with a framebuffer and a SCSI disk goes on from a snapshot as it was."""
    control, disk, kept = folder / "control", folder / "scsi.qcow2", folder / "kept"
    paths = folder / "before.png", folder / "after.png"
    subprocess.run([guest.PROGRAM, "disk", "create", disk, "16M"], check=True,
                   stdout=subprocess.DEVNULL)

    def options(path):
        return ("--gpu", f"2d,size={WIDTH}x{HEIGHT}", "--display", f"png={path}", "--disk",
                f"{disk},if=scsi", "--control", control)

    vm = Shell(start, args, folder, *options(paths[0]))
    settle(vm, "before the snapshot")
    vm.run("echo before | dd of=/dev/sda conv=fsync")
    before = saved(vm, paths[0])
    done = subprocess.run([guest.PROGRAM, "control", control, "snapshot", f"folder={kept}"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"a snapshot is taken: {done.stderr.strip()}")
    settle(vm, "after it")
    vm.run("echo later! | dd of=/dev/sda conv=fsync")
    vm.vm.process.kill()
    vm.vm.wait(30)
    control.unlink(missing_ok=True)
    vm = Shell(start, args, folder, *options(paths[1]), restore=kept)
    if saved(vm, paths[1]) != before:
        raise Failure("the picture is the one of the snapshot")
    check_picture(vm, before)
    if vm.run("echo 3 >/proc/sys/vm/drop_caches; head -c 6 /dev/sda") != "before":
        raise Failure("the SCSI disk is the one of the snapshot")
    settle(vm, "and it goes on")
    check_picture(vm, saved(vm, paths[1]))
    vm.end()


def vnc(start, args, folder):
    path = folder / "vnc"
    vm = Shell(start, args, folder, "--gpu", f"2d,size={WIDTH}x{HEIGHT}", "--display",
               f"vnc=unix:{path}")
    viewer = Viewer(path)
    settle(vm, "seen from afar")
    check_picture(vm, viewer.picture())
    # What the viewer types arrives at the guest's keyboard: press and release of KEY_A.
    vm.run("dd if=/dev/input/event0 of=/keys bs=24 count=4 2>/dev/null & sleep 1")
    viewer.key(ord("a"), 1)
    viewer.key(ord("a"), 0)
    events = vm.run("sleep 2; od -A n -t u2 -v -w24 /keys").split("\n")
    codes = [tuple(map(int, event.split()[8:11])) for event in events]
    if codes != [(1, 30, 1), (0, 0, 0), (1, 30, 0), (0, 0, 0)]:
        raise Failure(f"the key that was typed, not {codes}")
    vm.end()


def wait_until(what, check):
    for _ in range(300 * guest.PATIENCE):
        if check():
            return
        time.sleep(0.1)
    raise Failure(what)


def window(start, args, folder):
    with xserver.Screen(WIDTH + 200, HEIGHT + 100) as screen:
        vm = Shell(start, args, folder, "--gpu", f"2d,size={WIDTH}x{HEIGHT}", "--display",
                   "window")
        wait_until("there is a window", lambda: screen.window())
        screen.move(screen.window(), 0, 0)
        settle(vm, "seen in a window")
        wait_until("the window shows the framebuffer", lambda: hashlib.md5(
            screen.pixels(WIDTH, HEIGHT)).hexdigest() == vm.framebuffer())
        check_picture(vm, (WIDTH, HEIGHT, screen.pixels(WIDTH, HEIGHT)))

        # What the viewer types arrives at the guest's keyboard: press and release of KEY_A.
        vm.run("dd if=/dev/input/event0 of=/keys bs=24 count=4 2>/dev/null & sleep 1")
        screen.point(100, 100)
        screen.key(38)
        events = vm.run("sleep 2; od -A n -t u2 -v -w24 /keys").split("\n")
        codes = [tuple(map(int, event.split()[8:11])) for event in events]
        if codes != [(1, 30, 1), (0, 0, 0), (1, 30, 0), (0, 0, 0)]:
            raise Failure(f"the key that was typed, not {codes}")

        # The guest is asked for the window's size, and takes it; the console takes only smaller ones.
        screen.resize(screen.window(), WIDTH - 64, HEIGHT - 40)
        wait_until("the guest knows the window's size", lambda: vm.run(
            "head -n 1 /sys/class/drm/card*-Virtual-1/modes") == f"{WIDTH - 64}x{HEIGHT - 40}")
        screen.close(screen.window())
        vm.vm.expect("asking the guest to power off; closing the window again", 30)
        screen.close(screen.window())
        vm.vm.wait(30)


TESTS = {"png": png, "snapshot": snapshot, "vnc": vnc, "window": window}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", default="13")
    parser.add_argument("--test", action="append", choices=TESTS, help="default: png, snapshot, vnc")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pearvisor-") as folder:
        for name in args.test or ["png", "snapshot", "vnc"]:
            print(f"{name} ...", flush=True)
            if status := guest.main(TESTS[name], args, Path(folder)):
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
