#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Disks and networks come and go while a stock kernel runs: attach, use, detach, again and again."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bootdisk
import guest
from guest import Failure

DISK_SIZE = 8 << 20


class Control:
    def __init__(self, path):
        self.path = path

    def start(self, *words):
        return subprocess.Popen([guest.PROGRAM, "control", "--json", self.path, *words],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, process):
        """The result of a verb; a Failure when it is refused."""
        out, err = process.communicate(timeout=120 * guest.PATIENCE)
        if process.returncode:
            raise Failure(f"{' '.join(process.args[4:])}: {err.strip()}")
        return json.loads(out)

    def ask(self, *words):
        return self.finish(self.start(*words))

    def refused(self, expected, *words):
        process = self.start(*words)
        _, err = process.communicate(timeout=120 * guest.PATIENCE)
        if process.returncode != 1 or expected not in err:
            raise Failure(f"{' '.join(words)}: status {process.returncode}, {err!r}")

    def ids(self):
        return {row["id"] for row in self.ask("devices")["devices"]}


class Test:
    def __init__(self, start, args, folder):
        self.start = start
        self.args = args
        self.control = Control(f"{folder}/control")
        self.folder = Path(folder)
        self.disk = self.folder / "card.img"
        self.disk.write_bytes(bytes(DISK_SIZE))
        self.name = "vda"  # what the guest calls the disk that comes

    # ---- The guest ----

    def boot(self):
        kernel = guest.guest_kernel(self.args.release)
        append = "console=ttyAMA0 quiet pv.run=shell"
        options = ["--memory", "512M", "--cpus", "2", "--net", "none",
                   "--control", self.control.path, *self.args.options]
        if self.args.firmware:
            image = self.folder / "boot.img"
            bootdisk.make_disk(image, "grub", kernel / "vmlinuz", kernel / "test.img", append)
            options += ["--firmware", "uefi", "--acpi", "on", "--memory", "1G", "--disk", image]
            self.name = "vdb"
        else:
            options += ["--kernel", kernel / "vmlinuz", "--initrd", kernel / "test.img",
                        "--append", append]
        self.vm = self.start(*options)
        self.wait_for_shell()

    def wait_for_shell(self):
        self.vm.expect("^PEARVISOR-USERSPACE-OK", 300)
        self.vm.expect("# ", 30)
        self.vm.send("stty -echo; PS1=\n")

    def run(self, line, timeout=60):
        status, output = self.vm.command_output(line, timeout)
        if status:
            raise Failure(f"{line}: status {status}, {output!r}")
        return output

    def until(self, condition):
        """The guest waits until a shell's condition holds."""
        self.run(f"n=0; while ! {condition} && [ $n -lt 300 ]; do usleep 100000; n=$((n+1)); done;"
                 f" {condition}")

    # ---- Steps ----

    def attach_disk(self, name="card"):
        answer = self.control.ask("attach", f"disk={self.disk}", f"id={name}")
        if answer["id"] != name:
            raise Failure(f"attach: {answer}")
        self.until(f"[ -b /dev/{self.name} ]")

    def use_disk(self, text):
        """Writes to the disk and reads it back, past the page cache."""
        size = int(self.run(f"cat /sys/block/{self.name}/size").split()[-1])
        if size * 512 != DISK_SIZE or "card" not in self.run(f"cat /sys/block/{self.name}/serial"):
            raise Failure(f"a disk of {size} sectors")
        self.run(f"echo {text} | dd of=/dev/{self.name} conv=fsync bs=512 2>/dev/null")
        self.run("echo 3 >/proc/sys/vm/drop_caches")
        if text not in self.run(f"dd if=/dev/{self.name} bs=512 count=1 2>/dev/null"):
            raise Failure(f"the guest does not read '{text}' back")

    def attach_net(self):
        self.control.ask("attach", "net=user", "id=lan")
        self.until("[ -e /sys/class/net/eth0 ]")

    def use_net(self):
        self.run("ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 && "
                 "ping -c 1 -W 5 10.0.2.2 >/dev/null")

    def rounds(self):
        for i in range(self.args.rounds):
            text = f"this is round {i}"
            self.attach_disk()
            self.attach_net()
            self.use_disk(text)
            self.use_net()
            if self.control.ids() - {"disk0"} != {"card", "lan"}:
                raise Failure(f"devices: {self.control.ids()}")
            leaving = [self.control.start("detach", "id=card"),
                       self.control.start("detach", "id=lan")]
            for process in leaving:
                self.control.finish(process)
            self.run(f"[ ! -e /dev/{self.name} ] && [ ! -e /sys/class/net/eth0 ]")
            if self.control.ids() - {"disk0"}:
                raise Failure(f"still there: {self.control.ids()}")
            if not self.disk.read_bytes().startswith(text.encode()):
                raise Failure(f"'{text}' is not in the image")
            print(f"round {i + 1} of {self.args.rounds}", flush=True)

    def refusals(self):
        self.control.refused("No such file", "attach", f"disk={self.folder}/nothing")
        self.control.refused("disk=FILE or net=", "attach", "id=x")
        self.control.refused("'x'", "detach", "id=x")
        self.attach_disk("card-1")
        self.control.refused("in use", "attach", f"disk={self.disk}")
        self.control.refused("'card-1' already", "attach", "net=none", "id=card-1")
        nets = [self.control.ask("attach", "net=none")["id"] for _ in range(3)]
        self.control.refused("slots", "attach", "net=none")
        self.until("[ $(ls -d /sys/class/net/eth* | wc -l) = 3 ]")
        for name in nets:
            self.control.ask("detach", f"id={name}", "force=yes")
        self.until("[ $(ls -d /sys/class/net/eth* 2>/dev/null | wc -l) = 0 ]")
        self.control.ask("detach", "id=card-1")

    def slow_guest(self):
        """Linux waits 5 s for a second press; its owner does not."""
        self.attach_disk("card-2")
        self.control.refused("not let go", "detach", "id=card-2", "timeout=1")
        deadline = time.monotonic() + 60 * guest.PATIENCE
        while "card-2" in self.control.ids():
            if time.monotonic() > deadline:
                raise Failure("the guest keeps the disk")
            time.sleep(0.5)

    def force(self):
        """The disk is pulled while the guest writes to it; the guest goes on."""
        self.attach_disk("card-3")
        self.run(f"dd if=/dev/zero of=/dev/{self.name} bs=4k count=100000 2>/dev/null & sleep 1")
        self.control.ask("detach", "id=card-3", "force=yes")
        self.until(f"[ ! -e /sys/block/{self.name} ]")
        self.attach_disk()
        self.use_disk("after the storm")

    def reset(self):
        """A disk that came stays over a reset, for firmware too."""
        self.control.ask("reset")
        self.wait_for_shell()
        self.until(f"[ -b /dev/{self.name} ]")
        self.use_disk("after the reset")
        self.control.ask("detach", "id=card")

    def deaf_guest(self):
        self.attach_disk()
        driver = "/sys/bus/pci_express/drivers/pciehp"
        self.run(f"for p in {driver}/0000*; do echo ${{p##*/}} >{driver}/unbind; done")
        self.control.refused("does not listen", "detach", "id=card")
        self.control.ask("detach", "id=card", "force=yes")
        self.run("true")

    def check(self):
        self.boot()
        for step in (self.rounds, self.refusals, self.slow_guest, self.force, self.reset,
                     self.deaf_guest):
            step()
            print(step.__name__, flush=True)
        self.control.ask("kill")
        self.vm.wait(30)


def check(start, args):
    if args.firmware and not Path("/usr/share/AAVMF/AAVMF_CODE.fd").exists():
        guest.skip("no UEFI firmware")
    with tempfile.TemporaryDirectory(prefix="pearvisor-hotplug-") as folder:
        Test(start, args, folder).check()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", default="13")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--firmware", action="store_true", help="boot by UEFI, with ACPI")
    parser.add_argument("options", nargs="*", help="more for pearvisor run, after --")
    return guest.main(check, parser.parse_args())


sys.exit(main())
