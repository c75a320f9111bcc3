# SPDX-License-Identifier: MIT
"""Stock Debian kernels for direct boot, and the small boot test that goes with them."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from . import BuildError, initramfs


def unpack(package, folder):
    """Unpacks a package's files as they are, owners by number, keeping folders' symlinks."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package.path],
                              stdout=subprocess.PIPE)
    done = subprocess.run(["tar", "-x", "-p", "--numeric-owner", "--keep-directory-symlink",
                           "-C", folder], stdin=reader.stdout, capture_output=True, text=True)
    reader.stdout.close()
    if reader.wait() != 0 or done.returncode != 0:
        raise BuildError(f"cannot unpack {package.path.name}: {done.stderr.strip()}")


def write_atomically(path, data):
    """Readers see the old file or the whole new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(path)


class Kernel:
    """A kernel package's image and modules, unpacked in a temporary folder."""

    def __init__(self, archive):
        self.package, self.busybox_package = archive.download(
            [archive.kernel_package(), "busybox-static"], resolve=False)
        self._folder = tempfile.TemporaryDirectory(prefix="pearvisor-kernel-")
        self.tree = Path(self._folder.name) / "kernel"
        unpack(self.package, self.tree)
        tools = Path(self._folder.name) / "tools"
        unpack(self.busybox_package, tools)
        candidates = [tools / "usr/bin/busybox", tools / "bin/busybox"]
        self.busybox = next(p for p in candidates if p.exists())
        self.image = next(self.tree.glob("boot/vmlinuz-*"))
        self.modules = initramfs.Modules(self.tree)

    def close(self):
        self._folder.cleanup()


SCRIPTS = initramfs.TEST_INIT + initramfs.ROOT_INIT


def cached_guest_kernel(release, cache):
    """The folder of a kernel that was fetched before, whatever its version; None when there is none."""
    folder = cache / "guest-kernels" / f"debian-{release}"
    stamp = folder / "kernel.json"
    if stamp.exists() and json.loads(stamp.read_text()).get("scripts") == SCRIPTS:
        return folder
    return None


def fetch_guest_kernel(archive, cache, say):
    """
    Puts vmlinuz, test.img (boot test) and root.img (boots a root disk) in the cache's
    guest-kernels/debian-N and returns that folder. Nothing is done when it is up to date.
    """
    folder = cache / "guest-kernels" / f"debian-{archive.release}"
    version = archive.kernel_package()
    stamp = folder / "kernel.json"
    recipe = {"kernel": version, "scripts": SCRIPTS}
    if stamp.exists() and json.loads(stamp.read_text()) == recipe:
        return folder
    say(f"fetching {version}")
    kernel = Kernel(archive)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "vmlinuz", kernel.image.read_bytes())
        for name, init in (("test.img", initramfs.TEST_INIT), ("root.img", initramfs.ROOT_INIT)):
            write_atomically(folder / name, initramfs.build(
                kernel.busybox, kernel.modules, initramfs.BOOT_MODULES, init))
        write_atomically(stamp, json.dumps(recipe).encode())
    finally:
        kernel.close()
    return folder
