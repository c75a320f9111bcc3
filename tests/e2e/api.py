# SPDX-License-Identifier: MIT
"""pearvisord with a library of its own, and a guest that needs no kernel package."""

import http.client
import json
import os
import socket
import struct
import subprocess
import time
from pathlib import Path

import guest
from guest import Failure

DAEMON = Path(guest.PROGRAM).parent / "pearvisord"
LINES = 1000

# An arm64 Image (Documentation/arch/arm64/booting.rst) that writes LINES numbered lines to the
# UART and sleeps: letters A to P are hexadecimal digits.
CODE = [
    0xd2a12001,  # movz x1, #0x900, lsl #16     the PL011
    0x52800002,  # mov w2, #0
    0x52800103,  # line: mov w3, #8
    0x1ac32444,  # digit: lsr w4, w2, w3
    0x12000c84,  # and w4, w4, #15
    0x11010484,  # add w4, w4, #'A'
    0xb9000024,  # str w4, [x1]
    0x71001063,  # subs w3, w3, #4
    0x54ffff65,  # b.pl digit
    0x52800144,  # mov w4, #'\n'
    0xb9000024,  # str w4, [x1]
    0x11000442,  # add w2, w2, #1
    0x710fa05f,  # cmp w2, #LINES
    0x54fffea1,  # b.ne line
    0xd503207f,  # idle: wfi
    0x17ffffff,  # b idle
]
HEADER = struct.pack("<IIQQQQQQ4sI", 0x14000010, 0, 0, 4096, 0xa, 0, 0, 0, b"ARM\x64", 0)


def write_kernel(path):
    image = HEADER + struct.pack(f"<{len(CODE)}I", *CODE)
    path.write_bytes(image + bytes(4096 - len(image)))


def console_of_one_life():
    return "".join("".join(chr(65 + (n >> shift & 15)) for shift in (8, 4, 0)) + "\n"
                   for n in range(LINES))


class Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Daemon:
    def __init__(self, home):
        self.home = Path(home)
        self.environment = {**os.environ, "PEARVISOR_HOME": str(home)}
        self.socket = self.home / "pearvisord.sock"
        self.process = None

    def start(self, *options):
        self.process = subprocess.Popen([DAEMON, *options], env=self.environment)
        deadline = time.monotonic() + 20 * guest.PATIENCE
        while True:
            try:
                self.ask("GET", "/v1/version")
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise Failure("pearvisord does not answer") from None
                time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.terminate()
        if self.process.wait(60 * guest.PATIENCE) != 0:
            raise Failure(f"pearvisord ended with {self.process.returncode}")

    def raw(self, method, path, body=None):
        """(status, answer) of any request."""
        connection = Connection(self.socket, 60 * guest.PATIENCE)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ask(self, method, path, value=None, expect=200):
        status, answer = self.raw(method, path, None if value is None else json.dumps(value))
        if status != expect:
            raise Failure(f"{method} {path}: {status} {answer!r}, expected {expect}")
        return json.loads(answer)

    def post(self, name, verb, value=None, expect=200):
        return self.ask("POST", f"/v1/vms/{name}/{verb}", value, expect)

    def states(self):
        return {vm["name"]: vm["state"] for vm in self.ask("GET", "/v1/vms")["vms"]}

    def wait_for_state(self, name, state):
        deadline = time.monotonic() + 30 * guest.PATIENCE
        while self.states().get(name) != state:
            if time.monotonic() > deadline:
                raise Failure(f"{name} is {self.states().get(name)}, not {state}")
            time.sleep(0.1)

    def log(self, name):
        status, text = self.raw("GET", f"/v1/vms/{name}/logs?limit=1048576")
        if status != 200:
            raise Failure(f"logs of {name}: {status}")
        return text.decode().replace("\r", "")

    def wait_for_lives(self, name, count):
        """All that so many lives write, and nothing else, is in its log."""
        expected = console_of_one_life() * count
        deadline = time.monotonic() + 60 * guest.PATIENCE
        while (text := self.log(name)) != expected:
            if time.monotonic() > deadline or not expected.startswith(text):
                raise Failure(f"{name}: its log has {len(text)} bytes, expected {len(expected)}")
            time.sleep(0.1)

    def events(self, since):
        """Those that are remembered."""
        connection = Connection(self.socket, 30 * guest.PATIENCE)
        connection.request("GET", f"/v1/events?since={since}")
        response = connection.getresponse()
        while True:
            line = response.readline()
            if not line.strip():
                break
            yield json.loads(line)
        connection.close()

    def create(self, name, **config):
        kernel = self.home / "kernel"
        write_kernel(kernel)
        engine = dict(zip(("engine",), guest.engine_options()[1:]))
        self.ask("POST", "/v1/vms", {"name": name, "config": {
            "kernel": str(kernel), "memory": "64M", "net": "none", "balloon": "0",
            **engine, **config}})

    def end_all(self):
        for name in self.states():
            subprocess.run([guest.PROGRAM, "stop", "--now", name], env=self.environment,
                           stderr=subprocess.DEVNULL, check=False)
