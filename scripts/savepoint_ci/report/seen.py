"""The lines of the evidence, one after the other -> what is known of the run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec
from pytest_savepoint.silence import Silence

from savepoint_ci.report import evidence
from savepoint_ci.report.evidence import (
    Collected,
    Crash,
    Finished,
    Found,
    KeptLine,
    MigrationLine,
    PhaseLine,
    QueriesLine,
    Record,
    Served,
    Session,
    SilenceLine,
    Unreadable,
    Warned,
)
from savepoint_ci.report.fitting import MOST, fit_amount, fit_line, fit_seconds, fit_text
from savepoint_ci.report.model import Finding, Growth, Kept, Migration, Phase, PhaseError, Queries
from savepoint_ci.report.outcomes import TestRecord

__all__ = ["Seen"]

_ISOLATIONS = ("savepoint", "rows", "clone", "none")
_FAR_FUTURE = 1e11  # seconds since the epoch; evidence may say anything
_MOST_FINDINGS = 10_000
_MOST_MIGRATIONS = 1_000
_MOST_LOCKS = 1_000
_MOST_PROCESSES = 1_000
_MOST_GROWN = 100


@dataclass
class Seen:
    """What the evidence of one run says; `finished` is pytest's exit code, None when it never got there."""

    session: Session = field(default_factory=Session)
    collected: int = 0
    served: Served | None = None
    tests: dict[str, TestRecord] = field(default_factory=dict)
    isolation: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    silences: list[Silence] = field(default_factory=list)
    migrations: list[Migration] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    finished: int | None = None
    unreadable: int = 0
    _warnings: list[str] = field(default_factory=list)

    def add(self, record: Record | Unreadable) -> None:  # noqa: C901, PLR0912 - one case per kind of line
        """Take one line of the evidence."""
        match record:
            case Session():
                self.session = record
            case Collected(total=total):
                self.collected = max(self.collected, min(total, MOST))
            case Served():
                self.served = record
            case PhaseLine(when="collect", outcome="passed" | "rerun"):
                pass
            case PhaseLine():
                isolation = record.isolation if record.isolation in _ISOLATIONS else "other" if record.isolation else ""
                if isolation and record.when == "teardown":
                    self.isolation[isolation] += 1
                self._test(record.nodeid).add(
                    record.when,
                    record.outcome,
                    worker=fit_line(record.worker),
                    start=record.start if 0 < record.start < _FAR_FUTURE else None,
                    duration=fit_seconds(record.duration),
                    xfail=record.xfail,
                    error=_phase_error(record) if record.outcome == "failed" else None,
                    isolation=isolation,
                    load=fit_seconds(record.load) if record.load is not None else None,
                    queries=_queries(record.queries) if record.queries else None,
                    kept=_kept(record.kept) if record.kept else None,
                )
            case Crash(worker=worker, nodeid=nodeid):
                message = fit_line(f"worker {worker or '?'} died")
                self._warnings.append(f"{message} while it ran {nodeid}." if nodeid else f"{message}.")
                if nodeid:
                    self._test(nodeid).crash(fit_line(worker), message)
            case Found():
                self._add_finding(record)
            case SilenceLine(test=test, code=code, reason=reason):
                self.silences.append(Silence(test=fit_line(test), code=code, reason=fit_line(reason)))
            case MigrationLine():
                self.migrations = [*self.migrations, _migration(record)][:_MOST_MIGRATIONS]
            case evidence.Growth():
                self._add_growth(record)
            case Warned(text=text):
                self._warnings.append(text)
            case Finished(exit=code):
                self.finished = code
            case Unreadable():
                self.unreadable += 1

    def warnings(self, ended: int | None) -> list[str]:
        """Return what is to be said about the evidence itself, and what it says.

        :param ended: pytest's exit code, negative for the signal that ended it, None when it was not started.
        """
        texts = list(self._warnings)
        if self.unreadable:
            texts.append(f"{self.unreadable} line(s) of evidence could not be read; their tests count as not run.")
        if self.finished is None and ended is not None:
            how = f"was ended by signal {-ended}" if ended < 0 else f"ended with exit code {ended}"
            texts.append(f"pytest {how} before it had finished; tests without a result count as not run.")
        return texts

    def _test(self, nodeid: str) -> TestRecord:
        nodeid = fit_line(nodeid)
        return self.tests.setdefault(nodeid, TestRecord(nodeid))

    def _add_finding(self, record: Found) -> None:
        try:
            finding = msgspec.convert(
                {
                    "code": record.code,
                    "cause": record.cause,
                    "tests": [fit_line(nodeid) for nodeid in record.tests],
                    "culprit": record.culprit
                    and {
                        name: fit_line(each) if isinstance(each, str) else each for name, each in record.culprit.items()
                    },
                    "explanation": fit_text(record.explanation),
                    "fix": fit_text(record.fix),
                    "confidence": record.confidence,
                    "evidence": [fit_text(each) for each in record.evidence],
                },
                Finding,
            )
        except (msgspec.ValidationError, UnicodeEncodeError):  # the latter for unpaired surrogates
            self.unreadable += 1
        else:
            if len(self.findings) < _MOST_FINDINGS:
                self.findings.append(finding)

    def _add_growth(self, record: evidence.Growth) -> None:
        try:
            grown = msgspec.convert(
                {
                    "worker": fit_line(record.worker),
                    "first": record.first,
                    "last": record.last,
                    "tests": [
                        each | {"test": fit_line(str(each.get("test", "")))} for each in record.tests[:_MOST_GROWN]
                    ],
                    "allocated": [
                        each | {"path": fit_line(str(each.get("path", "")))} for each in record.allocated[:_MOST_GROWN]
                    ],
                },
                Growth,
            )
        except msgspec.ValidationError:
            self.unreadable += 1
        else:
            self.growth = [*self.growth, grown][:_MOST_PROCESSES]


def _queries(line: QueriesLine) -> Queries:
    return Queries(
        count=fit_amount(line.count),
        seconds=fit_seconds(line.seconds),
        rows=fit_amount(line.rows),
        slowest=fit_line(str(line.slowest.get("statement", ""))),
        slowest_seconds=fit_seconds(line.slowest.get("seconds")),
        repeated=fit_line(str(line.repeated.get("statement", ""))),
        times=fit_amount(line.repeated.get("times")),
    )


def _kept(line: KeptLine) -> Kept:
    return Kept(database=fit_line(line.name), url=fit_line(line.url), command=fit_line(line.command), passed=line.passed)


def _migration(line: MigrationLine) -> Migration:
    locks = sorted(line.locks.items())[:_MOST_LOCKS]
    return Migration(
        revision=fit_line(line.revision),
        path=fit_line(line.path),
        seconds=fit_seconds(line.seconds),
        locks={fit_line(table): fit_line(mode) for table, mode in locks},
    )


def _phase_error(line: PhaseLine) -> PhaseError:
    phase: Phase = line.when
    return PhaseError(
        phase=phase,
        message=fit_line(line.message) or "no message",
        text=fit_text(line.text),
        path=fit_line(line.path) if line.path else None,
        line=line.line if line.line and 0 < line.line <= 100_000_000 else None,
    )
