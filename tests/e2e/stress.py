#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs stress-ng's self-checking stressors in a Debian guest.

usage: stress.py [--seconds N] [--cpus N] [--image NAME] [NAME...]

Each check is `stress-ng --verify` of one class for N seconds of the guest's time. Prints a line for
each; the image with stress-ng is built when the library has none. With --seconds 60 it is the bar
for a fast engine; the interpreter does the same work in more rounds of less.
"""

import argparse
import subprocess
import sys
import time

import guest

CHECKS = {
    "cpu": "--cpu {cpus} --cpu-method all",
    "vm": "--vm {cpus} --vm-bytes 64M --vm-method all",
    "atomic": "--atomic {cpus}",
    "matrix": "--matrix {cpus} --matrix-method all --matrix-size 64",
}


def ensure_image(name):
    if subprocess.run([guest.BUILDER, "inspect", name], capture_output=True).returncode == 0:
        return
    if subprocess.run([guest.PROGRAM, "image", "build", "debian:13", "--name", name,
                       "--profile", "minimal", "--package", "stress-ng"]).returncode != 0:
        sys.exit(1)


def stress(start, options):
    vm = start(options.image, "--cpus", str(options.cpus), "--memory", "1G")
    vm.login(900)
    failed = []
    for name in options.names or CHECKS:
        line = CHECKS[name].format(cpus=options.cpus)
        started = time.monotonic()
        # A stressor looks at the clock after each method only: it may take many times N.
        status, output = vm.command_output(
            f"stress-ng {line} --verify --metrics-brief -t {options.seconds}", 3600)
        verdict = "passed" if status == 0 and "fail" not in output.replace("failed: 0", "") else \
            "FAILED"
        print(f"{name:8} {verdict} in {time.monotonic() - started:.0f} s: stress-ng {line}",
              flush=True)
        print("\n".join("    " + text for text in output.splitlines()[-12:]), flush=True)
        if verdict == "FAILED":
            failed.append(name)
    vm.send("poweroff\n")
    if vm.wait(300) != 0 or failed:
        raise guest.Failure(f"{', '.join(failed) or 'power-off'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--image", default="stress-13")
    options = parser.parse_intermixed_args()
    if unknown := [name for name in options.names if name not in CHECKS]:
        parser.error(f"no check '{unknown[0]}'; there are {', '.join(CHECKS)}")
    ensure_image(options.image)
    return guest.main(stress, options)


sys.exit(main())
