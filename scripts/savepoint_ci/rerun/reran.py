"""What reruns leave for the report."""

from __future__ import annotations

from dataclasses import dataclass

from savepoint_ci.report.model import Verdict
from savepoint_ci.state import Fact

__all__ = ["Reran"]


@dataclass(frozen=True, kw_only=True)
class Reran(Fact):
    """What reruns proved; what they found about causes is in the evidence that the tests left."""

    seconds: float
    verdicts: tuple[Verdict, ...] = ()
    searched: bool = False
    warnings: tuple[str, ...] = ()
