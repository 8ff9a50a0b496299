"""Coverage of a run: how pytest is told to measure it, and what was measured.

Everything that reads a configuration, data or source runs in the caller's interpreter (`caller_coverage.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from pytest_savepoint.settings import Settings

from savepoint_ci.report.model import LINE_LIMIT, Coverage, FileCoverage, FilePatch, LineTests, PatchCoverage
from savepoint_ci.report.text import clean_line, cut
from savepoint_ci.suite.addopts import always_given
from savepoint_ci.suite.changed_lines import changed_lines
from savepoint_ci.suite.command import WITHHELD
from savepoint_ci.suite.coverage_process import CoverageProcess
from savepoint_ci.suite.coverage_settings import CallerCoverage, merge, own_arguments
from savepoint_ci.suite.merge_base import NoBaseError

__all__ = ["CollectedCoverage", "CoveragePlan", "collect_coverage", "plan_coverage"]

_NOT_INSTALLED = (
    "Coverage was not measured: {} is not installed for {}. Add pytest-cov to your test dependencies, or set "
    "coverage = false."
)
_CONFIG = "coverage.toml"
_LISTED_TESTS = 100
_NOBODY = -1
_OLDEST = (6, 2)
_TOO_OLD = (
    "Coverage was not measured: coverage.py {} cannot follow greenlets and threads together. Install coverage.py 6.2 "
    "or newer, or set coverage = false."
)


@dataclass(frozen=True, kw_only=True)
class CoveragePlan:
    """What pytest is given so that it measures; the arguments stand after the caller's own, so that they win."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CollectedCoverage:
    """What was measured, None when nothing was; `fail_under` is the limit of the caller's own configuration."""

    coverage: Coverage | None
    fail_under: float | None = None
    warnings: tuple[str, ...] = ()


def plan_coverage(
    process: CoverageProcess,
    python: Path,
    project: Path,
    report_folder: Path,
    *,
    environ: Mapping[str, str],
    pytest_arguments: Sequence[str] = (),
) -> CoveragePlan:
    """Write the coverage configuration of a run into its report folder, and say how pytest is called with it.

    :param python: the interpreter of the caller's environment.
    :param project: the folder in which pytest runs.
    :param environ: the environment of the tests.
    :param pytest_arguments: the caller's own arguments, without those of the project's configuration.
    """
    own = own_arguments([*always_given(project, environ), *pytest_arguments])
    folder = _folder(report_folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    warnings: list[str] = []
    for config_file in (own.config_file or True, False):
        answer = process.ask(python, "settings", {"config_file": config_file}, project=project, environ=environ)
        missing = [name for name in ("pytest_cov", "coverage") if not answer["has"][name]]
        if missing:
            return CoveragePlan(environment={}, warnings=(_NOT_INSTALLED.format(missing[0], python),))
        if "error" not in answer:
            break
        warnings.append(f"Your coverage configuration was left out, coverage.py refuses it: {answer['error']}")
    else:
        return CoveragePlan(environment={}, warnings=(f"Coverage was not measured: {answer['error']}",))
    if _version(answer["version"]) < _OLDEST:
        return CoveragePlan(environment={}, warnings=(_TOO_OLD.format(answer["version"]),))
    caller = CallerCoverage(
        version=answer["version"],
        has_greenlet=answer["has"]["greenlet"],
        has_sqlalchemy=answer["has"]["sqlalchemy"],
        has_c_tracer=answer["c_tracer"],
        known=frozenset(answer["known"]),
        options=answer["options"],
        paths=answer["paths"],
        plugins=answer["plugins"],
        config_file=answer["config_file"],
    )
    core = environ.get("COVERAGE_CORE", "")
    data_file = folder / "data"
    text, more = merge(caller, own, project=project, data_file=data_file, core_variable=core)
    config = folder / _CONFIG
    config.write_text(text, encoding="utf-8")
    environment = {"COVERAGE_FILE": str(data_file)}
    if core and caller.has_c_tracer:
        environment["COVERAGE_CORE"] = "ctrace"
    # The limit of the caller's configuration becomes a gate: pytest would call it a failed test.
    arguments = ("--cov", "--cov-branch", f"--cov-config={config}", "--cov-report=", "--cov-fail-under=0")
    return CoveragePlan(arguments=arguments, environment=environment, warnings=(*warnings, *more))


def collect_coverage(
    process: CoverageProcess,
    settings: Settings,
    python: Path,
    project: Path,
    report_folder: Path,
    *,
    environ: Mapping[str, str],
) -> CollectedCoverage:
    """Combine what a run measured, write coverage.xml into the report folder, and compare with the changed lines.

    :param python: the interpreter of the caller's environment.
    :param project: the folder in which pytest ran.
    :param environ: the job's environment; it names the pull request.
    """
    folder = _folder(report_folder)
    if not (folder / _CONFIG).exists():
        return CollectedCoverage(coverage=None)  # the plan has said why
    if not any(folder.glob("data*")):
        reason = "pytest ended before it had measured anything, or was called with --no-cov."
        return CollectedCoverage(coverage=None, warnings=(f"There is no coverage data: {reason}",))
    # Tests may have changed git's configuration, and coverage plugins are the caller's code, too.
    safe = {name: text for name, text in environ.items() if name not in WITHHELD}
    changed, warnings = _changed_lines(settings, project, safe)
    request = {
        "data": str(folder / "data"),
        "config_file": str(folder / _CONFIG),
        "xml": str(folder.parent / "coverage.xml"),
        "changed": changed or {},
    }
    answer = process.ask(python, "read", request, project=project, environ=safe)
    warnings += [f"coverage.py: {text}" for text in answer["warnings"]]
    if "error" in answer:
        warnings.append(
            f"The coverage data could not be read: {answer['error']}. The same interpreter ({python}) must run the "
            "tests and read the data."
        )
        return CollectedCoverage(coverage=None, warnings=tuple(warnings))
    measured = _coverage(answer)
    if changed is not None:
        measured = replace(measured, diff=_patch(answer))
    return CollectedCoverage(coverage=measured, fail_under=answer["fail_under"], warnings=tuple(warnings))


def _changed_lines(
    settings: Settings, project: Path, environ: Mapping[str, str]
) -> tuple[dict[str, list[int]] | None, list[str]]:
    try:
        return changed_lines(project, compare_to=settings.compare_to, environ=environ), []
    except NoBaseError as error:
        # On a laptop nobody has asked for it.
        asked = settings.compare_to or settings.patch_coverage_fail_under is not None or environ.get("GITHUB_ACTIONS")
        return None, [f"Coverage of the changed lines is not known: {error}"] if asked else []


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def _folder(report_folder: Path) -> Path:
    return report_folder.absolute() / "coverage"


def _coverage(answer: Mapping[str, Any]) -> Coverage:
    totals = answer["totals"]
    branches = totals.get("num_branches", 0)
    return Coverage(
        lines=_percent(totals["covered_lines"], totals["num_statements"]),
        branches=_percent(totals["covered_branches"], branches) if branches else None,
        total=totals["percent_covered"],
        files=tuple(
            FileCoverage(
                path=path,
                lines=facts["summary"]["num_statements"],
                missing=_stretches(
                    sorted({*facts["executed_lines"], *facts["missing_lines"]}), set(facts["missing_lines"])
                ),
                percent=facts["summary"]["percent_covered"],
                touched=_touched(answer["touched"].get(path, ()), facts["missing_lines"], answer["groups"]),
            )
            for path, facts in sorted(answer["files"].items())
        ),
        tests=tuple(cut(clean_line(nodeid), LINE_LIMIT) for nodeid in answer["tests"]),
    )


def _touched(
    lines: Iterable[tuple[int, int]], missing: Iterable[int], groups: Sequence[Sequence[int]]
) -> tuple[LineTests, ...]:
    """The stretches of lines that the same tests ran."""
    stretches: list[tuple[int, int, int]] = []
    by_line = {**dict.fromkeys(missing, _NOBODY), **dict(lines)}
    for line, group in sorted(by_line.items()):
        if stretches and stretches[-1][2] == group:
            stretches[-1] = (stretches[-1][0], line, group)
        else:
            stretches.append((line, line, group))
    return tuple(
        LineTests(first=first, last=last, tests=tuple(groups[group][:_LISTED_TESTS]), total=len(groups[group]))
        for first, last, group in stretches
        if group != _NOBODY
    )


def _patch(answer: Mapping[str, Any]) -> PatchCoverage:
    """Count the statements that the changed lines belong to, as coverage.py counts them; show the changed lines."""
    covered = changed = 0
    files = []
    for path, lines in sorted(answer["changed"].items()):
        executed, missing = (set(answer["files"][path][name]) for name in ("executed_lines", "missing_lines"))
        begins = {begin for _, begin in lines}
        covered += len(begins & executed)
        changed += len(begins & (executed | missing))
        uncovered = {line for line, begin in lines if begin in missing}
        if uncovered:
            stretches = _stretches(range(min(uncovered), max(uncovered) + 1), uncovered)
            files.append(FilePatch(path=path, uncovered=stretches))
    return PatchCoverage(percent=_percent(covered, changed), covered=covered, changed=changed, files=tuple(files))


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


def _stretches(order: Iterable[int], wanted: set[int]) -> tuple[tuple[int, int], ...]:
    """The wanted lines as first and last of each stretch that nothing else of `order` interrupts."""
    stretches: list[tuple[int, int]] = []
    inside = False
    for line in order:
        if line not in wanted:
            inside = False
        elif inside:
            stretches[-1] = (stretches[-1][0], line)
        else:
            stretches.append((line, line))
            inside = True
    return tuple(stretches)
