#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`pearvisor image pull` against a mirror on loopback.

usage: test_image_pull.py BUILD

The mirror serves ranges, and can cut a download, change the file, redirect for ever, or be silent
about versions, as each test wants. Needs qemu-img only for a qcow2 image with a backing file.
"""
import hashlib
import http.server
import json
import lzma
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
PEARVISOR = BUILD / "pearvisor"
MIB = 1 << 20


def disk(size=3 * MIB, seed=b"disk"):
    """A disk image: a partition table's end, and something in it."""
    data = bytearray(size)
    data[510:512] = b"\x55\xaa"
    block = hashlib.sha256(seed).digest() * 64
    for at in range(0, size, 64 * 1024):
        data[at + 4096:at + 4096 + len(block)] = block
    return bytes(data)


class Mirror(http.server.ThreadingHTTPServer):
    """files: path -> bytes. cut: after so many bytes of a body the connection ends, once."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.etag, self.ranges = {}, None, True, []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        mirror = self.server
        if self.path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
            self.end_headers()
            return
        if self.path.startswith("/moved.img"):
            self.send_response(302)
            self.send_header("Location", "/disk.img")
            self.end_headers()
            return
        self.path = self.path.split("?")[0]
        if self.path not in mirror.files:
            self.send_error(404)
            return
        data = mirror.files[self.path]
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        start = 0
        asked = self.headers.get("Range")
        if asked:
            mirror.ranges.append(asked)
            if self.headers.get("If-Range") == tag:
                start = int(asked.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        if mirror.etag:
            self.send_header("ETag", tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        if mirror.cut is not None and len(body) > mirror.cut:
            body, mirror.cut = body[:mirror.cut], None
        self.wfile.write(body)


class Pull(unittest.TestCase):
    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="pearvisor-pull-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.mirror = Mirror()
        self.addCleanup(self.mirror.server_close)
        self.addCleanup(self.mirror.shutdown)

    def pull(self, *words, ok=True, home=None):
        done = subprocess.run([PEARVISOR, "image", "pull", *map(str, words)], timeout=120, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              env=dict(os.environ, PEARVISOR_HOME=str(home or self.home)))
        self.assertEqual(done.returncode == 0, ok, done.stderr)
        return done.stderr

    def refused(self, message, *words, **more):
        """One line says why, and the library has nothing of it."""
        errors = self.pull(*words, ok=False, **more)
        lines = [line for line in errors.splitlines() if line.startswith("pearvisor: ")]
        self.assertEqual(len(lines), 1, errors)
        self.assertIn(message, lines[0])
        self.assertEqual(self.images(), [])

    def images(self):
        folder = self.home / "images"
        return sorted(p.name for p in folder.iterdir() if p.name != ".downloads") \
            if folder.exists() else []

    def catalogue(self, **entry):
        (self.home / "images.json").write_text(
            json.dumps({"format": 1, "images": {"test:1": entry}}))

    def check(self, name, data):
        folder = self.home / "images" / name
        self.assertEqual((folder / "disk.img").read_bytes(), data)
        manifest = json.loads((folder / "image.json").read_text())
        self.assertEqual((manifest["name"], manifest["boot"]), (name, "uefi"))
        self.assertEqual(list((self.home / "images/.downloads").iterdir()), [])
        return manifest

    def test_url(self):
        data = self.mirror.files["/disk.img"] = disk()
        self.pull(self.mirror.url + "/moved.img?token=1", "--name", "one")
        self.check("one", data)
        listed = subprocess.run([PEARVISOR, "image", "list"], text=True, capture_output=True,
                                check=True, env=dict(os.environ, PEARVISOR_HOME=str(self.home)))
        self.assertIn("one", listed.stdout)
        self.assertIn("--name", self.pull(self.mirror.url + "/disk.img", "--name", "one", ok=False))
        other = self.mirror.files["/disk.img"] = disk(seed=b"other")
        self.pull(self.mirror.url + "/disk.img", "--name", "one", "--force")
        self.check("one", other)
        self.assertEqual(self.images(), ["one"])

    def test_file_and_xz(self):
        data = disk()
        path = self.home / "small.img.xz"
        path.write_bytes(lzma.compress(data))
        self.pull(path)
        self.check("small", data)
        self.assertTrue(path.exists())
        path.write_bytes(lzma.compress(data)[:-100])
        self.assertIn("too early", self.pull(path, "--name", "cut", ok=False))
        self.assertEqual(self.images(), ["small"])

    def test_catalogue(self):
        data = self.mirror.files["/a/disk.img"] = disk()
        digest = hashlib.sha512(data).hexdigest()
        self.mirror.files["/sums"] = f"00  other.img\n{digest} *disk.img\n".encode()
        self.catalogue(url=self.mirror.url + "/a/disk.img", sums=self.mirror.url + "/sums")
        self.pull("test:1")
        manifest = self.check("test-1", data)
        self.assertEqual(manifest["source_sum"], {"SHA512": digest})

    def test_sum_differs(self):
        self.mirror.files["/disk.img"] = disk()
        self.mirror.files["/sums"] = f"SHA256 (disk.img) = {'0' * 64}\n".encode()
        self.catalogue(url=self.mirror.url + "/disk.img", sums=self.mirror.url + "/sums")
        self.refused("it was removed", "test:1")
        self.assertEqual(list((self.home / "images/.downloads").iterdir()), [])
        self.mirror.files["/sums"] = b"nothing of it\n"
        self.refused("no checksum of disk.img", "test:1")
        self.refused("64 hexadecimal digits", self.mirror.url + "/disk.img", "--sum", "12ab")

    def test_goes_on(self):
        data = self.mirror.files["/disk.img"] = disk()
        self.mirror.cut = 2 * MIB
        self.refused("broke off after 2097152 bytes", self.mirror.url + "/disk.img")
        self.pull(self.mirror.url + "/disk.img")
        self.check("disk", data)
        self.assertEqual(self.mirror.ranges, ["bytes=2097152-"])

    def test_changed_meanwhile(self):
        self.mirror.files["/disk.img"] = disk()
        self.mirror.cut = MIB
        self.refused("broke off", self.mirror.url + "/disk.img")
        data = self.mirror.files["/disk.img"] = disk(2 * MIB, b"newer")
        self.pull(self.mirror.url + "/disk.img")
        self.check("disk", data)

    def test_without_versions(self):
        self.mirror.etag = False
        data = self.mirror.files["/disk.img"] = disk()
        self.mirror.cut = MIB
        self.refused("broke off", self.mirror.url + "/disk.img")
        self.pull(self.mirror.url + "/disk.img")
        self.check("disk", data)
        self.assertEqual(self.mirror.ranges, [])

    def test_refused(self):
        self.mirror.files["/page.img"] = b"<html>no such thing</html>" * 100
        self.refused("no partition table", self.mirror.url + "/page.img")
        self.refused("404", self.mirror.url + "/none.img")
        self.refused("redirects", self.mirror.url + "/round")
        self.refused("file", "file:///etc/passwd")
        self.refused("debian:13", "debain:13")
        self.refused("ARM64", "arch")
        self.refused("letters, digits", self.home / "x.img", "--name", "../../x")
        self.refused("makes no name", self.mirror.url + "/")
        self.refused("No such file", self.home / "missing.img")

    def test_junk_catalogue(self):
        for text, message in (("{", "images.json:1"), ("{}", "not a catalogue"),
                              ('{"format": 1, "images": {"a:1": {}}}', "no 'url'"),
                              ('{"format": 1, "images": {"a:1": {"url": 5}}}', "not text")):
            (self.home / "images.json").write_text(text)
            self.refused(message, "a:1")

    def test_full(self):
        small = pathlib.Path(tempfile.mkdtemp(prefix="pearvisor-small-"))
        self.addCleanup(os.rmdir, small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", small],
                          capture_output=True).returncode:
            self.skipTest("mounting needs root")
        self.addCleanup(subprocess.run, ["umount", small], check=True)
        self.mirror.files["/disk.img"] = disk()
        errors = self.pull(self.mirror.url + "/disk.img", ok=False, home=small)
        self.assertIn("No space left", errors)
        self.assertEqual([p.name for p in (small / "images").iterdir()], [".downloads"])

    def test_other_files(self):
        """An image that rests on another file would show a guest that file of the host's."""
        if not shutil.which("qemu-img"):
            self.skipTest("no qemu-img")
        secret = self.home / "secret.img"
        secret.write_bytes(disk())
        path = self.home / "child.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, path],
                       check=True)
        self.refused("another file", path)

    def test_signature(self):
        if not shutil.which("gpgv") or not shutil.which("gpg"):
            self.skipTest("no gpg")
        keys = self.home / "keys"
        keys.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", keys, "--batch", "--quiet", "--pinentry-mode", "loopback",
               "--passphrase", ""]
        self.addCleanup(subprocess.run, ["gpgconf", "--homedir", keys, "--kill", "all"])
        subprocess.run([*gpg, "--quick-gen-key", "mirror@example.org", "ed25519"], check=True,
                       capture_output=True)
        ring = self.home / "ring.gpg"
        subprocess.run([*gpg, "--output", ring, "--export"], check=True)
        data = self.mirror.files["/disk.img"] = disk()
        sums = f"{hashlib.sha256(data).hexdigest()}  disk.img\n".encode()
        self.mirror.files["/sums"] = sums
        self.mirror.files["/sums.gpg"] = subprocess.run(
            [*gpg, "--detach-sign"], input=sums, check=True, capture_output=True).stdout
        self.catalogue(url=self.mirror.url + "/disk.img", sums=self.mirror.url + "/sums",
                       signature=self.mirror.url + "/sums.gpg", keyring=str(ring))
        self.mirror.files["/sums"] = sums + b"\n"
        self.refused("signed by no key", "test:1")
        self.mirror.files["/sums"] = sums
        self.assertIn("signature of its checksums is right", self.pull("test:1"))
        self.check("test-1", data)
        ring.unlink()
        self.assertIn("cannot be checked here", self.pull("test:1", "--force"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
