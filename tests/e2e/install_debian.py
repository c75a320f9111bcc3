#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""By hand (hours, and a mirror): Debian's network installer with a preseed, over NAT onto a qcow2.

UEFI and GRUB start the installer from a read-only disk; its initial RAM disk holds the preseed. It
fetches everything from the mirror that the guest reaches through --net user, and powers off. Then
the qcow2 alone is booted by UEFI: a login, what the installer wrote, a power-off. `pearvisor disk
check` looks at the image after each.
"""

import argparse
import gzip
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import bootdisk
import guest
from installer import FILES, PACKAGE

PASSWORD = "pear"
# A step's line on the console, and how long it may take at most, in seconds on a quiet machine.
STEPS = (
    (r"Loading additional components|Downloading Release files", 900),
    (r"Partitions formatting|Formatting partitions|Partitioning", 2400),
    (r"Installing the base system", 900),
    (r"Configuring apt|Select and install software", 7200),
    (r"Installing GRUB", 7200),
    (r"Finishing the installation", 3600),
)
PRESEED = f"""
d-i debian-installer/locale string C.UTF-8
d-i keyboard-configuration/xkb-keymap select us
d-i netcfg/choose_interface select auto
d-i netcfg/get_hostname string pear
d-i netcfg/get_domain string test
d-i mirror/country string manual
d-i mirror/protocol string http
d-i mirror/http/hostname string {{mirror}}
d-i mirror/http/directory string /debian
d-i mirror/http/proxy string
d-i passwd/root-login boolean true
d-i passwd/make-user boolean false
d-i passwd/root-password password {PASSWORD}
d-i passwd/root-password-again password {PASSWORD}
d-i clock-setup/utc boolean true
d-i clock-setup/ntp boolean false
d-i time/zone string UTC
d-i partman-auto/disk string {{disk}}
d-i partman-auto/method string regular
d-i partman-auto/choose_recipe select atomic
d-i partman-partitioning/choose_label select gpt
d-i partman-partitioning/confirm_write_new_label boolean true
d-i partman-efi/non_efi_system boolean true
d-i partman/choose_partition select finish
d-i partman/confirm boolean true
d-i partman/confirm_nooverwrite boolean true
d-i base-installer/install-recommends boolean false
d-i base-installer/kernel/image string linux-image-arm64
d-i apt-setup/services-select multiselect
d-i apt-setup/cdrom/set-first boolean false
d-i apt-setup/disable-cdrom-entries boolean true
d-i pkgsel/run_tasksel boolean false
d-i pkgsel/upgrade select none
d-i pkgsel/update-policy select none
d-i popularity-contest/participate boolean false
d-i grub-installer/only_debian boolean true
d-i grub-installer/with_other_os boolean false
d-i grub-installer/bootdev string {{disk}}
d-i grub-installer/force-efi-extra-removable boolean true
d-i debian-installer/add-kernel-opts string console=ttyAMA0
d-i preseed/late_command string echo installed by a preseed > /target/root/by
d-i finish-install/reboot_in_progress note
d-i debian-installer/exit/poweroff boolean true
"""


def add_preseed(initrd, text, out):
    """The initial RAM disk and a second archive with /preseed.cfg, which the installer looks for."""
    data = text.encode()
    entries = (("preseed.cfg", 0o100644, data), ("TRAILER!!!", 0, b""))
    archive = b""
    for number, (name, mode, body) in enumerate(entries, 1):
        fields = (number, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields)
        for part in (name.encode() + b"\0", body):
            archive += part
            archive += bytes(-len(archive) % 4)
    out.write_bytes(initrd.read_bytes() + gzip.compress(archive))


def require_mirror(mirror):
    """Not every mirror has the installer's own packages, which the installer fetches first."""
    archive = f"http://{mirror}/debian"
    what = f"{archive}/dists/bookworm/main/debian-installer/binary-arm64/Packages.gz"
    try:
        with urllib.request.urlopen(what, timeout=30) as answer:
            index = gzip.decompress(answer.read()).decode()
        what = f"{archive}/{re.search(r'^Filename: (.*)$', index, re.MULTILINE)[1]}"
        urllib.request.urlopen(urllib.request.Request(what, method="HEAD"), timeout=30).close()
    except (urllib.error.URLError, TimeoutError) as error:
        guest.skip(f"the mirror has no packages for the installer: {what}: {error}")


def check(disk):
    done = subprocess.run([guest.PROGRAM, "disk", "check", disk], capture_output=True, text=True)
    if done.returncode != 0:
        raise guest.Failure(f"'disk check' says {done.stdout}{done.stderr}")


def install(start, options, disk, medium, patience):
    started = time.monotonic()
    vm = start(*options, "--disk", disk, "--disk", f"{medium},ro,bootindex=1")
    for pattern, limit in STEPS:
        match = vm.expect(pattern, limit * patience)
        print(f"{time.monotonic() - started:7.0f} s  {match[0]}", flush=True)
    if vm.wait(1800 * patience) != 0:
        raise guest.Failure("the installer did not power off")
    print(f"{time.monotonic() - started:7.0f} s  installed", flush=True)


def boot(start, options, disk, patience):
    vm = start(*options, "--disk", disk)
    vm.expect(r"pear login: ", 600 * patience)
    vm.send("root\n")
    vm.expect("Password: ", 60 * patience)
    vm.send(f"{PASSWORD}\n")
    vm.expect(r"# ", 120 * patience)
    vm.send("stty -echo; PS1=; TERM=dumb; bind 'set enable-bracketed-paste off'\n")
    vm.command_output("true", 60 * patience)
    for line, expected in (("cat /root/by", "installed by a preseed"),
                           ("cat /etc/debian_version", "12."),
                           ("ls -d /sys/firmware/efi", "efi"),
                           ("findmnt -no FSTYPE /boot/efi", "vfat")):
        status, output = vm.command_output(line, 60 * patience)
        if status != 0 or expected not in output:
            raise guest.Failure(f"'{line}' says {output!r}, not {expected!r}")
    vm.send("poweroff\n")
    if vm.wait(300 * patience) != 0:
        raise guest.Failure("the installed system did not power off")
    print("the installed system boots")


def everything(start, args, work):
    require_mirror(args.mirror)
    files = (args.files or bootdisk.unpacked(PACKAGE)) / FILES
    medium, disk, initrd = work / "medium.img", work / "disk.qcow2", work / "initrd.gz"
    options = ("--firmware", "uefi", "--cpus", args.cpus, "--memory", "1G", "--net", "user",
               "--console-log", work / "console.log")
    add_preseed(files / "initrd.gz", PRESEED.format(mirror=args.mirror, disk="/dev/vda"), initrd)
    bootdisk.make_disk(medium, "grub", files / "linux", initrd,
                       "auto=true priority=critical DEBIAN_FRONTEND=text --- console=ttyAMA0")
    subprocess.run([guest.PROGRAM, "disk", "create", disk, "4G", "--format", "qcow2"],
                   check=True, stdout=subprocess.DEVNULL)
    install(start, options, disk, medium, args.patience)
    check(disk)
    boot(start, options, disk, args.patience)
    check(disk)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=Path, help=f"where {PACKAGE} is unpacked")
    parser.add_argument("--mirror", default="deb.debian.org")
    parser.add_argument("--work", type=Path, help="a folder for disk and console, which are kept")
    parser.add_argument("--cpus", default="2")
    parser.add_argument("--patience", type=int, default=1, help="what limits are multiplied by")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pearvisor-install-") as temporary:
        work = args.work or Path(temporary)
        work.mkdir(exist_ok=True)
        return guest.main(everything, args, work)


if __name__ == "__main__":
    sys.exit(main())
