#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pearvisord: VMs by its API, killed with ten of them running, policies, clients that misbehave."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import guest
from api import Daemon, console_of_one_life
from guest import Failure

MANY = 10


def transitions(daemon):
    """Every one that an owner can ask for; who may not ask gets 409."""
    daemon.create("one")
    for verb in ("pause", "resume", "reset", "stop", "power-button", "suspend"):
        daemon.post("one", verb, expect=409)
    daemon.post("one", "start")
    daemon.post("one", "start", expect=409)
    daemon.post("one", "resume", expect=409)
    daemon.ask("DELETE", "/v1/vms/one", expect=409)
    daemon.post("one", "clone", {"to": "two"}, expect=409)
    daemon.post("one", "pause")
    daemon.wait_for_state("one", "paused")
    daemon.post("one", "pause", expect=409)
    daemon.post("one", "stop", expect=409)
    daemon.post("one", "resume")
    daemon.post("one", "suspend")
    daemon.wait_for_state("one", "suspended")
    daemon.post("one", "suspend", expect=409)
    daemon.post("one", "start")
    daemon.wait_for_state("one", "running")
    daemon.post("one", "balloon", {"size": "16M"})
    daemon.post("one", "stop")
    daemon.wait_for_state("one", "stopping")
    daemon.post("one", "reset")
    daemon.wait_for_state("one", "running")
    daemon.post("one", "stop", {"now": True})
    daemon.wait_for_state("one", "stopped")
    daemon.post("one", "clone", {"to": "two"})
    daemon.ask("PUT", "/v1/vms/two/config/memory", {"values": "128M"})
    if daemon.ask("GET", "/v1/vms/two/config")["memory"] != ["128M"]:
        raise Failure("a change of the configuration was not made")
    daemon.ask("DELETE", "/v1/vms/two")
    seen = [event["to"] for event in daemon.events(0) if event["vm"] == "one" and "to" in event]
    if "running" not in seen or seen[-1] != "stopped":
        raise Failure(f"events tell of {seen}")
    daemon.ask("DELETE", "/v1/vms/one")


def refusals(daemon):
    daemon.ask("GET", "/v1/vms/none", expect=404)
    daemon.ask("GET", "/v1/nothing", expect=404)
    daemon.ask("GET", "/v1/vms/..%2f..%2fetc", expect=404)
    daemon.ask("PUT", "/v1/vms", expect=405)
    daemon.ask("POST", "/v1/vms", expect=400)
    daemon.ask("POST", "/v1/vms", {"name": "../x"}, expect=400)
    daemon.ask("POST", "/v1/vms", {"name": "x", "colour": "red"}, expect=400)
    daemon.ask("POST", "/v1/vms", {"name": "x", "config": {"cpus": 2}}, expect=400)
    daemon.ask("POST", "/v1/vms", {"name": "x", "config": {"cpus": "2"}}, expect=422)
    daemon.ask("POST", "/v1/vms", {"name": "x", "config": {"no-such-key": "2"}}, expect=400)
    daemon.ask("GET", "/v1/vms?all=1", expect=400)
    if daemon.states():
        raise Failure("something was made by a request that was refused")
    if daemon.raw("POST", "/v1/vms", "{" + " " * 300000)[0] != 413:
        raise Failure("a long body was taken")
    if daemon.raw("POST", "/v1/vms", "{\"name\": ")[0] != 400:
        raise Failure("half a body was taken")


def many_survive(daemon):
    names = [f"m{i}" for i in range(MANY)]
    for name in names:
        daemon.create(name)
    threads = [threading.Thread(target=daemon.post, args=(name, "start")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    daemon.kill()
    for name in names:
        wait_alone(daemon, name)
        subprocess.run([guest.PROGRAM, "reset", name], env=daemon.environment, check=True)
    daemon.start()
    if daemon.states() != {name: "running" for name in names}:
        raise Failure(f"after the daemon was killed: {daemon.states()}")
    for name in names:
        daemon.wait_for_lives(name, 2)
        daemon.post(name, "pause")
    if daemon.states() != {name: "paused" for name in names}:
        raise Failure(f"after pausing all: {daemon.states()}")
    for name in names:
        daemon.post(name, "stop", {"now": True})
        daemon.ask("DELETE", f"/v1/vms/{name}")


def wait_alone(daemon, name):
    """Until a VM has written all of its first life, without the daemon."""
    log = daemon.home / "vms" / name / "log/console.log"
    deadline = time.monotonic() + 60 * guest.PATIENCE
    while len(log.read_bytes().replace(b"\r", b"")) < len(console_of_one_life()):
        if time.monotonic() > deadline:
            raise Failure(f"{name} wrote {log.stat().st_size} bytes")
        time.sleep(0.05)


def process_of(daemon, name):
    lock = daemon.home / "vms" / name / "run/lock"
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink() == lock:
                return int(link.parts[2])
        except OSError:
            pass  # it ended just now
    raise Failure(f"{name}: nobody has its lock")


def policies(daemon):
    daemon.create("keep", restart="on-failure")
    daemon.create("leave")
    for name in ("keep", "leave"):
        daemon.post(name, "start")
        os.kill(process_of(daemon, name), signal.SIGKILL)
    daemon.wait_for_state("leave", "failed")
    while not any(event["vm"] == "keep" and event.get("to") == "starting"
                  for event in daemon.events(0)):
        time.sleep(0.2)
    daemon.wait_for_state("keep", "running")
    # Nobody watches now; who comes next finds it.
    daemon.kill()
    os.kill(process_of(daemon, "keep"), signal.SIGKILL)
    daemon.start()
    daemon.wait_for_state("keep", "running")
    daemon.post("keep", "stop", {"now": True})
    daemon.wait_for_state("keep", "stopped")
    if daemon.states()["leave"] != "failed":
        raise Failure("a VM was started that nobody asked for")
    for name in ("keep", "leave"):
        daemon.ask("DELETE", f"/v1/vms/{name}")


def rude_clients(daemon):
    """Who says half and stays, or leaves early, is nobody else's problem."""
    rude = []
    for words in (b"", b"GET", b"POST /v1/vms HTTP/1.1\r\nContent-Length: 100\r\n\r\n{",
                  b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00\xff\r\n\r\n"):
        for _ in range(5):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(daemon.socket))
            client.sendall(words)
            rude.append(client)
    daemon.ask("GET", "/v1/vms")
    for client in rude:
        client.close()
    daemon.ask("GET", "/v1/vms")


def metrics(daemon):
    daemon.create("one")
    daemon.post("one", "start")
    text = daemon.raw("GET", "/metrics")[1].decode()
    for line in ('pearvisor_vm_state{vm="one",state="running"} 1',
                 'pearvisor_vm_state{vm="one",state="stopped"} 0',
                 'pearvisor_vm_memory_bytes{vm="one"} 67108864'):
        if line + "\n" not in text:
            raise Failure(f"no {line} in {text}")
    daemon.post("one", "stop", {"now": True})
    daemon.ask("DELETE", "/v1/vms/one")


def second_daemon(daemon):
    other = subprocess.run([Path(guest.PROGRAM).parent / "pearvisord"], env=daemon.environment,
                           capture_output=True, text=True, timeout=30 * guest.PATIENCE)
    if other.returncode != 1 or other.stderr.count("\n") != 1:
        raise Failure(f"a second daemon: {other.returncode}, {other.stderr!r}")
    if daemon.socket.stat().st_mode & 0o777 != 0o600:
        raise Failure("others may connect to the daemon")


def main(start):
    with tempfile.TemporaryDirectory() as home:
        daemon = Daemon(home)
        daemon.start()
        try:
            refusals(daemon)
            second_daemon(daemon)
            transitions(daemon)
            metrics(daemon)
            rude_clients(daemon)
            many_survive(daemon)
            policies(daemon)
            if daemon.states():
                raise Failure(f"left over: {daemon.states()}")
            daemon.end()
        finally:
            if daemon.process.poll() is None:
                daemon.end_all()
                daemon.kill()


if __name__ == "__main__":
    sys.exit(guest.main(main))
