#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares every form that the x86-64 assembler emits with what LLVM's assembler makes of its text.

usage: x64_forms.py X64_FORMS_PROGRAM
"""
import re
import shutil
import subprocess
import sys

SKIP = 77
SHOWN = 20


def main():
    llvm_mc = shutil.which("llvm-mc") or shutil.which("llvm-mc-14")
    if not llvm_mc:
        print("llvm-mc is not installed")
        return SKIP
    output = subprocess.run([sys.argv[1]], check=True, capture_output=True, text=True).stdout
    forms = [line.split("\t") for line in output.splitlines()]

    text = "".join(f"{asm}\n" for _, asm in forms)
    result = subprocess.run([llvm_mc, "-arch=x86-64", "-mattr=+avx2,+fma,+bmi2,+sha,+aes",
                             "-show-encoding"], input=text, capture_output=True, text=True)
    if result.returncode:
        print(result.stderr[:4000])
        return 1
    # A jump to "." has a fix-up instead of a displacement: its value is -2.
    encodings = [re.sub(r"[^0-9a-f]", "", e.replace("0x", "").replace("A", "fe"))
                 for e in re.findall(r"encoding: \[([^]]*)\]", result.stdout)]
    if len(encodings) != len(forms):
        print(f"{len(forms)} forms, but LLVM answers with {len(encodings)}")
        return 1

    # The order of these two prefixes means nothing.
    forms = [(re.sub("^f066", "66f0", ours), asm) for ours, asm in forms]
    wrong = [(asm, ours, theirs) for (ours, asm), theirs in zip(forms, encodings) if ours != theirs]
    for asm, ours, theirs in wrong[:SHOWN]:
        print(f"{asm}\n    ours {ours}\n    LLVM {theirs}")
    print(f"{len(forms)} forms, {len(wrong)} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
