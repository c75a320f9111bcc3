#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The kvm engine on a real KVM: inside an ARM64 machine that QEMU emulates.

QEMU's `virt` machine with EL2 boots a stock Debian kernel, whose KVM runs on the emulated CPU. Its
initramfs holds the cross-built programs: the engine contract suite, bare-metal guest programs, and
pearvisor itself, which boots the same kernel once more as its guest. A guest of kvm is saved there,
goes on from that on kvm, and is refused by interp, whose CPU lacks what it was started with.

With --snapshots instead: a guest that was started out here, on our own CPU engine, goes on on kvm,
is saved there, and goes on on interp. That wants a CPU with all that ours has (Neoverse N2), and so
QEMU 8.2 or newer.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import guest
from guest import Failure

sys.path.insert(0, str(guest.ROOT / "tools/image-builder"))
from pvimage.initramfs import Cpio  # noqa: E402

INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
exec <>/dev/console >&0 2>&0
echo HOST-UP $(uname -r)
"""

NESTED_RUN = ("truncate -s 8M /disk; "
              "/pv/pearvisor run --engine kvm --memory 256M --net none --disk /disk {options} "
              "--kernel /pv/vmlinuz --initrd /pv/guest.img "
              "--append 'console=ttyAMA0 quiet panic=-1 pv.run={what}'; echo NESTED-ENDED $?")

# A guest with a shell, whose console's input is file descriptor 3 of the shell that this is given
# to. Its messages are SPIs, as KVM's ITS cannot be saved.
NESTED_SHELL = ("{program} run --engine {engine} --memory 256M --cpus 2 --net none --msi v2m "
                "--control {control} {options} --kernel {kernel}/vmlinuz --initrd {kernel}/guest.img "
                "--append 'console=ttyAMA0 quiet panic=-1 pv.run=shell' </in & exec 3>/in")


def find_library(name, folders):
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise Failure(f"library {name} in one of {', '.join(map(str, folders))}")


def needed_libraries(programs, folders):
    """The closure of what the programs are linked with, as {name: path}."""
    found, queue = {}, list(programs)
    while queue:
        out = subprocess.run(["aarch64-linux-gnu-readelf", "-d", queue.pop()], check=True,
                             capture_output=True, text=True).stdout
        for line in out.splitlines():
            if "(NEEDED)" in line:
                name = line.split("[")[1].rstrip("]")
                if name not in found:
                    found[name] = find_library(name, folders)
                    queue.append(found[name])
    return found


def build_initramfs(out, base, programs, files, libraries, init):
    """The boot test's archive (busybox) and, behind it, ours: later files replace earlier ones."""
    cpio = Cpio(compress=False)
    for folder in ("lib", "pv"):
        cpio.folder(folder)
    for name, path in {**libraries, "ld-linux-aarch64.so.1":
                       Path("/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1")}.items():
        cpio.file(f"lib/{name}", path.read_bytes(), 0o755)
    for path in programs:
        cpio.file(f"pv/{path.name}", path.read_bytes(), 0o755)
    for name, path in files.items():
        if name == "snapshot":
            cpio.folder("pv/snapshot")
            for part in path.iterdir():
                cpio.file(f"pv/snapshot/{part.name}", part.read_bytes())
        else:
            cpio.file(f"pv/{name}", path.read_bytes())
    cpio.file("init", init.encode(), 0o755)
    head = base.read_bytes()
    with open(out, "wb") as file:
        file.write(head + bytes(-len(head) % 4))
        file.write(cpio.finish())


# Bare-metal programs (tests/guest), with their vCPUs. The others ask what our engines' CPU is like
# rather than what an engine does, and QEMU's is different: it orders STLR and LDAR less (smp).
GUEST_PROGRAMS = {"gic": "2", "irq": "2", "selfmod": "2", "timer": "1", "tlbi": "2"}


# What the emulated CPU says of LDRSB and its like (ESR_EL2.SSE) leaves out that they extend the
# sign, so KVM does not do it either (QEMU 7.2).
WRONG_HERE = "test_mmio_extension"


def contract_cases():
    """The names of the contract suite's cases, but for what is known to be wrong here."""
    source = (guest.ROOT / "tests/contract/test_engine.c").read_text(encoding="utf-8")
    cases = re.findall(r"cmocka_unit_test\((\w+)\)", source)
    return [name for name in cases if name != WRONG_HERE]


def init_script():
    lines = [INIT]
    lines.append("/pv/pearvisor engines")
    # Each case in a process of its own: QEMU 7.2 has been seen to execute, in the memory of a new
    # VM, an instruction that an earlier VM of the same process had at that place of its page.
    for case in contract_cases():
        lines.append(f"/pv/contract-engine kvm {case}; echo CONTRACT-ENDED {case} $?")
    for name, vcpus in GUEST_PROGRAMS.items():
        suffix = " lines" if name == "irq" else ""
        lines.append(f"/pv/guest-host /pv/guest-{name}.bin {vcpus} kvm{suffix}; "
                     f"echo GUEST-PROGRAM-ENDED {name} $?")
    lines.append(NESTED_RUN.format(options="--cpus 2", what="diskwrite,reboot"))
    lines.append(NESTED_RUN.format(options="--cpus 1 --msi v2m", what="diskwrite"))
    return "\n".join(lines) + "\n" + SHELL


SHELL = "mkfifo /in; stty -echo; PS1= sh; poweroff -f\n"


def start_host(start, args, folder, init, cpu, more):
    """Starts QEMU with `init`, our programs and files, and `more` files."""
    kernel = guest.guest_kernel("13")
    cross = args.build
    sysroot = subprocess.run([guest.ROOT / "tools/cross/sysroot", "--offline"], check=True,
                             capture_output=True, text=True).stdout.strip()
    folders = [Path(sysroot, "usr/lib/aarch64-linux-gnu"), Path(sysroot, "lib/aarch64-linux-gnu"),
               Path("/usr/aarch64-linux-gnu/lib")]
    programs = [cross / "pearvisor", cross / "tests/contract/contract-engine",
                cross / "tests/guest/guest-host"]
    files = {f"guest-{name}.bin": cross / f"tests/guest/guest-{name}.bin"
             for name in GUEST_PROGRAMS}
    files["vmlinuz"] = kernel / "vmlinuz"
    files["guest.img"] = kernel / "test.img"
    initrd = Path(folder, "initrd")
    build_initramfs(initrd, kernel / "test.img", programs, {**files, **more},
                    needed_libraries(programs, folders), init)
    return start(tick=echo if args.verbose else None, command=[
        args.qemu, "-M", "virt,virtualization=on,gic-version=3",
        "-cpu", cpu, "-accel", "tcg,thread=multi", "-smp", "2",
        "-m", "1536", "-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot",
        "-kernel", str(kernel / "vmlinuz"), "-initrd", str(initrd),
        "-append", "console=ttyAMA0 quiet panic=-1"])


def nested(start, args):
    with tempfile.TemporaryDirectory() as folder:
        watch(start_host(start, args, folder, init_script(), "max,pauth-impdef=on", {}))


def snapshots(start, args):
    """From our own engine to kvm and back."""
    kernel = guest.guest_kernel("13")
    with tempfile.TemporaryDirectory() as folder:
        control, saved = Path(folder, "control"), Path(folder, "snapshot")
        with start("--memory", "256M", "--cpus", "2", "--net", "none", "--msi", "v2m",
                   "--control", control, "--kernel", kernel / "vmlinuz",
                   "--initrd", kernel / "test.img",
                   "--append", "console=ttyAMA0 quiet panic=-1 pv.run=shell") as vm:
            vm.expect("^PEARVISOR-USERSPACE-OK", 300)
            vm.expect("# ", 30)
            vm.send("MARK=first$((6*7)); echo HERE-$MARK\n")
            vm.expect("^HERE-first42", 30)
            subprocess.run([guest.PROGRAM, "control", control, "snapshot", f"folder={saved}"],
                           check=True, timeout=60 * guest.PATIENCE)
        host = start_host(start, args, folder, INIT + SHELL, "neoverse-n2", {"snapshot": saved})
        host.expect(r"^HOST-UP (\S+)", 120)
        go_on(host, "kvm", "/pv/snapshot", "first42")
        tell(host, "MARK=second$((6*8)); echo HERE-$MARK", "^HERE-second48")
        take(host, "/second")
        go_on(host, "interp", "/second", "second48")
        tell(host, "poweroff -f", "TOLD")
        host.send("wait; echo ENDED $?; exit\n")
        host.expect("^ENDED 0", 120)


def shell_of(engine, options=""):
    return NESTED_SHELL.format(program="/pv/pearvisor", engine=engine, control="/control",
                               options=options, kernel="/pv")


def tell(host, line, pattern):
    """Has the nested guest's shell do something."""
    host.send(f"echo '{line}' >&3; echo TOLD\n")
    host.expect(pattern, 120)


def take(host, folder):
    """Saves the nested guest, and ends it."""
    host.send(f"/pv/pearvisor control /control snapshot folder={folder}; echo TAKEN $?\n")
    host.expect("^TAKEN 0", 120)
    host.send("/pv/pearvisor control /control kill; wait; echo KILLED\n")
    host.expect("^KILLED", 60)


def go_on(host, engine, folder, mark):
    host.send(shell_of(engine, f"--restore {folder}") + "\n")
    tell(host, "echo AGAIN-$MARK $(nproc)", f"^AGAIN-{mark} 2")


def see_snapshot(host):
    host.send(shell_of("kvm") + "\n")
    host.expect("^PEARVISOR-USERSPACE-OK", 120)
    tell(host, "MARK=kvm$((6*7)); echo HERE-$MARK", "^HERE-kvm42")
    take(host, "/first")
    host.send(shell_of("interp", "--restore /first") + "; wait; echo REFUSED\n")
    host.expect(r"the guest's CPU has \S.* and engine interp has", 60)
    host.expect("^REFUSED", 60)
    go_on(host, "kvm", "/first", "kvm42")
    tell(host, "poweroff -f", "TOLD")
    host.send("wait; echo ENDED; exit\n")
    host.expect("^ENDED", 60)


def echo(vm):
    """Shows what came since the last time."""
    shown = getattr(vm, "shown", 0)
    print(vm.console[shown:], end="", flush=True)
    vm.shown = len(vm.console)


def watch(vm):
    vm.expect(r"^HOST-UP (\S+)", 120)
    vm.expect(r"^\* kvm ", 20)
    failed = [case for case in contract_cases()
              if vm.expect(rf"^CONTRACT-ENDED {case} (\d+)", 120)[1] != "0"]
    if failed:
        raise Failure(f"these cases of the contract suite passed: {', '.join(failed)}")
    failed = [name for name in GUEST_PROGRAMS
              if vm.expect(rf"^GUEST-PROGRAM-ENDED {name} (\d+)", 60)[1] != "0"]
    if failed:
        raise Failure(f"these guest programs passed: {', '.join(failed)}")
    # Messages through KVM's ITS; it resets itself, does everything again, and is left.
    see_boot(vm, cpus=2)
    see_boot(vm, cpus=2)
    vm.send("\x1dq\x1dq")
    vm.expect(r"^NESTED-ENDED", 60)
    # Messages that our frame turns into SPIs of KVM's GIC; it powers itself off.
    see_boot(vm, cpus=1)
    ended = vm.expect(r"^NESTED-ENDED (\d+)", 60)
    if ended[1] != "0":
        raise Failure(f"the nested VM's exit status 0, not {ended[1]}")
    see_snapshot(vm)


def see_boot(vm, cpus):
    vm.expect(r"^PEARVISOR-USERSPACE-OK", 120)
    seen = vm.expect(r"^cpus: (\d+)", 20)
    if int(seen[1]) != cpus:
        raise Failure(f"{cpus} CPUs in the nested guest, not {seen[1]}")
    vm.expect(r"^PEARVISOR-DISK-OK", 60)
    vm.expect(r"^PEARVISOR-TEST-END", 20)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=guest.ROOT / "build-arm64",
                        help="folder of the cross build")
    parser.add_argument("--qemu", default="qemu-system-aarch64", help="the program that emulates")
    parser.add_argument("--snapshots", action="store_true",
                        help="only: a snapshot from our engine to kvm and back")
    parser.add_argument("--verbose", action="store_true", help="print the console")
    args = parser.parse_args()
    if not shutil.which(args.qemu):
        guest.skip(f"{args.qemu} is not installed")
    return guest.main(snapshots if args.snapshots else nested, args)


if __name__ == "__main__":
    sys.exit(main())
