#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`pearvisor create --cloud-...`: the CD as bsdtar and isoinfo read it, and bad input.

usage: test_cloud_seed.py BUILD [--image NAME]

--image: an image of the library with cloud-init and an SSH server (`pearvisor image build debian:13
--name NAME --package cloud-init --package openssh-server`) is booted with a seed, and the host's name,
the user, its key and the agent are looked for over its console. Not part of `make check`.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

PARSER = argparse.ArgumentParser()
PARSER.add_argument("build", type=pathlib.Path)
PARSER.add_argument("--image")
ARGUMENTS, REST = PARSER.parse_known_args()
PEARVISOR = ARGUMENTS.build.resolve() / "pearvisor"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbPUYFLc8tV1YjPFLWsEZ60wdeWVuiQhepY61k4bCo9 me@host"


class Seed(unittest.TestCase):
    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="pearvisor-seed-"))
        self.addCleanup(shutil.rmtree, self.work)
        self.environment = dict(os.environ, PEARVISOR_HOME=str(self.work / "home"),
                                HOME=str(self.work))
        self.key = self.work / "key.pub"
        self.key.write_text(f"# mine\n\n{KEY}\n")

    def create(self, *words, ok=True):
        done = subprocess.run([PEARVISOR, "create", "web", "--firmware", "uefi",
                               *map(str, words)], env=self.environment, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(done.returncode == 0, ok, done.stderr)
        return done.stderr

    def refused(self, message, *words):
        lines = self.create(*words, ok=False).splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(message, lines[0])
        vms = self.work / "home/vms"
        self.assertEqual(list(vms.iterdir()) if vms.exists() else [], [])

    def read(self, name):
        """A file of the CD, by two readers."""
        iso = self.work / "home/vms/web/seed.iso"
        texts = []
        if shutil.which("bsdtar"):
            texts.append(subprocess.run(["bsdtar", "-xOf", iso, name], check=True,
                                        capture_output=True).stdout)
        if shutil.which("isoinfo"):
            texts.append(subprocess.run(["isoinfo", "-J", "-x", "/" + name, "-i", iso], check=True,
                                        capture_output=True).stdout)
        if not texts:
            self.skipTest("neither bsdtar nor isoinfo")
        self.assertTrue(all(text == texts[0] for text in texts))
        return texts[0].decode()

    def test_made(self):
        self.create("--cloud-user", "me", "--cloud-key", self.key, "--cloud-timezone", "Asia/Tokyo",
                    "--cloud-package", "htop", "--cloud-package", "git",
                    "--cloud-password-hash", "$6$abc$def")
        text = self.read("user-data")
        self.assertTrue(text.startswith("#cloud-config\n"))
        config = json.loads(text.split("\n", 1)[1])
        user, = config["users"]
        self.assertEqual((config["hostname"], config["timezone"], config["packages"]),
                         ("web", "Asia/Tokyo", ["htop", "git"]))
        self.assertEqual((user["name"], user["ssh_authorized_keys"], user["passwd"],
                          user["lock_passwd"]), ("me", [KEY], "$6$abc$def", False))
        meta = json.loads(self.read("meta-data"))
        self.assertEqual(meta["local-hostname"], "web")
        file = (self.work / "home/vms/web/vm.yaml").read_text()
        self.assertIn("seed.iso,ro", file)
        self.assertNotIn("cloud", file)

    def test_own_keys(self):
        (self.work / ".ssh").mkdir()
        (self.work / ".ssh/id.pub").write_text(KEY + "\n")
        self.create("--cloud-user", "me")
        self.assertIn(KEY, self.read("user-data"))

    def test_own_data(self):
        data = self.work / "data"
        data.write_text("#!/bin/sh\necho é\n")
        self.create("--cloud-data", data, "--cloud-hostname", "other")
        self.assertEqual(self.read("user-data"), data.read_text())
        self.assertEqual(json.loads(self.read("meta-data"))["local-hostname"], "other")

    def test_refused(self):
        self.refused("could not log in", "--cloud-user", "me")
        self.refused("whose?", "--cloud-key", self.key, "--cloud-password-hash", "$6$a$b")
        private = self.work / "private"
        private.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
        self.refused("private key", "--cloud-user", "me", "--cloud-key", private)
        self.refused("No such file", "--cloud-user", "me", "--cloud-key", self.work / "none")
        self.refused("not a file", "--cloud-data", self.work)
        self.refused("leave the other options", "--cloud-data", self.key, "--cloud-user", "me")
        self.refused("letters, digits", "--cloud-user", "me;reboot")
        self.refused("letters, digits", "--cloud-hostname", "")
        self.refused("begins with '$'", "--cloud-user", "me", "--cloud-password-hash", "secret")
        big = self.work / "big"
        big.write_bytes(b"x" * (2 << 20))
        self.refused("larger than 1024 KiB", "--cloud-data", big)
        self.refused("UTF-8", "--cloud-user", "me", "--cloud-key", self.key,
                     "--cloud-timezone", os.fsdecode(b"\xff"))

    def test_guest(self):
        if not ARGUMENTS.image:
            self.skipTest("no --image")
        home = pathlib.Path(os.environ.get("PEARVISOR_HOME",
                                           pathlib.Path.home() / ".local/share/pearvisor"))
        (self.work / "home").mkdir()
        (self.work / "home/images").symlink_to(home / "images")
        self.create("--image", ARGUMENTS.image, "--cloud-user", "me", "--cloud-key", self.key,
                    "--cloud-hostname", "seeded", "--firmware", "none", "--memory", "1G")
        run = dict(env=self.environment, text=True, timeout=300, capture_output=True)
        subprocess.run([PEARVISOR, "start", "web"], check=True, **run)
        self.addCleanup(subprocess.run, [PEARVISOR, "stop", "--now", "web"], **run)
        script = "cloud-init status --wait >/dev/null; hostname; id -nG me; cat ~me/.ssh/authorized_keys"
        end = time.monotonic() + 300
        while True:
            done = subprocess.run([PEARVISOR, "exec", "web", "sh", "-c", script], **run)
            if done.returncode == 0 or time.monotonic() > end:
                break
            time.sleep(2)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual((lines[0], lines[-1]), ("seeded", KEY), done.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *REST], verbosity=2)
