#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures what a Debian guest has to be able to do, from twenty boots to Python's own tests.

usage: bars.py [--list] [NAME...]      (without names: all; about an hour on two cores)

Runs each check as a program of its own and prints one line for it: passed or failed, and how long
it took. The image that the longer ones need is built when the library has none.
"""

import subprocess
import sys
import time
from pathlib import Path

import guest

HERE = Path(__file__).resolve().parent
IMAGE = "bars-13"
BOOT, LOGIN = HERE / "test_boot.py", HERE / "test_image.py"

BARS = {
    "boots-in-a-row": [HERE / "boots.py", "--count", "20"],
    **{f"boot-{release}-{cpus}cpus-{memory}": [BOOT, "--release", release, "--cpus", cpus,
                                               "--memory", memory]
       for release in ("12", "13") for cpus, memory in (("1", "512M"), ("2", "2G"), ("4", "8G"))},
    **{f"login-{cpus}cpus": [LOGIN, "--image", IMAGE, "--cpus", cpus] for cpus in ("1", "2", "4")},
    "ssh": [LOGIN, "--image", IMAGE, "--ssh"],
    "apt": [LOGIN, "--image", IMAGE, "--apt"],
    "python": [LOGIN, "--image", IMAGE, "--run",
               "python3 -m test test_math test_struct test_float test_cmath"],
    "openssl": [LOGIN, "--image", IMAGE, "--run",
                "openssl speed -seconds 1 -evp aes-128-gcm"],
    **{f"reproducible-{release}": [HERE / "reproducible.py", "--release", release]
       for release in ("12", "13")},
}


def ensure_image():
    have = subprocess.run([guest.BUILDER, "inspect", IMAGE], capture_output=True)
    if have.returncode == 0:
        return
    built = subprocess.run([guest.PROGRAM, "image", "build", "debian:13", "--name", IMAGE,
                            "--profile", "full", "--package", "libpython3.13-testsuite"])
    if built.returncode != 0:
        sys.exit(1)


def main():
    names = sys.argv[1:] or list(BARS)
    if names == ["--list"]:
        print("\n".join(BARS))
        return 0
    unknown = [name for name in names if name not in BARS]
    if unknown:
        sys.exit(f"bars: unknown check '{unknown[0]}'; --list shows them")
    if any(IMAGE in BARS[name] for name in names):
        ensure_image()
    failed = 0
    for name in names:
        started = time.monotonic()
        done = subprocess.run(BARS[name], capture_output=True, text=True)
        failed += done.returncode != 0
        print(f"{'passed' if done.returncode == 0 else 'FAILED'}  {name:24} "
              f"{time.monotonic() - started:6.0f} s", flush=True)
        if done.returncode != 0:
            print("    " + "\n    ".join(done.stdout.splitlines()[-12:]))
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
