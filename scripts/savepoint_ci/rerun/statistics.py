"""What a number of runs says about a rate. Pure."""

from __future__ import annotations

import math

__all__ = ["rate_interval", "undetected_rate"]

_Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


def rate_interval(failures: int, runs: int) -> tuple[float, float]:
    """The 95 % interval (Wilson's) of the rate behind `failures` of `runs`, as two shares from 0 to 1."""
    if runs == 0:
        return 0.0, 1.0
    share, square = failures / runs, _Z**2
    middle = (share + square / (2 * runs)) / (1 + square / runs)
    half = _Z / (1 + square / runs) * math.sqrt(share * (1 - share) / runs + square / (4 * runs**2))
    # Rounding must not put the ends past what was observed.
    return max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0)


def undetected_rate(runs: int) -> float:
    """The rate of failure that `runs` runs without one would have shown with a probability of 95 %."""
    return 1 - 0.05 ** (1 / runs) if runs else 1.0
