#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest that ignores the power button is ended by a second SIGTERM; a reset boots it anew."""

import sys
import tempfile

import guest
from guest import Failure


def signals(start):
    # With a disk: its worker threads are there before the signals are watched.
    with tempfile.NamedTemporaryFile() as disk:
        disk.truncate(1 << 20)
        run(start, disk.name)


def run(start, disk):
    folder = guest.guest_kernel("12")
    files = ("--kernel", folder / "vmlinuz", "--initrd", folder / "test.img",
             "--net", "none", "--memory", "512M", "--disk", disk)
    vm = start(*files, "--append", "console=ttyAMA0 quiet pv.run=reboot")
    vm.expect("^PEARVISOR-USERSPACE-OK", 180)
    vm.expect("^PEARVISOR-TEST-END", 30)
    vm.expect("^PEARVISOR-USERSPACE-OK", 180)
    vm.terminate()
    vm.expect("asking the guest to power off", 10)
    vm.terminate()
    if vm.wait(10) != 0:
        raise Failure("exit status 0 after the second SIGTERM")


sys.exit(guest.main(signals))
