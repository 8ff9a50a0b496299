"""The examples, shared among processes; called by run.py in the development environment."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path

from hostile_files import KINDS, example

RESULTS = Path(__file__).with_name("results.md")
BATCH = 100
# A coverage file costs a hundred times as much as an event.
PARTS = {"report": 35, "evidence": 30, "event": 15, "history": 19, "coverage": 1}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/fuzz/run.py")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first example of each kind")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    batches = [
        (kind, given.first + start, min(BATCH, total - start))
        for kind in KINDS
        for total in [given.examples * PARTS[kind] // 100]
        for start in range(0, total, BATCH)
    ]
    began = time.monotonic()
    # The Markdown parser keeps what it has given out, so a process does a part of the work only.
    with Pool(given.processes, maxtasksperchild=20) as pool:
        done = list(pool.imap_unordered(_batch, batches))
    lines = _table(done, time.monotonic() - began, given.processes)
    print("\n".join(lines))
    faults = [fault for _, _, found in done for fault in found]
    print("\n\n".join(faults[:20]), file=sys.stderr)
    if not faults and given.examples >= 100_000:
        RESULTS.write_text("# Hostile files\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return min(len(faults), 1)


def _batch(batch: tuple[str, int, int]) -> tuple[str, Counter[str], list[str]]:
    kind, first, number = batch
    outcomes: Counter[str] = Counter()
    faults = []
    for place in range(first, first + number):
        try:
            outcomes[example(kind, place)] += 1
        except Exception:  # noqa: BLE001, PERF203 - whatever it is, it is what is looked for
            outcomes["fault"] += 1
            faults.append(f"example({kind!r}, {place}):\n{traceback.format_exc(limit=-3)}")
    return kind, outcomes, faults


def _table(done: Sequence[tuple[str, Counter[str], list[str]]], seconds: float, processes: int) -> list[str]:
    sums: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for kind, outcomes, _ in done:
        sums[kind] += outcomes
    lines = ["| File | Examples | Shown as text | Refused with a message | Faults |", "|---|---|---|---|---|"]
    for kind, found in sums.items():
        lines.append(f"| {kind} | {found.total():,} | {found['taken']:,} | {found['refused']:,} | {found['fault']:,} |")
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    total = sum(found.total() for found in sums.values())
    lines += ["", f"{total:,} examples in {seconds:.0f} s with {processes} processes, {memory:.0f} MB each at most."]
    return lines


if __name__ == "__main__":
    sys.exit(main())
