"""Where the run's time went, what its database was, and which run it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from savepoint_ci.report.headline import database_text, duration_text, plural, template_text
from savepoint_ci.report.markup import code, prose
from savepoint_ci.report.model import Report

__all__ = ["last_line", "ledger"]

_SLOWEST = 5
_IN_LOOPS = 3
_NEW_REVISIONS = 5
_WORTH_A_WORD = 1.0
"""Seconds from which on a test counts as slow, and a wait is told."""


def ledger(report: Report) -> str:
    """Return the folded account of database and time."""
    lines = [f"- {line}" for line in (*_database(report), *_migrations(report), *_queries(report), *_steps(report), *_workers(report), *_slowest(report))]
    if not lines:
        return ""
    return "<details><summary>Database and time</summary>\n\n" + "\n".join(lines) + "\n\n</details>"


def last_line(report: Report, run_url: str) -> str:
    """Return which run this was, in one line.

    :param run_url: the page of the run, from our own environment.
    """
    parts = []
    if report.database:
        parts.append(prose(database_text(report.database)))
    if report.run.python:
        parts.append(f"Python {prose(report.run.python, 40)}")
    if report.run.workers:
        parts.append(plural(report.run.workers, "worker"))
    if report.timing:
        parts.append(duration_text(sum(report.timing.values())))
    if report.run.commit:
        parts.append(code(report.run.commit[:9]))
    if run_url:
        parts.append(f"[run]({run_url})")
    return f"_{' · '.join(parts)}_" if parts else ""


def _database(report: Report) -> Iterator[str]:
    database = report.database
    if not database:
        return
    yield f"Server: {prose(database.reason)}" if database.reason else f"Server: {code(database.provider)}"
    if template := database.template:
        yield f"Template {code(template.fingerprint[:12])} from {code(template.source)}: {template_text(template)}"
    if database.isolation:
        kinds = sorted(database.isolation.items(), key=lambda kind: -kind[1])
        yield "Isolation: " + ", ".join(f"{number:,} {name}" for name, number in kinds)


def _migrations(report: Report) -> Iterator[str]:
    for each in report.migrations[:_NEW_REVISIONS]:
        locks = ", ".join(f"{prose(mode, 40)} on {code(table)}" for table, mode in list(each.locks.items())[:_IN_LOOPS])
        yield f"New revision {code(each.path)}: {duration_text(each.seconds)}" + (f", {locks}" if locks else "")
    if len(report.migrations) > _NEW_REVISIONS:
        yield f"{len(report.migrations) - _NEW_REVISIONS:,} further new revisions are in report.json"


def _queries(report: Report) -> Iterator[str]:
    asked = [(test, test.queries) for test in report.tests if test.queries]
    if not asked:
        return
    count, seconds = sum(queries.count for _, queries in asked), sum(queries.seconds for _, queries in asked)
    most, queries = max(asked, key=lambda pair: pair[1].seconds)
    yield (
        f"Statements: {count:,} in {duration_text(seconds)}, most of it in {code(most.nodeid)} "
        f"({queries.count:,} in {duration_text(queries.seconds)})"
    )
    for test, queries in sorted(asked, key=lambda pair: -pair[1].times)[:_IN_LOOPS]:
        if queries.times:
            yield f"Sent {queries.times:,} times by {code(test.nodeid)}, as in a loop: {code(queries.repeated)}"


def _steps(report: Report) -> Iterator[str]:
    if report.timing:
        steps = sorted(report.timing.items(), key=lambda step: -step[1])
        yield "Waited for: " + ", ".join(f"{name} {duration_text(seconds)}" for name, seconds in steps)
    sums: dict[str, float] = defaultdict(float)
    for test in report.tests:
        for phase, seconds in test.phases.items():
            sums[phase] += seconds
    if sums:
        yield "Inside tests: " + ", ".join(f"{name} {duration_text(seconds)}" for name, seconds in sums.items())
    end = max((test.started + test.duration for test in report.tests if test.started is not None), default=0.0)
    if end and (around := report.timing.get("test", 0.0) - end) > _WORTH_A_WORD:
        yield f"Before the first test and after the last: {duration_text(around)}"


def _workers(report: Report) -> Iterator[str]:
    busy: dict[str, float] = defaultdict(float)
    for test in report.tests:
        busy[test.worker] += test.duration
    if len(busy) > 1:
        least, most = min(busy, key=busy.__getitem__), max(busy, key=busy.__getitem__)
        yield (
            f"Workers: {code(most)} was busy for {duration_text(busy[most])}, "
            f"{code(least)} for {duration_text(busy[least])}"
        )


def _slowest(report: Report) -> Iterator[str]:
    slow = [test for test in report.tests if test.duration >= _WORTH_A_WORD]
    if slow:
        slowest = sorted(slow, key=lambda test: -test.duration)[:_SLOWEST]
        listed = "".join(f"\n  - {duration_text(test.duration)} {code(test.nodeid)}" for test in slowest)
        yield f"Slowest tests:{listed}"
