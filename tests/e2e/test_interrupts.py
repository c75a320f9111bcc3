#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PCI devices interrupt through what --msi says, on the vCPU that the guest chose."""

import argparse
import re
import sys

import guest
from guest import Failure

CHIPS = {"its": r"ITS", "v2m": r"(?!ITS)\S*MSI"}


def rng_line(vm):
    """The virtio-rng's interrupt line: (its number, the counts of both vCPUs, its chip)."""
    _, text = vm.command_output("cat /proc/interrupts", 60)
    match = re.search(r"^\s*(\d+):\s+(\d+)\s+(\d+)\s+(\S+).*virtio\d+-input$", text, re.MULTILINE)
    if not match:
        raise Failure(f"an interrupt of virtio-rng in /proc/interrupts:\n{text}")
    return match[1], (int(match[2]), int(match[3])), match[4]


def interrupts(start, args):
    guest.library_image(args.image)
    vm = start(args.image, "--cpus", "2", "--msi", args.msi)
    vm.login(args.timeout)
    number, _, chip = rng_line(vm)
    if not re.match(CHIPS[args.msi], chip):
        raise Failure(f"virtio-rng's interrupts to come through {args.msi}, not {chip}")
    for cpu in 0, 1, 0:  # where it is at first does not matter: one of these moves it
        status, output = vm.command_output(f"echo {cpu} >/proc/irq/{number}/smp_affinity_list", 60)
        if status != 0:
            raise Failure(f"interrupt {number} to move to CPU {cpu}: {output}")
        before = rng_line(vm)[1]
        vm.command_output("dd if=/dev/hwrng of=/dev/null bs=16 count=200 2>/dev/null", 120)
        after = rng_line(vm)[1]
        if after[cpu] <= before[cpu] or after[1 - cpu] > before[1 - cpu] + 1:
            raise Failure(f"interrupts on CPU {cpu} alone: {before}, then {after}")
    vm.send("poweroff\n")
    if vm.wait(180) != 0:
        raise Failure("exit status 0 after power-off")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", default="debian-13")
    parser.add_argument("--msi", choices=CHIPS, default="its")
    parser.add_argument("--timeout", type=int, default=900)
    return guest.main(interrupts, parser.parse_args())


sys.exit(main())
