#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds an image twice, each in a library of its own, and compares disk, kernel and initrd.

Not part of `make check`, for its length. Both builds use the package indexes that are in the cache.
When the disks differ, the files that do are listed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import guest

sys.path.insert(0, str(guest.BUILDER.parent))
sys.dont_write_bytecode = True
from pvimage.main import cache_folder  # noqa: E402

NAME = "reproduced"


def build(home, args):
    """Builds the image under `home`; returns its folder."""
    home.mkdir()
    (home / "cache").symlink_to(cache_folder())
    environment = dict(os.environ, PEARVISOR_HOME=str(home))
    command = [guest.PROGRAM, "image", "build", f"debian:{args.release}", "--offline",
               "--profile", args.profile, "--name", NAME]
    if subprocess.run(command, env=environment).returncode != 0:
        sys.exit("failed: a build to succeed")
    return home / "images" / NAME


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", choices=("12", "13"), default="13")
    parser.add_argument("--profile", default="minimal")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pearvisor-reproducible-", dir="/var/tmp") as work:
        one, other = (build(Path(work) / name, args) for name in ("one", "other"))
        failed = False
        for name in ("vmlinuz", "initrd.img", "disk.img", "image.json"):
            same = subprocess.run(["cmp", one / name, other / name]).returncode == 0
            print(f"{name}: {'the same' if same else 'DIFFERENT'}", flush=True)
            failed |= not same
        if failed:
            subprocess.run([guest.BUILDER, "compare", one / "disk.img", other / "disk.img"])
        subprocess.run(["sha256sum", "vmlinuz", "initrd.img", "disk.img"], cwd=one)
    return 1 if failed else 0


sys.exit(main())
