# SPDX-License-Identifier: MIT
"""What every benchmark needs: interleaved runs, medians, the machine's description."""
import math
import os
import platform
import statistics
import time


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            for line in info:
                if line.startswith("model name"):
                    model = line.split(":", 1)[1].strip()
                    break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def interleave(subjects, runs, progress=None):
    """Calls each subject in turn, `runs` times over; subjects maps a name to a function that
    returns one figure. Returns name -> list of figures."""
    figures = {name: [] for name in subjects}
    for index in range(runs):
        for name, measure in subjects.items():
            started = time.monotonic()
            figures[name].append(measure())
            if progress:
                progress(f"run {index + 1}/{runs} {name}: {time.monotonic() - started:.1f} s")
    return figures


class Result:
    """Rows of figures for ours and a peer. `ratio` is ours over the peer, higher is better."""

    def __init__(self, unit, higher_is_better, ours, peer):
        self.unit = unit
        self.higher_is_better = higher_is_better
        self.ours = ours
        self.peer = peer
        self.rows = []
        self.compared = {}
        self.machine = ""
        self.notes = []

    def add(self, name, ours, peer, remark=""):
        """`ours` and `peer` are lists of figures from interleaved runs."""
        self.rows.append((name, statistics.median(ours), statistics.median(peer), ours, peer,
                          remark))

    def add_fastest(self, name, ours, peers):
        """As add(), the peer being the fastest of several: peers maps their names to lists."""
        choose = max if self.higher_is_better else min
        fastest = choose(peers, key=lambda peer: statistics.median(peers[peer]))
        self.add(name, ours, peers[fastest], fastest)

    def compare(self, name, other, figures):
        """A further column for a row, which its ratio does not depend on."""
        self.compared.setdefault(name, {})[other] = statistics.median(figures)

    def _row_ratio(self, row):
        return row[1] / row[2] if self.higher_is_better else row[2] / row[1]

    @property
    def ratio(self):
        return math.exp(statistics.fmean(math.log(self._row_ratio(row)) for row in self.rows))

    def _remarks(self, name):
        return "  ".join(f"{other} {value:.2f}"
                         for other, value in self.compared.get(name, {}).items())

    def table(self):
        lines = [f"machine: {self.machine}"] + [f"note: {note}" for note in self.notes]
        lines.append(f"{'':28} {self.ours:>16} {self.peer:>16} {'ratio':>7}   ({self.unit}, medians)")
        for row in self.rows:
            lines.append(f"{row[0]:28} {row[1]:16.2f} {row[2]:16.2f} {self._row_ratio(row):7.2f}"
                         f"   {row[5]:18} {self._remarks(row[0])}".rstrip())
        return "\n".join(lines)

    def as_dict(self):
        return {"machine": self.machine, "unit": self.unit, "notes": self.notes,
                "higher_is_better": self.higher_is_better, "ratio": self.ratio,
                "rows": [{"name": name, self.ours: ours, self.peer: peer, "runs": [a, b],
                          "remark": remark, **self.compared.get(name, {})}
                         for name, ours, peer, a, b, remark in self.rows]}
