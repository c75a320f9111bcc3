#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs tests/gpu/vk_client on the native driver and through `pearvisor gpu-server`, side by side.

    bench/gpu/compare.py --venus-icd virtio_icd.json [--native-icd lvp_icd.json] [--runs N]

What the client computes and draws must be identical; exit status 1 when it is not. Times are the
least of N runs each, run in turns; the ratio is native / venus (1.0: as fast as native). The guest
driver is Mesa 25's Venus (Debian: mesa-vulkan-drivers of bookworm-backports, an unpacked copy
serves: put its path into the library_path of virtio_icd.json).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

# Native GPU time that these modes are given: long against a round trip, whatever the GPU.
GPU_BOUND_MS = {'compute': 200, 'matmul': 1000}
MODES = ['compute', 'matmul', 'draw', 'submits', 'pipelines', 'frames', 'calls']


def driver(icd):
    """The environment in which the loader knows this driver only, whatever the caller's says."""
    return {'VK_DRIVER_FILES': icd, 'VK_ICD_FILENAMES': icd}


def run_client(client, mode, env):
    """The client's `result` and `time` lines as two dictionaries."""
    done = subprocess.run([client, *mode.split()], env={**os.environ, **env}, text=True,
                          capture_output=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f'{mode}: exit status {done.returncode}: {done.stderr.strip()}')
    rows = [line.split() for line in done.stdout.splitlines()]
    return ({name: value for kind, name, value in rows if kind == 'result'},
            {name: float(value) for kind, name, value in rows if kind == 'time'})


def fit_to_gpu(mode, client, native_env):
    """With as many dispatches as the native driver takes GPU_BOUND_MS for."""
    if mode not in GPU_BOUND_MS:
        return mode
    each = run_client(client, f'{mode} 4', native_env)[1][mode]
    return f'{mode} {max(4, min(20000, int(GPU_BOUND_MS[mode] / each)))}'


def compare(mode, client, native_env, venus_env, runs):
    """Prints the mode's rows; returns whether all results agree."""
    same, best = True, {}
    for _ in range(runs):
        native, native_times = run_client(client, mode, native_env)
        venus, venus_times = run_client(client, mode, venus_env)
        same = same and native == venus
        for name, value in native_times.items():
            old = best.get(name, (value, venus_times[name]))
            best[name] = (min(old[0], value), min(old[1], venus_times[name]))
    print(f'{mode}: {"identical" if same else "DIFFERENT"}')
    for name, (native, venus) in best.items():
        print(f'  {name}: native {native:.4f} ms, venus {venus:.4f} ms, ratio {native / venus:.2f}')
    return same


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', default='build')
    parser.add_argument('--venus-icd', required=True)
    parser.add_argument('--native-icd', help="the host driver's (default: the loader's choice)")
    parser.add_argument('--runs', type=int, default=3)
    parser.add_argument('modes', nargs='*', default=MODES)
    options = parser.parse_args()
    client = os.path.join(options.build, 'tests/gpu/vk_client')
    native_env = driver(options.native_icd) if options.native_icd else {}
    with tempfile.TemporaryDirectory() as folder:
        socket = os.path.join(folder, 'vtest')
        server = subprocess.Popen([os.path.join(options.build, 'pearvisor'), 'gpu-server',
                                   '--vtest', socket], env={**os.environ, **native_env})
        try:
            while not os.path.exists(socket) and server.poll() is None:
                time.sleep(0.02)
            venus_env = {**driver(options.venus_icd), 'VN_DEBUG': 'vtest',
                         'VTEST_SOCKET_NAME': socket}
            same = [compare(fit_to_gpu(mode, client, native_env), client, native_env, venus_env,
                            options.runs) for mode in options.modes]
        finally:
            server.terminate()
            status = server.wait(timeout=30)
    if status:
        print(f'gpu-server: exit status {status}')
    sys.exit(0 if all(same) and not status else 1)


if __name__ == '__main__':
    main()
