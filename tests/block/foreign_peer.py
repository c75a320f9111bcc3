#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Images of other programs, converted by us, have to have the contents that were put in.

qemu-img writes VMDK, VHDX and VDI images of every kind that we read; dmg images are written here,
since nothing else on Linux does. Then come images that we have to refuse, in one line.
"""
import argparse
import base64
import bz2
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

KINDS = [("vmdk", "subformat=monolithicSparse"), ("vmdk", "subformat=streamOptimized"),
         ("vmdk", "subformat=monolithicFlat"), ("vmdk", "subformat=twoGbMaxExtentFlat"),
         ("vmdk", "subformat=twoGbMaxExtentSparse"), ("vmdk", "zeroed_grain=on"), ("vdi", ""),
         ("vdi", "static=on"), ("vhdx", ""), ("vhdx", "subformat=fixed"),
         ("vhdx", "block_size=1M")]
SECTOR = 512


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)


def must(*command):
    done = run(*command)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stderr}")
    return done.stdout


def contents(rng, size):
    """Mostly zeroes, with some that compresses and some that does not."""
    data = bytearray(size)
    for _ in range(12):
        length = rng.randrange(1, 90000)
        at = rng.randrange(size - length)
        data[at:at + length] = rng.randbytes(length // 2).ljust(length, b"p")
    return bytes(data)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def table(first, chunks):
    entries = b"".join(struct.pack(">IIQQQQ", *chunk) for chunk in chunks)
    sectors = sum(chunk[3] for chunk in chunks)
    head = struct.pack(">4sIQQQII24x", b"mish", 1, first, sectors, 0, 0, len(chunks))
    return head + bytes(136) + struct.pack(">I", len(chunks)) + entries


def write_dmg(path, data, packers):
    """Two partitions, whose tables come in the wrong order."""
    body = bytearray(b"\0" * SECTOR)  # the data fork does not begin at the file's beginning
    parts, middle = [], len(data) // 2 // SECTOR * SECTOR
    for start, end in ((middle, len(data)), (0, middle)):
        chunks, at = [(0x7ffffffe, 0, 0, 0, 0, 0)], start
        while at < end:
            piece = data[at:min(at + 256 * 1024, end)]
            kind, pack = packers[(at // (256 * 1024)) % len(packers)]
            if not any(piece):
                chunks.append(([0, 2][len(chunks) % 2], 0, (at - start) // SECTOR,
                               len(piece) // SECTOR, 0, 0))
            else:
                packed = pack(piece)
                chunks.append((kind, 0, (at - start) // SECTOR, len(piece) // SECTOR,
                               len(body) - SECTOR, len(packed)))
                body += packed
            at += len(piece)
        chunks.append((0xffffffff, 0, (end - start) // SECTOR, 0, 0, 0))
        parts.append(base64.encodebytes(table(start // SECTOR, chunks)).decode())
    entries = "".join(f"<dict><key>Data</key><data>\n{p}</data></dict>" for p in parts)
    xml = (f"<plist><dict><key>resource-fork</key><dict><key>blkx</key><array>{entries}</array>"
           "<key>plst</key><array><dict><key>Data</key><data>AAAA</data></dict></array></dict>"
           "</dict></plist>").encode()
    trailer = bytearray(512)
    struct.pack_into(">4sIIIQQQQQII", trailer, 0, b"koly", 4, 512, 1, 0, SECTOR,
                     len(body) - SECTOR, 0, 0, 1, 1)
    struct.pack_into(">QQ", trailer, 216, len(body), len(xml))
    struct.pack_into(">IQ", trailer, 488, 1, len(data) // SECTOR)
    path.write_bytes(bytes(body) + xml + bytes(trailer))


class Trial:
    def __init__(self, folder, pearvisor, seed):
        self.folder, self.pearvisor = folder, pearvisor
        self.rng = random.Random(seed)
        self.data = contents(self.rng, 5 * 1024 * 1024 + 7 * SECTOR)
        self.plain = folder / "plain.raw"
        self.plain.write_bytes(self.data)

    def agree(self, image, name):
        out = self.folder / "out.raw"
        out.unlink(missing_ok=True)
        info = must(self.pearvisor, "disk", "info", "--json", image)
        if f'"format": "{name}"' not in info:
            raise RuntimeError(f"{image} is {info}")
        must(self.pearvisor, "disk", "convert", "--format", "raw", image, out)
        got = out.read_bytes()
        # VHDX and VMDK round the size up.
        if got[:len(self.data)] != self.data or any(got[len(self.data):]):
            raise RuntimeError(f"{image}: other contents")

    def refused(self, image, what, *options):
        out = self.folder / "refused.raw"
        done = run(self.pearvisor, "disk", *(options or ("convert",)), image,
                   *(() if options else (out,)))
        lines = done.stderr.strip().splitlines()
        if done.returncode != 1 or len(lines) != 1 or what not in lines[0] or out.exists():
            raise RuntimeError(f"{image}: status {done.returncode}, {done.stderr}; want '{what}'")

    def patched(self, image, at, data):
        bad = image.with_name("bad" + image.suffix)
        shutil.copyfile(image, bad)
        with bad.open("r+b") as file:
            file.seek(at)
            file.write(data)
        return bad

    def with_log(self, vhdx):
        """Both headers name a log, with sums that are right."""
        bad = self.patched(vhdx, 0, b"")
        for at in (0x10000, 0x20000):
            header = bytearray(vhdx.read_bytes()[at:at + 4096])
            header[48:64] = bytes(range(16))
            header[4:8] = bytes(4)
            header[4:8] = struct.pack("<I", crc32c(header))
            with bad.open("r+b") as file:
                file.seek(at)
                file.write(header)
        return bad

    def run(self):
        images = {}
        for number, (kind, options) in enumerate(KINDS):
            image = self.folder / f"image{number}.{kind}"
            must("qemu-img", "convert", "-f", "raw", "-O", kind, *(["-o", options] if options else []),
                 self.plain, image)
            self.agree(image, kind)
            images[kind, options] = image
        dmg = self.folder / "image.dmg"
        plain, zipped = (1, bytes), (0x80000005, zlib.compress)
        for packers in ([plain], [zipped], [(0x80000006, bz2.compress)], [plain, zipped]):
            write_dmg(dmg, self.data, packers)
            self.agree(dmg, "dmg")

        write_dmg(dmg, self.data, [(0x80000007, bytes)])
        self.refused(dmg, "LZFSE")
        vdi = images["vdi", ""]
        self.refused(self.patched(vdi, 0x4c, struct.pack("<I", 4)), "type 4")
        self.refused(self.patched(vdi, 0x178, struct.pack("<I", 0)), "blocks of 0")
        self.refused(vdi, "for reading only", "compact")
        vhdx = images["vhdx", ""]
        bad = self.patched(vhdx, 0x10004, b"bad!")
        self.agree(bad, "vhdx")  # the other copy is good
        with bad.open("r+b") as file:
            file.seek(0x20004)
            file.write(b"bad!")
        self.refused(bad, "without a good header")
        self.refused(self.with_log(vhdx), "its log has to be replayed")
        vmdk = images["vmdk", "subformat=monolithicSparse"]
        text = vmdk.read_bytes()[:4096].index(b"parentCID=ffffffff")
        self.refused(self.patched(vmdk, text + 10, b"1"), "rests on another")
        self.refused(self.patched(vmdk, 20, struct.pack("<Q", 3)), "grains of 3")
        flat = images["vmdk", "subformat=monolithicFlat"]
        description = flat.read_text(errors="replace")
        bad = self.folder / "bad.vmdk"
        bad.write_text(description.replace('FLAT "', 'FLAT "../'))
        self.refused(bad, "beside the image")
        bad.write_text(description.replace('FLAT "', 'FLAT "no-'))
        self.refused(bad, "No such file")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pearvisor", required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not shutil.which("qemu-img"):
        print("qemu-img is not installed (package qemu-utils)")
        return 77
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pv-foreign-"))
    try:
        Trial(folder, arguments.pearvisor, arguments.seed).run()
    except RuntimeError as problem:
        print(f"kept in {folder}: {problem}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
