# SPDX-License-Identifier: MIT
"""Seconds of whole programs in a Debian 13 guest, against the fastest QEMU of each, same image.

Installing 20 packages, compiling 5,000 lines of C, a Python script, a loop in Node. The guest prepares
them (bench/programs/prepare.sh) and times them by its own clock. The image is made once by

    pearvisor image build --name debian-13-bench --size 6G --package gcc --package libc6-dev \\
        --package python3 --package nodejs debian:13
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import boot
import harness
import qemu

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import guest  # noqa: E402  (found through the path set above)

PATIENCE = 900
PROGRAMS = {
    "dpkg -i of 20": "dpkg -i /mnt/bench*.deb",
    "gcc -O2 5,000 lines": "gcc -O2 -c -o /mnt/big.o /mnt/big.c",
    "python3": "python3 /mnt/work.py",
    "node": "node /mnt/work.js",
}
DONE = re.compile(r"took (\d+) ms, status (\d+)")


def add_arguments(parser):
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--image", default="debian-13-bench", help="in the library")
    parser.add_argument("--program", default=str(ROOT / "build/pearvisor"))
    parser.add_argument("--engine", help="passed to pearvisor run")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", default="1G")
    qemu.add_arguments(parser)


def timed(vm, command):
    """How many seconds a command takes in the guest."""
    _, output = vm.command_output(f"t=$(date +%s%3N); {command} >/dev/null 2>&1; s=$?; "
                                  "echo took $(($(date +%s%3N) - t)) ms, status $s", PATIENCE)
    match = DONE.search(output)
    if not match or match[2] != "0":
        sys.exit(f"bench programs: '{command}' failed in the guest: {output.strip()}")
    return int(match[1]) / 1000


def run_once(command, environment, disk, source):
    """Boots a copy of the image and runs everything in it."""
    subprocess.run(["cp", "--sparse=always", source, disk], check=True)
    with guest.Guest(command=["env", *(f"{name}={value}" for name, value in environment.items()),
                              *command]) as vm:
        vm.login(PATIENCE)
        script = (ROOT / "bench/programs/prepare.sh").read_text(encoding="utf-8")
        vm.send("cat > /root/prepare.sh <<'END-OF-SCRIPT'\n" + script + "END-OF-SCRIPT\n")
        status, output = vm.command_output("sh /root/prepare.sh", PATIENCE)
        if status != 0:
            sys.exit(f"bench programs: the guest cannot prepare them: {output.strip()}")
        figures = {name: timed(vm, program) for name, program in PROGRAMS.items()}
        vm.send("poweroff\n")
        vm.wait(PATIENCE)
    return figures


def measure(arguments):
    manifest = guest.library_image(arguments.image)
    folder = guest.image_folder(arguments.image)
    kernel = ["-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd.img")]
    engine = ["--engine", arguments.engine] if arguments.engine else []
    cpus = str(arguments.cpus)
    with tempfile.TemporaryDirectory() as scratch:
        disk = os.path.join(scratch, "disk.img")
        ours = [arguments.program, "run", *engine, "--cpus", cpus, "--memory", arguments.memory,
                "--net", "none", "--kernel", kernel[1], "--initrd", kernel[3], "--append",
                manifest["append"], "--disk", disk]

        def subject(command, environment):
            return lambda: run_once(command, environment, disk, folder / "disk.img")

        subjects = {"pearvisor": subject(ours, {})}
        for peer in qemu.peers(arguments):
            for cpu in qemu.CPUS:
                command = peer.command(cpu, cpus, arguments.memory, *kernel, "-append",
                                       manifest["append"], "-drive",
                                       f"if=virtio,format=raw,file={disk}")
                subjects[f"{peer.version} {cpu.partition(',')[0]}"] = subject(
                    command, {name: value for name, value in (peer.environment or {}).items()
                              if os.environ.get(name) != value})
        try:
            runs = harness.interleave(subjects, arguments.runs, boot.report)
        except guest.Failure as error:
            sys.exit(f"bench programs: {error}")
    result = harness.Result("seconds", False, "pearvisor", "fastest QEMU")
    result.notes.append(f"image {arguments.image}, {cpus} vCPUs, {arguments.memory}, QEMU -accel "
                        f"tcg,thread=multi with -cpu {' and '.join(qemu.CPUS)}")
    for name in PROGRAMS:
        times = {kind: [run[name] for run in one] for kind, one in runs.items()}
        result.add_fastest(name, times.pop("pearvisor"), times)
    return result
