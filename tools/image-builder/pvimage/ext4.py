# SPDX-License-Identifier: MIT
"""Reads an ext4 file system: which files there are, what is in them, and nothing by accident.

The file system was written by a guest's kernel. Reading it here, instead of mounting it, needs no
root and lets no foreign bytes near the host's kernel. It covers what mke2fs makes for this builder
and a kernel writes into it: extents, directories with or without an index, symlinks, device nodes,
extended attributes, hard links. e2fsck has found the file system clean before; what it cannot hold
(inline data, encryption) is refused. Offsets are those of Documentation/filesystems/ext4 of Linux.

An index of a directory needs no code: its blocks look like unused entries to who does not know it.
"""

import contextlib
import dataclasses
import functools
import mmap
import os
import stat
import struct

from . import BuildError

ROOT_INODE = 2
EXTENTS_FLAG = 0x80000
UNSUPPORTED_FLAGS = {0x800: "encrypted", 0x200000: "a large attribute", 0x10000000: "inline data"}
FEATURE_64BIT = 0x80
FEATURE_RECOVER = 0x4
UNWRITTEN = 32768  # the length from which on an extent counts as allocated, but not written
ATTRIBUTE_PREFIXES = {1: b"user.", 2: b"system.posix_acl_access", 3: b"system.posix_acl_default",
                      4: b"trusted.", 6: b"security.", 7: b"system."}


@dataclasses.dataclass
class Node:
    """One file of any kind. Hard links are the same Node under several paths."""

    mode: int
    uid: int
    gid: int
    mtime: int
    content: object = b""  # bytes, or a function that reads them when they are wanted
    device: tuple = (0, 0)  # major, minor
    attributes: dict = dataclasses.field(default_factory=dict)  # name: value as on the disk

    def is_folder(self):
        return stat.S_ISDIR(self.mode)

    def body(self):
        """What a regular file holds, or where a symlink points."""
        return self.content() if callable(self.content) else self.content

    def differences(self, other):
        """The names of the fields that two nodes have not in common."""
        names = [name for name in ("mode", "uid", "gid", "mtime", "device", "attributes")
                 if getattr(self, name) != getattr(other, name)]
        return names + (["content"] if self.body() != other.body() else [])


class Reader:
    """The tree of a file system in a file."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as disk:
            if os.fstat(disk.fileno()).st_size < 2048:
                raise BuildError(f"{path} holds no ext4 file system")
            self.data = mmap.mmap(disk.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._read_superblock()
        except BuildError:
            self.data.close()
            raise
        self.nodes = {}

    def _read_superblock(self):
        def field(layout, offset):
            return struct.unpack_from(layout, self.data, 1024 + offset)[0]

        if field("<H", 0x38) != 0xef53:
            raise BuildError(f"{self.path} holds no ext4 file system")
        incompatible = field("<I", 0x60)
        if incompatible & FEATURE_RECOVER:
            raise BuildError(f"{self.path} was not unmounted: its journal holds changes")
        block_shift = field("<I", 0x18)
        self.inodes_per_group = field("<I", 0x28)
        self.inode_size = field("<H", 0x58)
        if block_shift > 6 or not self.inodes_per_group or self.inode_size < 128:
            raise BuildError(f"{self.path} is damaged: its superblock makes no sense")
        self.block_size = 1024 << block_shift
        self.descriptor_size = field("<H", 0xfe) if incompatible & FEATURE_64BIT else 32
        self.descriptors = (field("<I", 0x14) + 1) * self.block_size

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.data.close()

    def tree(self):
        """{path: Node}, in the order of the paths; the root is b"/"."""
        with self._damage_reported():
            found = {b"/": self._node(ROOT_INODE)}
            waiting, folders = [(b"", ROOT_INODE)], {ROOT_INODE}
            while waiting:
                folder, number = waiting.pop()
                for name, child in self._entries(number):
                    path = folder + b"/" + name
                    found[path] = self._node(child)
                    if found[path].is_folder():
                        if child in folders:
                            raise BuildError(f"{self.path} is damaged: inode {child} has two names")
                        folders.add(child)
                        waiting.append((path, child))
        return dict(sorted(found.items()))

    @contextlib.contextmanager
    def _damage_reported(self):
        """What was read is outside the disk: `struct` says so."""
        try:
            yield
        except struct.error as error:
            raise BuildError(f"{self.path} is damaged: {error}") from None

    def _bytes(self, at, length):
        if at + length > len(self.data):
            raise BuildError(f"{self.path} is damaged: it ends before {at + length}")
        return self.data[at:at + length]

    def _inode(self, number):
        """Where an inode is in the file."""
        group, index = divmod(number - 1, self.inodes_per_group)
        at = self.descriptors + group * self.descriptor_size
        table, = struct.unpack_from("<I", self.data, at + 0x8)
        if self.descriptor_size >= 64:
            table |= struct.unpack_from("<I", self.data, at + 0x28)[0] << 32
        return table * self.block_size + index * self.inode_size

    def _node(self, number):
        if number in self.nodes:
            return self.nodes[number]
        at = self._inode(number)
        mode, uid = struct.unpack_from("<HH", self.data, at)
        mtime, = struct.unpack_from("<I", self.data, at + 0x10)
        gid, = struct.unpack_from("<H", self.data, at + 0x18)
        uid_high, gid_high = struct.unpack_from("<HH", self.data, at + 0x78)
        flags, = struct.unpack_from("<I", self.data, at + 0x20)
        for flag, what in UNSUPPORTED_FLAGS.items():
            if flags & flag:
                raise BuildError(f"{self.path}: inode {number} has {what}, which is not supported")
        node = Node(mode, uid | uid_high << 16, gid | gid_high << 16, mtime)
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            node.content = functools.partial(self._content, at)
        elif stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
            node.device = self._device(at)
        node.attributes = self._attributes(at)
        self.nodes[number] = node
        return node

    def _size(self, at):
        low, = struct.unpack_from("<I", self.data, at + 0x4)
        high, = struct.unpack_from("<I", self.data, at + 0x6c)
        return low | high << 32

    def _content(self, at):
        with self._damage_reported():
            return self._body(at)

    def _body(self, at):
        size = self._size(at)
        if size > len(self.data):
            raise BuildError(f"{self.path}: a file of {size} bytes, which is more than the disk")
        flags, = struct.unpack_from("<I", self.data, at + 0x20)
        if not flags & EXTENTS_FLAG:
            if size >= 60:
                raise BuildError(f"{self.path}: a file without extents, which is not supported")
            return self._bytes(at + 0x28, size)  # a short symlink, or an empty file
        body = bytearray(size)
        for first, count, start in self._extents(at + 0x28):
            begin = first * self.block_size
            end = min(begin + count * self.block_size, size)
            if start is not None and begin < end:
                body[begin:end] = self._bytes(start * self.block_size, end - begin)
        return bytes(body)

    def _extents(self, at, limit=5):
        """Yields (first logical block, count, first block on the disk or None when unwritten)."""
        magic, entries, _, depth = struct.unpack_from("<HHHH", self.data, at)
        if magic != 0xf30a or depth > limit:
            raise BuildError(f"{self.path} is damaged: no extent header at {at}")
        for entry in range(at + 12, at + 12 + 12 * entries, 12):
            if depth:
                low, high = struct.unpack_from("<IH", self.data, entry + 4)
                yield from self._extents((low | high << 32) * self.block_size, depth - 1)
                continue
            first, count, high, low = struct.unpack_from("<IHHI", self.data, entry)
            if count > UNWRITTEN:
                yield first, count - UNWRITTEN, None
            else:
                yield first, count, low | high << 32

    def _device(self, at):
        """The two encodings of a device number: sixteen bits, or what does not fit there."""
        old, new = struct.unpack_from("<II", self.data, at + 0x28)
        if old:
            return old >> 8 & 0xff, old & 0xff
        return new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xfff00

    def _entries(self, number):
        """(name, inode) of what is in a folder, without the folder itself and its parent."""
        at = self._inode(number)
        size = self._size(at)
        body = self._body(at)
        position, entries = 0, []
        while position < size:
            child, length, name_length = struct.unpack_from("<IHB", body, position)
            name = body[position + 8:position + 8 + name_length]
            if child and name not in (b".", b".."):
                entries.append((name, child))
            if length < 12:
                raise BuildError(f"{self.path} is damaged: inode {number} is no folder")
            position += length
        return entries

    def _attributes(self, at):
        found = {}
        if self.inode_size > 128:
            extra, = struct.unpack_from("<H", self.data, at + 0x80)
            start = at + 128 + extra
            if struct.unpack_from("<I", self.data, start)[0] == 0xea020000:
                found.update(self._attribute_list(start + 4, start + 4))
        low, = struct.unpack_from("<I", self.data, at + 0x68)
        high, = struct.unpack_from("<H", self.data, at + 0x76)
        block = (low | high << 32) * self.block_size
        if block:
            found.update(self._attribute_list(block + 32, block))
        return dict(sorted(found.items()))

    def _attribute_list(self, at, base):
        """Yields (name, value); values are at offsets from `base`."""
        while struct.unpack_from("<I", self.data, at)[0]:
            length, index, offset, _, size = struct.unpack_from("<BBHII", self.data, at)
            if index not in ATTRIBUTE_PREFIXES:
                raise BuildError(f"{self.path}: an attribute of kind {index}, which is not known")
            name = ATTRIBUTE_PREFIXES[index] + self.data[at + 16:at + 16 + length]
            yield name, self._bytes(base + offset, size)
            at += (16 + length + 3) & ~3


def differences(one, other):
    """Yields (path, what) for each path at which two trees differ."""
    def links(tree):
        first = {}
        return {path: first.setdefault(id(node), path) for path, node in tree.items()}

    one_links, other_links = links(one), links(other)
    for path in sorted(one.keys() | other.keys()):
        if path not in other:
            yield path, ["only in the first"]
        elif path not in one:
            yield path, ["only in the second"]
        else:
            what = one[path].differences(other[path])
            if one_links[path] != other_links[path]:
                what.append("hard links")
            if what:
                yield path, what
