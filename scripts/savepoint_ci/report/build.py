"""Evidence, coverage and timings -> the report; nothing is read or written here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from msgspec.structs import replace
from pytest_savepoint.settings import Settings
from pytest_savepoint.silence import told_apart

from savepoint_ci.report.evidence import Served, Session, read_evidence
from savepoint_ci.report.fitting import MOST, fit_line, fit_seconds, fit_text
from savepoint_ci.report.model import (
    LARGEST_SEED,
    Count,
    Coverage,
    Database,
    Failure,
    Gate,
    Report,
    Result,
    Run,
    Silenced,
    Template,
    TestResult,
    Verdict,
)
from savepoint_ci.report.seen import Seen

__all__ = ["build_report", "decide_gates"]

_DATABASE_STEPS = ("provision", "migrate", "server")
_MOST_WARNINGS = 1_000
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
    seen = Seen()
    for record in read_evidence(evidence):
        seen.add(record)
    first = min((record.start for record in seen.tests.values() if record.start is not None), default=None)
    tests = tuple(record.result(first) for record in seen.tests.values())
    counts = _counts(tests, seen.collected)
    gates, gate_warnings = decide_gates(settings, coverage)
    if searched:
        gates = (*gates, _stability(tests, verdicts))
    ended = seen.finished if pytest_exit is None else pytest_exit
    findings, silenced = told_apart(seen.findings, seen.silences)
    said = (*warnings, *seen.warnings(ended), *gate_warnings)
    return Report(
        result=_result(counts, gates, failure, ended, tests),
        counts=counts,
        run=_clean_run(replace(run, **_of_session(seen.session))),
        tests=tests,
        findings=tuple(findings),
        silenced=tuple(Silenced(finding=finding, reason=reason) for finding, reason in silenced),
        verdicts=tuple(_clean_verdict(each) for each in verdicts),
        coverage=coverage,
        database=_database(seen.served, seen.isolation) if seen.served else None,
        migrations=tuple(seen.migrations),
        timing={name: fit_seconds(value) for name, value in (timing or {}).items()},
        gates=gates,
        failure=failure and Failure(step=failure.step, message=fit_text(failure.message)),
        growth=tuple(seen.growth),
        warnings=tuple(fit_text(each) for each in said[:_MOST_WARNINGS]),
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
        nodeid=fit_line(verdict.nodeid),
        polluter=verdict.polluter and fit_line(verdict.polluter),
        setter=verdict.setter and fit_line(verdict.setter),
        explanation=fit_text(verdict.explanation),
        command=fit_line(verdict.command),
    )


def _database(served: Served, isolation: Mapping[str, int]) -> Database:
    template = served.template
    return Database(
        provider=fit_line(served.provider),
        reason=fit_line(served.reason),
        version=fit_line(served.version),
        template=Template(
            fingerprint=fit_line(str(template.get("fingerprint") or template.get("name") or "")),
            hit=template.get("hit") is True,
            seconds=fit_seconds(template.get("seconds")),
            source=fit_line(str(template.get("source") or "")),
            restored=template.get("restored") is True,
        )
        if template
        else None,
        isolation=dict(isolation),
    )


def _of_session(session: Session) -> dict[str, Any]:
    """What the evidence itself says of the run; a plugin may call anything its seed."""
    seed = session.seed if type(session.seed) is int and 0 <= session.seed <= LARGEST_SEED else None
    return {"python": session.python, "workers": min(max(session.workers, 0), MOST), "seed": seed}


def _clean_run(run: Run) -> Run:
    return replace(
        run,
        id=fit_line(run.id),
        commit=fit_line(run.commit),
        ref=fit_line(run.ref),
        repository=fit_line(run.repository),
        python=fit_line(run.python),
    )
