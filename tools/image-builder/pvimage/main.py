# SPDX-License-Identifier: MIT
"""The command line of the image builder."""

import argparse
import os
import re
import shutil
import signal
import sys
from pathlib import Path

from . import BuildError, build, ext4, gpu_minimal, kernels, library
from .archive import SUITES, Archive


def cache_folder():
    if os.environ.get("PEARVISOR_HOME"):
        return Path(os.environ["PEARVISOR_HOME"]) / "cache"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "pearvisor"


def home_folder():
    if os.environ.get("PEARVISOR_HOME"):
        return Path(os.environ["PEARVISOR_HOME"])
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(base) / "pearvisor"


def parse_size(text):
    match = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size; for example 4G")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[match[2]]


def parse_image(text):
    match = re.fullmatch(r"debian:(\w+)", text)
    release = next((n for n, s in SUITES.items() if match and match[1] in (n, s)), None)
    if release is None:
        known = ", ".join(f"debian:{n}" for n in sorted(SUITES))
        raise argparse.ArgumentTypeError(f"image '{text}' is not known; known are {known}")
    return release


def parse_name(text):
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a name; use up to 64 of a-z, 0-9, '.', '_' and '-'")
    return text


class Parser(argparse.ArgumentParser):
    """Reports errors the way pearvisor does: one line, exit status 2."""

    def error(self, message):
        sys.stderr.write(f"pearvisor: {message}\n")
        sys.exit(2)


def compare(one, other):
    """Prints the paths at which two disks differ; returns 1 when there are any."""
    with ext4.Reader(one) as first, ext4.Reader(other) as second:
        found = list(ext4.differences(first.tree(), second.tree()))
    for path, what in found:
        print(f"{os.fsdecode(path)}: {', '.join(what)}")
    return 1 if found else 0


def parser():
    top = Parser(prog="pv-image-build", description=__doc__)
    sub = top.add_subparsers(dest="command", required=True)

    def common(command):
        command.add_argument("image", type=parse_image, metavar="IMAGE",
                             help="debian:13 or debian:12")
        command.add_argument("--mirror", metavar="URI",
                             help="Debian archive (default: the one the host's apt uses)")
        command.add_argument("--offline", action="store_true",
                             help="use the package indexes and packages of an earlier build")

    image = sub.add_parser("build", prog="pearvisor image build", help="build a guest image")
    common(image)
    image.add_argument("--name", type=parse_name, help="name in the library (default: debian-N)")
    image.add_argument("--profile", choices=sorted(build.PROFILES), default="minimal")
    image.add_argument("--package", action="append", default=[], metavar="NAME",
                       help="add a package; may be repeated")
    image.add_argument("--size", type=parse_size, default=4 << 30, help="disk size (default: 4G)")
    image.add_argument("--authorized-key", metavar="FILE",
                       help="public key that may log in as root over ssh")
    image.add_argument("--force", action="store_true", help="replace an image of that name")
    image.add_argument("--vmm", default=os.environ.get("PEARVISOR_PROGRAM", "pearvisor"),
                       help="the pearvisor program that runs the second stage")
    image.add_argument("--vm-command", metavar="COMMAND",
                       help="development: another VM command; {kernel}, {initrd}, {append} and "
                            "{disk} are filled in")

    sub.add_parser("list", prog="pearvisor image list", help="list the images of the library")
    for verb, text in (("inspect", "print what an image is made of, as JSON"),
                       ("remove", "remove an image and its disk")):
        command = sub.add_parser(verb, prog=f"pearvisor image {verb}", help=text)
        command.add_argument("name", type=parse_name, metavar="NAME")

    comparison = sub.add_parser("compare", help="print the files that differ between two disks")
    comparison.add_argument("disks", nargs=2, metavar="DISK")

    kernel = sub.add_parser("guest-kernel", help="fetch a stock kernel and its boot test; "
                                                 "prints the folder they are in")
    common(kernel)

    minimal = sub.add_parser("gpu-minimal", help="fetch a stock kernel and make an initramfs with "
                                                 "the Venus driver; prints the folder they are in")
    common(minimal)
    return top


def require_programs():
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [p for p in ("apt-get", "debugfs", "dpkg-deb", "e2fsck", "mke2fs", "tar")
               if not shutil.which(p, path=path)]
    if missing:
        raise BuildError(f"these programs are missing: {', '.join(missing)}; "
                         "`make install-deps` installs them")


def become_root():
    """Package trees hold files of root and others: without root, fakeroot remembers owners."""
    if os.geteuid() == 0:
        return
    if not shutil.which("fakeroot"):
        raise BuildError("building as a normal user needs fakeroot; "
                         "`make install-deps` installs it")
    os.execvp("fakeroot", ["fakeroot", sys.executable, *sys.argv])


def interrupt(number, frame):
    raise KeyboardInterrupt


def main(argv):
    args = parser().parse_args(argv)
    os.umask(0o022)  # the modes of what goes into images do not depend on who builds them
    signal.signal(signal.SIGTERM, interrupt)  # cleans up as after Ctrl-C
    say = build.Progress()
    try:
        if args.command == "list":
            library.show_list(home_folder())
            return 0
        if args.command in ("inspect", "remove"):
            getattr(library, args.command)(home_folder(), args.name)
            return 0
        if args.command == "compare":
            return compare(*args.disks)
        if args.command == "guest-kernel" and args.offline:
            # What was fetched before is at hand without the archive, which one builder has at a time.
            folder = kernels.cached_guest_kernel(args.image, cache_folder())
            if folder:
                print(folder)
                return 0
        require_programs()
        become_root()
        archive = Archive(args.image, cache_folder(), args.mirror, args.offline, say.step)
        say.step(f"reading the package indexes of Debian {archive.release} ({archive.suite})")
        archive.update()
        if args.command in ("guest-kernel", "gpu-minimal"):
            fetch = (kernels.fetch_guest_kernel if args.command == "guest-kernel"
                     else gpu_minimal.fetch)
            folder = fetch(archive, cache_folder(), say.step)
            say.end()
            print(folder)
        else:
            build.build_image(archive, home_folder(), args, say)
        return 0
    except (BuildError, OSError) as error:
        say.end()
        sys.stderr.write(f"pearvisor: {error}\n")
        return 1
    except KeyboardInterrupt:
        say.end()
        sys.stderr.write("pearvisor: image build interrupted; nothing was kept\n")
        return 1
