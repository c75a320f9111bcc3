#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A stock Debian kernel boots to userspace, sees its hardware, and powers off."""

import argparse
import os
import sys
import tempfile

import guest
from guest import Failure

OWN_MEMORY_LIMIT = 48 << 20  # what the translator knows about its code; the code itself is shared


def boot(start, args):
    folder = guest.guest_kernel(args.release)
    with tempfile.NamedTemporaryFile() as disk:
        disk.truncate(8 << 20)
        vm = start("--kernel", folder / "vmlinuz", "--initrd", folder / "test.img",
                   "--append", f"console={args.console} quiet panic=-1 pv.run=diskwrite",
                   "--console", "stdio,virtio" if args.console == "hvc0" else "stdio",
                   "--cpus", str(args.cpus), "--memory", args.memory,
                   "--transport", args.transport, "--disk", disk.name)
        vm.expect("^PEARVISOR-USERSPACE-OK", args.timeout)
        cpus = vm.expect(r"^cpus: (\d+)", 10)
        if int(cpus[1]) != args.cpus:
            raise Failure(f"{args.cpus} CPUs, not {cpus[1]}")
        vm.expect(r"^disk: vda 16384 sectors, ro 0", 10)
        vm.expect("^PEARVISOR-NET-OK", 30)
        vm.expect("^PEARVISOR-DISK-OK", 30)
        own = vm.own_memory()
        print(f"the VMM's own resident memory: {own / 2**20:.1f} MiB")
        if not guest.SANITIZED and args.cpus == 1 and own > OWN_MEMORY_LIMIT:
            raise Failure(f"at most {OWN_MEMORY_LIMIT >> 20} MiB of its own")
        vm.expect("^PEARVISOR-TEST-END", 30)
        status = vm.wait(30)
        if status != 0:
            raise Failure(f"exit status 0 after power-off, not {status}")
        if not any(os.pread(disk.fileno(), 1 << 16, 1 << 20)):
            raise Failure("what the guest wrote to its disk in the file")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", default="13")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--memory", default="512M")
    parser.add_argument("--transport", default="pci")
    parser.add_argument("--console", default="ttyAMA0", choices=("ttyAMA0", "hvc0"))
    parser.add_argument("--timeout", type=int, default=180)
    parser.add_argument("--repeat", type=int, default=1, help="boots in a row")
    args = parser.parse_args()
    for count in range(args.repeat):
        status = guest.main(boot, args)
        if status:
            return status
        if args.repeat > 1:
            print(f"boot {count + 1} of {args.repeat} passed", flush=True)
    return 0


sys.exit(main())
