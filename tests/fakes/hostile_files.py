"""Files as an attacker, a crash or another version leaves them: right ones, changed by chance, each by its number."""

from __future__ import annotations

import gzip
import json
import os
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hostile_text import TRICKS
from msgspec.structs import replace
from pytest_savepoint.errors import SavepointError
from pytest_savepoint.settings import read_settings
from report_parts import PASSED
from report_samples import SAMPLES
from safe_renderings import assert_safe
from savepoint_ci.github.event import EventError, read_event
from savepoint_ci.history.model import HistoryError, compare, extend, history_bytes, parse_history
from savepoint_ci.report.build import build_report
from savepoint_ci.report.model import Coverage, Report, ReportError, Run, parse_report, report_json
from savepoint_ci.suite import caller_coverage

_STRANGE = (
    None, True, 0, -1, 1e308, float("nan"), float("inf"), 2**70, [], {}, "", "\n", "1", [[[[]]]], {"": {}},
    "deadbeef", "www.evil.example", "x" * 5_000,
)  # fmt: skip
# A strange one is refused before anything else is looked at.
_WORDS = {
    "outcome",
    "result",
    "phase",
    "code",
    "cause",
    "verdict",
    "step",
    "standing",
    "recent",
    "version",
    "kind",
    "when",
}
_SMALL = [replace(each, tests=each.tests[-3:]) for name, each in sorted(SAMPLES.items()) if name != "huge"]
_EVENT = {
    "pull_request": {
        "number": 7,
        "head": {"sha": "a" * 40, "repo": {"full_name": "fork/shop"}},
        "base": {"sha": "b" * 40, "repo": {"full_name": "example/shop"}},
    },
    "merge_group": {"head_sha": "a" * 40, "base_sha": "b" * 40},
    "workflow_run": {"head_sha": "a" * 40, "head_branch": "x", "head_repository": {"full_name": "fork/shop"}},
    "before": "c" * 40,
    "repository": {"full_name": "example/shop", "default_branch": "main"},
}
_EVENTS = ("pull_request", "merge_group", "workflow_run", "push", "schedule")
_EVIDENCE: tuple[dict[str, Any], ...] = (
    {"kind": "session", "workers": 2, "pytest": "9.0", "python": "3.13.0", "isolation": "savepoint", "time": 1.7e9},
    {"kind": "collected", "total": 3},
    {
        "kind": "database", "provider": "system", "reason": "there", "version": "16.4", "databases": ["a"],
        "template": {"name": "t", "fingerprint": "9c1f", "hit": True, "seconds": 0.1, "source": "alembic"},
    },
    *(
        {
            "kind": "phase", "nodeid": "tests/test_a.py::test_a", "worker": "gw0", "when": when, "outcome": outcome,
            "duration": 0.1, "start": 1.7e9, "message": "no", "text": "text", "path": "a.py", "line": 3, "xfail": False,
            "isolation": "savepoint",
        }
        for when, outcome in (("setup", "passed"), ("call", "failed"), ("teardown", "passed"), ("collect", "failed"))
    ),
    {
        "kind": "finding", "code": "SP104", "cause": "loop.x", "tests": ["tests/test_a.py::test_a"], "fix": "do",
        "culprit": {"path": "a.py", "line": 1, "name": "engine"}, "explanation": "why", "confidence": 0.9,
        "evidence": ["seen"],
    },
    {"kind": "crash", "worker": "gw1", "nodeid": "tests/test_a.py::test_b"},
    {"kind": "warning", "text": "careful"},
    {"kind": "finished", "exit": 1, "time": 1.7e9},
)  # fmt: skip


def report_file(chance: random.Random) -> str:
    """report.json: refused with a message, or a report that every rendering shows as text."""
    data = _changed(json.loads(report_json(chance.choice(_SMALL))), chance)
    try:
        report = parse_report(data)
    except ReportError as error:
        return _refused(error)
    assert_safe(_with_words(report), thorough=chance.random() < 0.05)
    return "taken"


def evidence_file(chance: random.Random) -> str:
    """The evidence of a suite: never an error, and what is made of it can be written, read and shown."""
    lines = [
        _changed(line, chance).decode("utf-8", "replace") if chance.random() < 0.5 else json.dumps(line)
        for line in _EVIDENCE
        for _ in range(chance.choice((1, 1, 1, 2, 0)))
    ]
    if chance.random() < 0.3:
        chance.shuffle(lines)
    report = build_report(lines, run=Run(id="1"), settings=_settings(), pytest_exit=chance.choice((None, 0, 1, 2, -9)))
    assert parse_report(report_json(report)) == report
    assert_safe(report, thorough=chance.random() < 0.05)
    return "taken"


def event_file(chance: random.Random) -> str:
    """The runner's event file: read as GitHub documents it, or refused with a message."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(_changed(_EVENT, chance))
        file.flush()
        environ = {
            "GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": file.name, "GITHUB_EVENT_NAME": chance.choice(_EVENTS),
            "GITHUB_REPOSITORY": "example/shop", "GITHUB_REF_TYPE": "branch",
        }  # fmt: skip
        try:
            read_event(environ)
        except EventError as error:
            return _refused(error)
    return "taken"


def history_file(chance: random.Random) -> str:
    """A history: refused with a message, or one that can be compared with, extended, kept and shown."""
    data = _changed(json.loads(gzip.decompress(_history())), chance)
    packed = gzip.compress(data, 1, mtime=0)
    if chance.random() < 0.2:
        packed = _broken(packed, chance)
    try:
        history = parse_history(packed)
    except HistoryError as error:
        return _refused(error)
    report = chance.choice(_SMALL)
    assert_safe(replace(report, history=compare(history, report, base="b" * 40)), thorough=False)
    parse_history(history_bytes(extend(history, report)))
    return "taken"


def coverage_file(chance: random.Random) -> str:
    """coverage.py's data file: its error becomes a message, and nothing else happens."""
    with _in_a_folder() as folder:
        data = folder / "data.coverage"
        data.write_bytes(_broken(_coverage_data(), chance))
        (folder / "rc").write_text("")
        try:
            answer = caller_coverage.read(
                {"config_file": str(folder / "rc"), "data": str(data), "xml": str(folder / "xml"), "changed": {"shop.py": [1, 2]}}
            )
        except Exception:  # noqa: BLE001 - the script itself tells every kind in its answer
            return "refused"
    json.dumps(answer)
    return "taken"


KINDS: dict[str, Callable[[random.Random], str]] = {
    "report": report_file,
    "evidence": evidence_file,
    "event": event_file,
    "history": history_file,
    "coverage": coverage_file,
}


def example(kind: str, number: int) -> str:
    """Make one file and hold every law to it; return whether the file was taken or refused."""
    return KINDS[kind](random.Random(f"{kind} {number}"))


def _changed(value: Any, chance: random.Random) -> bytes:
    """The value as JSON with some of its parts replaced, and at times with broken bytes."""
    for _ in range(chance.choice((0, 1, 1, 2, 5, 20))):
        value = _replaced(value, chance)
    data = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return _broken(data, chance) if chance.random() < 0.15 else data


def _replaced(value: Any, chance: random.Random) -> Any:
    """The value with one part of it, anywhere, replaced by something strange of the same kind or of another."""
    if isinstance(value, dict) and value and chance.random() < 0.93:
        name = chance.choice(sorted(value))
        if name in _WORDS and chance.random() < 0.8:
            return value
        changed = {**value, name: _replaced(value[name], chance)}
        match chance.random():
            case luck if luck < 0.03:
                del changed[name]
            case luck if luck < 0.06:
                changed[_text(chance)] = changed.pop(name)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.93:
        place = chance.randrange(len(value))
        changed = [*value[:place], _replaced(value[place], chance), *value[place + 1 :]]
        return changed * 3 if chance.random() < 0.03 else changed
    if isinstance(value, str) and chance.random() < 0.9:
        return _text(chance)
    if isinstance(value, int | float) and chance.random() < 0.6:
        return chance.choice((0, 1, 0.5, 99.99, 1e-9, 100_000, 3))
    return chance.choice(_STRANGE)


def _text(chance: random.Random) -> str:
    parts = [
        chance.choice(TRICKS)
        if chance.random() < 0.7
        else chr(chance.choice((32, 96, 300, 0x2028, 0x1F600, chance.randrange(0x10FFFF))))
        for _ in range(chance.choice((1, 1, 2, 4, 9)))
    ]
    return chance.choice(("", " ", "\n")).join(parts) * chance.choice((1, 1, 1, 1, 40))


def _broken(data: bytes, chance: random.Random) -> bytes:
    match chance.randrange(4):
        case 0:
            return data[: chance.randrange(len(data) + 1)]
        case 1:
            places = bytearray(data)
            for _ in range(chance.randrange(1, 9)):
                places[chance.randrange(len(places))] = chance.randrange(256)
            return bytes(places)
        case 2:
            place = chance.randrange(len(data))
            return data[:place] + chance.randbytes(chance.randrange(1, 99)) + data[place:]
        case _:
            return chance.choice((b"", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"\0" * 99, data * 2))


def _refused(error: SavepointError) -> str:
    assert len(f"{error}".split()) > 3
    return "refused"


def _with_words(report: Report) -> Report:
    """Warnings are the only texts that samples seldom have."""
    return replace(
        report, warnings=(*report.warnings, *(error.message for test in report.tests for error in test.phase_errors))
    )


@cache
def _settings() -> Any:
    return read_settings(Path(__file__).parent, environ={})


@cache
def _history() -> bytes:
    history = None
    for name in ("findings", "green", "known_failures", "green"):
        sample = replace(SAMPLES[name], tests=(*PASSED[:4], *SAMPLES[name].tests[-7:]))
        history = extend(history, replace(sample, coverage=Coverage(lines=90, branches=None, total=90)))
    return history_bytes(history)


@cache
def _coverage_data() -> bytes:
    import coverage

    with _in_a_folder() as folder:
        measured = coverage.CoverageData(basename=str(folder / "made"))
        measured.set_context("test_a.py::test_a|run")
        measured.add_arcs({"shop.py": [(-1, 1), (1, 2), (2, -1)]})
        measured.close()
        with sqlite3.connect(folder / "made") as database:
            database.execute("vacuum")
        return (folder / "made").read_bytes()


@contextmanager
def _in_a_folder() -> Iterator[Path]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        Path(name, "shop.py").write_text("a = 1\nb = 2\n")
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)
