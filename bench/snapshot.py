# SPDX-License-Identifier: MIT
"""How long snapshots, going on from them and clones take, against QEMU's savevm.

An idle 1 GiB guest: a stock Debian kernel with the boot test's initramfs, and an empty qcow2 disk.
QEMU (TCG) keeps memory inside the image and stops the guest for all of it. It has no clones: what
comes closest is to stop, savevm, and copy the image.
"""
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import harness

ROOT = pathlib.Path(__file__).resolve().parents[1]
MARKER = b"PEARVISOR-USERSPACE-OK"


def add_arguments(parser):
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--program", default=str(ROOT / "build/pearvisor"))
    parser.add_argument("--engine", default="jit")
    parser.add_argument("--qemu", default="qemu-system-aarch64")
    parser.add_argument("--release", default="13")


class Machine:
    """A guest that was booted, or restored when there is something to restore."""

    def __init__(self, folder, command, append, restore):
        dashes = "-" if "-machine" in command else "--"
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*command, dashes + "kernel", folder.kernel + "/vmlinuz", dashes + "initrd",
             folder.kernel + "/test.img", dashes + "append", append], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not restore:
            for line in self.process.stdout:
                if MARKER in line:
                    break
            time.sleep(3)  # it becomes idle

    def end(self):
        self.process.kill()
        self.process.communicate()


def wait_for(condition):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.002)
    sys.exit("bench snapshot: a guest did not come so far within 120 s")


def monitor(path, line):
    """Says a line to QEMU's monitor; its answer, or None while nobody listens."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return None
        text = ""
        client.sendall((line + "\n").encode())
        while text.count("(qemu) ") < 2:
            chunk = client.recv(4096).decode(errors="replace")
            if not chunk:
                return None
            text += chunk
        return text


def measure_ours(arguments, folder):
    control, snapshot = f"{folder}/control", f"{folder}/snapshot"
    subprocess.run(["rm", "-rf", snapshot], check=True)
    command = [arguments.program, "run", "--engine", arguments.engine, "--memory", "1G", "--disk",
               f"{folder}/ours.qcow2", "--net", "none", "--control", control]
    append = "console=ttyAMA0 quiet pv.run=shell"
    machine = Machine(folder, command, append, False)
    asked = [arguments.program, "control", "--json", control]
    answer = json.loads(subprocess.run([*asked, "snapshot", f"folder={snapshot}"], check=True,
                                       capture_output=True).stdout)
    machine.end()
    size = sum(path.stat().st_size for path in pathlib.Path(snapshot).iterdir())
    pathlib.Path(control).unlink(missing_ok=True)
    machine = Machine(folder, command + ["--restore", snapshot], append, True)
    wait_for(lambda: b"running" in subprocess.run([*asked, "status"], capture_output=True).stdout)
    restored = time.monotonic() - machine.started
    machine.end()
    return (answer["pause-us"] / 1000, restored * 1000, measure_clone(arguments, folder),
            size / (1 << 20))


def measure_clone(arguments, folder):
    """Milliseconds of `pearvisor clone` of a running VM of the library, once it is idle."""
    environment = {**os.environ, "PEARVISOR_HOME": f"{folder}/home"}
    vm = pathlib.Path(f"{folder}/home/vms/one")

    def do(*words):
        subprocess.run([arguments.program, *words], check=True, env=environment,
                       stdout=subprocess.DEVNULL)

    do("create", "one", "--engine", arguments.engine, "--memory", "1G", "--net", "none",
       "--kernel", folder.kernel + "/vmlinuz", "--initrd", folder.kernel + "/test.img",
       "--append", "console=ttyAMA0 quiet pv.run=shell")
    do("disk", "create", str(vm / "disk.qcow2"), "1G", "--format", "qcow2")
    do("config", "one", "set", "disk", "disk.qcow2")
    do("start", "one")
    try:
        console = vm / "log/console.log"
        wait_for(lambda: console.exists() and MARKER in console.read_bytes())
        time.sleep(3)
        started = time.monotonic()
        do("clone", "one", "two")
        took = time.monotonic() - started
    finally:
        do("stop", "--now", "one")
    shutil.rmtree(environment["PEARVISOR_HOME"])
    return took * 1000


def measure_qemu(arguments, folder):
    path = f"{folder}/monitor"
    command = [arguments.qemu, "-machine", "virt,gic-version=3", "-cpu", "cortex-a72", "-m", "1G",
               "-nographic", "-nic", "none", "-drive", f"file={folder}/qemu.qcow2,if=virtio",
               "-serial", "stdio", "-monitor", f"unix:{path},server,nowait"]
    append = "console=ttyAMA0 quiet pv.run=shell"
    machine = Machine(folder, command, append, False)
    started = time.monotonic()
    monitor(path, "savevm moment")
    saved = time.monotonic() - started
    started = time.monotonic()
    monitor(path, "stop")
    monitor(path, "savevm another")
    shutil.copy(f"{folder}/qemu.qcow2", f"{folder}/copy.qcow2")
    monitor(path, "cont")
    cloned = time.monotonic() - started
    machine.end()
    machine = Machine(folder, command + ["-loadvm", "moment"], append, True)
    wait_for(lambda: "running" in (monitor(path, "info status") or ""))
    restored = time.monotonic() - machine.started
    machine.end()
    return saved * 1000, restored * 1000, cloned * 1000


class Folder(str):
    """Where it all happens; `kernel` is where the guest's files are."""


def measure(arguments):
    builder = ROOT / "tools/image-builder/pv-image-build"
    with tempfile.TemporaryDirectory(prefix="pearvisor-bench-") as name:
        folder = Folder(name)
        folder.kernel = subprocess.run(
            [builder, "guest-kernel", f"debian:{arguments.release}"], check=True,
            capture_output=True, text=True).stdout.split()[-1]
        for image in ("ours", "qemu"):
            subprocess.run([arguments.program, "disk", "create", f"{folder}/{image}.qcow2", "1G",
                            "--format", "qcow2"], check=True, stdout=subprocess.DEVNULL)
        result = harness.Result("ms", False, f"pearvisor {arguments.engine}", "QEMU savevm")
        result.machine = harness.machine()
        figures = harness.interleave({"ours": lambda: measure_ours(arguments, folder),
                                      "qemu": lambda: measure_qemu(arguments, folder)},
                                     arguments.runs, lambda text: print(text, file=sys.stderr))
    for row, what in enumerate(("the guest stands still", "restore to running",
                                "clone of it")):
        result.add(what, [run[row] for run in figures["ours"]],
                   [run[row] for run in figures["qemu"]])
    size = statistics.median(run[3] for run in figures["ours"])
    result.notes.append(f"our snapshot takes {size:.1f} MiB")
    return result
