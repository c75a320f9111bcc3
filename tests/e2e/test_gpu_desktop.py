#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The gpu profile's desktop: Vulkan and OpenGL programs in windows, and the picture of them.

Takes minutes and an image (`pearvisor image build debian:13 --profile gpu --name gpu-13`), so it is
not part of `make check`. Prints the figures that it sees; says nothing about how fast they should be.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import guest
from guest import Failure
from viewer import Viewer

LIMIT = 1800
# lavapipe 22.3.6's anisotropic filter takes minutes for a picture that is seen nearly edge-on.
# glmark2's terrain takes seconds for each picture.
TOO_SLOW = {"terrain"}
OPTIONS = {("vkmark", "texture"): ":anisotropy=0"}
RETURN = 0xff0d


class Desktop:
    """A root shell on the console of a guest whose desktop is there."""

    def __init__(self, start, image, folder, gpu):
        stored = guest.image_folder(image)
        disk = folder / "disk.img"
        subprocess.run(["cp", "--sparse=always", stored / "disk.img", disk], check=True)
        append = json.loads((stored / "image.json").read_text())["append"]
        self.socket = folder / "vnc"
        self.vm = start("--kernel", stored / "vmlinuz", "--initrd", stored / "initrd.img",
                        "--append", append, "--disk", disk, "--memory", "2G", "--cpus", "2",
                        "--net", "none", "--gpu", gpu, "--display", f"vnc=unix:{self.socket}")
        self.vm.login(LIMIT)
        self.run("for i in $(seq 600); do [ ! -r /run/pearvisor-desktop.env ] || "
                 ". /run/pearvisor-desktop.env; "
                 "[ ! -S \"$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY\" ] || break; sleep 1; done; "
                 "[ -S \"$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY\" ]")

    def run(self, line, timeout=LIMIT):
        """What a command prints; it has to succeed."""
        status, output = self.vm.command_output(line, timeout)
        if status != 0:
            raise Failure(f"'{line}' succeeds, not status {status}: {output.strip()[-2000:]}")
        if "*ERROR*" in output:
            raise Failure(f"the guest's drivers have nothing to complain of: {output.strip()}")
        return output.strip()

    def seconds(self, line):
        started = time.monotonic()
        self.run(line)
        return time.monotonic() - started


def expect(pattern, text):
    match = re.search(pattern, text, re.MULTILINE)
    if not match:
        raise Failure(f"'{pattern}' in: {text}")
    return match[0].strip()


def drivers(desktop, _):
    summary = desktop.run("vulkaninfo --summary")
    expect(r"driverID\s*= DRIVER_ID_MESA_VENUS", summary)
    print(expect(r"deviceName\s*= .*", summary))
    opengl = desktop.run("glxinfo -B")
    expect(r"OpenGL renderer string: zink Vulkan .*MESA_VENUS", opengl)
    print(expect(r"OpenGL core profile version string: 4\..*", opengl))


def cubes(desktop, args):
    for wsi in ("wayland", "xcb"):
        took = desktop.seconds(f"vkcube --wsi {wsi} --c {args.frames}")
        print(f"vkcube on {wsi}: {args.frames} frames in {took:.1f} s")


def same_picture(desktop, viewer):
    """What the viewer shows is what the guest's own screenshot shows; returns its hash."""
    want = desktop.run("grim -t ppm - | md5sum").split()[0]
    width, height, pixels = viewer.picture()
    rgb = bytearray(3 * width * height)
    for colour in range(3):
        rgb[colour::3] = pixels[2 - colour::4]
    seen = hashlib.md5(b"P6\n%d %d\n255\n" % (width, height) + rgb).hexdigest()
    if seen != want:
        raise Failure("the viewer's picture is the guest's own, byte for byte")
    return seen


def picture(desktop, _):
    """With nothing that moves, with stopped programs of Wayland and X11, and after typing."""
    viewer = Viewer(desktop.socket)
    seen = [same_picture(desktop, viewer)]
    for wsi in ("wayland", "xcb"):
        desktop.run(f"vkcube --wsi {wsi} >/dev/null 2>&1 & cube=$!; sleep 5; "
                    "kill -STOP $cube && sleep 2")
        seen.append(same_picture(desktop, viewer))
        desktop.run("kill -KILL $cube; wait $cube; sleep 2")
    for key in [*b"touch /tmp/typed", RETURN]:
        viewer.key(key, 1)
        viewer.key(key, 0)
        time.sleep(0.05)  # Linux keeps 64 events for who reads them
    desktop.run("for i in $(seq 60); do [ -e /tmp/typed ] && break; sleep 1; done; "
                "sleep 2; [ -e /tmp/typed ]")
    seen.append(same_picture(desktop, viewer))
    if len(set(seen)) != len(seen):
        raise Failure("each of the four pictures is another")
    print(f"VNC: {len(seen)} pictures, each the guest's own")


def benchmark(desktop, program, options, scenes, seconds):
    """Every scene runs for its time and says how fast."""
    chosen = " ".join(f"-b {scene}:duration={seconds:.1f}{OPTIONS.get((program, scene), '')}"
                      for scene in scenes)
    output = desktop.run(f"{program} {options} {chosen}")
    figures = re.findall(r"^\[(\S+)\] \S+ FPS: (\d+)", output, re.MULTILINE)
    if [name for name, _ in figures] != scenes or "0" in dict(figures).values():
        raise Failure(f"{program} runs {scenes}: {output}")
    print(f"{program}, frames/s:", ", ".join(f"{name} {fps}" for name, fps in figures))


def benchmarks(desktop, args):
    for program, options in (("vkmark", "--winsys wayland"), ("vkmark", "--winsys xcb"),
                             ("glmark2-es2-wayland", "")):
        listed = desktop.run(f"{program} {options} --list-scenes")
        scenes = sorted(set(re.findall(r"^\[Scene\] (\S+)", listed, re.MULTILINE)) - TOO_SLOW)
        if not scenes:
            raise Failure(f"{program} has scenes: {listed}")
        benchmark(desktop, program, options, scenes, args.seconds)


def by_cpu(desktop, _):
    """Without a renderer the same desktop is there, drawn by the guest's CPU."""
    same_picture(desktop, Viewer(desktop.socket))
    print("--gpu 2d: the desktop is there")


TESTS = {"drivers": ("venus", drivers), "cubes": ("venus", cubes), "picture": ("venus", picture),
         "benchmarks": ("venus", benchmarks), "by-cpu": ("2d", by_cpu)}


def desktop_test(start, args):
    guest.library_image(args.image)
    chosen = [TESTS[name] for name in args.test or TESTS]
    for gpu in sorted({gpu for gpu, _ in chosen}, reverse=True):
        with tempfile.TemporaryDirectory(prefix="pearvisor-") as folder:
            desktop = Desktop(start, args.image, Path(folder), gpu)
            for _, test in filter(lambda entry: entry[0] == gpu, chosen):
                test(desktop, args)
                sys.stdout.flush()
            desktop.vm.send("poweroff\n")
            if desktop.vm.wait(LIMIT) != 0:
                raise Failure("exit status 0 after power-off")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default="gpu-13")
    parser.add_argument("--frames", type=int, default=1000, help="of each vkcube")
    parser.add_argument("--seconds", type=float, default=5, help="of each scene")
    parser.add_argument("--test", action="append", choices=TESTS)
    return guest.main(desktop_test, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
