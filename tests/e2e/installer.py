#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""By hand: Debian's network installer, on a read-only disk that UEFI boots, reaches its first menu."""

import argparse
import sys
import tempfile
from pathlib import Path

import bootdisk
import guest

PACKAGE = "debian-installer-12-netboot-arm64"
FILES = "usr/lib/debian-installer/images/12/arm64/text/debian-installer/arm64"


def install(start, args):
    folder = (args.files or bootdisk.unpacked(PACKAGE)) / FILES
    with tempfile.TemporaryDirectory(prefix="pearvisor-installer-") as work:
        medium, disk = Path(work) / "medium.img", Path(work) / "disk.img"
        bootdisk.make_disk(medium, "grub", folder / "linux", folder / "initrd.gz",
                           "--- quiet TERM=vt102")
        with open(disk, "wb") as out:
            out.truncate(4 << 30)
        vm = start("--firmware", "uefi", "--acpi", args.acpi, "--memory", "1G", "--net", "none",
                   "--disk", f"{medium},ro", "--disk", disk)
        vm.expect("Select a language", args.timeout)
        vm.expect("English", 30)
        print("the installer asks for a language")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--acpi", default="on", choices=("on", "off"))
    parser.add_argument("--files", type=Path, help=f"where {PACKAGE} is unpacked")
    parser.add_argument("--timeout", type=int, default=300)
    return guest.main(install, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
