# SPDX-License-Identifier: MIT
"""The QEMUs that we are compared with: the installed one, and the newest that Debian's backports have.

The newer one is downloaded with apt (its own state and cache folders, so the system's are not touched)
and unpacked into a folder; nothing is installed. Where it cannot be had, it is left out, and said so.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

PACKAGE = "qemu-system-arm"
CPUS = ("cortex-a72", "max,pauth-impdef=on")
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))


class Qemu:
    """One QEMU: how to start it, and what it calls itself."""

    def __init__(self, program, root=None):
        self.program = str(program)
        self.environment = None
        self.options = []
        if root:
            library = root / "usr/lib" / (os.uname().machine + "-linux-gnu")
            self.environment = {**os.environ, "LD_LIBRARY_PATH": str(library),
                                "QEMU_MODULE_DIR": str(library / "qemu")}
            self.options = ["-L", str(root / "usr/share/qemu"), "-L",
                            str(root / "usr/share/seabios"), "-L", str(root / "usr/lib/ipxe/qemu")]
        text = subprocess.run([self.program, "--version"], env=self.environment, text=True,
                              capture_output=True, check=True).stdout
        self.version = re.search(r"version (\S+)", text)[1]

    def command(self, cpu, cpus, memory, *more):
        """A machine without network and with the serial port on standard output."""
        return [self.program, *self.options, "-M", "virt,gic-version=3", "-accel",
                "tcg,thread=multi", "-cpu", cpu, "-smp", str(cpus), "-m", memory, "-nographic",
                "-nic", "none", *more]


def add_arguments(parser):
    parser.add_argument("--qemu", default="qemu-system-aarch64", help="the installed QEMU")
    parser.add_argument("--backports", type=pathlib.Path, metavar="FOLDER",
                        default=CACHE / "pearvisor/qemu-backports",
                        help="where the newer QEMU is unpacked, or will be (default %(default)s)")
    parser.add_argument("--no-backports", action="store_true", help="only the installed QEMU")


def _say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _suite():
    """The archive that this system installs from, and the name of its backports."""
    release = pathlib.Path("/etc/os-release").read_text(encoding="utf-8")
    codename = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)",
                              "Created-By: Packages"], capture_output=True, text=True, check=True)
    for line in targets.stdout.splitlines():
        uri, _, name = line.partition(" ")
        if codename and name == codename[1]:
            return uri, f"{name}-backports"
    raise OSError("apt has no Debian archive to ask")


def _download(folder):
    uri, suite = _suite()
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    source = folder / "sources.list"
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    source.write_text("".join(f"deb [signed-by={keyring}] {uri} {name} main\n"
                              for name in (suite.removesuffix("-backports"), suite)),
                      encoding="utf-8")
    apt = ["apt-get", "-qq", "-o", f"Dir::Etc::sourcelist={source}", "-o", "Dir::Etc::sourceparts=-",
           "-o", f"Dir::State::lists={folder / 'lists'}", "-o",
           f"Dir::Cache::archives={folder / 'archives'}", "-o", "Dir::Cache::pkgcache=", "-o",
           "Dir::Cache::srcpkgcache=", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"]
    _say(f"downloading {PACKAGE} of {suite}")
    subprocess.run([*apt, "update"], check=True, stdout=sys.stderr)
    subprocess.run([*apt, "-y", "--no-install-recommends", "--download-only", "-t", suite, "install",
                    PACKAGE], check=True, stdout=sys.stderr)
    root = folder / "root"
    for package in sorted((folder / "archives").glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, root], check=True)
    shutil.rmtree(folder / "archives")
    shutil.rmtree(folder / "lists")


def _newer(folder):
    program = folder / "root/usr/bin/qemu-system-aarch64"
    try:
        if not program.exists():
            _download(folder)
        return [Qemu(program, folder / "root")]
    except (OSError, subprocess.CalledProcessError) as error:
        _say(f"no newer QEMU: {error}")
        return []


def peers(arguments):
    """The installed QEMU and, unless told otherwise, the newer one."""
    if not shutil.which(arguments.qemu):
        sys.exit(f"bench: {arguments.qemu} is not installed (Debian: {PACKAGE})")
    found = [Qemu(arguments.qemu)]
    if not arguments.no_backports:
        found += [qemu for qemu in _newer(arguments.backports) if qemu.version != found[0].version]
    return found
