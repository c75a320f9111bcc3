#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs random floating-point instructions on our handlers and on qemu-aarch64-static.

usage: fp.py FP-PROGRAM ORACLE.C GEN-A64 DEF [--count N] [--seed S]

Exit status 77 (skipped) when there is no AArch64 cross compiler or no user-mode QEMU.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("oracle")
    parser.add_argument("gen")
    parser.add_argument("table")
    parser.add_argument("--count", default="100000")
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not compiler or not qemu:
        return 77
    with tempfile.TemporaryDirectory() as folder:
        oracle, requests, answers = (pathlib.Path(folder) / name
                                     for name in ("oracle", "requests", "answers"))
        subprocess.run([compiler, "-O2", "-static", "-o", oracle, options.oracle], check=True)
        patterns = subprocess.run([sys.executable, options.gen, options.table, "--list"],
                                  capture_output=True, check=True).stdout
        with requests.open("wb") as out:
            subprocess.run([options.program, "generate", options.count, options.seed],
                           input=patterns, stdout=out, check=True)
        with requests.open("rb") as given, answers.open("wb") as out:
            done = subprocess.run([qemu, "-cpu", "max", oracle], stdin=given, stdout=out, check=False)
        if done.returncode:
            print(f"the oracle ended with status {done.returncode}")
        return subprocess.run([options.program, "check", requests, answers], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
