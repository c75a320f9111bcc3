# SPDX-License-Identifier: MIT
"""The least that shows the host's GPU in a guest: a stock kernel, and an initramfs of busybox, the
Vulkan loader, Mesa's Venus driver, vulkaninfo, and the libraries that these need."""

import json
import tempfile
from pathlib import Path

from . import BuildError, elf, initramfs
from .kernels import Kernel, unpack, write_atomically

# Where the programs, and the libraries that they and each other need, come from. Nothing else of
# these packages is taken; a library that none of them has ends the build.
PACKAGES = ["libc6", "libdisplay-info2", "libdrm2", "libexpat1", "libffi8", "libgcc-s1",
            "libstdc++6", "libcap2", "libudev1", "libvulkan1", "libwayland-client0", "libx11-6",
            "libx11-xcb1", "libxau6", "libxcb-dri3-0", "libxcb-keysyms1", "libxcb-present0",
            "libxcb-randr0", "libxcb-shm0", "libxcb-sync1", "libxcb-xfixes0", "libxcb1",
            "libxdmcp6", "libxshmfence1", "libzstd1", "mesa-vulkan-drivers", "vulkan-tools",
            "zlib1g"]
PROGRAMS = ["vulkaninfo"]
LIBRARIES = ["libvulkan.so.1", "libvulkan_virtio.so"]
ICD = "usr/share/vulkan/icd.d/virtio_icd.json"
MODULES = initramfs.BOOT_MODULES + ["virtio_gpu"]

# pv.run= names a command to run, with commas for its spaces; else there is a shell.
INIT = initramfs.COMMON + """
export PATH=/bin:/usr/bin
mkdir -p /tmp
echo PEARVISOR-USERSPACE-OK
line=$(option pv.run | tr ',' ' ')
if [ -n "$line" ]; then
    $line
    echo "PEARVISOR-RUN-ENDED $?"
else
    setsid cttyhack sh
fi
poweroff -f
"""


def closure(names, find):
    """The files `names` and all libraries that they need, as {path in the guest: contents}."""
    found, queue = {}, list(names)
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found[name] = data = find(name).read_bytes()
        queue += [n for n in elf.needed(data) if not n.startswith("ld-linux")]
        loader = elf.interpreter(data)
        if loader:
            queue.append(Path(loader).name)
    return found


def finder(tree):
    files = {p.name: p for p in sorted(tree.rglob("*")) if p.is_file()}

    def find(name):
        if name not in files:
            raise BuildError(f"none of the packages has {name}")
        return files[name]
    return find


def add_files(cpio, tree):
    for folder in ("usr", "usr/share", "usr/share/vulkan", "usr/share/vulkan/icd.d", "usr/bin",
                   "lib"):
        cpio.folder(folder)
    for name, data in sorted(closure(PROGRAMS + LIBRARIES, finder(tree)).items()):
        cpio.file(("usr/bin/" if name in PROGRAMS else "lib/") + name, data, 0o755)
    icd = json.loads((tree / ICD).read_text(encoding="utf-8"))
    icd["ICD"]["library_path"] = "/lib/libvulkan_virtio.so"
    cpio.file(ICD, json.dumps(icd).encode())


def fetch(archive, cache, say):
    """Makes the kernel and initramfs of `archive`'s release; returns the folder they are in."""
    folder = cache / "gpu-minimal" / f"debian-{archive.release}"
    archive.update()
    packages = archive.download(PACKAGES, resolve=False)
    kernel = Kernel(archive)
    try:
        recipe = "".join(f"{p.name} {p.version} {p.sha256}\n" for p in packages)
        recipe += f"{kernel.modules.version} {INIT}"
        stamp = folder / "recipe"
        if stamp.exists() and stamp.read_text(encoding="utf-8") == recipe:
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as work:
            say(f"unpacking {len(packages)} packages")
            for package in packages:
                unpack(package, Path(work))
            write_atomically(folder / "gpu.img", initramfs.build(
                kernel.busybox, kernel.modules, MODULES, INIT,
                lambda cpio: add_files(cpio, Path(work))))
        write_atomically(folder / "vmlinuz", kernel.image.read_bytes())
        write_atomically(stamp, recipe.encode())
    finally:
        kernel.close()
    return folder
