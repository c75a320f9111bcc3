#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Disks whose VM is killed, or whose host runs out of room, at random moments.

In the guest two writers put numbered records on the disk, each flushed before it is named on the
console. The VM is killed (SIGKILL), and the image is looked at from outside: each place has the
newest record that was named, or one that was being written; nothing is wrong with the image but
what lazy refcounts are allowed. The next VM goes on with the same image.

With --full N the image is on a small file system that is filled up N times while the guest writes:
the guest stands still then, goes on when there is room, and never sees an error.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import guest
from guest import Failure

SIZE = 48 << 20
BLOCK = 4096
PLACES = 4096  # of each writer
# A writer's number, its first record; its records go to every other block.
WRITER = r"""w=%d; n=%d; while :; do n=$((n+1));
printf '%%-4096s' "record $w $n" | dd of=/dev/vda bs=4096 seek=$((n*2741%%4096*2+w))
conv=notrunc,fsync 2>/dev/null && echo "flushed $w $n:" || echo "wrong $w $n"; done &"""
# What nobody waits for: it makes the image grow, and gives clusters back.
NOISE = r"""r=1; while :; do r=$(((r*1103515245+12345)%2147483648));
dd if=/dev/urandom of=/dev/vda bs=64k seek=$((512+r/64%256)) count=3 conv=notrunc 2>/dev/null;
blkdiscard -o $((33554432+r/64%128*65536)) -l 131072 /dev/vda 2>/dev/null; done &"""
KINDS = (
    ("qcow2", []), ("qcow2", ["--lazy-refcounts"]), ("raw", []),
    ("qcow2", ["--cluster-size", "4K"]), ("qcow2", ["--extended-l2"]),
    ("qcow2", ["--lazy-refcounts", "--cluster-size", "2M"]),
)


def run(*command, accept=(0,)):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    if done.returncode not in accept:
        raise Failure(f"{' '.join(map(str, command))}: status {done.returncode}, "
                      f"{done.stderr.strip() or done.stdout.strip()!r}")
    return done


class Disk:
    """An image, and what has to be in it."""

    def __init__(self, folder, number):
        self.format, options = KINDS[number % len(KINDS)]
        self.path = folder / f"disk.{self.format}"
        self.path.unlink(missing_ok=True)
        self.raw = folder / "contents"
        self.lazy = "--lazy-refcounts" in options
        run(guest.PROGRAM, "disk", "create", self.path, SIZE, "--format", self.format, *options)
        self.last = [0, 0]  # records that were named

    def place(self, writer, record):
        return record * 2741 % PLACES * 2 + writer

    def heard(self, console):
        """What a VM's console named; nothing is to be wrong."""
        wrong = re.search(r"^wrong \d.*|.*I/O error.*", console, re.MULTILINE)
        if wrong:
            raise Failure(f"the guest saw an error: {wrong[0]}")
        for writer, record in re.findall(r"^flushed (\d) (\d+):$", console, re.MULTILINE):
            self.last[int(writer)] = max(self.last[int(writer)], int(record))

    def check_image(self):
        if self.format != "qcow2":
            return
        if self.lazy:
            run(guest.PROGRAM, "disk", "check", "--repair", self.path)
        # 3: clusters that nobody refers to, which a crash may leave.
        run("qemu-img", "check", self.path, accept=(0, 3))

    def check(self):
        self.check_image()
        run(guest.PROGRAM, "disk", "convert", "--format", "raw", self.path, self.raw)
        contents = self.raw.read_bytes()
        self.raw.unlink()
        for writer in (0, 1):
            newest = {self.place(writer, n): n for n in range(1, self.last[writer] + 1)}
            being = self.place(writer, self.last[writer] + 1)
            for place, record in newest.items():
                found = contents[place * BLOCK:(place + 1) * BLOCK]
                want = f"record {writer} {record}".ljust(BLOCK).encode()
                if found != want and place != being:
                    raise Failure(f"block {place}: {found[:40]!r} where {want[:40]!r} was flushed")
        return sum(self.last)


class Test:
    def __init__(self, start, args, folder):
        self.start = start
        self.args = args
        self.folder = Path(folder)
        self.random = random.Random(args.seed)
        kernel = guest.guest_kernel(args.release)
        self.options = ["--memory", "256M", "--cpus", "2", "--net", "none",
                        "--kernel", kernel / "vmlinuz", "--initrd", kernel / "test.img",
                        "--append", "console=ttyAMA0 quiet pv.run=shell"]

    def boot(self, disk, *options):
        vm = self.start(*self.options, "--disk", disk.path, *options)
        vm.expect("^PEARVISOR-USERSPACE-OK", 300)
        vm.expect("# ", 30)
        vm.send("stty -echo; PS1=\n")
        for line in (WRITER % (0, disk.last[0]), WRITER % (1, disk.last[1]), NOISE):
            vm.command_output("{ " + line.replace("\n", " ") + " }", 30)
        vm.expect(r"^flushed \d \d+:", 60)
        return vm

    def listen(self, vm, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            vm.expect(r"^flushed \d \d+:", 60)

    def hear_the_rest(self, vm):
        try:
            while vm.expect(r"^flushed \d \d+:$", 5):
                pass
        except Failure:
            pass

    def kills(self):
        flushed = 0
        for i in range(self.args.kills):
            if i % self.args.lives == 0:
                disk = Disk(self.folder, i // self.args.lives)
            vm = self.boot(disk)
            self.listen(vm, self.random.uniform(0, 2))
            vm.process.kill()
            self.hear_the_rest(vm)
            vm.process.wait()
            before = sum(disk.last)
            disk.heard(vm.console)
            disk.check()
            flushed += sum(disk.last) - before
            print(f"kill {i + 1} of {self.args.kills}: {disk.format}, {flushed} records",
                  flush=True)

    # ---- Room ----

    def paused(self, control):
        status = run(guest.PROGRAM, "control", "--json", control, "status").stdout
        return json.loads(status)["state"] == "paused"

    def until(self, condition, what):
        deadline = time.monotonic() + 60 * guest.PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise Failure(what)
            time.sleep(0.1)

    def full(self, place):
        control, ballast = self.folder / "control", place / "ballast"
        for i in range(self.args.full):
            disk = Disk(place, i)
            vm = self.boot(disk, "--control", control)
            self.listen(vm, self.random.uniform(0, 1))
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(1 << 16))
                except OSError:
                    pass
            self.until(lambda: self.paused(control), "the guest does not stand still")
            seen = len(vm.console)
            time.sleep(1)
            if not self.paused(control):
                raise Failure("the guest goes on without room")
            ballast.unlink()
            self.until(lambda: not self.paused(control), "the guest does not go on")
            vm.seen = max(vm.seen, seen)
            self.listen(vm, 0.5)
            vm.process.kill()
            self.hear_the_rest(vm)
            vm.process.wait()
            disk.heard(vm.console)
            disk.check()
            disk.path.unlink()
            print(f"full {i + 1} of {self.args.full}: {disk.format}", flush=True)

    def check(self):
        self.kills()
        if self.args.full:
            place = self.folder / "small"
            place.mkdir()
            run("mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", place)
            try:
                self.full(place)
            finally:
                run("umount", "--lazy", place)


def check(start, args):
    with tempfile.TemporaryDirectory(prefix="pearvisor-crash-") as folder:
        Test(start, args, folder).check()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", default="13")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--lives", type=int, default=1, help="VMs that use one image in turn")
    parser.add_argument("--full", type=int, default=0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    args = parser.parse_args()
    if args.full and "PEARVISOR_TEST_MOUNTS" not in os.environ:
        os.environ["PEARVISOR_TEST_MOUNTS"] = "own"
        unshare = ["unshare", "-m" if os.geteuid() == 0 else "-Urm"]
        if subprocess.run([*unshare, "true"], check=False).returncode == 0:
            os.execvp("unshare", [*unshare, sys.executable, *sys.argv])
        print("no file system of its own can be had here: --full is left out")
        args.full = 0
    print(f"seed {args.seed}")
    return guest.main(check, args)


raise SystemExit(main())
