"""Values from outside, cut to what a report may hold."""

from __future__ import annotations

import math

from savepoint_ci.report.model import LINE_LIMIT, TEXT_LIMIT
from savepoint_ci.report.text import clean_block, clean_line, cut

__all__ = ["MOST", "fit_amount", "fit_line", "fit_seconds", "fit_text"]

MOST = 10_000_000
"""The largest number of seconds, tests or workers."""


def fit_line(text: str) -> str:
    """Return the text as one clean line that is not too long."""
    return cut(clean_line(text), LINE_LIMIT)


def fit_text(text: str) -> str:
    """Return the text cleaned and not too long."""
    return cut(clean_block(text), TEXT_LIMIT)


def fit_seconds(value: object) -> float:
    """Return the value to the microsecond, 0 when it is no number of seconds."""
    if isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= MOST:
        return round(float(value), 6)
    return 0.0


def fit_amount(value: object) -> int:
    """Return the value as a count, 0 when it is none."""
    return value if isinstance(value, int) and 0 <= value <= MOST else 0
