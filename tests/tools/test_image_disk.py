#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The image builder's disks: read, normalised and written; e2fsprogs is the oracle."""

import argparse
import os
import random
import stat
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/image-builder"))
sys.dont_write_bytecode = True

from pvimage import BuildError, build, ext4, filesystem  # noqa: E402
from pvimage.ext4 import Node  # noqa: E402
from pvimage.normalise import normalise  # noqa: E402

EPOCH = 1_700_000_000
SIZE = 8 << 20
BLOCK = 1024  # what mke2fs chooses for a disk this small
# attr(5), capabilities(7): CAP_NET_RAW, permitted and effective, as setcap(8) stores it.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
# The disk form of an access control list: version, then tags with permissions and, for a group, it.
ACL = struct.pack("<IHHHHHHIHHHH", 1, 1, 7, 4, 5, 8, 5, 4, 16, 5, 32, 5)


def file(content=b"", mode=0o644, uid=0, gid=0, mtime=EPOCH - 5, **more):
    return Node(stat.S_IFREG | mode, uid, gid, mtime, content, **more)


def folder(mode=0o755, mtime=EPOCH, **more):
    return Node(stat.S_IFDIR | mode, 0, 0, mtime, **more)


def sample_tree():
    """Something of every kind that a Debian system has."""
    linked = file(b"one body, three names")
    tree = {
        b"/": folder(),
        b"/lost+found": folder(0o700),
        b"/empty": file(),
        b"/holes": file((b"data" + bytes(BLOCK - 4) + bytes(BLOCK)) * 20 + b"end"),
        b"/ends in a hole": file(b"x" * 3 * BLOCK + bytes(5 * BLOCK + 7)),
        b"/owned": file(b"1", 0o4755, 100_000, 70_000, 0),
        b"/ping": file(b"\x7fELF", attributes={b"security.capability": CAPABILITY}),
        b"/journal": folder(0o2755, attributes={b"system.posix_acl_access": ACL,
                                                b"system.posix_acl_default": ACL}),
        b"/short": Node(stat.S_IFLNK | 0o777, 0, 0, 1, b"usr/bin"),
        b"/long": Node(stat.S_IFLNK | 0o777, 0, 0, 1, b"0123456789/" * 20),
        b"/null": Node(stat.S_IFCHR | 0o666, 0, 0, 1, device=(1, 3)),
        b"/disk": Node(stat.S_IFBLK | 0o660, 0, 6, 1, device=(259, 300)),
        b"/pipe": Node(stat.S_IFIFO | 0o600, 0, 0, 1),
        b"/link": linked, b"/journal/link": linked, b"/names/link": linked,
        b"/names": folder(mtime=9),
        "/names/a \"Főtanúsítvány\"\\x2d'#".encode(): file(b"odd"),
        b"/many": folder(),
    }
    for number in range(300):
        tree[b"/many/a-name-that-fills-blocks-%d" % number] = file(b"%d" % number)
    return dict(sorted(tree.items()))


class Disk(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.base = Path(temporary.name)
        self.disk = self.base / "disk"

    def write(self, tree, name="disk"):
        work = self.base / f"{name}.work"
        work.mkdir()
        filesystem.write(tree, self.base / name, SIZE, "13", EPOCH, work)

    def run_tool(self, *command, statuses=(0,)):
        done = subprocess.run([*command, self.disk], env=filesystem.environment(),
                              capture_output=True, text=True)
        self.assertIn(done.returncode, statuses, done.stderr)
        return done.stdout

    def assert_same_tree(self, wanted):
        with ext4.Reader(self.disk) as reader:
            self.assertEqual(list(ext4.differences(wanted, reader.tree())), [])


class Writing(Disk):
    def test_same_tree_same_bytes(self):
        self.write(sample_tree())
        self.write(sample_tree(), "other")
        self.assertEqual(self.disk.read_bytes(), (self.base / "other").read_bytes())

    def test_debugfs_reads_what_was_meant(self):
        self.write(sample_tree())
        self.assertIn("Mode:  04755", self.run_tool("debugfs", "-R", "stat /owned"))
        self.assertIn("User: 100000   Group: 70000", self.run_tool("debugfs", "-R", "stat /owned"))
        self.assertIn("Links: 3", self.run_tool("debugfs", "-R", "stat /names/link"))
        self.assertIn("259:300", self.run_tool("debugfs", "-R", "stat /disk"))
        self.assertIn("one body", self.run_tool("debugfs", "-R", "cat /journal/link"))
        self.assertIn("security.capability",
                      self.run_tool("debugfs", "-R", "ea_list /ping"))

    def test_hard_links_that_fill_folders(self):
        linked = file(b"one body")
        tree = {b"/": folder(), b"/lost+found": folder(0o700), b"/many": folder()}
        for number in range(200):
            tree[b"/many/a-name-that-fills-blocks-%03d" % number] = linked
        self.write(tree)
        self.assert_same_tree(tree)

    def test_no_time_but_the_given(self):
        self.write(sample_tree())
        data = self.disk.read_bytes()
        for offset in (0x30, 0x40, 0x108):  # written, checked, made
            self.assertEqual(struct.unpack_from("<I", data, 1024 + offset)[0], EPOCH)
        with ext4.Reader(self.disk) as reader:
            tree = reader.tree()
            self.assertGreater(len(reader.nodes), 300)
            for number, node in reader.nodes.items():
                at = reader._inode(number)
                accessed, changed, modified = struct.unpack_from("<III", data, at + 8)
                created, = struct.unpack_from("<I", data, at + 0x90)
                self.assertEqual((accessed, changed, created), (EPOCH, EPOCH, EPOCH))
                self.assertEqual(modified, node.mtime)
                self.assertEqual(data[at + 0x84:at + 0x90], bytes(12), "fractions of seconds")
        self.assertEqual(tree[b"/names"].mtime, 9)

    def test_what_debugfs_cannot_write_is_refused(self):
        with self.assertRaisesRegex(BuildError, "line break"):
            self.write({b"/": folder(), b"/a\nb": file()})
        with self.assertRaisesRegex(BuildError, "not supported"):
            self.write({b"/": folder(), b"/socket": Node(stat.S_IFSOCK, 0, 0, 0)}, "second")
        with self.assertRaisesRegex(BuildError, "debugfs: "):
            self.write({b"/": folder(), b"/large": file(os.urandom(SIZE))}, "third")


class Reading(Disk):
    def test_index_of_a_folder(self):
        self.write(sample_tree())
        self.run_tool("e2fsck", "-f", "-y", "-D", statuses=(0, 1))
        self.assertIn("Root node dump", self.run_tool("debugfs", "-R", "htree_dump /many"))
        self.assert_same_tree(sample_tree())

    def test_allocated_and_unwritten_is_zero(self):
        tree = sample_tree()
        self.write(tree)
        self.run_tool("debugfs", "-w", "-R", "fallocate /empty 0 9")
        self.run_tool("debugfs", "-w", "-R", "sif /empty size 5000")
        self.assertIn("Uninit", self.run_tool("debugfs", "-R", "ex /empty"))
        tree[b"/empty"].content = bytes(5000)
        self.assert_same_tree(tree)

    def test_differences(self):
        one, other = sample_tree(), sample_tree()
        other[b"/owned"].uid = 1
        other[b"/link"] = file(b"one body, three names")
        del other[b"/null"]
        found = dict(ext4.differences(one, other))
        self.assertEqual(found.pop(b"/owned"), ["uid"])
        self.assertEqual(found.pop(b"/null"), ["only in the first"])
        self.assertEqual(found, {b"/link": ["hard links"]})

    def test_other_disks_are_refused(self):
        for size in (0, 100, 8192):
            self.disk.write_bytes(bytes(size))
            with self.assertRaisesRegex(BuildError, "no ext4"):
                ext4.Reader(self.disk)
        self.write(sample_tree(), "good")
        data = bytearray((self.base / "good").read_bytes())
        data[1024 + 0x60] |= ext4.FEATURE_RECOVER
        self.disk.write_bytes(data)
        with self.assertRaisesRegex(BuildError, "not unmounted"):
            ext4.Reader(self.disk)

    def test_damage_is_an_error_and_no_more(self):
        """Any change of any byte of metadata ends in a tree or in a BuildError."""
        self.write(sample_tree())
        good = self.disk.read_bytes()
        used = [at for at in range(1024, len(good)) if good[at]]
        dice = random.Random(1)
        refused = 0
        for _ in range(50):
            data = bytearray(good)
            for at in dice.sample(used, 40) + [1024 + dice.randrange(256)]:
                data[at] = dice.randrange(256)
            self.disk.write_bytes(data)
            try:
                with ext4.Reader(self.disk) as reader:
                    for node in reader.tree().values():
                        node.body()
            except BuildError:
                refused += 1
        self.assertGreater(refused, 5)


class Normalising(Disk):
    def configured(self, name, order, now):
        """What a second stage may leave: files made in some order, at some time."""
        tree = self.base / name
        for path in order:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text("root::%d:0:99999:7:::\n" % (now // 86400)
                                     if path == "etc/shadow" else path)
        (tree / "var/cache/ldconfig").mkdir(parents=True)
        (tree / "var/cache/ldconfig/aux-cache").write_bytes(os.urandom(100))
        build.clamp_times(tree, now)
        disk = self.base / f"{name}.configured"
        filesystem.make(disk, SIZE, "13", now, tree)
        return disk

    def test_two_builds_one_disk(self):
        files = ["etc/shadow", "etc/passwd", "usr/bin/sh", "usr/lib/a", "usr/lib/b"]
        args = argparse.Namespace(size=SIZE)
        for name, order, now in (("one", files, EPOCH + 5), ("two", files[::-1], EPOCH + 10**6)):
            configured = self.configured(name, order, now)
            finished = self.base / f"{name}.disk"
            build.write_disk(configured, finished, args, "13", EPOCH, self.base)
            self.assertFalse(configured.exists())
        self.assertEqual((self.base / "one.disk").read_bytes(),
                         (self.base / "two.disk").read_bytes())

    def test_what_depends_on_the_build_goes(self):
        day = EPOCH // 86400
        tree = {
            b"/": folder(mtime=EPOCH + 100),
            b"/etc/shadow": file(b"root::%d:0:99999:7:::\nold:!:5::::::\n" % (day + 3), 0o640),
            b"/etc/passwd": file(b"root:x:0:0::/root:/bin/bash\n", mtime=EPOCH + 1),
            b"/etc/hostname": file(b"pearvisor\n", mtime=7),
            b"/var/cache/ldconfig/aux-cache": file(os.urandom(8)),
        }
        normalise(tree, EPOCH)
        self.assertNotIn(b"/var/cache/ldconfig/aux-cache", tree)
        self.assertEqual(tree[b"/etc/shadow"].body(),
                         b"root::%d:0:99999:7:::\nold:!:5::::::\n" % day)
        self.assertEqual(tree[b"/etc/shadow"].mode, stat.S_IFREG | 0o640)
        self.assertEqual([tree[p].mtime for p in (b"/", b"/etc/passwd", b"/etc/hostname")],
                         [EPOCH, EPOCH, 7])


if __name__ == "__main__":
    unittest.main()
