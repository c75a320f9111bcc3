# SPDX-License-Identifier: MIT
"""Builds bootable Debian ARM64 guest images without running foreign code on the host.

archive.py fetches packages through apt, rootfs.py unpacks them into a tree that dpkg takes for its
own, initramfs.py makes what the kernel needs to reach a disk, setup.py holds what runs inside the
guest to configure the packages, and build.py puts the steps in order.
"""


class BuildError(Exception):
    """Something the user should read as one line."""
