# SPDX-License-Identifier: MIT
"""Makes disks that firmware boots: GPT, an EFI system partition with a boot loader, and a root.

Neither root nor loop devices are needed: partitions are made as files and put together. Loaders are
Debian's, unpacked from their packages. Programs: mkfs.vfat, mcopy, mke2fs, sfdisk.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import guest

sys.path.insert(0, str(guest.ROOT / "tools/image-builder"))
from pvimage import BuildError, kernels  # noqa: E402
from pvimage.archive import Archive      # noqa: E402
from pvimage.main import cache_folder    # noqa: E402

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MIB = 1 << 20
ESP_SIZE = 160 * MIB

# Loader: its package, and the file in it.
LOADERS = {
    "grub": ("grub-efi-arm64-signed", "usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed"),
    "systemd-boot": ("systemd-boot-efi", "usr/lib/systemd/boot/efi/systemd-bootaa64.efi"),
}

GRUB_CFG = """set timeout=0
search --no-floppy --file --set=root {folder}/vmlinuz
menuentry debian {{
    linux {folder}/vmlinuz {append}
    initrd {folder}/initrd.img
}}
"""
LOADER_CONF = "timeout 0\n"
ENTRY = "title debian\nlinux /vmlinuz\ninitrd /initrd.img\noptions {append}\n"
EXTLINUX = ("timeout 1\ndefault debian\nlabel debian\n  kernel /vmlinuz\n  initrd /initrd.img\n"
            "  append {append}\n")


def run(*command, **options):
    subprocess.run(command, check=True, capture_output=True, env=dict(os.environ, PATH=PATH),
                   **options)


def require_programs():
    missing = [p for p in ("mkfs.vfat", "mcopy", "mke2fs", "sfdisk") if not shutil.which(p, path=PATH)]
    if missing:
        guest.skip(f"not installed: {', '.join(missing)}")


def unpacked(package, release="12"):
    """The folder with a Debian package's files, kept in the cache."""
    folder = cache_folder() / "boot-loaders" / f"debian-{release}" / package
    if folder.exists():
        return folder
    try:
        archive = Archive(release, cache_folder(), offline=True)
        archive.update()
        chosen = archive.download([package], resolve=False)[0]
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent))
        kernels.unpack(chosen, temporary / "tree")
        (temporary / "tree").rename(folder)
        shutil.rmtree(temporary)
    except BuildError as error:
        guest.skip(f"no package {package}: {error}")
    return folder


def copy_sparse(source, target, offset):
    """Puts a file's contents at an offset of an open file; holes stay holes."""
    with open(source, "rb") as data:
        at, end = 0, os.fstat(data.fileno()).st_size
        while at < end:
            try:
                at = os.lseek(data.fileno(), at, os.SEEK_DATA)
            except OSError:
                break  # a hole to the end
            hole = os.lseek(data.fileno(), at, os.SEEK_HOLE)
            while at < hole:
                chunk = os.pread(data.fileno(), min(hole - at, 4 * MIB), at)
                os.pwrite(target.fileno(), chunk, offset + at)
                at += len(chunk)


def make_esp(path, tree):
    with open(path, "wb") as out:
        out.truncate(ESP_SIZE)
    run("mkfs.vfat", "-F", "32", "-n", "ESP", path)
    run("mcopy", "-s", "-i", path, *sorted(tree.iterdir()), "::/")


def assemble(disk, esp, root):
    """A GPT disk of the two partitions."""
    size = root.stat().st_size
    with open(disk, "wb") as out:
        out.truncate(MIB + ESP_SIZE + size + MIB)
        copy_sparse(esp, out, MIB)
        copy_sparse(root, out, MIB + ESP_SIZE)
    table = (f"label: gpt\nstart=2048, size={ESP_SIZE // 512}, type=U, bootable\n"
             f"size={size // 512}, type=L\n")
    run("sfdisk", "--quiet", "--no-reread", disk, input=table.encode())


def make_disk(disk, loader, kernel, initrd, append, root=None):
    """
    Writes `disk`. GRUB and systemd-boot start from the ESP; an extlinux.conf is there for U-Boot.
    `root` is an ext4 image; without one a small one is made that holds kernel and initrd, for GRUB.
    """
    require_programs()
    package, program = LOADERS[loader]
    with tempfile.TemporaryDirectory(dir=Path(disk).parent) as work:
        work = Path(work)
        tree = work / "esp"
        for folder in ("EFI/BOOT", "EFI/debian", "loader/entries", "extlinux"):
            (tree / folder).mkdir(parents=True)
        shutil.copy(unpacked(package) / program, tree / "EFI/BOOT/BOOTAA64.EFI")
        shutil.copy(kernel, tree / "vmlinuz")
        shutil.copy(initrd, tree / "initrd.img")
        (tree / "EFI/debian/grub.cfg").write_text(
            GRUB_CFG.format(folder="" if root else "/boot", append=append))
        (tree / "loader/loader.conf").write_text(LOADER_CONF)
        (tree / "loader/entries/debian.conf").write_text(ENTRY.format(append=append))
        (tree / "extlinux/extlinux.conf").write_text(EXTLINUX.format(append=append))
        if not root:
            (work / "root/boot").mkdir(parents=True)
            shutil.copy(kernel, work / "root/boot/vmlinuz")
            shutil.copy(initrd, work / "root/boot/initrd.img")
            root = work / "root.ext4"
            run("mke2fs", "-q", "-t", "ext4", "-d", work / "root", root, "96M")
        make_esp(work / "esp.img", tree)
        assemble(disk, work / "esp.img", Path(root))
