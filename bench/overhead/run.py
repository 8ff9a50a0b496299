#!/usr/bin/env python3
"""Measure what the action adds to a job, step by step under act: bench/overhead/run.py [--rounds N]

A job of the example runs on this machine twice, first with nothing of ours there, then once more. Everything counts that
is neither the caller's install nor their tests: their requirements are installed beforehand, and what their pytest takes
is subtracted. Prints the table and writes it to bench/overhead/results.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from development import call  # noqa: E402 - after the path is set

if __name__ == "__main__":
    sys.exit(call(HERE / "jobs.py", __doc__))
