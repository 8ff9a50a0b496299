"""What reruns leave for the report."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

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

    def encode(self) -> bytes:
        """The fact as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Reran:
        """The fact that was encoded."""
        return msgspec.json.decode(data, type=cls)
