"""Samples of interleaved rounds, and the Markdown tables of their medians."""

from __future__ import annotations

import statistics
from collections import defaultdict

__all__ = ["Samples", "milliseconds", "ratio", "table"]


class Samples:
    """The seconds of each case, one number per round."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, case: str, seconds: float) -> None:
        self._seconds[case].append(seconds)

    def median(self, case: str) -> float:
        return statistics.median(self._seconds[case])

    def least(self, case: str) -> float:
        return min(self._seconds[case])


def milliseconds(samples: Samples, case: str) -> list[str]:
    """Median and least of a case."""
    return [f"{1000 * samples.median(case):.2f}", f"{1000 * samples.least(case):.2f}"]


def ratio(part: float, unit: float) -> str:
    return f"{part / unit:.2f}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
