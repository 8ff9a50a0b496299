#!/usr/bin/env python3
"""Read and show many hostile files: bench/fuzz/run.py [--examples N] [--first N] [--processes N]

Report, evidence, event, history and coverage files, right ones changed by chance. Each must be refused with a message,
or every rendering of it must be text and nothing else, as GitHub's Markdown parser and a browser's HTML parser read it.
Prints the table and writes that of 100,000 examples and more to bench/fuzz/results.md. An example that breaks a law is
named by kind and number, and `example(kind, number)` in tests/fakes/hostile_files.py makes it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from development import call  # noqa: E402 - after the path is set

if __name__ == "__main__":
    sys.exit(call(HERE / "examples.py", __doc__))
