#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The guest agent, by the commands: programs, files, figures; in a VM of the library."""

import argparse
import hashlib
import os
import pty
import random
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import guest
import test_virtio
from guest import Failure

INIT = test_virtio.initramfs.COMMON + """
mkdir -p /dev/pts /root /tmp
mount -t devpts devpts /dev/pts
/pearvisor-agent &
echo PEARVISOR-USERSPACE-OK
setsid cttyhack sh
poweroff -f
"""
MIB = 1 << 20


class Machine:
    """A running VM named m, whose guest has a shell and the agent."""

    def __init__(self, args, home):
        self.environment = {**os.environ, "PEARVISOR_HOME": str(home)}
        initrd = home / "initrd"
        test_virtio.build_initramfs(args.release, initrd, {"pearvisor-agent": args.agent}, INIT)
        engine = guest.engine_options()
        self.do("create", "m", "--kernel", guest.guest_kernel(args.release) / "vmlinuz",
                "--initrd", initrd, "--append", "console=ttyAMA0 quiet panic=-1", "--memory", "512M",
                "--cpus", "2", *engine)
        self.do("start", "m")
        deadline = time.monotonic() + 120 * guest.PATIENCE
        while self.run("exec", "m", "true").returncode:
            if time.monotonic() > deadline:
                raise Failure(f"the agent answers: {self.run('exec', 'm', 'true').stderr}; "
                              f"{self.do('logs', 'm').stdout[-1000:]}")
            time.sleep(0.5)

    def run(self, *words, **options):
        options = {"text": True, **options}
        return subprocess.run([guest.PROGRAM, *map(str, words)], capture_output=True,
                              env=self.environment, timeout=600 * guest.PATIENCE, **options)

    def do(self, *words, **options):
        done = self.run(*words, **options)
        if done.returncode:
            raise Failure(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
        return done

    def expect(self, words, status, output=None, error=""):
        done = self.run(*words)
        if done.returncode != status or (output is not None and done.stdout != output) or \
                error not in done.stderr or done.stderr.count("\n") > 1:
            raise Failure(f"{words}: {status}, {output!r}, {error!r}; not {done}")


def programs(m, args, folder):
    m.expect(["exec", "m", "sh", "-c", "echo out; exit 7"], 7, "out\n")
    m.expect(["exec", "--env", "A=b c", "--directory", "/dev", "m", "--", "sh", "-c",
              "echo $A; pwd"], 0, "b c\n/dev\n")
    m.expect(["exec", "m", "sh", "-c", "kill -TERM $$"], 128 + 15)
    m.expect(["exec", "m", "/nowhere"], 127, "", "No such file")
    m.expect(["exec", "other", "true"], 126, "", "no VM 'other'")
    m.expect(["exec", "m"], 2, "", "a program")
    # Input has an end, and gets through whole.
    text = "".join(f"line {number}\n" for number in range(50000))
    if m.do("exec", "m", "cat", input=text).stdout != text:
        raise Failure("what goes in comes out")
    # Whoever asks dies: so does the program.
    asker = subprocess.Popen([guest.PROGRAM, "exec", "m", "sleep", "1234"], env=m.environment)
    time.sleep(2)
    asker.kill()
    asker.wait()
    time.sleep(2)
    if "1234" in m.do("exec", "m", "ps").stdout:
        raise Failure("a program ends when nobody is there for it any more")


def many(m, args, folder):
    times = []
    for number in range(args.execs):
        begin = time.monotonic()
        done = m.run("exec", "m", "sh", "-c", f"echo {number}; exit {number % 100}")
        times.append(time.monotonic() - begin)
        if (done.returncode, done.stdout) != (number % 100, f"{number}\n"):
            raise Failure(f"program {number}: {done}")
    times.sort()
    print(f"{args.execs} programs, median {times[len(times) // 2] * 1000:.1f} ms each")


def terminal(m, args, folder):
    ours, theirs = pty.openpty()
    shell = subprocess.Popen([guest.PROGRAM, "exec", "--tty", "m", "sh"], env=m.environment,
                             stdin=theirs, stdout=theirs)
    os.close(theirs)
    seen = b""
    for typed, wanted in ((b"tty\n", b"/dev/pts/"), (b"sleep 1000\n", b"sleep"), (b"\3", b"^C"),
                          (b"echo still $((40+2))\n", b"still 42"), (b"exit 5\n", b"exit")):
        os.write(ours, typed)
        deadline = time.monotonic() + 30 * guest.PATIENCE
        while wanted not in seen:
            if time.monotonic() > deadline:
                raise Failure(f"{wanted} on the terminal, not {seen}")
            if select.select([ours], [], [], 2)[0]:
                seen += os.read(ours, 4096)
            elif typed == b"\3":
                os.write(ours, typed)  # the first came before the shell had let go of its terminal
        seen = seen.split(wanted, 1)[1]
    if shell.wait(30 * guest.PATIENCE) != 5:
        raise Failure(f"exit status 5, not {shell.returncode}")
    os.close(ours)


def files(m, args, folder):
    data = random.Random(1).randbytes(args.size * MIB + 3)
    there, back = folder / "there", folder / "back"
    there.write_bytes(data)
    there.chmod(0o751)
    begin = time.monotonic()
    m.do("cp", there, "m:/tmp/copy")
    middle = time.monotonic()
    digest = m.do("exec", "m", "sha256sum", "/tmp/copy").stdout.split()[0]
    if digest != hashlib.sha256(data).hexdigest():
        raise Failure("a file arrives as it is")
    hashed = time.monotonic()
    m.do("cp", "m:/tmp/copy", back)
    print(f"{args.size} MiB: in {args.size / (middle - begin):.0f} MiB/s, "
          f"out {args.size / (time.monotonic() - hashed):.0f} MiB/s")
    if back.read_bytes() != data or back.stat().st_mode & 0o777 != 0o751:
        raise Failure("a file comes back as it was, permissions too")
    m.do("exec", "m", "rm", "/tmp/copy")
    m.do("cp", there, "m:/tmp/")
    m.expect(["exec", "m", "ls", "/tmp"], 0, "there\n")
    m.expect(["cp", "m:/nowhere", back], 1, "", "No such file")
    m.expect(["cp", there, "m:/no/folder"], 1, "", "No such file")
    m.expect(["cp", there, back], 2, "", "one of both is in a guest")
    m.do("exec", "m", "rm", "/tmp/there")


def figures(m, args, folder):
    line = m.do("stats", "m").stdout.splitlines()[1].split()
    if line[:2] != ["m", "512"] or not 0 < int(line[2]) < 512 or not 0 < int(line[3]) < 1024:
        raise Failure(f"figures of the guest, not {line}")
    m.expect(["stats", "nobody"], 1, None, "no VM 'nobody'")


def stays_up(m, args, folder):
    """A request that is none, and clients that go away, harm nobody."""
    os.chdir(folder / "vms/m")
    for nonsense in (b"", b"\0" * 8, b"\xff" * 100, b"\4\0\0\0\1\0\0\0abcd", b"\0\0\1\0\1\0\0\0"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("run/vsock.sock")
            client.sendall(b"CONNECT 5230\n")
            client.recv(100)
            client.sendall(nonsense)
    os.chdir("/")
    m.expect(["exec", "m", "echo", "up"], 0, "up\n")


def end(m, args, folder):
    m.run("exec", "m", "poweroff", "-f")
    deadline = time.monotonic() + 60 * guest.PATIENCE
    while '"stopped"' not in m.do("list", "--json").stdout:
        if time.monotonic() > deadline:
            raise Failure("power-off ends the VM")
        time.sleep(0.2)
    m.expect(["exec", "m", "true"], 126, "", "is not running")


def agent(start, args):
    with tempfile.TemporaryDirectory() as folder:
        m = Machine(args, Path(folder))
        try:
            for test in (programs, terminal, files, many, figures, stays_up, end):
                print(test.__name__, flush=True)
                test(m, args, Path(folder))
        finally:
            m.run("stop", "--now", "m")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", default="build/guest/agent/pearvisor-agent")
    parser.add_argument("--release", default="13")
    parser.add_argument("--execs", type=int, default=100)
    parser.add_argument("--size", type=int, default=16, help="MiB of the file that is copied")
    args = parser.parse_args()
    if not Path(args.agent).exists():
        guest.skip("the agent is not built; it needs gcc-aarch64-linux-gnu")
    return guest.main(agent, args)


sys.exit(main())
