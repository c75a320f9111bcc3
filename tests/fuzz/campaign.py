#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the libFuzzer targets of a build folder in turns, and keeps count of their CPU time.

usage: campaign.py BUILD [--only NAME,...] [--seconds N] [--short NAME,...] [--total MINUTES]
                         [--jobs N] [--work DIR] [--keep]

Each turn gives a target N seconds (60), or half of that when it is --short. Without --total every target has one turn, which is what CI
does; with it, turns go on until each has had so many CPU-minutes in all the campaigns of DIR. DIR
(a temporary folder unless given) has NAME/ with the inputs found so far, findings/, and
ledger.json with the CPU seconds and runs of each target.

The kept corpus is tests/fuzz/corpus/NAME.txt: an input a line, in base64. It is where a target
without inputs in DIR begins; --keep writes it anew from DIR, the smallest inputs that together
cover what all of them do.

The last line is `N passed, N failed, N skipped`: a target fails when libFuzzer ends it.
"""
import argparse
import base64
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

KEPT = pathlib.Path(__file__).resolve().parent / "corpus"
# A kept input is at most so long, and a target keeps at most so many: they are read by people too.
KEPT_BYTES = 512
KEPT_INPUTS = 128
INPUT_MAX = 4096
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


class Ledger:
    """CPU seconds and runs of each target, in a file that is whole at any time."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.rows = json.loads(path.read_text()) if path.exists() else {}

    def cpu_seconds(self, name):
        return self.rows.get(name, {}).get("cpu_seconds", 0)

    def add(self, name, cpu_seconds, runs):
        with self.lock:
            row = self.rows.setdefault(name, {"cpu_seconds": 0, "runs": 0})
            row["cpu_seconds"] = round(row["cpu_seconds"] + cpu_seconds, 1)
            row["runs"] += runs
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps(self.rows, indent=1, sort_keys=True) + "\n")
            new.rename(self.path)


def unpack_kept(name, folder):
    """The kept corpus as files, where the folder has no inputs yet."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = KEPT / f"{name}.txt"
    if kept.exists() and not any(folder.iterdir()):
        for index, line in enumerate(kept.read_text().split()):
            (folder / f"kept-{index}").write_bytes(base64.b64decode(line))


def turn(target, work, seconds, ledger):
    """One turn; false when libFuzzer found something."""
    name = target.name.removeprefix("fuzz-")
    corpus = work / name
    unpack_kept(name, corpus)
    log = work / f"{name}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [target, corpus, f"-max_total_time={seconds}", f"-max_len={INPUT_MAX}",
             "-timeout=120", "-print_final_stats=1", f"-artifact_prefix={work}/findings/{name}-"],
            stdout=out, stderr=out, env={**os.environ, **ENVIRONMENT})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(errors="replace")
    runs = re.search(r"stat::number_of_executed_units: *(\d+)", text)
    cpu = usage.ru_utime + usage.ru_stime
    ledger.add(name, cpu, int(runs[1]) if runs else 0)
    print(f"{name}: {runs[1] if runs else '?'} runs, {cpu:.0f} s of CPU, "
          f"{ledger.cpu_seconds(name) / 60:.1f} min in all", flush=True)
    if child.returncode:
        print(f"{name}: FAILED, see {log}\n{text[-3000:]}", flush=True)
    return child.returncode == 0


def keep(target, work):
    """Writes the kept corpus of a target: the least set of inputs that covers what all do."""
    name = target.name.removeprefix("fuzz-")
    if not (work / name).is_dir():
        return
    with tempfile.TemporaryDirectory() as small:
        subprocess.run([target, "-merge=1", f"-max_len={KEPT_BYTES}", small, work / name],
                       check=True, capture_output=True, env={**os.environ, **ENVIRONMENT})
        inputs = sorted((path.read_bytes() for path in pathlib.Path(small).iterdir()),
                        key=lambda data: (len(data), data))
    inputs = [data for data in inputs if 0 < len(data) <= KEPT_BYTES]
    if len(inputs) > KEPT_INPUTS:  # evenly over the lengths
        inputs = [inputs[i * len(inputs) // KEPT_INPUTS] for i in range(KEPT_INPUTS)]
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.txt").write_text(
        "".join(base64.b64encode(data).decode() + "\n" for data in inputs))
    print(f"{name}: {len(inputs)} inputs kept", flush=True)


def campaign(targets, arguments, work, ledger):
    """Turns until every target has had its share; the names of those that failed."""
    failed = set()

    def wants(target):
        name = target.name.removeprefix("fuzz-")
        return target not in failed and ledger.cpu_seconds(name) < 60 * (arguments.total or 0)

    def seconds(target):
        short = target.name.removeprefix("fuzz-") in arguments.short.split(",")
        return arguments.seconds // (2 if short else 1)

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        round_of = list(targets) if not arguments.total else [t for t in targets if wants(t)]
        while round_of:
            results = pool.map(lambda t: (t, turn(t, work, seconds(t), ledger)), round_of)
            failed |= {target for target, fine in results if not fine}
            round_of = [t for t in targets if wants(t)] if arguments.total else []
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path, help="a build folder with -Dfuzz=true")
    parser.add_argument("--only", help="comma-separated names of targets")
    parser.add_argument("--seconds", type=int, default=60, help="of one turn")
    parser.add_argument("--short", default="", help="targets whose turns are half as long")
    parser.add_argument("--total", type=float, help="CPU-minutes that each target is to have had")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="turns at a time")
    parser.add_argument("--work", type=pathlib.Path, help="where inputs and the ledger are kept")
    parser.add_argument("--keep", action="store_true", help="write the kept corpus, run nothing")
    arguments = parser.parse_args()
    targets = sorted(path for path in (arguments.build / "tests" / "fuzz").glob("fuzz-*")
                     if path.is_file() and os.access(path, os.X_OK))
    if arguments.only:
        names = [f"fuzz-{name}" for name in arguments.only.split(",")]
        unknown = set(names) - {target.name for target in targets}
        if unknown:
            parser.error(f"no target '{sorted(unknown)[0][5:]}' in {arguments.build}")
        targets = [target for target in targets if target.name in names]
    if not targets:
        parser.error(f"{arguments.build} has no fuzz targets; set it up with -Dfuzz=true")
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or pathlib.Path(temporary)).resolve()
        (work / "findings").mkdir(parents=True, exist_ok=True)
        if arguments.keep:
            for target in targets:
                keep(target, work)
            return 0
        failed = campaign(targets, arguments, work, Ledger(work / "ledger.json"))
    print(f"{len(targets) - len(failed)} passed, {len(failed)} failed, 0 skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
