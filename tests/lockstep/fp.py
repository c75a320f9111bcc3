#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Executes random floating-point instructions by our interpreter and by an oracle, and compares.

usage: fp.py ORACLE CHECK GEN-A64 DEF [--count N] [--seed S]

ORACLE is an ARM64 program, run by qemu-aarch64-static where this machine is none; CHECK makes the
cases and replays them. Exit status 77 (skipped) when the oracle cannot run here.
"""
import argparse
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile


def main():
    parser = argparse.ArgumentParser()
    for name in ("oracle", "check", "gen", "table"):
        parser.add_argument(name)
    parser.add_argument("--count", default="100000")
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    oracle = [options.oracle]
    if platform.machine() != "aarch64":
        emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
        if not emulator:
            return 77
        oracle = [emulator, "-cpu", "max", options.oracle]
    patterns = subprocess.run([sys.executable, options.gen, options.table, "--list"],
                              capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        requests, answers = pathlib.Path(folder, "requests"), pathlib.Path(folder, "answers")
        with requests.open("wb") as out:
            subprocess.run([options.check, "generate", options.count, options.seed],
                           input=patterns, stdout=out, check=True)
        with requests.open("rb") as given, answers.open("wb") as out:
            done = subprocess.run(oracle, stdin=given, stdout=out, check=False)
        if done.returncode:
            print(f"the oracle ended with status {done.returncode}")
        return subprocess.run([options.check, "check", requests, answers], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
