# SPDX-License-Identifier: MIT
"""Puts the steps of an image build in order."""

import hashlib
import json
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import BuildError, desktop, ext4, filesystem, initramfs, setup
from .kernels import Kernel, write_atomically
from .normalise import normalise
from .rootfs import Rootfs

MINIMAL = ["apt", "debian-archive-keyring", "e2fsprogs", "iproute2", "kmod", "login", "netbase",
           "passwd", "systemd-resolved", "systemd-sysv", "udev", "usr-is-merged"]
PROFILES = {
    "minimal": MINIMAL,
    "full": MINIMAL + ["ca-certificates", "curl", "file", "iputils-ping", "less", "nano",
                       "openssh-server", "openssl", "procps", "psmisc", "python3",
                       "rsync", "vim-tiny", "wget", "xz-utils"],
    "gpu": MINIMAL + desktop.PACKAGES,
}

# What a guest may want to load beyond the boot modules; the full profile gets every module.
GUEST_MODULES = initramfs.BOOT_MODULES + [
    "virtio_balloon", "virtio_input", "virtio_gpu", "virtio_scsi", "virtio_mem", "virtio_snd",
    "virtiofs", "9p", "9pnet_virtio", "vmw_vsock_virtio_transport", "overlay", "squashfs", "vfat",
    "nls_ascii", "nls_cp437", "isofs", "loop", "btrfs", "xfs", "fuse", "zram", "tun", "veth",
    "bridge", "br_netfilter", "nf_tables", "nft_chain_nat", "nft_masq", "nft_compat", "nft_ct",
    "xt_MASQUERADE", "xt_conntrack", "xt_addrtype", "xt_comment", "iptable_nat", "iptable_filter",
    "ip_tables", "ip6_tables", "dummy", "vxlan", "ipvlan", "macvlan", "wireguard", "autofs4",
    "efivarfs", "qemu_fw_cfg", "gpio_pl061", "gpio_keys", "button", "evdev", "crc32_generic",
    "aes_ce_blk", "sha2_ce", "ghash_ce"]

QUIET_LIMIT = 1800  # seconds without a line from the second stage that count as hung


class Progress:
    """One line for each step on stderr; on a terminal, a bar is rewritten in place."""

    def __init__(self):
        self.started = time.monotonic()
        self.live = sys.stderr.isatty()
        self.open = False

    def step(self, text):
        self.end()
        sys.stderr.write(f"[{time.monotonic() - self.started:6.1f}s] {text}\n")
        sys.stderr.flush()

    def detail(self, done, total, text):
        if self.live:
            width = 24 * done // max(total, 1)
            sys.stderr.write(f"\r\033[K  [{'#' * width}{'.' * (24 - width)}] "
                             f"{done}/{total} {text[:40]}")
            self.open = True
        elif done == total or done % 20 == 0:
            sys.stderr.write(f"  {done}/{total} {text}\n")
        sys.stderr.flush()

    def end(self):
        if self.open:
            sys.stderr.write("\n")
            self.open = False


def diverts_files(package):
    """Whether a package's preinst moves other packages' files, which needs the real order."""
    done = subprocess.run(["dpkg-deb", "--info", package.path, "preinst"], capture_output=True)
    return done.returncode == 0 and b"dpkg-divert" in done.stdout


def install_modules(tree, modules, everything):
    """Puts the kernel's modules under /usr/lib/modules of the guest; depmod runs in the guest."""
    chosen = modules.paths.values() if everything else modules.closure(GUEST_MODULES)
    root = tree / "usr/lib/modules" / modules.version
    for path in chosen:
        target = root / path.relative_to(modules.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (modules.root / name).exists():
            shutil.copyfile(modules.root / name, root / name)


def clamp_times(tree, epoch):
    """Sets the times of what this program wrote, and of the folders it wrote to."""
    for folder, folders, files in os.walk(tree, topdown=False):
        for name in files + folders:
            path = os.path.join(folder, name)
            if os.lstat(path).st_mtime > epoch:
                os.utime(path, (epoch, epoch), follow_symlinks=False)
    os.utime(tree, (epoch, epoch))


def vm_command(args, files):
    append = (f"console=ttyAMA0 root=LABEL={filesystem.LABEL} rw quiet panic=-1 "
              "init=/.pearvisor-setup/second-stage")
    if args.vm_command:
        return [word.format(append=append, **files) for word in shlex.split(args.vm_command)]
    return [args.vmm, "run", "--kernel", files["kernel"], "--initrd", files["initrd"],
            "--append", append, "--disk", files["disk"], "--net", "none", "--memory", "1G",
            "--cpus", "1", "--console", "stdio"]


def read_lines(process, timeout):
    """Yields lines of the guest's console as they come; gives up when it stays quiet."""
    pending = b""
    while True:
        ready, _, _ = select.select([process.stdout], [], [], timeout)
        if not ready:
            raise BuildError(f"the guest said nothing for {timeout} seconds while configuring "
                             "its packages")
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace").strip("\r")


def run_second_stage(args, files, total, log_path, say):
    """Boots the image once to configure its packages."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "FAKEROOTKEY")}
    command = vm_command(args, files)
    try:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        raise BuildError(f"cannot start {command[0]}: {error.strerror}") from error
    installed, outcome, tail = set(), None, []
    try:
        with open(log_path, "w", encoding="utf-8") as log:
            for line in read_lines(process, QUIET_LIMIT):
                log.write(line + "\n")
                tail = [*tail[-4:], line]
                match = re.match(r"status: (\S+): installed$", line)
                if match and match[1] not in installed:
                    installed.add(match[1])
                    say.detail(len(installed), total, f"packages configured ({match[1]})")
                elif line.startswith("PV-SETUP "):
                    outcome = line[9:]
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
    if outcome != "done":
        reason = outcome if outcome and outcome.startswith("failed") else "; ".join(tail)
        raise BuildError(f"the second stage did not finish: {reason} (console: {log_path})")


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_disk(configured, disk, args, release, epoch, work):
    """The finished disk: what the second stage left, written afresh, the same each time."""
    filesystem.check(configured)
    contents = work / "contents"
    contents.mkdir()
    with ext4.Reader(configured) as reader:
        tree = reader.tree()
        normalise(tree, epoch)
        filesystem.write(tree, disk, args.size, release, epoch, contents)
    shutil.rmtree(contents)
    configured.unlink()


def manifest(args, archive, kernel, packages, name, folder, epoch):
    digest = {f: sha256(folder / f) for f in ("vmlinuz", "initrd.img", "disk.img")}
    return {
        "format": 1,
        "name": name,
        "distribution": "debian",
        "release": archive.release,
        "suite": archive.suite,
        "architecture": "arm64",
        "profile": args.profile,
        "created": epoch,
        "disk_size": args.size,
        "append": f"console=ttyAMA0 root=LABEL={filesystem.LABEL} rw quiet",
        "kernel": {"package": kernel.package.name, "version": kernel.package.version},
        "sha256": digest,
        "packages": [{"name": p.name, "version": p.version, "architecture": p.arch,
                      "sha256": p.sha256} for p in sorted(packages, key=lambda p: p.name)],
    }


def find_agent(vmm):
    """The guest agent that was built or installed with the program; None without one."""
    program = shutil.which(vmm)
    folder = Path(program).resolve().parent if program else Path("/nowhere")
    places = [folder / "guest/agent/pearvisor-agent",
              folder / "../libexec/pearvisor/pearvisor-agent"]
    return next((place for place in places if place.is_file()), None)


def build_tree(work, archive, args, kernel, say):
    """The root tree with everything unpacked; returns (tree, packages, newest time in them)."""
    requested = sorted(set(archive.essential() + PROFILES[args.profile] + args.package))
    base = {n for n, _, _ in archive.resolve(archive.essential() + PROFILES[args.profile])}
    say.step("fetching packages")
    packages = archive.download(requested)
    deferred = [p for p in packages if p.name not in base and diverts_files(p)]
    say.step(f"unpacking {len(packages)} packages")
    rootfs = Rootfs(work / "root")
    rootfs.begin()
    unpacked = [p for p in packages if p not in deferred]
    for count, package in enumerate(unpacked, 1):
        rootfs.add(package)
        say.detail(count, len(unpacked), "packages unpacked")
    rootfs.finish(requested, packages)
    install_modules(rootfs.tree, kernel.modules, args.profile == "full")
    keys = Path(args.authorized_key).read_text() if args.authorized_key else None
    setup.write_configuration(rootfs.tree, archive, keys)
    if args.profile == "gpu":
        desktop.install(rootfs.tree)
    agent = find_agent(args.vmm)
    if agent:
        setup.install_agent(rootfs.tree, agent)
    setup.write_second_stage(rootfs.tree, unpacked, deferred, kernel.modules.version)
    return rootfs.tree, packages, rootfs.newest


def remove_stale(images):
    """Removes what builds left that were killed outright; the folders end in their process id."""
    for folder in images.glob(".*.[0-9]*"):
        pid = folder.name.rpartition(".")[2]
        if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            shutil.rmtree(folder, ignore_errors=True)


def build_image(archive, home, args, say):
    """Builds images/NAME under `home`: whole, or not at all."""
    name = args.name or f"debian-{archive.release}"
    images = home / "images"
    final = images / name
    if final.exists() and not args.force:
        raise BuildError(f"image '{name}' exists already; --force replaces it, --name NAME "
                         "builds another")
    images.mkdir(parents=True, exist_ok=True)
    remove_stale(images)
    work = images / f".{name}.{os.getpid()}"
    work.mkdir()
    kernel = None
    try:
        say.step("fetching the kernel")
        kernel = Kernel(archive)
        output = work / "image"
        output.mkdir()
        tree, packages, newest = build_tree(work, archive, args, kernel, say)
        epoch = min(newest, archive.date())
        (output / "vmlinuz").write_bytes(kernel.image.read_bytes())
        (output / "initrd.img").write_bytes(initramfs.build(
            kernel.busybox, kernel.modules, initramfs.BOOT_MODULES, initramfs.ROOT_INIT))
        say.step("making the file system")
        configured = work / "configured.img"
        clamp_times(tree, epoch)
        filesystem.make(configured, args.size, archive.release, epoch, tree)
        shutil.rmtree(tree)
        say.step("configuring the packages inside a virtual machine (some minutes)")
        files = {"kernel": str(output / "vmlinuz"), "initrd": str(output / "initrd.img"),
                 "disk": str(configured)}
        run_second_stage(args, files, len(packages), images / f"{name}.log", say)
        say.step("writing the disk")
        write_disk(configured, output / "disk.img", args, archive.release, epoch, work)
        write_atomically(output / "image.json", json.dumps(manifest(
            args, archive, kernel, packages, name, output, epoch), indent=2).encode() + b"\n")
        if final.exists():
            shutil.rmtree(final)
        output.rename(final)
        (images / f"{name}.log").unlink(missing_ok=True)
        say.step(f"image '{name}' is ready: pearvisor run {name}")
    finally:
        if kernel:
            kernel.close()
        shutil.rmtree(work, ignore_errors=True)
