#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A running VM is asked things on its control socket: pause and resume, balloon, reset, its end."""

import json
import re
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import guest
from guest import Failure


class Control:
    def __init__(self, path):
        self.path = path

    def run(self, *words):
        return subprocess.run([guest.PROGRAM, "control", *words[:-1], self.path, *words[-1]],
                              capture_output=True, text=True, timeout=60 * guest.PATIENCE)

    def ask(self, *words):
        """The result of a verb; a Failure when it is refused."""
        done = self.run("--json", words)
        if done.returncode:
            raise Failure(f"control {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def refused(self, status, expected, *words):
        done = self.run(words)
        if done.returncode != status or expected not in done.stderr:
            raise Failure(f"control {' '.join(words)}: status {done.returncode}, {done.stderr!r}")


def ticks_when_silent(vm):
    """Waits until the guest says nothing for three seconds; how far it had counted."""
    for _ in range(20):
        before = vm.console
        time.sleep(3)
        while vm._read(0) and select.select([vm.process.stdout], [], [], 0)[0]:
            pass
        if vm.console == before:
            return int(re.findall(r"^tick (\d+)$", vm.console, re.MULTILINE)[-1])
    raise Failure("a paused guest writes to its console")


def check(start, folder):
    kernel = guest.guest_kernel("13")
    control = Control(f"{folder}/control")
    files = ("--kernel", kernel / "vmlinuz", "--initrd", kernel / "test.img", "--net", "none",
             "--memory", "512M", "--balloon", "0", "--control", control.path)
    vm = start(*files, "--append", "console=ttyAMA0 quiet pv.run=shell")
    vm.expect("^PEARVISOR-USERSPACE-OK", 180)
    vm.send("i=0; while :; do i=$((i + 1)); echo tick $i; usleep 200000; done\n")
    vm.expect("^tick 3$", 60)

    status = control.ask("status")
    if status["state"] != "running" or status["cpus"] != 1 or status["memory"] != 512 << 20:
        raise Failure(f"status: {status}")
    control.ask("pause")
    control.refused(1, "paused already", "pause")
    if control.ask("status")["state"] != "paused":
        raise Failure("paused, and its status does not say so")
    last = ticks_when_silent(vm)
    control.ask("resume")
    vm.expect(f"^tick {last + 2}$", 60)
    control.refused(1, "not paused", "resume")

    control.refused(1, "'fly' is not known", "fly")
    control.refused(1, "size=VALUE", "balloon")
    control.refused(1, "12Q", "balloon", "size=12Q")
    control.refused(2, "KEY=VALUE", "balloon", "size")
    control.ask("balloon", "size=128M")
    if control.ask("status")["balloon-target"] != 128 << 20:
        raise Failure("the balloon has another target")

    control.ask("reset")
    vm.expect("^PEARVISOR-USERSPACE-OK", 180)
    control.ask("kill")
    vm.wait(20)
    if Path(control.path).exists():
        raise Failure("the socket is still there after the VM's end")
    control.refused(1, "no VM listens", "status")


def main(start):
    with tempfile.TemporaryDirectory() as folder:
        check(start, folder)


sys.exit(guest.main(main))
