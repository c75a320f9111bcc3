#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the test suites of GMP, OpenSSL and Python in a Debian guest.

usage: suites.py [--work FOLDER] [--cpus N] [--image NAME] [NAME...]

GMP and OpenSSL are fetched as Debian source packages, cross-built here (GMP needs m4), and carried
into the guest on a disk of their own; Python's suite is Debian's libpython3.13-testsuite. Prints a line for each.
A first run takes some minutes of building; the folder is used again.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import guest

CROSS = "aarch64-linux-gnu"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SOURCES = f"deb-src [signed-by={KEYRING}] http://deb.debian.org/debian bookworm main\n"
PACKAGES = ("perl", "python3", "libpython3.13-testsuite")
DISK_MIB = 2048

# What a guest without sound, display, tracing and second user cannot show is not in the list.
PYTHON_TESTS = """
    test_math test_cmath test_float test_struct test_long test_int test_complex test_decimal
    test_fractions test_random test_statistics test_bytes test_str test_array
    test_memoryview test_codecs test_hashlib test_hmac test_zlib test_bz2 test_lzma test_gzip test_binascii
    test_re test_json test_pickle test_marshal test_copy test_dict test_set test_list test_tuple
    test_sort test_heapq test_bisect test_collections test_itertools test_functools test_operator
    test_generators test_coroutines test_exceptions test_thread test_threading test_queue
    test_subprocess test_os test_posix test_mmap test_io test_select test_socket test_signal
    test_time test_datetime test_ctypes test_sqlite3 test_multiprocessing_fork test_ast test_compile
    test_dis test_grammar test_gc test_weakref test_descr""".split()


def build_gmp(folder):
    # Debian leaves the documentation out, which the build wants to see.
    (folder / "doc").mkdir(exist_ok=True)
    (folder / "doc/Makefile.in").write_text("all check clean distclean install:\n")
    return [["./configure", f"--host={CROSS}", "--disable-shared"], ["make", "-j2"],
            ["make", "-j2", "check", "TESTS="]]


def build_openssl(folder):
    return [["perl", "Configure", "linux-aarch64", f"--cross-compile-prefix={CROSS}-", "no-shared"],
            ["make", "-j2"]]


# A suite's source package, how it is built, and what runs it in the guest in /suites/NAME.
GMP = "find tests -type f -perm -1 -exec file -L {} + | sed -n 's/: *ELF.*//p'"
SUITES = {
    "gmp": (build_gmp,
            "n=0; bad=; for t in $(cat programs); do n=$((n+1)); $t >/tmp/log 2>&1 ||"
            " { [ $? = 77 ] || bad=\"$bad $t\"; }; done; echo \"$n programs, failed:${bad:- none}\";"
            " [ -z \"$bad\" ]"),
    "openssl": (build_openssl,
                # Its scripts want to be where they were configured.
                "mkdir -p {work}; ln -sfn /suites {work}/disk;"
                " SRCTOP=. BLDTOP=. HARNESS_JOBS={cpus} PERL=perl EXE_EXT= perl test/run_tests.pl"
                " > /tmp/log 2>&1; s=$?; tail -n 12 /tmp/log; [ $s = 0 ]"),
    # The two that are left out ask the guest's compiler, which it does not have.
    "python": (None, "python3 -m test -j {cpus} --timeout 3000 -i 'test_find_library_with_*'"
                     f" {' '.join(PYTHON_TESTS)}"
                     " > /tmp/log 2>&1; s=$?; tail -n 12 /tmp/log; [ $s = 0 ]"),
}


def command(arguments, folder, log):
    with open(log, "ab") as output:
        done = subprocess.run(arguments, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.exit(f"suites: {' '.join(map(str, arguments))} failed in {folder}; see {log}")


def fetch(name, work):
    """The unpacked source of a Debian package."""
    lists = work / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    (work / "sources.list").write_text(SOURCES)
    apt = ["apt-get", f"-oDir::Etc::sourcelist={work}/sources.list",
           "-oDir::Etc::sourceparts=/dev/null", f"-oDir::State::Lists={lists}"]
    command([*apt, "update"], work, work / "apt.log")
    command([*apt, "source", "--download-only", name], work, work / "apt.log")
    archive = next(work.glob(f"{name}_*.orig.tar.*z"))
    folder = work / "disk" / name
    folder.mkdir(parents=True)
    command(["tar", "-xf", archive, "-C", folder, "--strip-components=1"], work, work / "apt.log")
    return folder


def ensure_disk(names, work):
    """An ext4 image with the built suites."""
    built = [name for name in names if SUITES[name][0]]
    if not built:
        return None
    for name in built:
        if (work / f"{name}.done").exists():
            continue
        print(f"building {name}; its log is {work}/{name}.log", flush=True)
        shutil.rmtree(work / "disk" / name, ignore_errors=True)
        folder = fetch(name, work)
        for step in SUITES[name][0](folder):
            command(step, folder, work / f"{name}.log")
        for junk in folder.rglob("*.o"):
            junk.unlink()
        if name == "gmp":
            programs = subprocess.run(["sh", "-c", GMP], cwd=folder, capture_output=True, text=True,
                                      check=True).stdout
            (folder / "programs").write_text(programs)
        (work / f"{name}.done").touch()
    image = work / "suites.ext4"
    image.unlink(missing_ok=True)
    with open(image, "wb") as file:
        file.truncate(DISK_MIB << 20)
    command(["mkfs.ext4", "-q", "-F", "-d", work / "disk", image], work, work / "disk.log")
    return image


def ensure_image(name):
    if subprocess.run([guest.BUILDER, "inspect", name], capture_output=True).returncode == 0:
        return
    packages = [option for package in PACKAGES for option in ("--package", package)]
    if subprocess.run([guest.PROGRAM, "image", "build", "debian:13", "--name", name, "--profile",
                       "minimal", *packages]).returncode != 0:
        sys.exit(1)


def suites(start, options):
    disk = ["--disk", str(options.disk)] if options.disk else []
    vm = start(options.image, "--cpus", str(options.cpus), "--memory", "2G", *disk)
    vm.login(900)
    if options.disk:
        vm.command_output("mkdir -p /suites; mount /dev/vdb /suites", 60)
    failed = []
    for name in options.names:
        started = time.monotonic()
        line = SUITES[name][1].replace("{cpus}", str(options.cpus))
        line = line.replace("{work}", str(options.work))
        status, output = vm.command_output(f"cd /suites/{name} 2>/dev/null || cd /; {line}", 14400)
        verdict = "passed" if status == 0 else "FAILED"
        print(f"{name:8} {verdict} in {time.monotonic() - started:.0f} s", flush=True)
        print("\n".join("    " + text for text in output.splitlines()[-14:]), flush=True)
        if status != 0:
            failed.append(name)
    vm.send("poweroff\n")
    if vm.wait(300) != 0 or failed:
        raise guest.Failure(f"{', '.join(failed) or 'power-off'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--work", type=Path, default=Path("build/suites"))
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--image", default="suites-13")
    options = parser.parse_intermixed_args()
    if unknown := [name for name in options.names if name not in SUITES]:
        parser.error(f"no suite '{unknown[0]}'; there are {', '.join(SUITES)}")
    options.names = options.names or list(SUITES)
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    ensure_image(options.image)
    options.disk = ensure_disk(options.names, options.work)
    return guest.main(suites, options)


sys.exit(main())
