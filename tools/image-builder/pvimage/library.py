# SPDX-License-Identifier: MIT
"""The library of built images: $PEARVISOR_HOME/images/NAME/."""

import fcntl
import json
import shutil

from . import BuildError


def read_manifest(home, name):
    path = home / "images" / name / "image.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise BuildError(f"image '{name}': not in the library; 'pearvisor image list' shows what "
                         "is") from None
    except ValueError as error:
        raise BuildError(f"{path}: {error}") from None


def names(home):
    return sorted(p.parent.name for p in (home / "images").glob("*/image.json")
                  if not p.parent.name.startswith("."))


def disk_usage(home, name):
    """(size, bytes really on the host's disk) of an image's disk."""
    status = (home / "images" / name / "disk.img").stat()
    return status.st_size, status.st_blocks * 512


def show_list(home):
    rows = [("NAME", "SYSTEM", "PROFILE", "PACKAGES", "DISK", "ON HOST")]
    for name in names(home):
        m = read_manifest(home, name)
        size, used = disk_usage(home, name)
        system = " ".join(filter(None, (m["distribution"], m["release"], m["architecture"])))
        rows.append((name, system,
                     m["profile"], str(len(m["packages"])), f"{size / 2**30:.1f} GiB",
                     f"{used / 2**20:.0f} MiB"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def inspect(home, name):
    m = read_manifest(home, name)
    m["folder"] = str(home / "images" / name)
    print(json.dumps(m, indent=2))


def remove(home, name):
    """Removes an image, unless a virtual machine has its disk locked."""
    read_manifest(home, name)
    folder = home / "images" / name
    with open(folder / "disk.img", "r+b") as disk:
        try:
            fcntl.lockf(disk, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise BuildError(f"image '{name}' is in use by a virtual machine") from None
        doomed = folder.with_name(f".{name}.removed")
        folder.rename(doomed)
        shutil.rmtree(doomed)
