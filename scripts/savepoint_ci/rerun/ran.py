"""What one run showed, read from its evidence. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from savepoint_ci.rerun.variation import Variation

__all__ = ["Ran", "read_run"]


@dataclass(frozen=True)
class Ran:
    """The outcomes of one run; a test that was skipped or never started is in neither set.

    :param code: how pytest ended.
    :param order: node ids as they were started, by worker.
    :param failures: the first error of each test that failed, in one line.
    :param stuck: the tests that had started and not ended when the run was given up.
    :param findings: what the plugin found, as it stands in the evidence.
    :param facts: what it recorded.
    """

    variation: Variation
    seconds: float = 0.0
    code: int | None = None
    order: dict[str, tuple[str, ...]] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()
    failures: dict[str, str] = field(default_factory=dict)
    stuck: tuple[str, ...] = ()
    findings: tuple[dict[str, Any], ...] = ()
    facts: tuple[dict[str, Any], ...] = ()

    @property
    def tests(self) -> tuple[str, ...]:
        """All that was started, worker after worker."""
        return tuple(nodeid for tests in self.order.values() for nodeid in tests)

    def failed(self, nodeid: str) -> bool | None:
        """Whether a test failed; None when it gave no answer."""
        if nodeid in self.failures or nodeid in self.stuck:
            return True
        return False if nodeid in self.passed else None

    def before(self, nodeid: str) -> tuple[str, ...]:
        """The tests that ran in the same process before this one."""
        for tests in self.order.values():
            if nodeid in tests:
                return tests[: tests.index(nodeid)]
        return ()


def read_run(
    lines: Iterable[str], variation: Variation, *, seconds: float = 0.0, code: int | None = None, hung: bool = False
) -> Ran:
    """Read the evidence of one run; a line that a killed process left half written is passed over.

    :param code: how pytest ended.
    :param hung: it had to be ended, so that a test which had begun and not ended did not come to an end by itself.
    """
    reading = _Reading()
    for record in _records(lines):
        reading.add(record)
    order = {worker: tuple(tests) for worker, tests in reading.order.items()}
    return Ran(
        variation=variation,
        seconds=seconds,
        code=code,
        order=order,
        passed=frozenset(reading.ended - reading.aside - reading.failures.keys()),
        failures=reading.failures,
        stuck=tuple(tests[-1] for tests in order.values() if hung and tests[-1] not in reading.ended),
        findings=tuple(reading.findings),
        facts=tuple(reading.facts),
    )


@dataclass
class _Reading:
    order: dict[str, dict[str, None]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    aside: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, record: dict[str, Any]) -> None:
        match record.get("kind"):
            case "started":
                self._begin(record)
            case "phase" if record["when"] != "collect" and record["outcome"] != "rerun":
                self._add_phase(record)
            case "crash" if record.get("nodeid"):
                self.failures.setdefault(record["nodeid"], "the worker died")
            case "finding":
                self.findings.append(record)
            case "facts":
                self.facts = record["facts"]

    def _begin(self, record: dict[str, Any]) -> None:
        # A worker begins a test before the controller has written how its last one ended.
        self.order.setdefault(record["worker"], {}).setdefault(record["nodeid"])

    def _add_phase(self, record: dict[str, Any]) -> None:
        nodeid = record["nodeid"]
        self._begin(record)
        if record["when"] == "teardown":
            self.ended.add(nodeid)
        if record["outcome"] == "failed" and not record["xfail"]:
            self.failures.setdefault(nodeid, record["message"])
        elif record["outcome"] != "passed":
            self.aside.add(nodeid)


def _records(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record
