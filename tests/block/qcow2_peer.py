#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""QCOW2 images of random features, modified at random by us and by qemu-img and qemu-io in turn.

After every step `qemu-img check` must find nothing wrong, and the contents must be those of a plain
file that was kept beside it. `--images N --seed S` runs more; a failing image is kept and named.
"""
import argparse
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


class Trial:
    def __init__(self, folder, tools, rng):
        self.folder, self.tools, self.rng = folder, tools, rng
        self.image = folder / "image.qcow2"
        self.model = folder / "model.raw"
        self.log = []

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

    def snapshot(self):
        name = f"s{self.rng.randrange(1000)}"
        info = run("qemu-img", "info", self.image).stdout
        if "refcount bits: 1\n" in info or "data file:" in info:
            return
        self.step("snapshot", "qemu-img", "snapshot", "-c", name, self.image)

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
        self.verify("conversion")

    def run(self):
        self.make()
        steps = [self.ours, self.ours, self.theirs, self.snapshot, self.convert]
        for _ in range(6):
            self.rng.choice(steps)()
        self.ours()


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
