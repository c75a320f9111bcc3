#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A built Debian image boots to a login, and apt works in it over NAT."""

import argparse
import sys

import guest
from guest import Failure


def check(vm, line, timeout, wanted=""):
    status, output = vm.command_output(line, timeout)
    if status != 0 or wanted not in output:
        raise Failure(f"`{line}` to succeed{' with ' + wanted if wanted else ''}; "
                      f"status {status}: {output[-500:]}")
    return output


def image(start, args):
    manifest = guest.library_image(args.image)
    vm = start(args.image, "--memory", args.memory, "--cpus", str(args.cpus))
    vm.login(args.timeout)
    check(vm, "uname -m", 30, "aarch64")
    check(vm, "cat /etc/os-release", 30, f'VERSION_ID="{manifest["release"]}"')
    check(vm, "dpkg --audit", 120)
    check(vm, "for i in $(seq 60); do networkctl -q is-online 2>/dev/null && break; "
              "ip route | grep -q default && break; sleep 1; done; ip route", 180, "default")
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
    parser.add_argument("--run", action="append", help="a command that must succeed; repeatable")
    return guest.main(image, parser.parse_args())


sys.exit(main())
