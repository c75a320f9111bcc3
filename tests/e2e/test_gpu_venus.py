#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Vulkan in a guest: stock Debian kernel, stock Mesa Venus driver, and the host's Vulkan driver.

What tests/gpu/vk_client computes and draws in the guest is what it computes and draws on the host's
driver natively, bit for bit; also after the guest was reset while it was drawing.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import guest
from guest import Failure

sys.path.insert(0, str(guest.ROOT / "tools/image-builder"))
sys.dont_write_bytecode = True

from pvimage.initramfs import Cpio  # noqa: E402

MODES = ["compute 4", "draw", "submits 1000", "pipelines 20"]
ICD = "/usr/share/vulkan/icd.d/virtio_icd.json"


def minimal_guest(release):
    """The folder of the kernel and of the initramfs that has the Venus driver."""
    done = subprocess.run([guest.BUILDER, "gpu-minimal", f"debian:{release}", "--offline"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        guest.skip(done.stderr.strip().splitlines()[-1])
    return Path(done.stdout.strip())


def results(text):
    return [line for line in text.splitlines() if line.startswith("result ")]


def natively(client, mode):
    done = subprocess.run([client, *mode.split()], capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise Failure(f"{mode} works on the host's driver: {done.stderr.strip()}")
    return results(done.stdout)


class Shell:
    def __init__(self, start, folder, initrd):
        self.vm = start("--kernel", folder / "vmlinuz", "--initrd", initrd, "--append",
                        "console=ttyAMA0 quiet panic=-1", "--memory", "512M", "--cpus", "2",
                        "--net", "none", "--gpu", "venus")
        self.begin()

    def begin(self):
        self.vm.expect("^PEARVISOR-USERSPACE-OK", 120)
        self.vm.send("stty -echo; PS1=\n")
        self.run("true")

    def run(self, line, timeout=300):
        status, output = self.vm.command_output(line, timeout)
        if status != 0:
            raise Failure(f"'{line}' succeeds, not status {status}: {output.strip()[-500:]}")
        if "*ERROR*" in output:
            raise Failure(f"the guest's driver has nothing to complain of: {output.strip()}")
        return output


def held(shell):
    """What blobs cost the VMM: descriptors, mappings of them, and its own memory."""
    process = Path(f"/proc/{shell.vm.process.pid}")
    mappings = (process / "maps").read_text().count("pearvisor-gpu")
    return len(list((process / "fd").iterdir())), mappings, shell.vm.own_memory()


def check_leaks(shell):
    """A thousand times memory is allocated, mapped and freed."""
    shell.run("vk_client calls 1000; sleep 2")
    before = held(shell)
    shell.run("vk_client calls 10000")
    for _ in range(60):  # the last of a process goes after its exit
        after = held(shell)
        if after[:2] == before[:2]:
            break
        time.sleep(1)
    if after[:2] != before[:2] or after[2] > before[2] + (16 << 20):
        raise Failure(f"descriptors, mappings, bytes: {before} as before, not {after}")
    print("1,000 times allocated, mapped and freed: nothing leaks")


def check_client(shell, mode, wanted):
    seen = results(shell.run(f"vk_client {mode}"))
    if not seen or seen != wanted:
        raise Failure(f"{mode}: {wanted} as on the host's driver, not {seen}")
    print(f"{mode}: as on the host's driver")


def venus(start, args):
    info = subprocess.run([guest.PROGRAM, "gpu-info"], capture_output=True, text=True)
    if info.returncode != 0:
        guest.skip(info.stderr.strip() or "no Vulkan driver")
    wanted = {mode: natively(args.client, mode) for mode in MODES}
    folder = minimal_guest(args.release)
    extra = Cpio()
    extra.file("usr/bin/vk_client", args.guest_client.read_bytes(), 0o755)
    base = (folder / "gpu.img").read_bytes()
    with tempfile.TemporaryDirectory() as temporary:
        initrd = Path(temporary, "initrd")
        initrd.write_bytes(base + bytes(-len(base) % 4) + extra.finish())
        shell = Shell(start, folder, initrd)
        summary = shell.run("vulkaninfo --summary")
        if "DRIVER_ID_MESA_VENUS" not in summary:
            raise Failure(f"vulkaninfo names the Venus driver: {summary}")
        for mode in MODES:
            check_client(shell, mode, wanted[mode])
        check_leaks(shell)
        # It starts anew in the middle of a frame.
        shell.run("vk_client frames 100000 >/dev/null 2>&1 & sleep 2; kill -0 $!")
        shell.vm.send("reboot -f\n")
        shell.begin()
        check_client(shell, "draw", wanted["draw"])
        shell.vm.send("poweroff -f\n")
        if shell.vm.wait(60) != 0:
            raise Failure("exit status 0 after power-off")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", default="13", choices=["13"])
    parser.add_argument("--client", type=Path, default=guest.ROOT / "build/tests/gpu/vk_client")
    parser.add_argument("--guest-client", type=Path,
                        default=guest.ROOT / "build/tests/gpu/vk-client-guest")
    return guest.main(venus, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
