#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A disk boots by firmware and boot loader, here and, the very same disk, in QEMU."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import bootdisk
import guest
from guest import Failure

CODE = Path("/usr/share/AAVMF/AAVMF_CODE.fd")
VARS = Path("/usr/share/AAVMF/AAVMF_VARS.fd")
UBOOT = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")


def check_userspace(vm, args, timeout):
    """Follows the boot test of the guest's initrd, or a login and a power-off of an image."""
    if args.image:
        vm.login(timeout)
    else:
        vm.expect("^PEARVISOR-USERSPACE-OK", timeout)
        cpus = vm.expect(r"^cpus: (\d+)", 30)
        if int(cpus[1]) != args.cpus:
            raise Failure(f"{args.cpus} CPUs, not {cpus[1]}")
        vm.expect("^PEARVISOR-TEST-END", 60)


def check_tables(vm, args):
    """Inside an image's login: whether the guest was described by ACPI or by a device tree."""
    status, _ = vm.command_output("test -e /sys/firmware/acpi/tables/DSDT", 30)
    if (status == 0) != (args.acpi == "on"):
        raise Failure(f"ACPI {args.acpi}, not the opposite")
    status, _ = vm.command_output("test -d /sys/firmware/efi", 30)
    if status != 0:
        raise Failure("a guest that was booted by UEFI")
    status, output = vm.command_output(
        "modprobe sbsa_gwdt && cat /sys/class/watchdog/watchdog0/identity", 60)
    if status != 0 or "SBSA Generic Watchdog" not in output:
        raise Failure(f"the board's watchdog, not {output!r}")


def boot_here(start, args, disk, work):
    vm = start("--firmware", args.firmware, "--acpi", args.acpi, "--vars", work / "vars.fd",
               "--cpus", str(args.cpus), "--memory", "1G", "--watchdog", "none", "--disk", disk)
    check_userspace(vm, args, args.timeout)
    if args.image:
        check_tables(vm, args)
        vm.terminate()  # presses the power button
    status = vm.wait(120)
    if status != 0:
        raise Failure(f"exit status 0 after power-off, not {status}")
    print("booted here", flush=True)


def boot_in_qemu(args, disk, work):
    vars_copy = work / "qemu-vars.fd"
    if args.firmware == "uefi":
        shutil.copy(VARS, vars_copy)
        firmware = ["-drive", f"if=pflash,format=raw,readonly=on,file={CODE}",
                    "-drive", f"if=pflash,format=raw,file={vars_copy}"]
    else:
        firmware = ["-bios", str(UBOOT)]
    command = ["qemu-system-aarch64", "-M", f"virt,gic-version=3,acpi={args.acpi}",
               "-cpu", "cortex-a57", "-smp", str(args.cpus), "-m", "1G", "-display", "none",
               "-serial", "stdio", "-monitor", "none", *firmware,
               "-drive", f"if=none,id=d,format=raw,snapshot=on,file={disk}",
               "-device", "virtio-blk-pci,drive=d", "-netdev", "user,id=n",
               # Without a boot ROM, which is in a package of its own.
               "-device", "virtio-net-pci,netdev=n,romfile="]
    with guest.Guest(command=command) as vm:
        try:
            check_userspace(vm, args, args.timeout)
        except Failure:
            print("\n".join(vm.console.splitlines()[-30:]))
            raise
    print("booted in QEMU", flush=True)


def boot_second(start, args, work):
    """Of two disks that boot, the second, by bootindex; in each of the ways to attach it."""
    folder = guest.guest_kernel(args.release)
    for name in ("first", "second"):
        bootdisk.make_disk(work / f"{name}.img", args.loader, folder / "vmlinuz",
                           folder / "test.img", f"console=ttyAMA0 panic=-1 booted={name}")
    first, second = work / "first.img", work / "second.img"
    for wanted, *disks in (("first", first, second), ("second", first, f"{second},bootindex=1"),
                           ("second", f"{first},bootindex=2", f"{second},if=scsi,bootindex=1")):
        options = [word for disk in disks for word in ("--disk", disk)]
        vm = start("--firmware", "uefi", "--acpi", args.acpi, "--memory", "1G", *options)
        vm.expect(f"Kernel command line: .*booted={wanted}", args.timeout)
        check_userspace(vm, args, args.timeout)
        status = vm.wait(120)
        if status != 0:
            raise Failure(f"exit status 0 after power-off, not {status}")
        print(f"booted the {wanted} disk", flush=True)


def boot(start, args):
    needed = [CODE, VARS] if args.firmware == "uefi" else [UBOOT]
    if not all(path.exists() for path in needed):
        guest.skip(f"no firmware: {needed[0]}")
    with tempfile.TemporaryDirectory(prefix="pearvisor-uefi-") as work:
        work = Path(work)
        disk = work / "disk.img"
        if args.second:
            boot_second(start, args, work)
            return
        if args.image:
            manifest = guest.library_image(args.image)
            folder = guest.image_folder(args.image)
            bootdisk.make_disk(disk, args.loader, folder / "vmlinuz", folder / "initrd.img",
                               manifest["append"], folder / "disk.img")
        else:
            folder = guest.guest_kernel(args.release)
            bootdisk.make_disk(disk, args.loader, folder / "vmlinuz", folder / "test.img",
                               "console=ttyAMA0 quiet panic=-1")
        if args.peer != "only":
            boot_here(start, args, disk, work)
        if args.peer != "no" and shutil.which("qemu-system-aarch64"):
            boot_in_qemu(args, disk, work)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--firmware", default="uefi", choices=("uefi", "uboot"))
    parser.add_argument("--loader", default="grub", choices=tuple(bootdisk.LOADERS))
    parser.add_argument("--acpi", default="on", choices=("on", "off"))
    parser.add_argument("--release", default="12")
    parser.add_argument("--image", help="boot a copy of this image of the library instead")
    parser.add_argument("--second", action="store_true",
                        help="boot the second of two disks by bootindex; nothing else")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--peer", default="yes", choices=("yes", "no", "only"),
                        help="boot the disk in QEMU, too, where that is installed")
    parser.add_argument("--timeout", type=int, default=300)
    args = parser.parse_args()
    return guest.main(boot, args)


sys.exit(main())
