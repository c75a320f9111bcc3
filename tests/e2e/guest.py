# SPDX-License-Identifier: MIT
"""Boots guests with the built pearvisor and talks to their consoles.

Each test is a program: exit status 0 passed, 77 skipped (with the reason on the last line), else
failed, with the end of the console. What every test takes from its environment:

  PEARVISOR_PROGRAM     the program under test (default build/pearvisor)
  PEARVISOR_ENGINE      passed as --engine
  PEARVISOR_TEST_BUILD  asan or tsan: everything may take ten times as long
"""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("PEARVISOR_PROGRAM", str(ROOT / "build/pearvisor"))
BUILDER = ROOT / "tools/image-builder/pv-image-build"
SANITIZED = os.environ.get("PEARVISOR_TEST_BUILD") in ("asan", "tsan")
PATIENCE = 10 if SANITIZED else 1
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z!]p?|\][^\x07]*\x07|[()][A-Z0-9])")


class Failure(Exception):
    """The test failed; the text says what was expected."""


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def guest_kernel(release):
    """The folder with a stock kernel and the boot test, fetched when it is not there yet."""
    done = subprocess.run([BUILDER, "guest-kernel", f"debian:{release}", "--offline"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        skip(f"no Debian {release} kernel: {done.stderr.strip().splitlines()[-1]}")
    return Path(done.stdout.strip().splitlines()[-1])


def library_image(name):
    """The manifest of an image in the library; the test is skipped when it is not built."""
    done = subprocess.run([BUILDER, "inspect", name], capture_output=True, text=True)
    if done.returncode != 0:
        skip(f"image '{name}' is not built; `pearvisor image build` or `make demo` does it")
    return json.loads(done.stdout)


def image_folder(name):
    """The folder of an image in the library."""
    home = os.environ.get("PEARVISOR_HOME") or (
        (os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")) + "/pearvisor")
    return Path(home) / "images" / name


def engine_options():
    engine = os.environ.get("PEARVISOR_ENGINE")
    return ["--engine", engine] if engine else []


class Guest:
    """A running pearvisor with its console on pipes. Use as a context manager."""

    def __init__(self, *options, tick=None, command=None):
        self.command = command or [PROGRAM, "run", *engine_options(), *options]
        self.tick = tick   # called about once a second while waiting
        self.console = ""  # everything so far
        self.seen = 0      # what expect() has consumed of it
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _read(self, timeout):
        """Takes in what the console has; False at its end."""
        ready, _, _ = select.select([self.process.stdout], [], [], max(timeout, 0))
        if not ready:
            return True
        chunk = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
        self.console += chunk.replace("\r", "")
        return bool(chunk)

    def expect(self, pattern, timeout):
        """Waits for a regular expression on the console; returns its match."""
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            match = re.compile(pattern, re.MULTILINE).search(self.console, self.seen)
            if match:
                self.seen = match.end()
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"no '{pattern}' on the console within {timeout * PATIENCE} s")
            if self.tick:
                self.tick(self)
            if not self._read(min(left, 1)):
                raise Failure(f"the VM ended (status {self.process.wait()}) before '{pattern}'")

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def command_output(self, line, timeout):
        """Runs a shell command in a guest's root login; returns (exit status, output)."""
        mark = f"pv{time.monotonic_ns()}"
        # The mark is put together by the guest's shell, so that its echo does not look like it.
        self.send(f"{line}; echo \"{mark[:4]}\"'{mark[4:]}' $?\n")
        start = self.seen
        match = self.expect(rf"{mark} (\d+)$", timeout)
        return int(match[1]), ESCAPES.sub("", self.console[start:match.start()])

    def login(self, timeout):
        """Logs in as root, who has no password, and makes the shell quiet."""
        self.expect(r"login: ", timeout)
        self.send("root\n")
        self.expect(r"# ", timeout)
        self.send("stty -echo; PS1=; TERM=dumb; bind 'set enable-bracketed-paste off'\n")
        self.command_output("true", timeout)

    def wait(self, timeout):
        """Waits for pearvisor's end; returns its exit status."""
        deadline = time.monotonic() + timeout * PATIENCE
        while self._read(1):
            if self.tick:
                self.tick(self)
            if time.monotonic() > deadline:
                raise Failure(f"pearvisor still runs after {timeout * PATIENCE} s")
        return self.process.wait()

    def own_memory(self):
        """Resident bytes of the VMM beyond guest RAM, which is the only shared memory it has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        kib = {key: int(value) for key, value in
               re.findall(r"^(Rss\w+):\s+(\d+) kB", status, re.MULTILINE)}
        return (kib["RssAnon"] + kib["RssFile"]) << 10

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)


def main(test, *arguments):
    """Runs a test function and turns its outcome into an exit status."""
    guests = []

    def start(*options, **settings):
        guests.append(Guest(*options, **settings))
        return guests[-1]

    try:
        test(start, *arguments)
        return 0
    except Failure as failure:
        for guest in guests:
            print("$", " ".join(map(str, guest.command)))
            print("\n".join(guest.console.splitlines()[-40:]))
        print(f"failed: {failure}")
        return 1
    finally:
        for guest in guests:
            guest.__exit__()
