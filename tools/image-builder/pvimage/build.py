# SPDX-License-Identifier: MIT
"""Puts the steps of an image build in order."""

import sys
import time

PROFILES = {"minimal": [], "full": []}


class Progress:
    """One line for each step on stderr; on a terminal, a detail is rewritten in place."""

    def __init__(self):
        self.started = time.monotonic()
        self.live = sys.stderr.isatty()
        self.open = False

    def step(self, text):
        self.end()
        sys.stderr.write(f"[{time.monotonic() - self.started:6.1f}s] {text}\n")
        sys.stderr.flush()

    def detail(self, done, total, text):
        if self.live:
            width = 24 * done // max(total, 1)
            sys.stderr.write(f"\r\033[K  [{'#' * width}{'.' * (24 - width)}] "
                             f"{done}/{total} {text[:40]}")
            self.open = True
        elif done == total or done % 20 == 0:
            sys.stderr.write(f"  {done}/{total} {text}\n")
        sys.stderr.flush()

    def end(self):
        if self.open:
            sys.stderr.write("\n")
            self.open = False
