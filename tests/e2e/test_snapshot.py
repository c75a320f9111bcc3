#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Snapshots of a busy guest, and VMs that go on from them.

In the guest one process checks memory against its checksum over and over, another one the disk,
which it writes and reads back past the page cache. A cycle takes a snapshot, lets the guest go on
and change both, ends the VM, and has a new one go on from the snapshot: whatever was lost or came
from another moment than the rest shows as a wrong checksum, or as a marker that should not be.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import guest
from guest import Failure

SETUP = r"""
mkdir -p /tmp /mem; mount -t tmpfs tmpfs /mem; echo 3 >/proc/sys/kernel/printk
cat /proc/sys/kernel/random/boot_id
dd if=/dev/urandom of=/mem/data bs=1M count=24 2>/dev/null; md5sum /mem/data >/mem/sum; echo 0 >/mem/rounds; echo 0 >/mem/disk-rounds
"""
MEMORY = r"""n=0; while :; do md5sum -c /mem/sum >/dev/null 2>&1 || echo memory >>/mem/wrong;
cp /mem/data /mem/copy; cmp /mem/data /mem/copy || echo copy >>/mem/wrong; n=$((n+1));
echo $n >/mem/rounds; done >/dev/null 2>&1 &"""
DISK = r"""n=0; while :; do n=$((n+1)); dd if=/dev/urandom of=/mem/block bs=64k count=8 2>/dev/null;
dd if=/mem/block of=/dev/vda bs=64k seek=$((n%64*8)) conv=notrunc,fsync 2>/dev/null;
echo 3 >/proc/sys/vm/drop_caches;
dd if=/dev/vda bs=64k skip=$((n%64*8)) count=8 2>/dev/null | cmp - /mem/block || echo disk $n
>>/mem/wrong; echo $n >/mem/disk-rounds; done >/dev/null 2>&1 &"""


class Test:
    def __init__(self, start, args, folder):
        self.start = start
        self.args = args
        self.folder = Path(folder)
        self.control = self.folder / "control"
        self.disk = self.folder / "disk.qcow2"
        self.pauses = []
        kernel = guest.guest_kernel(args.release)
        self.options = ["--memory", args.memory, "--cpus", "2", "--net", "user", "--balloon", "0",
                        "--control", self.control, "--disk", self.disk,
                        "--kernel", kernel / "vmlinuz", "--initrd", kernel / "test.img",
                        "--append", "console=ttyAMA0 quiet pv.run=shell", *args.options]

    def command(self, *words, status=0, says=""):
        done = subprocess.run([guest.PROGRAM, *map(str, words)], capture_output=True, text=True,
                              timeout=120 * guest.PATIENCE)
        if done.returncode != status or says not in done.stderr:
            raise Failure(f"{' '.join(map(str, words))}: status {done.returncode}, "
                          f"{done.stderr.strip()!r}")
        return done.stdout

    def ask(self, *words, **expected):
        return self.command("control", "--json", self.control, *words, **expected)

    def run(self, line, timeout=60):
        status, output = self.vm.command_output(line.replace("\n", " "), timeout)
        if status:
            raise Failure(f"{line}: status {status}, {output!r}")
        return output

    def number(self, name):
        # The file is empty for a moment whenever it is written.
        return int(self.run(f"until grep . /mem/{name}; do :; done").split()[-1])

    def kill(self):
        self.ask("kill")
        self.vm.wait(30)

    def snapshot(self, name, *words):
        answer = json.loads(self.ask("snapshot", f"folder={self.folder / name}", *words))
        self.pauses.append(answer["pause-us"] / 1000)

    def restore(self, name):
        self.vm = self.start(*self.options, "--restore", self.folder / name)
        self.vm.send("\n")

    # ---- Steps ----

    def boot(self):
        self.command("disk", "create", self.disk, "64M", "--format", "qcow2")
        self.vm = self.start(*self.options)
        self.vm.expect("^PEARVISOR-USERSPACE-OK", 300)
        self.vm.expect("# ", 30)
        self.vm.send("stty -echo; PS1=\n")
        for line in (*SETUP.strip().splitlines(), f"{{ {MEMORY} }}", f"{{ {DISK} }}"):
            self.run(line)

    def healthy(self):
        """Both processes go on, and neither ever found anything wrong."""
        before = self.number("rounds"), self.number("disk-rounds")
        deadline = time.monotonic() + 120 * guest.PATIENCE
        while self.number("rounds") < before[0] + 2 or self.number("disk-rounds") < before[1] + 2:
            if time.monotonic() > deadline:
                raise Failure("the guest does not go on")
            time.sleep(0.1)
        self.run("[ ! -e /mem/wrong ] || { cat /mem/wrong; false; }")

    def info(self, name):
        return json.loads((self.folder / name / "snapshot.json").read_text())

    def cycles(self):
        """Each goes on from the one before, and its memory rests on that one's files, which goes.

        Every few cycles one is taken of a VM that had one taken before, or with all of its memory.
        """
        last = None
        for i in range(self.args.cycles):
            if i < 2:
                time.sleep(1)
            self.healthy()
            name = f"cycle-{i}"
            full = i % 7 == 6
            self.snapshot(name, *(["full=yes"] if full else []))
            if last:
                bases = self.info(last)["bases"] + 1
                if self.info(name)["bases"] != (0 if full or bases == 16 else bases):
                    raise Failure(f"{name} rests on {self.info(name)['bases']} files, "
                                  f"{last} on {bases - 1}")
                if self.info(name)["parent"] != last:
                    raise Failure(f"{name} came from {self.info(name)['parent']!r}, not {last}")
                shutil.rmtree(self.folder / last)
            last = name
            self.run("echo later >/mem/later; echo later | dd of=/dev/vda bs=512 "
                     "seek=131000 conv=notrunc,fsync 2>/dev/null")
            if i % 3 == 2:
                self.snapshot("unused")
                shutil.rmtree(self.folder / "unused")
            self.kill()
            self.restore(name)
            self.healthy()
            self.run("[ ! -e /mem/later ]")
            self.run("! dd if=/dev/vda bs=512 skip=131000 count=1 2>/dev/null | grep later")
            print(f"cycle {i + 1} of {self.args.cycles}", flush=True)

    def same_twice(self):
        """Two VMs from one snapshot see the same; it is whole before and after."""
        self.snapshot("twice", "note=a fine moment")
        self.kill()
        self.command("snapshot", "verify", self.folder / "twice")
        rounds = []
        for _ in range(2):
            self.restore("twice")
            rounds.append(self.run("cat /proc/sys/kernel/random/boot_id; cat /mem/sum"))
            self.healthy()
            self.kill()
        if rounds[0] != rounds[1]:
            raise Failure(f"{rounds[0]!r} is not {rounds[1]!r}")

    def refusals(self):
        """Bad input is one line, and nothing is written."""
        folder = self.folder / "twice"
        options = list(map(str, self.options))
        for change, says in (
                (("--cpus", "1"), "with 2 CPUs, this one has 1"),
                (("--memory", "448M"), "this one has 448"),
                (("--disk", f"{self.disk},ro"), "1 writable disks, this one has 0"),
        ):
            at = options.index(change[0])
            others = options[:at] + list(change) + options[at + 2:]
            self.command("run", *guest.engine_options(), *others, "--restore", folder,
                         status=1, says=says)
        self.command("run", *guest.engine_options(), *options, "--restore", self.folder, status=1,
                     says="is not a snapshot")
        memory = folder / "memory"
        whole = memory.read_bytes()
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 1
        for content, says in ((bytes(damaged), "damaged"), (whole[:-1000], "cut off")):
            memory.write_bytes(content)
            self.command("snapshot", "verify", folder, status=1, says=says)
            self.command("run", *guest.engine_options(), *options, "--restore", folder,
                         status=1, says=says)
        memory.write_bytes(whole)
        info = folder / "snapshot.json"
        text = info.read_text()
        info.write_text(re.sub('"format": [12]', '"format": 99', text))
        self.command("snapshot", "verify", folder, status=1, says="format 99")
        info.write_text(text)
        self.restore("twice")
        self.healthy()
        self.ask("snapshot", f"folder={folder}", status=1, says="there already")
        self.ask("snapshot", f"folder={self.folder}/no/where", status=1, says="No such file")
        self.ask("attach", "net=none", "id=extra")
        self.ask("snapshot", f"folder={self.folder}/x", status=1, says="detach it first")
        if (self.folder / "x").exists() or (self.folder / "x.new").exists():
            raise Failure("a snapshot that was refused left something behind")
        self.kill()

    def check(self):
        self.boot()
        for step in (self.cycles, self.same_twice, self.refusals):
            step()
            print(step.__name__, flush=True)
        print(f"pauses: median {statistics.median(self.pauses):.1f} ms, "
              f"longest {max(self.pauses):.1f} ms")


def check(start, args):
    with tempfile.TemporaryDirectory(prefix="pearvisor-snapshot-") as folder:
        Test(start, args, folder).check()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", default="13")
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--memory", default="512M")
    parser.add_argument("options", nargs="*", help="more for pearvisor run, after --")
    return guest.main(check, parser.parse_args())


raise SystemExit(main())
