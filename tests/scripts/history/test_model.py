"""A history tells what is new, chancy or broken already, stays small, and is refused when it is not one."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from savepoint_ci.history.model import (
    History,
    HistoryError,
    TestPast,
    compare,
    extend,
    file_order,
    history_bytes,
    parse_history,
    recovered_tests,
)
from savepoint_ci.report.model import Coverage, FileCoverage, Outcome, PhaseError, Report, Run, TestResult, Verdict

COMMIT = "c" * 40


def report(outcomes: dict[str, Outcome], *, commit: str = COMMIT, seconds: float = 1.0, total: float = 80.0) -> Report:
    tests = tuple(TestResult(nodeid=name, outcome=outcome, duration=seconds) for name, outcome in outcomes.items())
    coverage = Coverage(
        lines=total, branches=None, total=total, files=(FileCoverage(path="a.py", lines=1, missing=(), percent=total),)
    )
    return Report(result="green", counts={}, run=Run(commit=commit), tests=tests, coverage=coverage)


def after(*runs: str, name: str = "test_a") -> History:
    """The history of one test after these runs; a letter for each."""
    words: dict[str, Outcome] = {".": "passed", "F": "failed", "E": "error", "s": "skipped", "x": "xfailed"}
    history = None
    for letter in "".join(runs):
        history = extend(history, report({name: words[letter]} if letter != "-" else {}))
    assert history is not None
    return history


def standing(history: History) -> str | None:
    told = compare(history, report({"test_a": "passed"}), base="").tests
    return told[0].standing if told else None


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ("....", None),
        ("..F", "broken-on-base"),
        ("..E", "broken-on-base"),
        ("..Fs", "broken-on-base"),
        ("..F-", "broken-on-base"),
        ("..F.", None),
        (".F..F.", "known-flaky"),
        (".F..F.F", "known-flaky"),
        ("..FFF..", None),
        ("sss", None),
        ("xx", None),
    ],
)
def test_past_runs_say_what_a_test_is_like(runs, expected):
    assert standing(after(runs)) == expected


def test_test_that_failed_when_it_ran_last_and_passes_now_has_changed():
    pasts = {"a": ".F", "b": "F.", "c": ".Fs-", "d": ".~", "e": "FF"}
    history = History(tests={name: TestPast(recent=recent) for name, recent in pasts.items()})
    assert recovered_tests(history, {"a", "b", "c", "d"}) == ["a", "c", "d"]


def test_test_that_a_rerun_proved_flaky_is_known_as_that_at_once():
    once = report({"test_a": "failed"})
    once = replace(once, verdicts=(Verdict(nodeid="test_a", verdict="flaky", runs=5, failures=1),))
    (told,) = compare(extend(after("..."), once), report({"test_a": "passed"}), base="").tests
    assert (told.standing, told.runs, told.failures, told.recent) == ("known-flaky", 4, 1, "...F")


def test_test_without_a_past_is_new_and_one_that_always_passed_is_left_out():
    told = compare(after("..."), report({"test_a": "passed", "test_b": "passed"}), base="")
    assert [(each.nodeid, each.standing) for each in told.tests] == [("test_b", "new")]


def test_coverage_is_that_of_the_merge_base_and_of_no_other_commit():
    history = extend(extend(None, report({}, commit="a" * 40, total=70)), report({}, commit="b" * 40, total=90))
    now = report({"test_a": "passed"})
    assert compare(history, now, base="a" * 40).coverage == 70
    assert compare(history, now, base="b" * 40).coverage == 90
    assert compare(history, now, base="d" * 40).coverage is None
    assert history.files == {"a.py": 90}


def test_newer_durations_weigh_more_and_one_slow_run_does_not_turn_the_order():
    history = extend(None, report({"test_a": "passed"}, seconds=1.0))
    history = extend(history, report({"test_a": "passed"}, seconds=11.0))
    assert history.durations == {"test_a": 4.0}
    history = extend(history, report({"test_a": "skipped"}, seconds=0.0))
    assert history.durations == {"test_a": 4.0}


def test_file_with_the_longest_test_comes_first():
    assert file_order({"a.py::one": 1, "a.py::two": 1.5, "b.py::one": 2, "c.py::one": 0.1}) == ["b.py", "a.py", "c.py"]


def test_removed_test_is_forgotten_after_thirty_runs_and_nothing_grows_without_end():
    history = after(".")
    for number in range(200):
        history = extend(history, report({"test_b": "passed"}, commit=f"{number:040x}"))
    assert set(history.tests) == {"test_b"}
    assert len(history.tests["test_b"].recent) == 30
    assert len(history.coverage) == 100


def test_file_that_could_not_be_collected_is_no_test():
    broken = TestResult(nodeid="test_a.py", outcome="error", phase_errors=(PhaseError(phase="collect", message="no"),))
    assert extend(None, Report(result="tests-failed", counts={}, run=Run(), tests=(broken,))).tests == {}


def test_ten_thousand_tests_with_thirty_runs_are_less_than_half_a_megabyte():
    names = {f"tests/module_{number % 700}/test_area.py::test_case_{number}[value]": number for number in range(10_000)}
    history = History(
        runs=30,
        tests={
            name: TestPast(recent=".F"[number % 97 == 0] * 30, seconds=number / 7) for name, number in names.items()
        },
    )
    assert len(history_bytes(history)) < 500_000


def test_history_survives_being_written_and_read():
    history = after(".F.s")
    assert parse_history(history_bytes(history)) == history
    assert history_bytes(history) == history_bytes(history)


def packed(**changes: object) -> bytes:
    return gzip.compress(json.dumps({"version": 1, **changes}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        gzip.compress(b""),
        gzip.compress(b"[" * 100_000),
        history_bytes(after("."))[:-9],
        packed(version=2),
        packed(tests={"a": {"recent": "<script>"}}),
        packed(tests={"a": {"recent": "." * 31}}),
        packed(tests={"a": {"recent": ".\n"}}),
        packed(tests={"a": {"recent": ".", "seconds": 1e300}}),
        packed(coverage=[["main", 50]]),
        packed(coverage=[["a" * 40, 101]]),
    ],
    ids=range(12),
)
def test_what_is_no_history_is_refused(data):
    with pytest.raises(HistoryError):
        parse_history(data)


def test_one_that_unpacks_without_end_is_refused():
    with pytest.raises(HistoryError):
        parse_history(gzip.compress(b" " * 70_000_000, compresslevel=1))


@given(st.binary())
def test_bytes_are_refused_and_nothing_else_happens(data):
    with pytest.raises(HistoryError):
        parse_history(data)
    with pytest.raises(HistoryError):
        parse_history(gzip.compress(data))
