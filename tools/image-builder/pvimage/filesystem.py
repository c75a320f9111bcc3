# SPDX-License-Identifier: MIT
"""Makes ext4 file systems with e2fsprogs, from a folder or from a tree in memory.

The second is how the finished image is written. mke2fs makes an empty file system and debugfs fills
it by a script, both of them at a time that is told, so that nothing of this host and this moment
gets in: not the clock, not inode numbers and the order of folders of a host's file system, not its
change times, which `mke2fs -d` of e2fsprogs before 1.47.1 copies. The same tree gives the same
bytes, for one version of e2fsprogs. What debugfs made of the script is read back and compared.
"""

import os
import stat
import subprocess

from . import BuildError, ext4

LABEL = "pearvisor-root"
UUID = "70656172-7669-736f-7200-00000000{release:>04}"
FOUND = b"/lost+found"  # mke2fs makes it


def environment(**more):
    return dict(os.environ, LC_ALL="C.UTF-8",
                PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin", **more)


def make(disk, size, release, epoch, folder=None):
    """An ext4 file system in a new file: empty, or with what is in `folder`."""
    uuid = UUID.format(release=release)
    with open(disk, "wb") as out:
        out.truncate(size)
    done = subprocess.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL, "-U", uuid,
         "-E", f"hash_seed={uuid},root_owner=0:0,lazy_itable_init=1,nodiscard", "-m", "1",
         *(["-d", folder] if folder else []), disk],
        env=environment(E2FSPROGS_FAKE_TIME=str(epoch), SOURCE_DATE_EPOCH=str(epoch)),
        capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"mke2fs: {(done.stderr or done.stdout).strip()}")


def check(disk):
    done = subprocess.run(["e2fsck", "-f", "-n", disk], env=environment(), capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise BuildError(f"the finished disk is not clean: {done.stdout.strip()[-200:]}")


def quoted(name):
    """A word of a debugfs command; the bytes are a file's name or a symlink's target."""
    if b"\n" in name:
        raise BuildError(f"the name {name!r} has a line break, which debugfs cannot write")
    return b'"' + name.replace(b'"', b'""') + b'"'


class Script:
    """The debugfs commands that make a tree, and the files that these read."""

    def __init__(self, work, epoch):
        self.work, self.epoch = work, epoch
        self.lines = [b"set_current_time @%d" % epoch]
        self.count = 0
        self.first = {}  # where a node was made, by id(): its other paths become hard links
        self.links = {}

    def _file(self, data):
        """A file of the host with that content."""
        self.count += 1
        path = self.work / str(self.count)
        path.write_bytes(data)
        return quoted(os.fsencode(path))

    def add(self, tree):
        folder = None
        for path, node in tree.items():
            if path == b"/":
                continue
            parent, _, name = path.rpartition(b"/")
            if parent != folder:
                self.lines.append(b"cd " + quoted(parent or b"/"))
                folder = parent
            self._make(path, quoted(name), node)
        for path, node in tree.items():
            if self.first.setdefault(id(node), path) == path:
                self._describe(quoted(path), node)

    def _make(self, path, name, node):
        """`name` in debugfs's current folder; some of its commands take no path."""
        if id(node) in self.first:
            # `ln` fails in a folder that is full; the others make it larger.
            self.lines += [b"symlink " + name + b" x", b"rm " + name,
                           b"ln " + quoted(self.first[id(node)]) + b" " + name]
            self.links[id(node)] += 1
            return
        self.first[id(node)], self.links[id(node)] = path, 1
        if stat.S_ISDIR(node.mode):
            if path != FOUND:
                self.lines.append(b"mkdir " + name)
        elif stat.S_ISREG(node.mode):
            self.lines.append(b"write " + self._file(node.body()) + b" " + name)
        elif stat.S_ISLNK(node.mode):
            self.lines.append(b"symlink " + name + b" " + quoted(node.body()))
        elif stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
            kind = b"c" if stat.S_ISCHR(node.mode) else b"b"
            self.lines.append(b"mknod %s %s %d %d" % (name, kind, *node.device))
        elif stat.S_ISFIFO(node.mode):
            self.lines.append(b"mknod " + name + b" p")
        else:
            raise BuildError(f"{os.fsdecode(path)} is a file of a kind that is not supported")

    def _describe(self, path, node):
        for attribute, value in node.attributes.items():
            self.lines.append(b"ea_set -r -f " + self._file(value) + b" " + path + b" " + attribute)
        fields = [(b"mode", b"0%o" % node.mode), (b"mtime", b"@%d" % node.mtime)]
        fields += [(name, b"%d" % number) for name, number in ((b"uid", node.uid),
                                                               (b"gid", node.gid)) if number]
        if self.links.get(id(node), 1) > 1:
            fields.append((b"links_count", b"%d" % self.links[id(node)]))
        self.lines += [b"sif " + path + b" " + field + b" " + value for field, value in fields]

    def run(self, disk):
        commands = self.work / "commands"
        commands.write_bytes(b"\n".join(self.lines) + b"\n")
        done = subprocess.run(["debugfs", "-w", "-f", commands, disk], env=environment(),
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # Its status does not tell whether a command failed; its first line is its version.
        said = done.stderr.decode(errors="replace").splitlines()[1:]
        if done.returncode != 0 or said:
            raise BuildError(f"debugfs: {(said or ['failed'])[0]}")


def write(tree, disk, size, release, epoch, work):
    """A file system with `tree` in it; `work` is a folder for the files that debugfs reads."""
    make(disk, size, release, epoch)
    script = Script(work, epoch)
    script.add(tree)
    script.run(disk)
    check(disk)
    with ext4.Reader(disk) as written:
        for path, what in ext4.differences(tree, written.tree()):
            raise BuildError(f"debugfs wrote {os.fsdecode(path)} differently than it was told: "
                             f"{', '.join(what)}")
