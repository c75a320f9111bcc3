#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The image builder's parts that need neither a network nor a VM; dpkg itself is the oracle."""

import argparse
import gzip
import hashlib
import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/image-builder"))
sys.dont_write_bytecode = True

from pvimage import BuildError, archive, build, initramfs, library, rootfs  # noqa: E402

STAMP = 1_700_000_000  # when the test's packages say that they were built


class Quiet:
    """A Progress that keeps what it was told."""

    def __init__(self):
        self.details = []

    def step(self, text):
        pass

    def detail(self, done, total, text):
        self.details.append((done, total, text))


def make_package(folder, name, files, control="", scripts=None):
    """Builds a .deb with dpkg-deb and returns it as the archive would."""
    tree = folder / f"{name}-tree"
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1:2.0-1\nArchitecture: arm64\nMaintainer: nobody\n"
        f"Description: a test\n more of it\n{control}")
    for script, text in (scripts or {}).items():
        path = tree / "DEBIAN" / script
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    path = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, path],
                   check=True, capture_output=True,
                   env=dict(os.environ, SOURCE_DATE_EPOCH=str(STAMP)))
    return archive.Package(name, "1:2.0-1", "arm64", path, "0" * 64)


def elf_with_modinfo(modinfo):
    """A little-endian ELF64 file with a .modinfo section and nothing else."""
    names = b"\0.modinfo\0.shstrtab\0"
    body = bytes(64) + modinfo + names
    offsets = [(0, 0, 0), (1, 64, len(modinfo)), (10, 64 + len(modinfo), len(names))]
    table = b"".join(struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 1, 0)
                     for name, offset, size in offsets)
    header = bytearray(body)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", header, 40, len(body))
    struct.pack_into("<HHH", header, 58, 64, len(offsets), 2)
    return bytes(header) + table


class Archive(unittest.TestCase):
    def test_stanzas(self):
        stanzas = list(archive.parse_stanzas("A: 1\nB: two\n  lines\n\n\nA: 3\n"))
        self.assertEqual(stanzas, [{"A": "1", "B": "two\n  lines"}, {"A": "3"}])

    def test_damaged_package_is_removed(self):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "a.deb"
            path.write_bytes(b"not what the archive signed")
            with self.assertRaisesRegex(BuildError, "damaged"):
                archive.Package("a", "1", "all", path, "0" * 64).verify()
            self.assertFalse(path.exists())


class Initramfs(unittest.TestCase):
    def test_module_depends(self):
        data = elf_with_modinfo(b"license=GPL\0depends=crc16,mb-cache\0name=ext4\0")
        self.assertEqual(initramfs.module_depends(data), ["crc16", "mb_cache"])
        self.assertEqual(initramfs.module_depends(elf_with_modinfo(b"depends=\0")), [])

    def test_closure_orders_by_dependency(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "lib/modules/6.1-test"
            folder.mkdir(parents=True)
            for module, needs in (("top", b"mid"), ("mid", b"low"), ("low", b"")):
                (folder / f"{module}.ko").write_bytes(
                    elf_with_modinfo(b"depends=" + needs + b"\0"))
            modules = initramfs.Modules(Path(name))
            self.assertEqual(modules.version, "6.1-test")
            order = [initramfs.module_name(p) for p in modules.closure(["top", "built_in"])]
            self.assertEqual(order, ["low", "mid", "top"])

    def test_archive_is_newc_and_the_same_each_time(self):
        def make():
            cpio = initramfs.Cpio()
            cpio.folder("bin")
            cpio.file("bin/odd", b"12345", 0o755)
            cpio.symlink("bin/sh", "odd")
            return cpio.finish()

        self.assertEqual(make(), make())
        data, entries, at = gzip.decompress(make()), [], 0
        while not entries or entries[-1][0] != "TRAILER!!!":
            self.assertEqual(data[at:at + 6], b"070701")
            fields = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
            name = data[at + 110:at + 110 + fields[11] - 1].decode()
            at = (at + 110 + fields[11] + 3) & ~3
            entries.append((name, fields[1], data[at:at + fields[6]]))
            at = (at + fields[6] + 3) & ~3
        self.assertEqual(entries[:-1], [("bin", 0o40755, b""), ("bin/odd", 0o100755, b"12345"),
                                        ("bin/sh", 0o120777, b"odd")])


class Rootfs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.base = Path(self.folder.name)

    def query(self, *arguments):
        return subprocess.run(["dpkg-query", f"--admindir={self.base}/root/var/lib/dpkg",
                               *arguments], check=True, capture_output=True, text=True).stdout

    def test_dpkg_takes_the_tree_for_its_own(self):
        first = make_package(
            self.base, "first", {"etc/first.conf": "x=1\n", "lib/first/data": "d"},
            scripts={"conffiles": "/etc/first.conf\n", "preinst": "#!/bin/sh\n",
                     "triggers": "interest-noawait ldconfig\ninterest /usr/share/first\n"})
        second = make_package(self.base, "second", {"usr/share/second": "s"},
                              control="Multi-Arch: same\n")
        tree = rootfs.Rootfs(self.base / "root")
        tree.begin()
        for package in (first, second):
            tree.add(package)
        tree.finish(["first"], [first, second])
        self.assertEqual(tree.newest, STAMP)

        status = self.query("-W", "-f", "${Package} ${Status} ${Version}\n")
        self.assertEqual(status, "first install ok unpacked 1:2.0-1\n"
                                 "second install ok unpacked 1:2.0-1\n")
        conffile = self.query("-W", "-f", "${Conffiles}", "first").split()
        self.assertEqual(conffile, ["/etc/first.conf", hashlib.md5(b"x=1\n").hexdigest()])
        self.assertIn("/lib/first/data\n", self.query("-L", "first"))
        self.assertTrue((self.base / "root/usr/lib/first/data").exists(), "/lib stays a link")
        dpkg = self.base / "root/var/lib/dpkg"
        self.assertTrue((dpkg / "info/second:arm64.list").exists())
        self.assertTrue(os.access(dpkg / "info/first.preinst", os.X_OK))
        self.assertEqual((dpkg / "triggers/ldconfig").read_text(), "first/noawait\n")
        self.assertEqual((dpkg / "triggers/File").read_text(), "/usr/share/first first\n")
        marks = (self.base / "root/var/lib/apt/extended_states").read_text()
        self.assertIn("Package: second", marks)
        self.assertNotIn("Package: first", marks)

    def test_diverting_packages_are_left_to_dpkg(self):
        plain = make_package(self.base, "plain", {"a": ""}, scripts={"preinst": "#!/bin/sh\n"})
        diverts = make_package(self.base, "diverts", {"a": ""},
                               scripts={"preinst": "#!/bin/sh\ndpkg-divert --add /usr/bin/x\n"})
        self.assertFalse(build.diverts_files(plain))
        self.assertTrue(build.diverts_files(diverts))


class SecondStage(unittest.TestCase):
    """The VM's side is played by a shell."""

    def run_stage(self, script):
        say = Quiet()
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "vm"
            path.write_text("#!/bin/sh\n" + script)
            path.chmod(0o755)
            files = {"kernel": "k", "initrd": "i", "disk": "d"}
            args = argparse.Namespace(vm_command=str(path), vmm=None)
            build.run_second_stage(args, files, 2, Path(name) / "log", say)
        return say.details

    def test_success_counts_each_package_once(self):
        details = self.run_stage("printf 'status: a:arm64: installed\\r\\n'\n"
                                 "echo 'status: a:arm64: installed'\n"
                                 "echo 'status: b: installed'\necho 'PV-SETUP done'\n")
        self.assertEqual([d[:2] for d in details], [(1, 2), (2, 2)])

    def test_failure_says_why(self):
        with self.assertRaisesRegex(BuildError, "failed: configuring packages"):
            self.run_stage("echo 'PV-SETUP failed: configuring packages'\n")
        with self.assertRaisesRegex(BuildError, "Kernel panic"):
            self.run_stage("echo 'PV-SETUP preparing'\necho 'Kernel panic'\n")

    def test_silence_ends_it(self):
        limit, build.QUIET_LIMIT = build.QUIET_LIMIT, 0.2
        self.addCleanup(setattr, build, "QUIET_LIMIT", limit)
        with self.assertRaisesRegex(BuildError, "said nothing"):
            self.run_stage("exec sleep 60\n")


class Library(unittest.TestCase):
    def test_remove_refuses_an_image_in_use(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "images/test"
            folder.mkdir(parents=True)
            (folder / "image.json").write_text("{}")
            (folder / "disk.img").write_bytes(b"x")
            holder = subprocess.Popen(
                [sys.executable, "-c", "import fcntl,sys\n"
                 f"f = open({str(folder / 'disk.img')!r}, 'r+b')\n"
                 "fcntl.lockf(f, fcntl.LOCK_EX)\nprint('locked', flush=True)\n"
                 "sys.stdin.read()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            holder.stdout.readline()
            with self.assertRaisesRegex(BuildError, "in use"):
                library.remove(Path(name), "test")
            self.assertEqual(library.names(Path(name)), ["test"])
            holder.communicate()
            library.remove(Path(name), "test")
            self.assertEqual(list((Path(name) / "images").iterdir()), [])
            with self.assertRaisesRegex(BuildError, "not in the library"):
                library.remove(Path(name), "test")


    def test_what_killed_builds_left_is_removed(self):
        with tempfile.TemporaryDirectory() as name:
            dead = subprocess.Popen(["true"])
            dead.wait()
            kept = [f".debian-13.{os.getpid()}", "debian-13", ".debian-13.removed"]
            for folder in [*kept, f".debian-13.{dead.pid}"]:
                (Path(name) / folder).mkdir()
            build.remove_stale(Path(name))
            self.assertEqual(sorted(p.name for p in Path(name).iterdir()), sorted(kept))


if __name__ == "__main__":
    unittest.main()
