"""Put together what the run found, and write it in every form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from msgspec import structs
from pytest_savepoint.settings import Settings

from savepoint_ci.github.event import Event, EventError, read_event
from savepoint_ci.github.names import comment_key, run_url
from savepoint_ci.github.runner_files import append_summary, set_output
from savepoint_ci.history.fetch import artifact_name
from savepoint_ci.history.keep import known_history, write_history
from savepoint_ci.history.model import HistoryError, compare
from savepoint_ci.invocation import Invocation
from savepoint_ci.report.annotations import annotation_commands
from savepoint_ci.report.badge import coverage_badge, outcome_badge
from savepoint_ci.report.build import build_report
from savepoint_ci.report.formats import printed
from savepoint_ci.report.junit import junit_xml
from savepoint_ci.report.markdown import comment_body, job_summary
from savepoint_ci.report.model import Failure, Report, Run, report_json
from savepoint_ci.report.only_flaky import with_only_flaky
from savepoint_ci.report.page.render import report_page
from savepoint_ci.report.sarif import sarif
from savepoint_ci.report.terminal import terminal_summary
from savepoint_ci.rerun.reran import Reran
from savepoint_ci.shards.share import shard_of_run
from savepoint_ci.state import Failed, Installed, Migrated, Provisioned, Tested
from savepoint_ci.steps.history import merge_base
from savepoint_ci.steps.install import callers_python
from savepoint_ci.steps.verdict import read_report
from savepoint_ci.suite.coverage import CollectedCoverage, collect_coverage
from savepoint_ci.suite.sources import read_sources
from savepoint_ci.tolerated.apply import with_tolerated
from savepoint_ci.tolerated.read import read_tolerated

__all__ = ["deliver", "make_report", "report", "with_history", "with_limits"]

NOTHING_MEASURED = CollectedCoverage(coverage=None)
_PYTEST_INTERRUPTED = 2
_STEPS = ("provision", "install", "migrate", "test", "rerun")


def report(invocation: Invocation) -> None:
    """Write the report and its renderings, or print the last one in the form that was asked for."""
    if invocation.form:
        last = read_report(invocation)
        sys.stdout.write(printed(last, invocation.form, project=_folder_in_workspace(invocation)))
        return
    deliver(invocation, make_report(invocation, _collect(invocation)))


def deliver(invocation: Invocation, found: Report) -> None:
    """Write a report and its renderings, and show it wherever people look."""
    today = datetime.now(timezone.utc).date()
    found = with_tolerated(with_only_flaky(found), read_tolerated(invocation.project), today=today)
    _write(invocation, found)
    _tell_runner(invocation, found, history=_write_history(invocation, found))
    invocation.display.say(terminal_summary(found).rstrip())
    invocation.display.say(f"report: {invocation.report_folder / 'report.json'}")


def make_report(invocation: Invocation, collected: CollectedCoverage = NOTHING_MEASURED) -> Report:
    """The report of what the steps left so far; it is made whatever became of them."""
    state = invocation.state
    tested, failed = state.load(Tested), state.load(Failed)
    interrupted = (tested and tested.interrupted) or (failed and failed.interrupted)
    reran = state.load(Reran)
    facts = (state.load(Provisioned), state.load(Installed), state.load(Migrated), tested, reran)
    made = build_report(
        _evidence(invocation, tested),
        run=_run(invocation, tested),
        settings=with_limits(invocation.settings, collected.fail_under),
        coverage=collected.coverage,
        timing={step: fact.seconds for step, fact in zip(_STEPS, facts, strict=True) if fact},
        failure=Failure(step=failed.step, message=failed.message) if failed and not interrupted else None,
        pytest_exit=_PYTEST_INTERRUPTED if interrupted else tested.pytest_exit if tested else None,
        verdicts=reran.verdicts if reran else (),
        searched=bool(reran and reran.searched),
        warnings=(*(tested.warnings if tested else ()), *collected.warnings, *(reran.warnings if reran else ())),
    )
    return with_history(invocation, structs.replace(made, shard=shard_of_run(invocation)))


def with_history(invocation: Invocation, made: Report) -> Report:
    """The report of a whole suite with what earlier runs say about it."""
    known = known_history(invocation)
    if known is None or made.shard:
        return made
    return structs.replace(made, history=compare(known, made, base=merge_base(invocation)))


def _collect(invocation: Invocation) -> CollectedCoverage:
    if not invocation.settings.coverage or not invocation.state.load(Tested):
        return NOTHING_MEASURED
    python, folder = callers_python(invocation), invocation.report_folder
    return collect_coverage(
        invocation.coverage, invocation.settings, python, invocation.project, folder, environ=invocation.environ
    )


def with_limits(settings: Settings, fail_under: float | None) -> Settings:
    """The settings, with the limit of the caller's own coverage configuration where the setting is empty.

    A shard is held to no limit: what the other shards covered is not known there.
    """
    if settings.shard:
        values = {**settings.values, "coverage_fail_under": None, "patch_coverage_fail_under": None}
        return replace(settings, values=values)
    if settings.coverage_fail_under is not None:
        return settings
    return replace(settings, values={**settings.values, "coverage_fail_under": fail_under})


def _evidence(invocation: Invocation, tested: Tested | None) -> Iterator[str]:
    if tested and Path(tested.evidence).exists():
        with Path(tested.evidence).open(encoding="utf-8", errors="replace") as lines:
            yield from lines
    provisioned, migrated = invocation.state.load(Provisioned), invocation.state.load(Migrated)
    if provisioned and provisioned.provider:
        # The suite was given a URL and a template that was there; where they came from is known here only.
        yield json.dumps(
            {
                "kind": "database",
                "provider": provisioned.provider,
                "reason": provisioned.reason,
                "version": provisioned.version,
                "template": migrated.template if migrated else None,
            }
        )


def _run(invocation: Invocation, tested: Tested | None) -> Run:
    environ = invocation.environ
    event = _event(environ)
    started = datetime.fromtimestamp(tested.started, timezone.utc) if tested else datetime.now(timezone.utc)
    return Run(
        id=environ.get("GITHUB_RUN_ID") or uuid.uuid4().hex[:12],
        commit=event.head_sha or _git(invocation, "rev-parse", "HEAD"),
        ref=environ.get("GITHUB_HEAD_REF") or environ.get("GITHUB_REF_NAME") or _git(invocation, "branch", "--show-current"),
        repository=event.repository,
        started=started.isoformat(timespec="seconds"),
    )


def _event(environ: Mapping[str, str]) -> Event:
    try:
        return read_event(environ)
    except EventError:
        return Event()  # the comment step says what is wrong with it; the report is made all the same


def _git(invocation: Invocation, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(invocation.project), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _write(invocation: Invocation, found: Report) -> None:
    folder, environ = invocation.report_folder, invocation.environ
    key = comment_key(invocation.settings, environ)
    comment = comment_body(found, key=key, run_url=run_url(environ))
    log = sarif(found.findings, category=f"savepoint/{key}", folder=_folder_in_workspace(invocation))
    (folder / "report.json").write_bytes(report_json(found))
    (folder / "junit.xml").write_bytes(junit_xml(found))
    (folder / "findings.sarif").write_bytes(log)
    (folder / "comment.md").write_text(comment, encoding="utf-8")
    sources = read_sources(invocation.project, found.coverage) if found.coverage else {}
    page = report_page(found, sources=sources, run_url=run_url(environ))
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "coverage.svg").write_text(coverage_badge(found), encoding="utf-8")
    (folder / "tests.svg").write_text(outcome_badge(found), encoding="utf-8")


def _folder_in_workspace(invocation: Invocation) -> str:
    return os.path.relpath(invocation.project, invocation.environ.get("GITHUB_WORKSPACE") or invocation.project)


def _write_history(invocation: Invocation, found: Report) -> Path | None:
    try:
        return write_history(invocation, found)
    except HistoryError as error:
        invocation.display.say(f"savepoint: {error}")
        return None


def _tell_runner(invocation: Invocation, found: Report, *, history: Path | None) -> None:
    environ = invocation.environ
    append_summary(environ, job_summary(found))
    outputs = {
        "result": found.result,
        "exit-code": str(found.exit_code.value),
        "report": str(invocation.report_folder),
        "history": str(history or ""),
        "history-name": artifact_name(comment_key(invocation.settings, environ)),
        "coverage": f"{found.coverage.total:.2f}" if found.coverage else "",
        "patch-coverage": f"{found.coverage.diff.percent:.2f}" if found.coverage and found.coverage.diff else "",
        "errors": str(found.counts["error"]),
    }
    outputs |= {name: str(found.counts[name]) for name in ("total", "passed", "failed", "skipped")}
    for name, value in outputs.items():
        set_output(environ, name, value)
    if environ.get("GITHUB_ACTIONS") == "true":
        for command in annotation_commands(found, project=_folder_in_workspace(invocation)):
            invocation.display.say(command)
