#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Virtio devices, and NVMe disks, with a stock Debian kernel's drivers: each test is a boot to a shell."""

import argparse
import hashlib
import os
import random
import re
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import guest
import iso
from guest import Failure

sys.path.insert(0, str(guest.ROOT / "tools/image-builder"))
sys.dont_write_bytecode = True

from pvimage import BuildError, initramfs, kernels  # noqa: E402
from pvimage.archive import Archive  # noqa: E402
from pvimage.main import cache_folder  # noqa: E402

MODULES = initramfs.BOOT_MODULES + [
    "vmw_vsock_virtio_transport", "virtio_scsi", "sd_mod", "sr_mod", "isofs", "virtio_input",
    "evdev", "nvme"]
# Loaded by its test, when there is something to give back.
LATER = ["virtio_balloon"]
INIT = initramfs.COMMON + "\necho PEARVISOR-USERSPACE-OK\nsetsid cttyhack sh\npoweroff -f\n"
MIB = 1 << 20


def build_initramfs(release, path, programs, init=INIT):
    """The shell, the modules and static programs of ours; LATER ones lie in /later."""
    archive = Archive(release, cache_folder(), None, True)
    try:
        archive.update()
        kernel = kernels.Kernel(archive)
    except BuildError as error:
        guest.skip(str(error))
    try:
        cpio = initramfs.Cpio()
        for folder in ("later", "root"):
            cpio.folder(folder)
        loaded = kernel.modules.closure(MODULES)
        for number, module in enumerate(kernel.modules.closure(LATER)):
            if module not in loaded:
                cpio.file(f"later/{number:02}-{module.name.split('.')[0]}.ko",
                          initramfs.module_bytes(module))
        for name, program in programs.items():
            cpio.file(name, Path(program).read_bytes(), 0o755)
        path.write_bytes(initramfs.build(kernel.busybox, kernel.modules, MODULES, init)
                         + cpio.finish())
    finally:
        kernel.close()


class Session:
    """A booted guest with a quiet root shell."""

    def __init__(self, start, args, folder, *options, memory="512M", cpus=1):
        image = folder / "initrd"
        if not image.exists():
            build_initramfs(args.release, image, {"vsock-echo": args.vsock_echo})
        self.vm = start("--kernel", guest.guest_kernel(args.release) / "vmlinuz", "--initrd", image,
                        "--append", "console=ttyAMA0 quiet panic=-1", "--memory", memory,
                        "--cpus", str(cpus), "--virtio", f"packed={args.packed}", *options)
        self.vm.expect("^PEARVISOR-USERSPACE-OK", 120)
        self.vm.send("stty -echo; PS1=\n")
        self.run("true")

    def run(self, line, timeout=60):
        """Output of a command that has to succeed."""
        status, output = self.vm.command_output(line, timeout)
        if status != 0:
            raise Failure(f"'{line}' succeeds, not status {status}: {output.strip()}")
        return output.strip()

    def same(self, line, want):
        got = self.run(line)
        if got.split() != want.split():
            raise Failure(f"'{line}' says '{want}', not '{got}'")

    def end(self):
        self.vm.send("poweroff -f\n")
        if self.vm.wait(30) != 0:
            raise Failure("exit status 0 after power-off")

    def shared_memory(self):
        status = Path(f"/proc/{self.vm.process.pid}/status").read_text()
        return int(re.search(r"^RssShmem:\s+(\d+) kB", status, re.MULTILINE)[1]) << 10


def multiqueue(start, args, folder):
    disk = folder / "disk"
    disk.write_bytes(bytes(8 * MIB))
    vm = Session(start, args, folder, "--disk", disk, cpus=4)
    vm.same("ls /sys/block/vda/mq | wc -l", "4")
    vm.same("ls -d /sys/class/net/eth0/queues/rx-* | wc -l", "4")
    # A vector for each queue and one for changes; bit 34 of the features is packed rings.
    vm.same("grep -c 'virtio.*-req' /proc/interrupts", "4")
    vm.same("cut -c 35 /sys/bus/virtio/drivers/virtio_blk/virtio*/features",
            "1" if args.packed == "on" else "0")
    vm.run("ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 && ping -c 3 10.0.2.2")
    for cpu in range(4):
        vm.run(f"taskset -c {cpu} dd if=/dev/urandom of=/dev/vda bs=64k count=16 seek={16 * cpu}"
               " conv=fsync")
        vm.run(f"taskset -c {cpu} dd if=/dev/vda of=/root/{cpu} bs=64k count=16 skip={16 * cpu}")
    vm.end()
    # What each CPU wrote arrived where it belongs: the guest's own copies are gone, the file's not.
    if any(not any(disk.read_bytes()[i * MIB:(i + 1) * MIB]) for i in range(4)):
        raise Failure("all four CPUs' writes are in the file")


def exchange(sock, size, seed):
    """Sends a stream, half-closes, and returns the digests of what went and came."""
    data = random.Random(seed).randbytes(size)
    sock.settimeout(300)

    def send():
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    digest, count = hashlib.sha256(), 0
    while chunk := sock.recv(65536):
        digest.update(chunk)
        count += len(chunk)
    thread.join()
    return hashlib.sha256(data).hexdigest(), digest.hexdigest(), count


def vsock(start, args, folder):
    size = 8 * MIB
    vm = Session(start, args, folder, "--vsock", f"cid=42,dir={folder}")

    vm.vm.send("/vsock-echo listen 1234 &\n")
    vm.vm.expect("^listening", 30)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(folder / "vsock.sock"))
        sock.sendall(b"CONNECT 1234\n")
        hello = sock.makefile("rb", buffering=0).readline()
        if not re.fullmatch(rb"OK \d+\n", hello):
            raise Failure(f"OK and a port, not {hello}")
        begin = time.monotonic()
        sent, got, count = exchange(sock, size, 1)
        seconds = time.monotonic() - begin
    if sent != got:
        raise Failure(f"{size} bytes come back as they were, not {count} others")
    print(f"host to guest and back: {size / MIB / seconds:.1f} MiB/s")
    vm.vm.expect(rf"^echoed {size}$", 60)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "vsock.sock_4321"))
        listener.listen()
        vm.vm.send("/vsock-echo connect 4321 &\n")
        with listener.accept()[0] as sock:
            sent, got, count = exchange(sock, size, 2)
    if sent != got:
        raise Failure(f"{size} bytes come back as they were, not {count} others")
    vm.vm.expect(rf"^echoed {size}$", 60)

    # Nobody listens: neither side waits.
    status, output = vm.vm.command_output("/vsock-echo connect 99", 30)
    if status != 1 or "reset" not in output:
        raise Failure(f"a connection to nobody is reset, not {status}: {output}")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(folder / "vsock.sock"))
        sock.sendall(b"CONNECT 99\n")
        if sock.recv(16):
            raise Failure("no answer for a port nobody listens at")
    vm.end()
    if (folder / "vsock.sock").exists():
        raise Failure("the socket is gone with the VM")


def fill_and_free(vm):
    """Makes 400 MiB of guest memory resident on the host and free in the guest."""
    vm.run("dd if=/dev/urandom of=/root/big bs=1M count=400", 300)
    vm.run("rm /root/big")
    full = vm.shared_memory()
    if full < 400 * MIB:
        raise Failure(f"400 MiB that the guest used are resident, not {full >> 20}")
    return full


def wait_for_return(vm, full, size):
    deadline = time.monotonic() + 60 * guest.PATIENCE
    while (now := vm.shared_memory()) > full - size:
        if time.monotonic() > deadline:
            raise Failure(f"{size >> 20} MiB go back to the host, not {full - now >> 20}")
        time.sleep(0.5)
    print(f"resident guest memory: {full >> 20} MiB, then {now >> 20} MiB")


def balloon(start, args, folder):
    os.environ["PEARVISOR_LOG"] = "virtio=debug"
    vm = Session(start, args, folder, "--balloon", "256M", memory="1G")
    del os.environ["PEARVISOR_LOG"]
    full = fill_and_free(vm)
    vm.vm.send("for module in /later/*; do insmod $module; done\n")
    vm.vm.expect("balloon: the guest gave 262144 KiB of 262144 KiB", 60)
    wait_for_return(vm, full, 256 * MIB)
    vm.same("grep balloon_inflate /proc/vmstat", "balloon_inflate 65536")
    vm.end()


def reporting(start, args, folder):
    vm = Session(start, args, folder, "--balloon", "0", memory="1G")
    full = fill_and_free(vm)
    vm.run("for module in /later/*; do insmod $module; done")
    wait_for_return(vm, full, 300 * MIB)
    # What was given back can be used again.
    vm.run("dd if=/dev/urandom of=/root/again bs=1M count=400 && sync", 300)
    vm.end()


def scsi(start, args, folder):
    disk, cd = folder / "scsi-disk", folder / "cd.iso"
    disk.write_bytes(bytes(16 * MIB))
    content = random.Random(3).randbytes(100000)
    cd.write_bytes(iso.build("HELLO.BIN", content))
    vm = Session(start, args, folder, "--disk", f"{disk},if=scsi", "--cdrom", cd, cpus=2)
    vm.same("cat /sys/block/sda/size", "32768")
    vm.same("cat /sys/block/sda/device/vendor /sys/block/sda/device/model", "PEAR PearVisor Disk")
    vm.same("cat /sys/block/sda/queue/write_cache", "write back")
    vm.run("dd if=/dev/urandom of=/root/data bs=64k count=64")
    vm.run("dd if=/root/data of=/dev/sda bs=64k seek=32 conv=fsync")
    digest = vm.run("sha256sum /root/data").split()[0]
    vm.run("echo 3 >/proc/sys/vm/drop_caches")
    vm.same("dd if=/dev/sda bs=64k skip=32 count=64 2>/dev/null | sha256sum", f"{digest} -")
    written = disk.read_bytes()[2 * MIB:6 * MIB]
    if hashlib.sha256(written).hexdigest() != digest:
        raise Failure("what the guest wrote is in the file")
    vm.run("blkdiscard -o 2097152 -l 1048576 /dev/sda")
    vm.run("mount -t iso9660 -o ro /dev/sr0 /mnt")
    vm.same("sha256sum </mnt/hello.bin", hashlib.sha256(content).hexdigest() + " -")
    vm.run("umount /mnt")
    vm.end()
    if any(disk.read_bytes()[2 * MIB:3 * MIB]):
        raise Failure("what the guest discarded is gone from the file")


def nvme(start, args, folder):
    disk = folder / "nvme-disk"
    disk.write_bytes(bytes(16 * MIB))
    vm = Session(start, args, folder, "--disk", f"{disk},if=nvme", cpus=2)
    vm.run("until [ -e /dev/nvme0n1 ]; do sleep 0.1; done")
    vm.same("cat /sys/block/nvme0n1/size", "32768")
    vm.same("cat /sys/class/nvme/nvme0/model", "PearVisor NVMe disk")
    vm.same("cat /sys/block/nvme0n1/queue/write_cache", "write back")
    vm.same("ls /sys/block/nvme0n1/mq | wc -l", "2")
    vm.run("dd if=/dev/urandom of=/root/data bs=64k count=64")
    for cpu, block in enumerate(("1M", "4k")):
        vm.run(f"taskset -c {cpu} dd if=/root/data of=/dev/nvme0n1 bs={block} conv=fsync,notrunc "
               f"seek={(4 << 20) // (1 << 20 if block == '1M' else 4096) * (cpu + 1)}")
    digest = vm.run("sha256sum /root/data").split()[0]
    vm.run("echo 3 >/proc/sys/vm/drop_caches")
    for cpu in range(2):
        vm.same(f"taskset -c {cpu} dd if=/dev/nvme0n1 bs=4M skip={cpu + 1} count=1 2>/dev/null | "
                "sha256sum", f"{digest} -")
    for start_ in (4, 8):
        written = disk.read_bytes()[start_ * MIB:(start_ + 4) * MIB]
        if hashlib.sha256(written).hexdigest() != digest:
            raise Failure("what the guest wrote is in the file")
    vm.run("blkdiscard -o 4194304 -l 1048576 /dev/nvme0n1")
    vm.run("blkdiscard -z -o 5242880 -l 1048576 /dev/nvme0n1 || "
           "dd if=/dev/zero of=/dev/nvme0n1 bs=1M seek=5 count=1 conv=fsync,notrunc")
    vm.end()
    if any(disk.read_bytes()[4 * MIB:6 * MIB]):
        raise Failure("what the guest discarded is gone from the file")


def ports(start, args, folder):
    path = folder / "agent.sock"
    vm = Session(start, args, folder, "--port", f"org.test.agent,unix:{path}",
                 "--port", "second,pty", "--input", "keyboard,tablet")
    vm.same("cat /sys/class/virtio-ports/vport*/name", "org.test.agent second")
    device = vm.run("grep -l agent /sys/class/virtio-ports/*/name | cut -d/ -f5")
    vm.vm.send(f"cat 0<>/dev/{device} 1>&0 &\n")
    data = random.Random(4).randbytes(32768)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        threading.Thread(target=sock.sendall, args=(data,)).start()
        sock.settimeout(60 * guest.PATIENCE)
        got = bytearray()
        while len(got) < len(data) and (chunk := sock.recv(65536)):
            got += chunk
    if bytes(got) != data:
        raise Failure(f"{len(data)} bytes come back through the port, not {len(got)} others")
    names = vm.run("cat /sys/class/input/input*/name")
    for name in ("PearVisor Keyboard", "PearVisor Tablet"):
        if name not in names:
            raise Failure(f"an input device '{name}' among: {names}")
    vm.run("kill %1; kill %2; true")
    vm.end()


TESTS = {f.__name__: f for f in (multiqueue, vsock, balloon, reporting, scsi, nvme, ports)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("test", nargs="*", metavar="TEST",
                        help=f"of {', '.join(TESTS)}; all unless named")
    parser.add_argument("--release", default="13")
    parser.add_argument("--packed", default="off", choices=("on", "off"))
    parser.add_argument("--vsock-echo", default=guest.ROOT / "build/tests/e2e/vsock-echo",
                        help="the program for the guest")
    args = parser.parse_args()
    if not Path(args.vsock_echo).exists():
        guest.skip("no compiler for the guest's programs (gcc-aarch64-linux-gnu)")
    guest.guest_kernel(args.release)
    with tempfile.TemporaryDirectory(prefix="pv-e2e-") as folder:
        for name in args.test or TESTS:
            if status := guest.main(TESTS[name], args, Path(folder)):
                return status
            print(f"{name}: passed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
