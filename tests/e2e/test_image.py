#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A built Debian image boots to a login, and apt works in it over NAT."""

import argparse
import socket
import sys
import time

import guest
from guest import Failure


def check(vm, line, timeout, wanted=""):
    status, output = vm.command_output(line, timeout)
    if status != 0 or wanted not in output:
        raise Failure(f"`{line}` to succeed{' with ' + wanted if wanted else ''}; "
                      f"status {status}: {output[-500:]}")
    return output


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_ssh(port):
    """An SSH server greets first (RFC 4253, 4.2); it makes its keys at the first boot."""
    deadline = time.monotonic() + 300 * guest.PATIENCE
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as connection:
                connection.settimeout(30)
                if connection.recv(100).startswith(b"SSH-2.0-"):
                    return
        except OSError:
            pass
        time.sleep(1)
    raise Failure("a greeting of the guest's SSH server on the forwarded port")


def image(start, args):
    manifest = guest.library_image(args.image)
    port = free_port()
    vm = start(args.image, "--memory", args.memory, "--cpus", str(args.cpus),
               "--net", f"user,forward=tcp:{port}:22")
    vm.login(args.timeout)
    check(vm, "uname -m", 30, "aarch64")
    check(vm, "cat /etc/os-release", 30, f'VERSION_ID="{manifest["release"]}"')
    check(vm, "dpkg --audit", 120)
    check(vm, "for i in $(seq 60); do networkctl -q is-online 2>/dev/null && break; "
              "ip route | grep -q default && break; sleep 1; done; ip route", 180, "default")
    if args.ssh:
        check_ssh(port)
    if args.apt:
        check(vm, "apt-get -q update", 1800)
        check(vm, "apt-get -q install -y hello >/dev/null && hello", 900, "Hello, world!")
    if args.run:
        for line in args.run:
            print(check(vm, line, 3600))
    vm.send("poweroff\n")
    if vm.wait(180) != 0:
        raise Failure("exit status 0 after power-off")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", default="debian-13")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--timeout", type=int, default=900)
    parser.add_argument("--apt", action="store_true", help="fetch and install a package too")
    parser.add_argument("--ssh", action="store_true", help="reach its SSH server (full profile)")
    parser.add_argument("--run", action="append", help="a command that must succeed; repeatable")
    return guest.main(image, parser.parse_args())


sys.exit(main())
