# SPDX-License-Identifier: MIT
"""The initramfs that gets a stock Debian kernel to its root disk, or runs the boot test.

Debian's arm64 kernels have virtio-blk, virtio-net and ext4 as modules, so something must load them
before a root disk can be reached. This is a cpio archive (newc, Documentation/driver-api/early-
userspace/buffer-format.rst of Linux) of a static busybox, the modules in loading order, and a
script. The archive has no times or numbers that depend on the host: same input, same bytes.
"""

import gzip
import lzma
import stat
import struct

from . import BuildError

# What virtio devices and an ext4 root need; names missing from a kernel are built into it.
BOOT_MODULES = ["virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_console",
                "virtio_rng", "ext4"]


class Cpio:
    """A newc archive in memory."""

    def __init__(self, compress=True):
        self.compress = compress
        self.data = bytearray()
        self.inode = 0

    def _entry(self, name, mode, body=b"", rdev=(0, 0)):
        self.inode += 1
        raw = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(body), 0, 0, *rdev, len(raw), 0]
        self.data += b"070701" + b"".join(b"%08x" % f for f in fields) + raw
        self._pad()
        self.data += body
        self._pad()

    def _pad(self):
        self.data += bytes(-len(self.data) % 4)

    def folder(self, name):
        self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name, body, mode=0o644):
        self._entry(name, stat.S_IFREG | mode, body)

    def symlink(self, name, target):
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name, major, minor):
        self._entry(name, stat.S_IFCHR | 0o600, rdev=(major, minor))

    def finish(self):
        self._entry("TRAILER!!!", 0)
        self.data += bytes(-len(self.data) % 512)
        data = bytes(self.data)
        return gzip.compress(data, compresslevel=6, mtime=0) if self.compress else data


def module_name(path):
    return path.name.split(".ko")[0].replace("-", "_")


def module_bytes(path):
    """A module as the kernel takes it: Debian 13 ships them compressed."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def module_depends(data):
    """The modules that this one says it needs, from the `depends=` of its .modinfo section."""
    shoff, = struct.unpack_from("<Q", data, 40)
    entsize, count, names = struct.unpack_from("<HHH", data, 58)
    sections = []
    for i in range(count):
        name, _, _, _, offset, size = struct.unpack_from("<IIQQQQ", data, shoff + i * entsize)
        sections.append((name, offset, size))
    strings = sections[names][1]
    for name, offset, size in sections:
        end = data.index(b"\0", strings + name)
        if data[strings + name:end] != b".modinfo":
            continue
        for item in data[offset:offset + size].split(b"\0"):
            if item.startswith(b"depends="):
                return [d for d in item[8:].decode().replace("-", "_").split(",") if d]
    return []


class Modules:
    """The module tree of one kernel package."""

    def __init__(self, tree):
        roots = sorted(tree.glob("usr/lib/modules/*")) or sorted(tree.glob("lib/modules/*"))
        if len(roots) != 1:
            raise BuildError("the kernel package holds no module folder")
        self.root = roots[0]
        self.version = self.root.name
        self.paths = {module_name(p): p
                      for p in sorted(self.root.rglob("*.ko*")) if ".ko" in p.name}

    def closure(self, names):
        """Paths of `names` and all they need, in loading order. Built-in ones drop out."""
        order, seen = [], set()

        def visit(name):
            if name in seen or name not in self.paths:
                return
            seen.add(name)
            for needed in module_depends(module_bytes(self.paths[name])):
                visit(needed)
            order.append(self.paths[name])

        for name in names:
            visit(name)
        # ext4 asks for these by crypto name at mount time, which no dependency shows.
        for name in ("crc32c_generic", "libcrc32c"):
            if "ext4" in seen:
                visit(name)
        return order


COMMON = """#!/bin/busybox sh
# SPDX-License-Identifier: MIT
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /run /mnt
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
exec <>/dev/console >&0 2>&0
for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "initramfs: cannot load $module"
done
option() { tr ' ' '\\n' </proc/cmdline | sed -n "s|^$1=||p" | tail -n 1; }
"""

ROOT_INIT = COMMON + """
root=$(option root)
init=$(option init)
mode=ro
grep -qw rw /proc/cmdline && mode=rw
find_root() {
    case "$root" in
    LABEL=*|UUID=*) findfs "$root" 2>/dev/null ;;
    *) [ -b "$root" ] && echo "$root" ;;
    esac
}
tries=0
while ! device=$(find_root) || [ -z "$device" ]; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ]; then
        echo "initramfs: no root disk '$root' after 30 seconds"
        exec sh
    fi
    usleep 100000
done
mount -t ext4 -o $mode "$device" /mnt || { echo "initramfs: cannot mount $device"; exec sh; }
mount --move /dev /mnt/dev
umount /sys
umount /proc
exec switch_root /mnt "${init:-/sbin/init}"
"""

TEST_INIT = COMMON + """
echo PEARVISOR-USERSPACE-OK
uname -a
echo "cpus: $(grep -c ^processor /proc/cpuinfo)"
echo "memory-kib: $(sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo)"
for disk in /sys/block/vd*; do
    [ -e "$disk" ] && echo "disk: ${disk##*/} $(cat $disk/size) sectors, ro $(cat $disk/ro)"
done
if [ -e /sys/class/net/eth0 ]; then
    ip link set lo up
    ip link set eth0 up
    ip addr add 10.0.2.15/24 dev eth0
    ip route add default via 10.0.2.2
    ping -c 1 -W 5 10.0.2.2 >/dev/null && echo PEARVISOR-NET-OK
    url=$(option pv.fetch)
    [ -n "$url" ] && wget -q -T 20 -O - "$url"
fi
for word in $(option pv.run | tr ',' ' '); do
    case $word in
    shell) setsid cttyhack sh ;;
    reboot) echo PEARVISOR-TEST-END; reboot -f ;;
    listen)
        echo PEARVISOR-LISTENING
        echo PEARVISOR-FORWARD-OK | nc -l -p 7777 ;;
    hang) echo PEARVISOR-TEST-END; while :; do sleep 1000; done ;;
    diskwrite)
        dd if=/dev/urandom of=/tmp.bin bs=64k count=64 2>/dev/null
        dd if=/tmp.bin of=/dev/vda bs=64k conv=fsync 2>/dev/null
        echo 3 >/proc/sys/vm/drop_caches
        dd if=/dev/vda bs=64k count=64 2>/dev/null | cmp - /tmp.bin && echo PEARVISOR-DISK-OK ;;
    esac
done
echo PEARVISOR-TEST-END
poweroff -f
"""


def build(busybox, modules, names, init, add=lambda cpio: None):
    """The gzipped archive: busybox, the closure of `names`, `init` as /init, and what `add` adds."""
    cpio = Cpio()
    for folder in ("bin", "dev", "modules"):
        cpio.folder(folder)
    cpio.device("dev/console", 5, 1)
    cpio.device("dev/null", 1, 3)
    cpio.file("bin/busybox", busybox.read_bytes(), 0o755)
    cpio.symlink("bin/sh", "busybox")
    order = []
    for path in modules.closure(names):
        order.append(module_name(path) + ".ko")
        cpio.file("modules/" + order[-1], module_bytes(path))
    cpio.file("modules/order", ("\n".join(order) + "\n").encode())
    cpio.file("init", init.encode(), 0o755)
    add(cpio)
    return cpio.finish()
