#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The library of VMs: created, started, talked to, paused, stopped, crashed, cloned, deleted."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import guest
from guest import Failure

MANY = 6


class Library:
    def __init__(self, home):
        self.environment = {**os.environ, "PEARVISOR_HOME": home}
        self.folder = Path(home) / "vms"

    def run(self, *words):
        return subprocess.run([guest.PROGRAM, *words], capture_output=True, text=True,
                              env=self.environment, timeout=120 * guest.PATIENCE)

    def do(self, *words):
        done = self.run(*words)
        if done.returncode:
            raise Failure(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def refused(self, status, expected, *words):
        done = self.run(*words)
        if done.returncode != status or expected not in done.stderr or done.stderr.count("\n") != 1:
            raise Failure(f"{' '.join(map(str, words))}: status {done.returncode}, {done.stderr!r}")

    def states(self):
        return {row["name"]: row["state"] for row in json.loads(self.do("list", "--json"))}

    def expect_states(self, **expected):
        if self.states() != expected:
            raise Failure(f"states {self.states()}, expected {expected}")

    def wait_for_output(self, name, text, seconds):
        deadline = time.monotonic() + seconds * guest.PATIENCE
        while text not in self.do("logs", name):
            if time.monotonic() > deadline:
                raise Failure(f"{name}: no '{text}' on its console: {self.do('logs', name)[-500:]}")
            time.sleep(0.5)

    def process(self, name):
        """The process that holds a VM's lock."""
        lock = self.folder / name / "run/lock"
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                if link.readlink() == lock:
                    return int(link.parts[2])
            except OSError:
                pass  # it ended just now
        raise Failure(f"{name}: nobody has its lock")

    def console(self, name, send, expect):
        """Types into a VM's console as `pearvisor console` would."""
        before = os.getcwd()
        os.chdir(self.folder / name)  # a socket's path is short
        with socket.socket(socket.AF_UNIX) as console:
            console.connect("run/console.sock")
            os.chdir(before)
            console.settimeout(60 * guest.PATIENCE)
            console.sendall(send.encode())
            heard = b""
            while expect.encode() not in heard:
                chunk = console.recv(4096)
                if not chunk:
                    raise Failure(f"{name}: the console ended before '{expect}'")
                heard += chunk


def one_life(library, create):
    create("one", "--cpus", "2")
    library.expect_states(one="created")
    library.refused(1, "there is a VM 'one' already", "create", "one", "--disk", "/dev/null")
    library.refused(1, "is not running", "stop", "one")
    library.do("start", "one")
    library.refused(1, "is running already", "start", "one")
    library.refused(1, "is running", "delete", "one")
    library.wait_for_output("one", "PEARVISOR-USERSPACE-OK", 120)
    library.console("one", "echo hello-$((40 + 2))\n", "hello-42")
    library.do("pause", "one")
    library.expect_states(one="paused")
    library.refused(1, "paused already", "pause", "one")
    library.do("resume", "one")
    library.expect_states(one="running")
    library.do("reset", "one")
    library.refused(1, "still runs after 0 s", "stop", "--timeout", "0", "one")
    library.do("stop", "--now", "one")
    library.expect_states(one="stopped")


def suspend(library, create):
    """What a guest has in memory and on a raw disk outlives its process; damage is refused."""
    disk = library.folder.parent / "sus.img"
    disk.write_bytes(bytes(1 << 20))
    create("sus", "--disk", disk)
    library.refused(1, "is not running", "suspend", "sus")
    library.do("start", "sus")
    library.wait_for_output("sus", "PEARVISOR-USERSPACE-OK", 120)
    library.console("sus", "kept=forty$((1 + 1))\necho is-set-$((4 + 4))\n", "is-set-8")
    library.do("suspend", "sus")
    library.expect_states(one="stopped", sus="suspended")
    library.refused(1, "is not running", "suspend", "sus")
    state = library.folder / "sus/snapshots/.suspended/state"
    good = state.read_bytes()
    state.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    library.refused(1, "checksum", "start", "sus")
    library.expect_states(one="stopped", sus="suspended")
    state.write_bytes(good)
    library.do("start", "sus")
    if state.exists():
        raise Failure("a VM that goes on could do so again")
    library.console("sus", "echo it-is-$kept\n", "it-is-forty2")
    library.do("pause", "sus")
    library.do("suspend", "sus")
    library.do("start", "--boot", "sus")
    if state.exists():
        raise Failure("a VM that booted could go on where it was suspended")
    library.do("stop", "--now", "sus")
    library.expect_states(one="stopped", sus="stopped")
    library.do("delete", "sus")


def crash(library):
    library.do("start", "one")
    os.kill(library.process("one"), signal.SIGKILL)
    while library.states()["one"] in ("running", "starting"):
        time.sleep(0.1)
    library.expect_states(one="failed")
    if "ended without a word" not in library.do("list"):
        raise Failure("list does not say why a VM failed")
    library.do("start", "one")
    library.do("stop", "--now", "one")


def configure(library):
    file = library.folder / "one/vm.yaml"
    file.write_text("# mine\n" + file.read_text())
    library.do("config", "one", "set", "cpus", "1")
    if library.do("config", "one", "get", "cpus") != "1\n" or "# mine" not in file.read_text():
        raise Failure(f"after config set: {file.read_text()}")
    good = file.read_text()
    library.refused(1, "--cpus 'x'", "config", "one", "set", "cpus", "x")
    library.refused(1, "'cpu' is not a key", "config", "one", "set", "cpu", "1")
    library.refused(1, "'vars' is not set", "config", "one", "get", "vars")
    if file.read_text() != good:
        raise Failure("a refused change was made")
    for bad, expected in ((good + "cpu: 2\n", "'cpu' is not a key"), (good + "cpus: [", ":"),
                          (good.replace("version: 1", "version: 9"), "version '9'")):
        file.write_text(bad)
        library.refused(1, "vm.yaml:", "start", "one")
        library.refused(1, expected, "start", "one")
        if library.states()["one"] != "failed":
            raise Failure("a VM with a bad file did not fail")
    file.write_text(good)
    library.do("start", "one")
    library.do("stop", "--now", "one")


def bad_input(library):
    library.refused(2, "'../x': a name has", "create", "../x")
    library.refused(2, "a name for the VM", "create", "--cpus", "1")
    library.refused(2, "unknown option '--imge'", "create", "x", "--imge", "y")
    library.refused(2, "needs a value", "create", "x", "--cpus")
    library.refused(1, "no-such-image", "create", "x", "--image", "no-such-image")
    library.refused(1, "--memory '1Q'", "create", "x", "--disk", "/dev/null", "--memory", "1Q")
    library.refused(1, "nothing to run", "create", "x", "--cpus", "1")
    library.refused(1, "there is no VM 'x'", "start", "x")
    library.expect_states(one="stopped")


def many(library):
    names = [f"m{i}" for i in range(MANY)]
    for name in names:
        library.do("clone", "one", name)
    racing = [subprocess.Popen([guest.PROGRAM, "start", name], env=library.environment,
                               stderr=subprocess.DEVNULL) for name in names for _ in range(2)]
    started = [process.wait() for process in racing]
    if sorted(started) != [0] * MANY + [1] * MANY:
        raise Failure(f"two starts of each VM at once ended with {started}")
    library.expect_states(one="stopped", **{name: "running" for name in names})
    library.do("stop", "--now", *names)
    library.do("delete", *names)
    library.expect_states(one="stopped")


def check_disk(library, name):
    """The image is whole; returns how many snapshots are in it."""
    image = library.folder / name / "disk.qcow2"
    library.do("disk", "check", image)
    return len(json.loads(library.do("disk", "snapshot", "list", "--json", image)))


def clone_running(library, create):
    """A copy of a VM that writes to its disk goes on from that moment, and so does the VM itself."""
    create("live")
    library.do("disk", "create", library.folder / "live/disk.qcow2", "256M")
    library.do("config", "live", "set", "disk", "disk.qcow2")
    library.do("start", "live")
    library.wait_for_output("live", "PEARVISOR-USERSPACE-OK", 120)
    library.console("live", "stty -echo; mkdir -p /tmp; dd if=/dev/urandom of=/tmp/data bs=1M "
                    "count=8 && dd if=/tmp/data of=/dev/vda bs=1M conv=fsync && echo 'rea''dy'\n",
                    "ready")
    library.console("live", "while :; do dd if=/dev/urandom of=/dev/vda bs=64k seek=$((128 + n++ % "
                    "3000)) count=4 conv=notrunc,fsync; echo $n >/tmp/n; done 2>/dev/null &\n"
                    "echo 'wri''tes'\n", "writes")
    for copy in ("copy", "another"):
        before = time.monotonic()
        library.do("clone", "live", copy)
        print(f"cloned in {(time.monotonic() - before) * 1000:.0f} ms", flush=True)
    library.refused(1, "there is a VM 'copy' already", "clone", "live", "copy")
    library.expect_states(one="stopped", live="running", copy="created", another="created")
    library.do("snapshot", "restore", "copy", "origin")
    look = ("dd if=/dev/vda bs=1M count=8 2>/dev/null | cmp - /tmp/data && echo 'sa''me' || echo "
            "'differ''ent'\n")
    for name in ("live", "copy"):
        library.console(name, "echo 3 >/proc/sys/vm/drop_caches; " + look, "same")
        library.console(name, "a=$(cat /tmp/n); while [ \"$(cat /tmp/n)\" -lt $((a + 2)) ]; do "
                        "sleep 0.1; done; echo 'goes o''n'\n", "goes on")
    # Snapshots come and go while it runs.
    for name in ("first", "second"):
        library.do("snapshot", "create", "live", name)
    library.do("snapshot", "delete", "live", "first")
    library.do("snapshot", "verify", "live", "second")
    for _ in range(3):
        library.do("snapshot", "create", "--keep", "2", "live", "second")
        time.sleep(1.1)  # the time is in the name
    kept = [line.split()[0] for line in library.do("snapshot", "list", "live").splitlines()]
    if len(kept) != 3 or sum(name.startswith("second-") for name in kept) != 2:
        raise Failure(f"of a schedule that keeps two there are {kept}")
    for name in kept:
        library.do("snapshot", "delete", "live", name)
    library.do("stop", "--now", "live", "copy")
    if check_disk(library, "live") or check_disk(library, "copy") != 1:
        raise Failure("the clone keeps its origin, and what it was cloned from nothing")
    library.do("snapshot", "verify", "copy", "origin")
    library.do("start", "another")  # from its disk, not its memory
    library.wait_for_output("another", "PEARVISOR-USERSPACE-OK", 120)
    library.do("stop", "--now", "another")
    check_disk(library, "another")
    if any((library.folder / "live/snapshots").iterdir()):
        raise Failure("cloning left something behind")
    library.do("delete", "live", "copy", "another")


def keep_variables(library):
    """What firmware keeps is in the VM's folder, goes with a clone, and not without firmware."""
    if not Path("/usr/share/AAVMF/AAVMF_CODE.fd").exists():
        print("no firmware here: variables are not tested", flush=True)
        return
    library.do("create", "fw", "--firmware", "uefi", "--net", "none", *guest.engine_options())
    library.do("start", "fw")
    library.do("stop", "--now", "fw")
    library.do("clone", "fw", "copy")
    for name in ("fw", "copy"):
        if (library.folder / name / "vars.fd").stat().st_size != 64 << 20:
            raise Failure(f"{name}: a variables file of 64 MiB")
    if (library.folder / "one/vars.fd").exists():
        raise Failure("no variables file without firmware")
    library.do("delete", "fw", "copy")


def main(start):
    kernel = guest.guest_kernel("13")
    with tempfile.TemporaryDirectory() as home:
        library = Library(home)

        def create(name, *options):
            library.do("create", name, "--kernel", kernel / "vmlinuz", "--initrd",
                       kernel / "test.img", "--append", "console=ttyAMA0 quiet pv.run=shell",
                       "--memory", "256M", "--net", "none", *guest.engine_options(), *options)

        try:
            one_life(library, create)
            suspend(library, create)
            crash(library)
            configure(library)
            bad_input(library)
            many(library)
            clone_running(library, create)
            keep_variables(library)
            library.do("delete", "one")
            library.expect_states()
        finally:
            for name in library.states():
                library.run("stop", "--now", name)


sys.exit(guest.main(main))
