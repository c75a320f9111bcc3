#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs windowed Vulkan programs on the native driver and through `pearvisor gpu-server`, and
compares every frame.

    bench/gpu/windows.py --native-icd lvp_icd.json --venus-icd virtio_icd.json PROGRAM...
    bench/gpu/windows.py ... 'vkcube --wsi xcb' 'vkmark --winsys xcb -b cube'

Each PROGRAM (a command line in one argument; default: vkcube and every scene of vkmark) runs under
Xvfb until it has presented --frames frames, with tests/gpu/capture_layer hashing them and time
going by in frames. Exit status 1 when a frame differs or a program fails. Over vtest there are no
dma-bufs for an X server to take, so frames are shown by way of shared memory
(MESA_VK_WSI_DEBUG=sw).
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time

LAYER = 'VK_LAYER_PV_capture'
VKMARK_SCENES = ['vertex', 'texture', 'shading:shading=gouraud',
                 'shading:shading=blinn-phong-inf', 'shading:shading=phong',
                 'shading:shading=cel', 'effect2d:kernel=none', 'effect2d:kernel=blur',
                 'effect2d:kernel=edge', 'desktop', 'cube', 'clear']
PROGRAMS = ['vkcube --wsi xcb'] + [f'vkmark --winsys xcb -b {scene}:duration=60'
                                   for scene in VKMARK_SCENES]


def write_layer(folder, library):
    with open(os.path.join(folder, 'capture.json'), 'w', encoding='utf-8') as file:
        json.dump({'file_format_version': '1.2.0',
                   'layer': {'name': LAYER, 'type': 'INSTANCE', 'library_path': library,
                             'api_version': '1.3.0', 'implementation_version': '1',
                             'description': 'hashes of frames'}}, file)


def run(program, folder, env, options):
    """The lines of the captured frames, and seconds."""
    log = os.path.join(folder, 'frames')
    if os.path.exists(log):
        os.unlink(log)
    layer = os.path.abspath(os.path.join(options.build, 'tests/gpu/capture_layer.so'))
    began = time.monotonic()
    done = subprocess.run(shlex.split(program), capture_output=True, text=True, check=False,
                          timeout=120,
                          env={**os.environ, **env, 'VK_LAYER_PATH': folder,
                               'VK_INSTANCE_LAYERS': LAYER, 'LD_PRELOAD': layer,
                               'CAPTURE_FILE': log, 'CAPTURE_FRAMES': str(options.frames)})
    took = time.monotonic() - began
    if done.returncode or not os.path.exists(log):
        print(f'  exit status {done.returncode}: {done.stderr.strip()[-400:]}')
        return [], took
    with open(log, encoding='utf-8') as file:
        return file.read().splitlines(), took


def compare(program, folder, native_env, venus_env, options):
    native, native_took = run(program, folder, native_env, options)
    venus, venus_took = run(program, folder, venus_env, options)
    same = bool(native) and native == venus
    different = sum(a != b for a, b in zip(native, venus))
    moved = len({line.split()[-1] for line in native})
    print(f'{program}: {"identical" if same else "DIFFERENT"}: {len(native)} and {len(venus)} '
          f'frames ({moved} distinct), {different} differ; {native_took:.1f} s, {venus_took:.1f} s',
          flush=True)
    return same


def start_screen():
    """Xvfb on a display of its own choice, once it takes clients."""
    read_end, write_end = os.pipe()
    screen = subprocess.Popen(['Xvfb', '-displayfd', str(write_end), '-screen', '0',
                               '1024x768x24'], stderr=subprocess.DEVNULL, pass_fds=[write_end])
    os.close(write_end)
    with os.fdopen(read_end) as ready:
        number = ready.readline().strip()
    if not number:
        raise SystemExit(f'Xvfb: exit status {screen.wait()}')
    return screen, f':{number}'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', default='build')
    parser.add_argument('--venus-icd', required=True)
    parser.add_argument('--native-icd', required=True)
    parser.add_argument('--frames', type=int, default=60)
    parser.add_argument('programs', nargs='*', default=PROGRAMS)
    options = parser.parse_args()
    screen, display = start_screen()
    native = {'VK_ICD_FILENAMES': options.native_icd, 'DISPLAY': display}
    with tempfile.TemporaryDirectory() as folder:
        socket = os.path.join(folder, 'vtest')
        write_layer(folder, os.path.abspath(os.path.join(options.build,
                                                         'tests/gpu/capture_layer.so')))
        server = subprocess.Popen([os.path.join(options.build, 'pearvisor'), 'gpu-server',
                                   '--vtest', socket], env={**os.environ, **native})
        try:
            while not os.path.exists(socket) and server.poll() is None:
                time.sleep(0.02)
            venus = {**native, 'VK_ICD_FILENAMES': options.venus_icd, 'VN_DEBUG': 'vtest',
                     'VTEST_SOCKET_NAME': socket, 'MESA_VK_WSI_DEBUG': 'sw'}
            same = [compare(program, folder, native, venus, options)
                    for program in options.programs]
        finally:
            server.terminate()
            status = server.wait(timeout=30)
            screen.terminate()
            screen.wait(timeout=30)
    if status:
        print(f'gpu-server: exit status {status}')
    sys.exit(0 if all(same) and not status else 1)


if __name__ == '__main__':
    main()
