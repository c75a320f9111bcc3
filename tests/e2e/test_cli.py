#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What pearvisor says to bad input: one line, the right exit status, nothing left behind."""

import gzip
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import guest

KERNEL = "{dir}/kernel"

# What is run, the exit status, and words that the one line must hold.
CASES = [
    (["run"], 2, ["image", "--kernel"]),
    (["run", "--cpu", "2", "--kernle", "x"], 2, ["--kernle", "--kernel"]),
    (["rum"], 2, ["rum", "run"]),
    (["run", "--cpus", "0", "--kernel", KERNEL], 2, ["--cpus", "0"]),
    (["run", "--cpus", "two", "--kernel", KERNEL], 2, ["--cpus", "two"]),
    (["run", "--memory", "12Q", "--kernel", KERNEL], 2, ["--memory", "12Q"]),
    (["run", "--memory", "1", "--kernel", KERNEL], 2, ["--memory"]),
    (["run", "--engine", "none-such", "--kernel", KERNEL], 2, ["none-such"]),
    (["run", "--net", "bridge", "--kernel", KERNEL], 2, ["bridge", "user"]),
    (["run", "--net", "user,forward=tcp:x:22", "--kernel", KERNEL], 2, ["x"]),
    (["run", "--console", "tty", "--kernel", KERNEL], 2, ["tty", "stdio"]),
    (["run", "--disk", "{dir}/disk,rw", "--kernel", KERNEL], 2, ["rw", "ro"]),
    (["run", "no-such-image"], 1, ["no-such-image"]),
    (["run", "../../etc"], 1, ["../../etc"]),
    (["run", "--kernel", "{dir}/missing"], 1, ["missing"]),
    (["run", "--kernel", "{dir}"], 1, ["{dir}"]),
    (["run", "--kernel", "{dir}/empty"], 1, ["empty"]),
    (["run", "--kernel", "{dir}/x86"], 1, ["x86"]),
    (["run", "--kernel", "{dir}/truncated.gz"], 1, ["truncated.gz"]),
    (["run", "--kernel", KERNEL, "--initrd", "{dir}/missing"], 1, ["missing"]),
    (["run", "--kernel", "{dir}/huge", "--memory", "64M"], 1, ["memory"]),
    (["run", "--kernel", KERNEL, "--disk", "{dir}/missing"], 1, ["missing"]),
    (["run", "--kernel", KERNEL, "--disk", "{dir}/disk", "--disk", "{dir}/disk"], 1, ["disk"]),
    (["run", "--kernel", KERNEL, "--net", "user,forward=tcp:{port}:22"], 1, ["{port}"]),
    (["run", "--kernel", KERNEL, "--console", "unix:{dir}/no/socket"], 1, ["{dir}/no/socket"]),
    (["run", "--kernel", KERNEL, "--cdrom", "{dir}/missing"], 1, ["missing"]),
    (["run", "--kernel", KERNEL, "--cdrom", "{dir}/empty"], 1, ["scsi", "2048"]),
    (["run", "--kernel", KERNEL, "--disk", "{dir}/missing,if=scsi"], 1, ["missing"]),
    (["run", "--kernel", KERNEL, "--disk", "{dir}/disk,if=ide"], 2, ["if=ide", "if=scsi"]),
    (["run", "--kernel", KERNEL, "--disk", "{dir}/disk,iops=1"], 2, ["iops", "10"]),
    (["run", "--kernel", KERNEL, "--disk", "{dir}/disk,if=nvme,bootindex=1"], 2, ["bootindex"]),
    (["run", "--firmware", "{dir}/missing"], 1, ["firmware", "missing"]),
    (["run", "--firmware", "{dir}"], 1, ["firmware", "{dir}"]),
    (["run", "--firmware", "{dir}/empty"], 1, ["empty", "0 bytes"]),
    (["run", "--firmware", "{dir}/disk"], 1, ["disk", "instruction"]),
    (["run", "--firmware", "{dir}/elf"], 1, ["elf", "ELF", "raw"]),
    (["run", "--firmware", "{dir}/cut"], 1, ["cut", "jumps"]),
    (["run", "--firmware", "{dir}/65m"], 1, ["65m", "64 MiB"]),
    (["run", "--firmware", "{dir}/flash", "--kernel", "{dir}/5g"], 1, ["5g", "MiB"]),
    (["run", "--firmware", "{dir}/flash", "--initrd", "{dir}/5g"], 1, ["5g", "MiB"]),
    (["run", "--firmware", "{dir}/flash", "--vars", "{dir}/disk"], 1, ["disk", "67108864"]),
    (["run", "--firmware", "{dir}/flash", "--vars", "{dir}"], 1, ["variables", "{dir}"]),
    (["run", "--firmware", "{dir}/flash", "--vars", "{dir}/no/vars"], 1, ["{dir}/no/vars"]),
    (["run", "--kernel", KERNEL, "--vars", "{dir}/vars"], 1, ["vars", "firmware"]),
    (["run", "--kernel", KERNEL, "--acpi", "on"], 1, ["ACPI", "firmware"]),
    (["run", "--kernel", KERNEL, "--balloon", "1Q"], 2, ["--balloon", "1Q"]),
    (["run", "--kernel", KERNEL, "--balloon", "1G"], 1, ["balloon", "1 GiB"]),
    (["run", "--kernel", KERNEL, "--vsock", "cid=2,dir=/tmp"], 2, ["cid", "3"]),
    (["run", "--kernel", KERNEL, "--vsock", "cid=3"], 2, ["dir="]),
    (["run", "--kernel", KERNEL, "--vsock", "cid=3,dir={dir}/no"], 1, ["{dir}/no/vsock.sock"]),
    (["run", "--kernel", KERNEL, "--input", "joystick"], 2, ["joystick", "keyboard"]),
    (["run", "--kernel", KERNEL, "--sound", "mp3"], 2, ["mp3", "file=FILE"]),
    (["run", "--kernel", KERNEL, "--sound", "file={dir}/no/a.wav"], 1, ["{dir}/no/a.wav"]),
    (["run", "--kernel", KERNEL, "--sound", "record={dir}/disk"], 1, ["disk", "WAV"]),
    (["run", "--kernel", KERNEL, "--sound", "sdl", "--confine", "on"], 1, ["confine", "file="]),
    (["run", "--kernel", KERNEL, "--display", "windows"], 2, ["windows", "window"]),
    (["run", "--kernel", KERNEL, "--port", "name"], 2, ["name", "unix:"]),
    (["run", "--kernel", KERNEL, "--port", "p,unix:{dir}/no/socket"], 1, ["{dir}/no/socket"]),
    (["run", "--kernel", KERNEL, "--virtio", "packed"], 2, ["packed=on"]),
    (["run", "--kernel", KERNEL, "--trace-engine", ""], 2, ["--trace-engine", "file"]),
    (["run", "--kernel", KERNEL, "--trace-engine", "t,left"], 2, ["left", "entered"]),
    (["run", "--kernel", KERNEL, "--trace-engine", "t,9-5"], 2, ["LAST", "5"]),
    (["run", "--kernel", KERNEL, "--engine", "interp", "--perf-map"], 1, ["interp", "jit"]),
    (["image"], 2, ["build"]),
    (["image", "biuld"], 2, ["build"]),
    (["image", "inspect", "no-such-image"], 1, ["no-such-image"]),
    (["image", "build", "debian:99"], 2, ["debian:99", "debian:13"]),
    (["version", "extra"], 2, ["extra"]),
]

# The same where the host has UEFI firmware, whose variables have a form.
UEFI = Path("/usr/share/AAVMF/AAVMF_CODE.fd")
UEFI_CASES = [
    (["run", "--firmware", "uefi", "--vars", "{dir}/no-vars"], 1, ["no-vars", "remove it"]),
    (["run", "--firmware", "uefi", "--vars", "{dir}/bad-vars"], 1, ["bad-vars", "checksum"]),
    (["run", "--firmware", "uefi", "--vars", "{dir}/disk"], 1, ["disk", "67108864"]),
]


def arm64_image(image_size):
    """The 64-byte header of an arm64 Image (Documentation/arch/arm64/booting.rst) and a branch."""
    return struct.pack("<IIQQQQQQ4sI", 0x14000010, 0, 0, image_size, 0xa, 0, 0, 0,
                       b"ARM\x64", 0) + struct.pack("<I", 0x14000000)


def volume_header():
    """The start of a UEFI variable store (UEFI PI, volume 3, 3.2.1) whose checksum is wrong."""
    guid = bytes.fromhex("8d2bf1ff96768b4ca9852747075b4f50")
    return struct.pack("<16x16sQ4sIHHH", guid, 0x84000, b"_FVH", 0, 72, 0xbad, 0)


def make_files(folder):
    (folder / "kernel").write_bytes(arm64_image(4096))
    (folder / "huge").write_bytes(arm64_image(256 << 20))
    (folder / "empty").write_bytes(b"")
    (folder / "disk").write_bytes(bytes(1 << 20))
    (folder / "elf").write_bytes(b"\x7fELF" + bytes(4096))
    for name, size in (("65m", 65 << 20), ("5g", 5 << 30), ("no-vars", 64 << 20),
                       ("bad-vars", 64 << 20)):
        with open(folder / name, "wb") as file:
            file.truncate(size)
    with open(folder / "no-vars", "r+b") as file:
        file.write(b"not variables")
    with open(folder / "bad-vars", "r+b") as file:
        file.write(volume_header())
    start = struct.pack("<I60xI", 0x14000010, 0xd503201f)  # b 0x40; nop
    (folder / "flash").write_bytes(start.ljust(4096, b"\0"))
    (folder / "cut").write_bytes(struct.pack("<I", 0x14000010 + 4096).ljust(4096, b"\0"))
    # Firmware that starts well and is garbage from there on.
    (folder / "broken").write_bytes(start + os.urandom(1 << 20))
    x86 = bytearray(4096)
    x86[0x1fe:0x200] = b"\x55\xaa"
    x86[0x202:0x206] = b"HdrS"
    (folder / "x86").write_bytes(x86)
    packed = gzip.compress(arm64_image(4096) + os.urandom(100000))
    (folder / "truncated.gz").write_bytes(packed[:len(packed) // 2])


def run(arguments, env):
    try:
        return subprocess.run([guest.PROGRAM, *arguments], env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=20 * guest.PATIENCE)
    except subprocess.TimeoutExpired:
        return None


def check(arguments, status, words, env):
    """What is wrong with the outcome, or None."""
    done = run(arguments, env)
    if done is None:
        return "it still ran after 20 s"
    if done.returncode != status:
        return f"exit status {done.returncode}, not {status}: {done.stderr.strip()}"
    lines = done.stderr.splitlines()
    if len(lines) != 1 or not lines[0].startswith("pearvisor: "):
        return f"not one line from pearvisor: {done.stderr!r}"
    missing = [word for word in words if word not in lines[0]]
    return f"no {missing} in: {lines[0]}" if missing else None


def survives(folder, env):
    """What is wrong with a VM whose firmware is garbage, or None: it goes on and can be ended."""
    socket_path = folder / "control"
    vm = subprocess.Popen([guest.PROGRAM, "run", "--firmware", folder / "broken", "--net", "none",
                           "--console", "pty", "--control", socket_path],
                          env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(100 * guest.PATIENCE):
            if socket_path.exists():
                break
            time.sleep(0.1)
        status = run(["control", socket_path, "status"], env)
        if status is None or status.returncode != 0:
            return f"no status: {status and status.stderr}"
        run(["control", socket_path, "kill"], env)
        said = vm.communicate(timeout=20 * guest.PATIENCE)[1]
        return None if vm.returncode in (0, 1) else f"exit status {vm.returncode}: {said!r}"
    except subprocess.TimeoutExpired:
        return "it cannot be ended"
    finally:
        vm.kill()
        vm.communicate()


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as name, socket.socket() as busy:
        folder = Path(name)
        make_files(folder)
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        values = {"dir": name, "port": str(busy.getsockname()[1])}
        env = dict(os.environ, PEARVISOR_HOME=str(folder / "home"))
        before = sorted(folder.iterdir())
        cases = CASES + (UEFI_CASES if UEFI.exists() else [])
        for arguments, status, words in cases:
            arguments = [a.format(**values) for a in arguments]
            problem = check(arguments, status, [w.format(**values) for w in words], env)
            if problem:
                failures += 1
                print(f"pearvisor {' '.join(arguments)}: {problem}")
        if sorted(folder.iterdir()) != before:
            failures += 1
            print("left behind:", set(folder.iterdir()) - set(before))
        problem = survives(folder, env)
        if problem:
            failures += 1
            print(f"broken firmware: {problem}")
        for arguments in (["--help"], ["help"], ["run", "--help"], ["image", "--help"],
                          ["engines"], ["version"], ["--version"], ["image", "build", "--help"]):
            done = run(arguments, env)
            if done is None or done.returncode != 0 or not done.stdout or done.stderr:
                failures += 1
                print(f"pearvisor {' '.join(arguments)}: status 0 and only stdout expected")
    print(f"{len(cases) + 9} cases, {failures} failed")
    return 1 if failures else 0


sys.exit(main())
