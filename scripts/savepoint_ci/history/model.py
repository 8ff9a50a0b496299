"""history.json.gz, version 1: the last outcomes and the usual duration of each test, and coverage by commit; no files."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from pytest_savepoint.errors import SavepointError

from savepoint_ci.report.model import History as Past
from savepoint_ci.report.model import Outcome, Report, Standing, TestHistory, TestResult

__all__ = [
    "HISTORY_BYTES",
    "MOST_TESTS",
    "History",
    "HistoryError",
    "TestPast",
    "compare",
    "extend",
    "file_order",
    "history_bytes",
    "parse_history",
    "recovered_tests",
]

HISTORY_BYTES = 16 * 1024 * 1024
"""The most that is written or read; 100,000 tests with 30 runs each take about 3 MB."""

MOST_TESTS = 200_000
_UNPACKED_BYTES = 64 * 1024 * 1024
_RUNS = 30
_COMMITS = 100
_NEWEST_WEIGHT = 0.3

# A letter per run, the newest last: passed, failed, failed and then passed, skipped, not there.
_LETTERS: Mapping[Outcome, str] = {
    "passed": ".", "xfailed": ".", "xpassed": ".", "failed": "F", "error": "F", "skipped": "s", "not_run": "-",
}  # fmt: skip
_FLAKY = "~"
_ABSENT = "-"
_RECOVERY = re.compile(r"F[s-]*\.")

_Seconds = Annotated[float, Meta(ge=0, le=10_000_000)]
_Name = Annotated[str, Meta(max_length=4_096)]
_Commit = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$(?!\n)")]


class HistoryError(SavepointError):
    """A history that cannot be used."""


class TestPast(Struct, frozen=True, kw_only=True):
    """One test: a letter per run and an average of its seconds in which newer runs count more."""

    __test__ = False

    recent: Annotated[str, Meta(pattern=rf"^[.F~s-]{{1,{_RUNS}}}$(?!\n)")]
    seconds: _Seconds = 0.0


class History(Struct, frozen=True, kw_only=True):
    """What the runs of the default branch were like; `coverage` has the total by commit, the newest last."""

    version: Literal[1] = 1
    runs: Annotated[int, Meta(ge=0)] = 0
    tests: Annotated[dict[_Name, TestPast], Meta(max_length=MOST_TESTS)] = {}
    coverage: Annotated[
        tuple[tuple[_Commit, Annotated[float, Meta(ge=0, le=100)]], ...], Meta(max_length=_COMMITS)
    ] = ()
    files: Annotated[dict[_Name, Annotated[float, Meta(ge=0, le=100)]], Meta(max_length=20_000)] = {}

    @property
    def durations(self) -> dict[str, float]:
        """The usual seconds of each test that ran at all."""
        return {nodeid: past.seconds for nodeid, past in self.tests.items() if past.seconds > 0}


def extend(history: History | None, report: Report) -> History:
    """The history with one more run; a test that no run of the last 30 had is forgotten."""
    history = history or History()
    flaky = {each.nodeid for each in report.verdicts if 0 < each.failures < each.runs}
    ran = {test.nodeid: test for test in _tests(report)[:MOST_TESTS]}
    tests = {nodeid: _with_run(history.tests.get(nodeid), test, flaky=nodeid in flaky) for nodeid, test in ran.items()}
    for nodeid, past in history.tests.items():
        recent = (past.recent + _ABSENT)[-_RUNS:]
        if nodeid not in ran and recent.strip(_ABSENT) and len(tests) < MOST_TESTS:
            tests[nodeid] = TestPast(recent=recent, seconds=past.seconds)
    coverage, files = history.coverage, history.files
    if report.coverage:
        files = {file.path: round(file.percent, 2) for file in report.coverage.files}
        if re.fullmatch("[0-9a-f]{40}([0-9a-f]{24})?", report.run.commit):
            others = (each for each in coverage if each[0] != report.run.commit)
            coverage = (*others, (report.run.commit, report.coverage.total))[-_COMMITS:]
    return History(runs=history.runs + 1, tests=tests, coverage=coverage, files=files)


def _tests(report: Report) -> list[TestResult]:
    """Without the files that could not be collected: what is in them is not known."""
    return [test for test in report.tests if all(error.phase != "collect" for error in test.phase_errors)]


def _with_run(past: TestPast | None, test: TestResult, *, flaky: bool) -> TestPast:
    letter = _FLAKY if flaky else _LETTERS[test.outcome]
    recent = ((past.recent if past else "") + letter)[-_RUNS:]
    known = past.seconds if past else 0.0
    if letter in "s-":
        return TestPast(recent=recent, seconds=known)
    seconds = test.duration if not known else known + _NEWEST_WEIGHT * (test.duration - known)
    return TestPast(recent=recent, seconds=round(seconds, 4))


def compare(history: History, report: Report, *, base: str) -> Past:
    """What the history says about a run's tests; those that always passed are left out.

    :param base: the merge base, whose coverage is looked up; empty when it is not known.
    """
    told = (_told(test.nodeid, history.tests.get(test.nodeid)) for test in _tests(report))
    return Past(
        runs=history.runs,
        base=base,
        coverage=dict(history.coverage).get(base),
        tests=tuple(each for each in told if each.standing or each.failures),
    )


def recovered_tests(history: History, passed: Collection[str]) -> list[str]:
    """The tests that failed when they ran last and pass now: mended, or flaky.

    :param passed: the node ids of the tests that passed now.
    """
    return [nodeid for nodeid, past in history.tests.items() if nodeid in passed and _failed_last(past.recent)]


def _failed_last(recent: str) -> bool:
    return recent.rstrip(f"s{_ABSENT}").endswith(("F", _FLAKY))


def _told(nodeid: str, past: TestPast | None) -> TestHistory:
    if past is None:
        return TestHistory(nodeid=nodeid, runs=0, failures=0, standing="new")
    recent = past.recent.replace(_ABSENT, "")
    failures = recent.count("F") + recent.count(_FLAKY)
    return TestHistory(
        nodeid=nodeid,
        runs=failures + recent.count("."),
        failures=failures,
        standing=_standing(recent),
        recent=recent.replace(_FLAKY, "F"),
    )


def _standing(recent: str) -> Standing | None:
    # Broken and mended once is how code is written; twice is chance.
    if _FLAKY in recent or len(_RECOVERY.findall(recent)) > 1:
        return "known-flaky"
    return "broken-on-base" if recent.rstrip("s").endswith("F") else None


def file_order(durations: Mapping[str, float]) -> list[str]:
    """The files of tests, those with the longest single test first, so that none is left for the end alone."""
    longest: dict[str, float] = {}
    for nodeid, seconds in durations.items():
        file = nodeid.partition("::")[0]
        longest[file] = max(longest.get(file, 0.0), seconds)
    return sorted(longest, key=lambda file: (-longest[file], file))


def history_bytes(history: History) -> bytes:
    """The history as compressed JSON; the same history gives the same bytes.

    :raises HistoryError: when it is larger than what would be read.
    """
    data = gzip.compress(msgspec.json.encode(history), compresslevel=6, mtime=0)  # 9 takes four times as long for 3 %
    if len(data) > HISTORY_BYTES:
        raise HistoryError(f"The history has {len(data):,} bytes; more than {HISTORY_BYTES:,} are not kept.")
    return data


def parse_history(data: bytes) -> History:
    """Read a history.

    :raises HistoryError: when it is too large, no compressed JSON, or breaks the schema; the message names the place.
    """
    if len(data) > HISTORY_BYTES:
        raise HistoryError(f"The history has {len(data):,} bytes; more than {HISTORY_BYTES:,} are not read.")
    try:
        unpacking = zlib.decompressobj(wbits=31)
        text = unpacking.decompress(data, _UNPACKED_BYTES)
        if unpacking.unconsumed_tail:
            raise HistoryError(f"The history unpacks to more than {_UNPACKED_BYTES:,} bytes.")
        return msgspec.json.decode(text, type=History)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise HistoryError(f"The history does not follow version 1 of its schema: {fault}.") from None
