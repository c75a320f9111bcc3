#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PCI devices interrupt through the ITS (or the GICv2m frame), on the vCPU that the guest chose."""

import argparse
import re
import sys

import guest
from guest import Failure

COUNTS = r"^\s*(\d+):\s+(\d+)\s+(\d+)\s+(\S+).*virtio\d+-req"


def disk_line(vm):
    """The busiest interrupt line of a virtio disk: (its number, counts of both vCPUs, its chip)."""
    _, text = vm.command_output("cat /proc/interrupts", 60)
    lines = [(int(m[1]), (int(m[2]), int(m[3])), m[4]) for m in
             re.finditer(COUNTS, text, re.MULTILINE)]
    if not lines:
        raise Failure(f"interrupts of a virtio disk in /proc/interrupts:\n{text}")
    return max(lines, key=lambda line: sum(line[1]))


def interrupts(start, args):
    vm = start(*guest.scratch_image(args.image), "--cpus", "2", "--msi", args.msi)
    vm.login(args.timeout)
    number, _, chip = disk_line(vm)
    if ("ITS" if args.msi == "its" else "MSI") not in chip or (args.msi == "v2m" and "ITS" in chip):
        raise Failure(f"the disk's interrupts to come through {args.msi}, not {chip}")
    if args.msi == "its":
        _, log = vm.command_output("dmesg | grep 'ITS@'", 60)
        if "Devices" not in log:
            raise Failure("the kernel to say that it uses the ITS")
    # Moving it to the other vCPU is a MOVI; which it is on now does not matter.
    for cpu in 0, 1, 0:
        status, _ = vm.command_output(f"echo {cpu} >/proc/irq/{number}/smp_affinity_list", 60)
        if status != 0:
            if cpu == 0:
                guest.skip("the kernel manages this interrupt's affinity itself")
            raise Failure("the affinity to change")
        before = dict([(disk_line(vm)[0], disk_line(vm)[1])])
        vm.command_output("dd if=/dev/vda of=/dev/null iflag=direct bs=64k count=200", 120)
        after = disk_line(vm)[1]
        if number in before and after[cpu] - before[number][cpu] < 100:
            raise Failure(f"interrupts on CPU {cpu}: before {before}, after {after}")
    vm.send("poweroff\n")
    if vm.wait(180) != 0:
        raise Failure("exit status 0 after power-off")
