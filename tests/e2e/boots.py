#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots Debian images to a login many times in a row, over the range of machines they must run on.

Not part of `make check`, for its length. Ends with the number of boots and failures, and the
medians of the time to the login prompt and of the VMM's own memory.
"""

import argparse
import itertools
import statistics
import sys
import time

import guest

MACHINES = list(itertools.product(("1", "2", "4"), ("512M", "1G", "2G", "8G")))


def boots(start, args):
    seconds, memory = [], []
    machines = itertools.cycle(MACHINES)
    images = itertools.cycle(args.image)
    for number in range(1, args.count + 1):
        image, (cpus, size) = next(images), next(machines)
        began = time.monotonic()
        vm = start(image, "--cpus", cpus, "--memory", size)
        vm.expect(r"login: ", args.timeout)
        seconds.append(time.monotonic() - began)
        memory.append(vm.own_memory())
        vm.send("root\n")
        vm.expect(r"# ", 300)
        vm.send("poweroff\n")
        if vm.wait(300) != 0:
            raise guest.Failure(f"boot {number} to power off with status 0")
        print(f"boot {number}: {image}, {cpus} vCPUs, {size}: login after {seconds[-1]:.1f} s, "
              f"own memory {memory[-1] / 2**20:.1f} MiB", flush=True)
    print(f"{args.count} boots, 0 failures; median {statistics.median(seconds):.1f} s to the login, "
          f"own memory at most {max(memory) / 2**20:.1f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", action="append", help="default: debian-12 and debian-13")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--timeout", type=int, default=600)
    args = parser.parse_args()
    args.image = args.image or ["debian-13", "debian-12"]
    return guest.main(boots, args)


sys.exit(main())
