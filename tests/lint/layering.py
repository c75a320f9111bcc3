#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that #include lines point downward only, and that files keep the house rules.

A folder of src/ may include from itself and from the folders after it in ORDER (docs/internals/
README.md). Also checked: the SPDX line, the length of files, and that no header is included by a
path relative to its includer.
"""
import pathlib
import re
import sys

ORDER = ["cli", "fetch", "daemon", "api", "docker", "oci", "vm", "machine", "device", "gpu", "display",
         "audio", "share", "net", "block", "virtio", "pci", "engine", "memory", "agent", "host", "base"]
MAX_LINES = 1000
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def check_file(root, path, problems):
    relative = path.relative_to(root)
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if not lines or "SPDX-License-Identifier: MIT" not in "\n".join(lines[:3]):
        problems.append(f"{relative}:1: no SPDX-License-Identifier line")
    if path.suffix in (".c", ".h") and len(lines) > MAX_LINES:
        problems.append(f"{relative}: {len(lines)} lines; split it (limit {MAX_LINES})")
    if relative.parts[0] != "src" or path.suffix not in (".c", ".h"):
        return
    own = relative.parts[1]
    if own not in ORDER:
        problems.append(f"{relative}: folder '{own}' is not in the layering order")
        return
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(1).split("/")
        if len(target) == 1 or target[0] == "pearvisor":
            continue  # generated headers and the public API
        if target[0] not in ORDER:
            problems.append(f"{relative}:{number}: include \"{match.group(1)}\" is not from src/")
        elif ORDER.index(target[0]) < ORDER.index(own):
            problems.append(f"{relative}:{number}: {own}/ may not include {target[0]}/")


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    problems = []
    for folder in ("src", "include", "tests", "tools", "guest", "bench"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".c", ".h", ".py", ".sh") and path.is_file():
                check_file(root, path, problems)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
