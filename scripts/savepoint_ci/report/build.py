"""Evidence, coverage and timings -> the report; nothing is read or written here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import msgspec
from pytest_savepoint.settings import Settings

from savepoint_ci.report.evidence import (
    Collected,
    Crash,
    Finished,
    Found,
    PhaseLine,
    Record,
    Served,
    Session,
    Unreadable,
    Warned,
    read_evidence,
)
from savepoint_ci.report.model import (
    LINE_LIMIT,
    TEXT_LIMIT,
    Count,
    Coverage,
    Database,
    Failure,
    Finding,
    Gate,
    Phase,
    PhaseError,
    Report,
    Result,
    Run,
    Template,
    TestResult,
    Verdict,
)
from savepoint_ci.report.outcomes import TestRecord
from savepoint_ci.report.text import clean_block, clean_line, cut

__all__ = ["build_report", "decide_gates"]

_DATABASE_STEPS = ("provision", "migrate", "server")
_ISOLATIONS = ("savepoint", "rows", "clone", "none")
_MOST = 10_000_000
_FAR_FUTURE = 1e11  # seconds since the epoch; evidence may say anything
_INTERRUPTED = (2, 130, -2, -15)
"""pytest's own code for Ctrl-C, the shell's, and the signals INT and TERM."""


def build_report(
    evidence: Iterable[str],
    *,
    run: Run,
    settings: Settings,
    coverage: Coverage | None = None,
    timing: Mapping[str, float] | None = None,
    failure: Failure | None = None,
    pytest_exit: int | None = None,
    verdicts: Sequence[Verdict] = (),
    searched: bool = False,
    warnings: Iterable[str] = (),
) -> Report:
    """Put together what one run found; it never raises because of what the evidence says.

    :param evidence: the lines of the evidence file; none when pytest never started.
    :param run: who ran; its Python version and workers are taken from the evidence.
    :param settings: for the gates `coverage-fail-under` and `patch-coverage-fail-under`.
    :param timing: seconds by step.
    :param failure: the step that could not do its work, if one could not.
    :param pytest_exit: how pytest ended (negative: by that signal), None when it was not started.
    :param verdicts: what reruns proved.
    :param searched: reruns looked for tests that are not stable, and one that was found fails the gate `stability`.
    :param warnings: what the steps want to be said.
    """
    seen = _Seen()
    for record in read_evidence(evidence):
        seen.add(record)
    first = min((record.start for record in seen.tests.values() if record.start is not None), default=None)
    tests = tuple(record.result(first) for record in seen.tests.values())
    counts = _counts(tests, seen.collected)
    gates, gate_warnings = decide_gates(settings, coverage)
    if searched:
        gates = (*gates, _stability(tests, verdicts))
    ended = seen.finished if pytest_exit is None else pytest_exit
    return Report(
        result=_result(counts, gates, failure, ended, tests),
        counts=counts,
        run=_clean_run(replace(run, python=seen.session.python, workers=min(max(seen.session.workers, 0), _MOST))),
        tests=tests,
        findings=tuple(seen.findings),
        verdicts=tuple(_clean_verdict(each) for each in verdicts),
        coverage=coverage,
        database=_database(seen.served, seen.isolation) if seen.served else None,
        timing={name: _seconds(value) for name, value in (timing or {}).items()},
        gates=gates,
        failure=failure and Failure(step=failure.step, message=_text(failure.message)),
        warnings=tuple(_text(each) for each in (*warnings, *seen.warnings(ended), *gate_warnings)),
    )


@dataclass
class _Seen:
    session: Session = field(default_factory=Session)
    collected: int = 0
    served: Served | None = None
    tests: dict[str, TestRecord] = field(default_factory=dict)
    isolation: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    finished: int | None = None
    unreadable: int = 0
    _warnings: list[str] = field(default_factory=list)

    def add(self, record: Record | Unreadable) -> None:  # noqa: C901 - one case per kind of line
        match record:
            case Session():
                self.session = record
            case Collected(total=total):
                self.collected = max(self.collected, min(total, _MOST))
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
                    worker=_line(record.worker),
                    start=record.start if 0 < record.start < _FAR_FUTURE else None,
                    duration=_seconds(record.duration),
                    xfail=record.xfail,
                    error=_phase_error(record) if record.outcome == "failed" else None,
                    isolation=isolation,
                )
            case Crash(worker=worker, nodeid=nodeid):
                message = _line(f"worker {worker or '?'} died")
                self._warnings.append(f"{message} while it ran {nodeid}." if nodeid else f"{message}.")
                if nodeid:
                    self._test(nodeid).crash(_line(worker), message)
            case Found():
                self._add_finding(record)
            case Warned(text=text):
                self._warnings.append(text)
            case Finished(exit=code):
                self.finished = code
            case Unreadable():
                self.unreadable += 1

    def warnings(self, ended: int | None) -> list[str]:
        texts = list(self._warnings)
        if self.unreadable:
            texts.append(f"{self.unreadable} line(s) of evidence could not be read; their tests count as not run.")
        if self.finished is None and ended is not None:
            how = f"was ended by signal {-ended}" if ended < 0 else f"ended with exit code {ended}"
            texts.append(f"pytest {how} before it had finished; tests without a result count as not run.")
        return texts

    def _test(self, nodeid: str) -> TestRecord:
        nodeid = _line(nodeid)
        return self.tests.setdefault(nodeid, TestRecord(nodeid))

    def _add_finding(self, record: Found) -> None:
        try:
            finding = msgspec.convert(
                {
                    "code": record.code,
                    "cause": record.cause,
                    "tests": [_line(nodeid) for nodeid in record.tests],
                    "culprit": record.culprit
                    and {name: _line(each) if isinstance(each, str) else each for name, each in record.culprit.items()},
                    "explanation": _text(record.explanation),
                    "fix": _text(record.fix),
                    "confidence": record.confidence,
                    "evidence": [_text(each) for each in record.evidence],
                },
                Finding,
            )
        except msgspec.ValidationError:
            self.unreadable += 1
        else:
            self.findings.append(finding)


def _phase_error(line: PhaseLine) -> PhaseError:
    phase: Phase = line.when
    return PhaseError(
        phase=phase,
        message=_line(line.message) or "no message",
        text=_text(line.text),
        path=_line(line.path) if line.path else None,
        line=line.line if line.line and 0 < line.line <= 100_000_000 else None,
    )


def _counts(tests: tuple[TestResult, ...], collected: int) -> dict[Count, int]:
    by_outcome = Counter(test.outcome for test in tests)
    started = sum(1 for test in tests if not _is_collection_error(test))
    counts: dict[Count, int] = {name: by_outcome[name] for name in get_args(Count) if name != "total"}
    counts["not_run"] += max(collected - started, 0)
    return {"total": sum(counts.values()), **counts}


def _is_collection_error(test: TestResult) -> bool:
    return any(error.phase == "collect" for error in test.phase_errors)


def _result(
    counts: Mapping[Count, int],
    gates: tuple[Gate, ...],
    failure: Failure | None,
    ended: int | None,
    tests: tuple[TestResult, ...],
) -> Result:
    if failure:
        return "database" if failure.step in _DATABASE_STEPS else "error"
    if ended in _INTERRUPTED and not any(_is_collection_error(test) for test in tests):
        return "interrupted"
    if ended != 0 or counts["failed"] or counts["error"] or counts["not_run"]:
        return "tests-failed"
    return "green" if all(gate.passed for gate in gates) else "gate"


def decide_gates(settings: Settings, coverage: Coverage | None) -> tuple[tuple[Gate, ...], list[str]]:
    """The limits that a run is held to, and what is to be said of those that could not be applied."""
    gates, warnings = [], []
    if settings.coverage_fail_under is not None:
        gates.append(_gate("coverage", settings.coverage_fail_under, coverage.total if coverage else None))
    if settings.patch_coverage_fail_under is not None:
        if coverage and coverage.diff is None:
            # A push has nothing to compare with; failing it would make the gate unusable outside pull requests.
            warnings.append(
                "patch-coverage-fail-under was not applied: the lines changed since the base are not known. "
                "Set compare-to, and check out with fetch-depth: 0."
            )
        else:
            actual = coverage.diff.percent if coverage and coverage.diff else None
            gates.append(_gate("patch-coverage", settings.patch_coverage_fail_under, actual))
    return tuple(gates), warnings


def _gate(name: str, wanted: float, actual: float | None) -> Gate:
    return Gate(name=name, wanted=wanted, actual=actual, passed=actual is not None and actual >= wanted)


def _stability(tests: tuple[TestResult, ...], verdicts: Sequence[Verdict]) -> Gate:
    unstable = {each.nodeid for each in verdicts}
    return _gate("stability", 100.0, 100.0 * (1 - len(unstable) / max(len(tests), 1)))


def _clean_verdict(verdict: Verdict) -> Verdict:
    return replace(
        verdict,
        nodeid=_line(verdict.nodeid),
        polluter=verdict.polluter and _line(verdict.polluter),
        setter=verdict.setter and _line(verdict.setter),
        explanation=_text(verdict.explanation),
        command=_line(verdict.command),
    )


def _database(served: Served, isolation: Mapping[str, int]) -> Database:
    template = served.template
    return Database(
        provider=_line(served.provider),
        reason=_line(served.reason),
        version=_line(served.version),
        template=Template(
            fingerprint=_line(str(template.get("fingerprint") or template.get("name") or "")),
            hit=template.get("hit") is True,
            seconds=_seconds(template.get("seconds")),
            source=_line(str(template.get("source") or "")),
        )
        if template
        else None,
        isolation=dict(isolation),
    )


def _clean_run(run: Run) -> Run:
    return replace(
        run,
        id=_line(run.id),
        commit=_line(run.commit),
        ref=_line(run.ref),
        repository=_line(run.repository),
        python=_line(run.python),
    )


def _line(text: str) -> str:
    return cut(clean_line(text), LINE_LIMIT)


def _text(text: str) -> str:
    return cut(clean_block(text), TEXT_LIMIT)


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 10_000_000:
        return round(float(value), 6)
    return 0.0
