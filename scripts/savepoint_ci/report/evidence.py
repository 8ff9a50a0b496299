"""The lines of the evidence file, typed; what a killed process left half written is counted, never a crash."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

__all__ = [
    "Collected",
    "Crash",
    "Finished",
    "Found",
    "Growth",
    "KeptLine",
    "MigrationLine",
    "PhaseLine",
    "QueriesLine",
    "Record",
    "Served",
    "Session",
    "SilenceLine",
    "Started",
    "Stuck",
    "Unreadable",
    "Warned",
    "read_evidence",
]


class Session(msgspec.Struct, frozen=True, tag_field="kind", tag="session"):
    workers: int = 0
    python: str = ""
    isolation: str = ""
    seed: Any = None
    time: float = 0.0


class Collected(msgspec.Struct, frozen=True, tag_field="kind", tag="collected"):
    total: int


class Served(msgspec.Struct, frozen=True, tag_field="kind", tag="database"):
    provider: str
    reason: str = ""
    version: str = ""
    template: dict[str, Any] | None = None


class QueriesLine(msgspec.Struct, frozen=True):
    count: int = 0
    seconds: float = 0.0
    rows: int = 0
    slowest: dict[str, Any] = {}
    repeated: dict[str, Any] = {}


class KeptLine(msgspec.Struct, frozen=True):
    """The database in which a failed test was repeated."""

    name: str
    url: str = ""
    command: str = ""
    passed: bool = False


class PhaseLine(msgspec.Struct, frozen=True, tag_field="kind", tag="phase"):
    nodeid: str
    when: Literal["collect", "setup", "call", "teardown"]
    outcome: Literal["passed", "failed", "skipped", "rerun"]
    worker: str = "main"
    duration: float = 0.0
    start: float = 0.0
    message: str = ""
    text: str = ""
    path: str | None = None
    line: int | None = None
    xfail: bool = False
    isolation: str = ""
    load: float | None = None
    queries: QueriesLine | None = None
    kept: KeptLine | None = None


class Found(msgspec.Struct, frozen=True, tag_field="kind", tag="finding"):
    code: str
    cause: str
    tests: list[str]
    culprit: dict[str, Any] | None = None
    explanation: str = ""
    fix: str = ""
    confidence: float = 0.0
    evidence: list[str] = []


class SilenceLine(msgspec.Struct, frozen=True, tag_field="kind", tag="silence"):
    """What a marker of a test silences."""

    test: str
    reason: str
    code: str = ""


class Crash(msgspec.Struct, frozen=True, tag_field="kind", tag="crash"):
    worker: str = ""
    nodeid: str | None = None


class MigrationLine(msgspec.Struct, frozen=True, tag_field="kind", tag="migration"):
    """A new revision that was applied to the schema of the base branch."""

    revision: str
    path: str
    seconds: float = 0.0
    locks: dict[str, str] = {}


class Warned(msgspec.Struct, frozen=True, tag_field="kind", tag="warning"):
    text: str


class Finished(msgspec.Struct, frozen=True, tag_field="kind", tag="finished"):
    exit: int
    time: float = 0.0


class Started(msgspec.Struct, frozen=True, tag_field="kind", tag="started"):
    nodeid: str
    worker: str = "main"
    pid: int = 0


class Stuck(msgspec.Struct, frozen=True, tag_field="kind", tag="stuck"):
    """Where a process was when it was asked for it; the stacks of its threads are in a file beside the evidence."""

    worker: str = "main"
    tasks: list[str] = []


class Growth(msgspec.Struct, frozen=True, tag_field="kind", tag="growth"):
    """What one process held after its first and its last test, the tests that added most, and the lines if asked for."""

    worker: str = "main"
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    tests: list[dict[str, Any]] = []
    allocated: list[dict[str, Any]] = []


class Unreadable(msgspec.Struct, frozen=True):
    """A line that is no record of ours, such as the last line of a killed process."""

    line: str


Record = (
    Session
    | Collected
    | Served
    | Started
    | PhaseLine
    | Stuck
    | Found
    | SilenceLine
    | Crash
    | MigrationLine
    | Warned
    | Growth
    | Finished
)


def read_evidence(lines: Iterable[str]) -> Iterator[Record | Unreadable]:
    """Return each line of the evidence file as its type; empty lines are passed over."""
    for line in lines:
        if not line.strip():
            continue
        try:
            # The standard reader keeps unpaired surrogates, which a strict one refuses together with the test's result.
            yield msgspec.convert(json.loads(line), Record)
        except (ValueError, RecursionError):
            yield Unreadable(line)
