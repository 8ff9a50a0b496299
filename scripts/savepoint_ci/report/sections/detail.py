"""How much of each kind is shown, from everything to the bare verdict."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LADDER", "Detail"]


@dataclass(frozen=True)
class Detail:
    """How much of each kind is shown; `text` is in characters."""

    text: int
    failures: int
    findings: int
    tests: int
    files: int
    warnings: int
    unsteady: int
    ledger: bool = True


# Long texts go first, names of causes last.
LADDER = (
    Detail(text=8_000, failures=500, findings=100, tests=50, files=300, warnings=50, unsteady=100),
    Detail(text=3_000, failures=50, findings=50, tests=20, files=50, warnings=20, unsteady=50),
    Detail(text=1_500, failures=30, findings=30, tests=10, files=20, warnings=10, unsteady=20),
    Detail(text=600, failures=30, findings=30, tests=5, files=10, warnings=5, unsteady=10),
    Detail(text=0, failures=30, findings=20, tests=3, files=5, warnings=3, unsteady=5),
    Detail(text=0, failures=10, findings=5, tests=1, files=3, warnings=1, unsteady=3, ledger=False),
    Detail(text=0, failures=0, findings=3, tests=0, files=0, warnings=0, unsteady=0, ledger=False),
    Detail(text=0, failures=0, findings=0, tests=0, files=0, warnings=0, unsteady=0, ledger=False),
)
