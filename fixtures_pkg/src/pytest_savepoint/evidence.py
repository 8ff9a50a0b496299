"""Recorded facts: a cheap recorder in every pytest process, and the file of JSON lines that outlives a killed run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

__all__ = ["EVIDENCE_VARIABLE", "EvidenceFile", "Fact", "Recorder"]

EVIDENCE_VARIABLE = "SAVEPOINT_EVIDENCE"

Fact = dict[str, Any]
"""One recorded fact: plain JSON values, with its `kind`, the `test` it was seen in, and a number `at` that orders it."""


class EvidenceFile:
    """Appends one JSON object per line and hands each to the kernel at once, so that `kill -9` loses nothing.

    :param path: the file; it is made, with its folder, when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> EvidenceFile | None:
        """The file that SAVEPOINT_EVIDENCE names, or None when nobody asked for one."""
        name = environ.get(EVIDENCE_VARIABLE)
        return cls(Path(name)) if name else None

    def append(self, kind: str, **values: Any) -> None:
        """Write one line of this kind."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        # One write per line: two processes that append to the same file never mix their lines.
        self._file.write(json.dumps({"kind": kind, **values}, default=str).encode() + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Recorder:
    """The facts of one pytest process, in order; it holds plain values only, never a live object.

    :param worker: the xdist worker's name, or `main`.
    :param limit: facts kept between two hand-overs; what exceeds it is counted, not kept.
    """

    def __init__(self, worker: str = "main", *, limit: int = 20_000) -> None:
        self.worker = worker
        self.test = ""
        self.when = ""
        self._limit = limit
        self._facts: list[Fact] = []
        self._number = 0
        self.dropped = 0

    def note(self, kind: str, **values: Any) -> Fact:
        """Record one fact about what is happening now."""
        self._number += 1
        fact: Fact = {"kind": kind, "at": self._number, "worker": self.worker, "test": self.test, "when": self.when}
        fact.update(values)
        if len(self._facts) < self._limit:
            self._facts.append(fact)
        else:
            self.dropped += 1
        return fact

    def take(self) -> list[Fact]:
        """The facts since the last call, in order; they are then the caller's."""
        facts, self._facts = self._facts, []
        return facts

    def extend(self, facts: Iterable[Fact]) -> None:
        """Add facts that another process has recorded."""
        self._facts.extend(facts)
