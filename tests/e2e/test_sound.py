#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""virtio-snd with a stock Debian kernel's driver: a sine that the guest plays is in the WAV file, and
what is in a WAV file is what the guest records. A snapshot in the middle loses nothing."""

import argparse
import array
import math
import re
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import guest
from guest import Failure

sys.path.insert(0, str(guest.ROOT / "tools/image-builder"))
sys.dont_write_bytecode = True

from pvimage import BuildError, initramfs, kernels  # noqa: E402
from pvimage.archive import Archive  # noqa: E402
from pvimage.main import cache_folder  # noqa: E402

MODULES = initramfs.BOOT_MODULES + ["virtio_snd"]
INIT = initramfs.COMMON + "\necho PEARVISOR-USERSPACE-OK\nsetsid cttyhack sh\npoweroff -f\n"
RATE = 48000
PLAYED, SPOKEN = 1000, 440  # Hz
FRAMES = RATE // 2


def build_initramfs(args, path):
    archive = Archive(args.release, cache_folder(), None, True)
    try:
        archive.update()
        kernel = kernels.Kernel(archive)
    except BuildError as error:
        guest.skip(str(error))
    try:
        cpio = initramfs.Cpio()
        cpio.file("sound-client", Path(args.client).read_bytes(), 0o755)
        path.write_bytes(initramfs.build(kernel.busybox, kernel.modules, MODULES, INIT)
                         + cpio.finish())
    finally:
        kernel.close()


def sine(hz, frames):
    """As the guest's program makes it: both channels the same, with the amplitude 10000."""
    samples = array.array("h")
    for n in range(frames):
        value = round(10000 * math.sin(2 * math.pi * hz * n / RATE))
        samples.extend((value, value))
    return samples


def same(got, want):
    """Rounding may differ by one."""
    return len(got) >= len(want) and all(abs(a - b) <= 1 for a, b in zip(got, want))


def pitch(samples):
    """Hz, by the times that the left channel comes up from below 0."""
    left = samples[::2]
    ups = [i for i in range(1, len(left)) if left[i - 1] < 0 <= left[i]]
    return RATE * (len(ups) - 1) / (ups[-1] - ups[0]) if len(ups) > 1 else 0


def check(samples, hz, late, what):
    """A program that was always in time has lost nothing; one that was not has still the pitch."""
    if abs(pitch(samples) - hz) > (hz / 20 if late else 1):
        raise Failure(f"{what}: {hz} Hz, not {pitch(samples):.0f} (late {late} times)")
    if not late and not same(samples, sine(hz, len(samples) // 2)):
        raise Failure(f"{what}: the samples are those that were played")


def late_times(output):
    return int(re.search(r"late: (\d+)", output)[1])


def run(vm, line, timeout=120):
    status, output = vm.command_output(line, timeout)
    if status != 0:
        raise Failure(f"'{line}' succeeds, not status {status}: {output.strip()}")
    return output


def boot(start, args, folder, *options):
    """A quiet root shell in a guest with the card's driver."""
    initrd = folder / "initrd"
    if not initrd.exists():
        build_initramfs(args, initrd)
    vm = start(*machine(args, folder), *options)
    vm.expect("^PEARVISOR-USERSPACE-OK", 120)
    vm.send("stty -echo; PS1=\n")
    run(vm, "true")
    return vm


def machine(args, folder):
    return ("--kernel", guest.guest_kernel(args.release) / "vmlinuz", "--initrd",
            folder / "initrd", "--append", "console=ttyAMA0 quiet panic=-1", "--memory", "256M",
            "--cpus", "2", "--net", "none", "--virtio", f"packed={args.packed}", "--transport",
            args.transport)


def read_wav(path):
    with wave.open(str(path), "rb") as file:
        if file.getparams()[:3] != (2, 2, RATE):
            raise Failure(f"48 kHz 16-bit stereo, not {file.getparams()}")
        return array.array("h", file.readframes(file.getnframes()))


def end(vm):
    vm.send("poweroff -f\n")
    if vm.wait(30) != 0:
        raise Failure("exit status 0 after power-off")


def sound(start, args, folder):
    played, spoken = folder / "played.wav", folder / "spoken.wav"
    with wave.open(str(spoken), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", None))
        file.writeframes(sine(SPOKEN, 4 * FRAMES).tobytes())
    vm = boot(start, args, folder, "--sound", f"file={played},record={spoken}")
    run(vm, "grep -q VirtIO /proc/asound/cards")
    played_late = late_times(run(vm, f"/sound-client play {PLAYED} {FRAMES}"))
    recorded_late = late_times(run(vm, f"/sound-client record {FRAMES} >/recorded"))
    # Once more: a stream that was closed can be opened again, and the file goes on.
    again_late = late_times(run(vm, f"/sound-client play {PLAYED} {FRAMES}"))
    dump = run(vm, "od -A n -t d2 -v -w24 /recorded", 300)
    end(vm)
    data = read_wav(played)
    if len(data) < 4 * FRAMES:
        raise Failure(f"{2 * FRAMES} frames or more, not {len(data) // 2}")
    check(data[:2 * FRAMES], PLAYED, played_late, "played")
    check(data[-2 * FRAMES:], PLAYED, played_late + again_late, "played again")
    check(array.array("h", map(int, dump.split())), SPOKEN, recorded_late, "recorded")
    print(f"played {PLAYED} Hz twice, late {played_late} and {again_late} times; "
          f"recorded {SPOKEN} Hz, late {recorded_late} times")


def snapshot(start, args, folder):
    """What is left of a sine when its guest is saved in the middle is played after it is restored."""
    before, after, control = (folder / name for name in ("before.wav", "after.wav", "control"))
    frames = 12 * FRAMES
    vm = boot(start, args, folder, "--control", control, "--sound", f"file={before}")
    vm.send(f"/sound-client play {PLAYED} {frames} &\n")
    for _ in range(600 * guest.PATIENCE):
        if before.stat().st_size > 4 * RATE:
            break
        time.sleep(0.05)
    done = subprocess.run([guest.PROGRAM, "control", str(control), "snapshot",
                           f"folder={folder / 'saved'}"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"a snapshot can be taken: {done.stderr}")
    vm.process.kill()
    vm.process.wait()
    vm = start(*machine(args, folder), "--restore", folder / "saved", "--sound", f"file={after}")
    late = late_times(run(vm, "wait"))
    end(vm)
    data = read_wav(after)
    if not FRAMES <= len(data) // 2 < frames - RATE // 2:
        raise Failure(f"what was left of {frames} frames is played, not {len(data) // 2}")
    # Buffers begin with the sine's period, and the one that was being played begins anew.
    check(data, PLAYED, late, "what was left")
    print(f"went on for {len(data) // 2} frames, late {late} times")


TESTS = {"sound": sound, "snapshot": snapshot}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--client", required=True, help="the program built from sound_client.c")
    parser.add_argument("--release", default="13")
    parser.add_argument("--packed", default="off", choices=["on", "off"])
    parser.add_argument("--transport", default="pci", choices=["pci", "mmio"])
    parser.add_argument("--test", action="append", choices=TESTS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pearvisor-") as folder:
        for name in args.test or TESTS:
            print(f"{name} ...", flush=True)
            if status := guest.main(TESTS[name], args, Path(folder)):
                return status
    return 0


sys.exit(main())
