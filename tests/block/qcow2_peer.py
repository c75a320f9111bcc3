#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""QCOW2 images of random features, modified at random by us and by qemu-img and qemu-io in turn.

After every step `qemu-img check` must find nothing wrong, and the contents must be those of a plain
file that was kept beside it. `--images N --seed S` runs more; a failing image is kept and named.
"""
import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

SIZES = [1 << 20, (3 << 20) + 512 * 7, 16 << 20]


def run(*command, check=True):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(str(c) for c in command)}: status {done.returncode}\n"
                           f"{done.stdout}{done.stderr}")
    return done


def same(a, b):
    """Contents; a shorter file goes on as zeroes."""
    a, b = a.read_bytes(), b.read_bytes()
    size = max(len(a), len(b))
    return a.ljust(size, b"\0") == b.ljust(size, b"\0")


class Trial:
    def __init__(self, folder, tools, rng):
        self.folder, self.tools, self.rng = folder, tools, rng
        self.image = folder / "image.qcow2"
        self.model = folder / "model.raw"
        self.log = []
        self.snapshots = set()  # the contents of each are in a file of its name
        self.serial = 0

    def step(self, name, *command):
        self.log.append(" ".join(str(c) for c in command))
        run(*command)
        self.verify(name)

    def verify(self, name):
        check = run("qemu-img", "check", "-f", "qcow2", self.image, check=False)
        if check.returncode not in (0,):
            raise RuntimeError(f"after {name}: qemu-img check: {check.stdout}{check.stderr}")
        run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", self.image, self.model)
        ours = run(self.tools.pearvisor, "disk", "check", self.image, check=False)
        if ours.returncode:
            raise RuntimeError(f"after {name}: our check: {ours.stdout}{ours.stderr}")

    def make(self):
        rng = self.rng
        size = rng.choice(SIZES)
        cluster = rng.choice([512, 4096, 65536, 65536, 2 << 20])
        bits = rng.choice([1, 8, 16, 16, 64])
        extended = cluster >= 16384 and rng.random() < 0.3
        lazy = rng.random() < 0.3
        zstd = rng.random() < 0.3
        version2 = not (extended or lazy or zstd) and bits == 16 and rng.random() < 0.2
        external = rng.random() < 0.15 and not version2
        with self.model.open("wb") as model:
            model.truncate(size)
        backing = None
        if rng.random() < 0.5 and not external:
            backing = self.folder / ("base.qcow2" if rng.random() < 0.5 else "base.raw")
            plain = self.folder / "base.raw"
            data = rng.randbytes(min(size, 1 << 20))
            plain.write_bytes(data)
            with plain.open("r+b") as file:
                file.truncate(rng.choice([size, size // 2 // 512 * 512]))
            if backing.suffix == ".qcow2":
                run("qemu-img", "convert", "-O", "qcow2", *(["-c"] if rng.random() < 0.5 else []),
                    plain, backing)
            contents = plain.read_bytes()[:size]
            with self.model.open("r+b") as model:
                model.write(contents)
        if rng.random() < 0.5 and not version2 and not external:
            command = [self.tools.pearvisor, "disk", "create", "--cluster-size", cluster,
                       "--refcount-bits", bits, "--compression", "zstd" if zstd else "zlib"]
            command += ["--extended-l2"] if extended else []
            command += ["--lazy-refcounts"] if lazy else []
            command += ["--backing", backing.name] if backing else []
            self.step("create", *command, self.image, size)
            return
        if version2:
            options = f"compat=0.10,cluster_size={cluster}"
        else:
            options = (f"cluster_size={cluster},refcount_bits={bits},"
                       f"extended_l2={'on' if extended else 'off'},"
                       f"lazy_refcounts={'on' if lazy else 'off'},"
                       f"compression_type={'zstd' if zstd else 'zlib'}")
        if external:
            options += f",data_file={self.folder / 'data.raw'}"
            options += f",data_file_raw={self.rng.choice(['on', 'off'])}"
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", options]
        if backing:
            command += ["-b", backing.name, "-F", backing.suffix[1:]]
        self.step("create", *command, self.image, size)

    def ours(self):
        self.step("our requests", self.tools.disk_ops, self.image, self.model,
                  self.rng.randrange(1 << 31), 150)

    def theirs(self):
        size = self.model.stat().st_size
        commands = []
        with self.model.open("r+b") as model:
            for _ in range(12):
                at = self.rng.randrange(size // 512) * 512
                length = min(self.rng.choice([512, 4096, 65536, 200 * 512]), size - at)
                if self.rng.random() < 0.3:
                    commands += ["-c", f"write -z {'-u' if self.rng.random() < 0.5 else ''} "
                                       f"{at} {length}"]
                    byte = 0
                else:
                    byte = self.rng.randrange(1, 256)
                    commands += ["-c", f"write -P {byte} {at} {length}"]
                model.seek(at)
                model.write(bytes([byte]) * length)
        self.step("their requests", "qemu-io", "-f", "qcow2", *commands, self.image)

    def disk(self, *arguments):
        return [self.tools.pearvisor, "disk", *arguments]

    def info(self):
        return json.loads(run(*self.disk("info", "--json", self.image)).stdout)

    def snapshot(self):
        """Makes one, deletes one or goes back to one, either of us."""
        info = self.info()
        if info["refcount-bits"] == 1 or "data-file" in info:
            return
        names = sorted(self.snapshots)
        action = self.rng.choice(["create", "create", "apply", "delete"]) if names else "create"
        if action == "create":
            self.serial += 1
            name = f"s{self.serial}"
            shutil.copyfile(self.model, self.folder / name)
            self.snapshots.add(name)
        else:
            name = self.rng.choice(names)
        if action == "apply":
            shutil.copyfile(self.folder / name, self.model)
        elif action == "delete":
            self.snapshots.remove(name)
        if self.rng.random() < 0.7:
            command = self.disk("snapshot", action, self.image, name)
        else:
            command = ["qemu-img", "snapshot", {"create": "-c", "apply": "-a", "delete": "-d"}[action],
                       name, self.image]
        self.step(f"snapshot {action}", *command)
        listed = json.loads(run(*self.disk("snapshot", "list", "--json", self.image)).stdout)
        if {s["name"] for s in listed} != self.snapshots:
            raise RuntimeError(f"snapshots are {listed}, want {self.snapshots}")
        if self.snapshots:
            name = self.rng.choice(sorted(self.snapshots))
            other = self.folder / "snapshot.raw"
            run("qemu-img", "convert", "-l", f"snapshot.name={name}", "-O", "raw", self.image, other)
            if not same(other, self.folder / name):
                raise RuntimeError(f"snapshot {name} has changed")

    def resize(self):
        """Longer or shorter; what is gained reads as zeroes, whatever is behind it."""
        info = self.info()
        old = self.model.stat().st_size
        shrink = self.rng.random() < 0.3 and not self.snapshots
        size = max((self.rng.randrange(1 << 19, old) if shrink
                    else old + self.rng.randrange(6 << 20)) // 512 * 512, 512)
        command = self.disk("resize", *(["--shrink"] if shrink else []), self.image, size)
        if "data-file" in info or (self.snapshots and info["version"] == 2):
            if run(*command, check=False).returncode != 1:
                raise RuntimeError("resizing this image was not refused")
            self.verify("refused resize")
            return
        with self.model.open("r+b") as model:
            model.truncate(size)
        self.step("resize", *command)

    def compact(self):
        self.step("compact", *self.disk("compact", self.image))

    def rebase(self):
        """Onto another backing image, or none; then, with the name only, back and forth."""
        info = self.info()
        if self.snapshots or "data-file" in info:
            return
        if self.rng.random() < 0.4:
            self.step("rebase", *self.disk("rebase", self.image))
            return
        other = self.folder / f"base{self.rng.randrange(1000)}.raw"
        size = self.model.stat().st_size
        data = bytearray(self.model.read_bytes()[:self.rng.randrange(1, size)])
        for _ in range(5):
            at = self.rng.randrange(len(data) + 1)
            data[at:at + 5000] = b""
        other.write_bytes(data[:len(data) // 512 * 512 or 512].ljust(512, b"x"))
        self.step("rebase", *self.disk("rebase", "--backing", other.name, self.image))
        run(*self.disk("rebase", "--unsafe", "--backing", "nothing", "--backing-format", "raw",
                       self.image))
        run(*self.disk("rebase", "--unsafe", "--backing", other.name, "--backing-format", "raw",
                       self.image))
        self.verify("rebase back")

    def commit(self):
        """Into the backing image, which then is the disk; the image goes on as an empty one."""
        info = self.info()
        command = self.disk("commit", self.image)
        if "backing" not in info or self.snapshots:
            if run(*command, check=False).returncode != 1:
                raise RuntimeError("this commit was not refused")
            return
        self.step("commit", *command)
        extents = json.loads(run(*self.disk("map", "--json", self.image)).stdout)
        if any(e["depth"] == 0 and e["kind"] != "absent" for e in extents):
            raise RuntimeError(f"after commit the image still has {extents}")

    def compare_map(self):
        """Data and zeroes where qemu-img has them."""
        def flat(extents, kind):
            out = []
            for e in extents:
                piece = [e["start"], e["length"], kind(e)]
                if out and out[-1][2] == piece[2]:
                    out[-1][1] += piece[1]
                else:
                    out.append(piece)
            return out
        ours = json.loads(run(*self.disk("map", "--json", self.image)).stdout)
        theirs = json.loads(run("qemu-img", "map", "--output=json", self.image).stdout)
        a = flat(ours, lambda e: (e["kind"] == "data", e["depth"] if e["kind"] == "data" else 0))
        b = flat(theirs, lambda e: (e["data"], e["depth"] if e["data"] else 0))
        if a != b:
            raise RuntimeError(f"map: we have {a}, qemu-img {b}")

    def convert(self):
        """Through our converter: the new image replaces the old."""
        other = self.folder / "other.qcow2"
        command = [self.tools.pearvisor, "disk", "convert"]
        if self.rng.random() < 0.6:
            command += ["--compress", "--compression", self.rng.choice(["zlib", "zstd"])]
        command += ["--cluster-size", self.rng.choice([4096, 65536])]
        # A compressed cluster may share the clusters that it touches with many others.
        self.log.append(" ".join(map(str, command)))
        run(*command, self.image, other)
        other.replace(self.image)
        self.snapshots = set()
        self.verify("conversion")

    def run(self):
        self.make()
        steps = [self.ours, self.ours, self.ours, self.theirs, self.theirs, self.snapshot,
                 self.snapshot, self.snapshot, self.convert, self.resize, self.compact, self.rebase,
                 self.commit]
        for _ in range(9):
            self.rng.choice(steps)()
        self.ours()
        self.compare_map()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pearvisor", required=True)
    parser.add_argument("--disk-ops", required=True)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    tools = parser.parse_args()
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("qemu-img is not installed (package qemu-utils)")
        return 77
    for number in range(tools.seed, tools.seed + tools.images):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="pv-qcow2-"))
        trial = Trial(folder, tools, random.Random(number))
        try:
            trial.run()
        except RuntimeError as problem:
            print(f"seed {number}, kept in {folder}: {problem}", file=sys.stderr)
            print("\n".join(trial.log), file=sys.stderr)
            return 1
        shutil.rmtree(folder)
    print(f"{tools.images} images agreed upon")
    return 0


if __name__ == "__main__":
    sys.exit(main())
