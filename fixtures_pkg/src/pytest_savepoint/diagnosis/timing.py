"""SP6xx: time, as tests wait for it and as both sides tell it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.record import (
    Fact,
    Record,
    asserted,
    at_site,
    enclosing,
    line_with,
    place,
    tables_of,
    transactions,
    written,
)

__all__ = ["RULES"]

_NOW = re.compile(r"\b(now\s*\(\s*\)|current_timestamp|transaction_timestamp\s*\(\s*\)|localtimestamp)", re.IGNORECASE)
_LOCAL_DATE = r"\bdate\.today\(\s*\)"
_LOCAL_TIME = r"\bdatetime\.now\(\s*\)"
_AGAINST_CLOCK = re.compile(
    r"(\w+)\"?\s*[<>]=?\s*(?:(?!\band\b|\bor\b)[^;<>]){0,60}?"
    r"\b(?:now\s*\(|current_date|current_timestamp|localtimestamp|clock_timestamp)",
    re.IGNORECASE,
)
_SET_NOW = re.compile(r"(\w+)\s*=\s*(?:now\s*\(|current_timestamp|transaction_timestamp)", re.IGNORECASE)


def _frozen_now(record: Record) -> Iterator[Finding]:
    """Two times of one transaction were compared, and PostgreSQL's now() is the time of its start."""
    for failure in record.failures:
        if not asserted(failure):
            continue
        outer = _outer_transactions(failure)
        for transaction in [*outer, *transactions(failure)]:
            stamped = [each for each in transaction if _NOW.search(each["sql"]) and each["when"] == "call"]
            columns = {column.lower() for each in stamped for column in _SET_NOW.findall(each["sql"])}
            asked = [
                each
                for each in transaction
                if each["sql"].lower().lstrip().startswith("select") and each["when"] == "call"
            ]
            if not stamped or not asked:
                continue
            comparison = failure["comparison"] or {}
            is_start = _is_its_start(failure, comparison, transaction[0], stamped[-1])
            if not is_start and len([each for each in transaction if written(each["sql"])[0]]) < 2:
                continue
            question = asked[-1]["sql"].lower()
            signs = "[-<>]" if _took_no_time(comparison) else "[<>]"
            in_sql = transaction in outer and any(
                re.search(rf"\b{column}\b\s*{signs}|{signs}\s*(?:\w+\.)?\b{column}\b", question) for column in columns
            )
            in_python = (
                comparison.get("left") == "datetime"
                and comparison.get("equal")
                and comparison["op"] in ("<", ">", "!=")
            )
            if not in_sql and not in_python and not is_start:
                continue
            site = _stamping(failure, stamped[-1]) or stamped[-1]["site"]
            yield finding(
                "time.now_frozen_in_transaction",
                tests=[failure["test"]],
                culprit=at_site(site),
                explanation=f"{place(site)} uses now(), which is the time when the transaction began. "
                f"{'A fixture keeps one open for the whole test' if transaction in outer else 'The test stays in one'}, so every "
                f"now() in {failure['test']} is the same.",
                fix="Use clock_timestamp(), or set the times in Python.",
                confidence=0.92,
                evidence=[stamped[-1]["sql"][:120], asked[-1]["sql"][:120]],
            )
            break


def _stamping(failure: Fact, update: Fact) -> Fact | None:
    """The line of the model that makes an update set a column to now()."""
    columns = {column.lower() for column in _SET_NOW.findall(update["sql"])}
    table = written(update["sql"])[1]
    stamps = (each for each in failure["stamps"] or () if each["table"] == table and each["column"] in columns)
    return next((each["site"] for each in stamps), None)


def _is_its_start(failure: Fact, comparison: Fact, first: Fact, stamp: Fact) -> bool:
    """Whether what should be the later of two times is when the transaction began, and the other lies before the stamp.

    :param first: the transaction's first statement after BEGIN.
    """
    moments = comparison.get("moments")
    if not moments or comparison["op"] not in (">", ">=", "<", "<="):
        return False
    late, early = moments if comparison["op"] in (">", ">=") else reversed(moments)
    begun = [
        each["time"]
        for each in failure["statements"]
        if each["connection"] == first["connection"]
        and each["sql"].upper().startswith(("BEGIN", "START TRANSACTION"))
        and each["time"] <= first["time"]
    ]
    return bool(begun and begun[-1] <= late <= first["time"] and late < early <= stamp["time"])


def _took_no_time(comparison: Fact) -> bool:
    """Whether a duration that should be positive is zero, or less when its beginning was not frozen."""
    if comparison.get("op") not in (">", ">=", "!="):
        return False
    shown = comparison["shown"][0]
    return bool(comparison["equal"]) or (comparison["left"] in ("float", "int") and float(shown) <= 0)


def _timezone(record: Record) -> Iterator[Finding]:
    """A test that asks the process for its local date failed at an hour when that is not the server's."""
    for failure in record.failures:
        clock, function = failure["clock"], failure["function"]
        if not asserted(failure) or not failure["statements"] or function is None or not clock["offset"]:
            continue
        local = f"{_LOCAL_DATE}|{_LOCAL_TIME}" if clock["local_date"] != clock["utc_date"] else _LOCAL_TIME
        looked_at = [(each, local) for each in (function, *(e["function"] for e in failure["exceptions"])) if each]
        looked_at += [
            (each, local)
            for each in failure["reached"]["clocks"]
            if _fills_dated(failure, each) or _fills_dated(failure, function, each["name"])
        ]
        for column in _compared_with_clock(failure):
            given = rf"\b{column}\b[\"']?\s*[:=].*(?:{local})"
            looked_at += [(each, given) for each in failure["reached"]["clocks"]]
        for each, pattern in looked_at:
            line = line_with(each, pattern)
            if line is None:
                continue
            yield finding(
                "time.timezone_mismatch",
                tests=[failure["test"]],
                culprit=Culprit(each["path"], line, each["name"]),
                explanation=f"{each['path']}:{line} takes the time of the local zone ({clock['zone']}), where it is "
                f"{clock['local_date']}; in UTC it is {clock['utc_date']}. What the database compares it with is in its own zone.",
                fix="Use datetime.now(timezone.utc) (and .date()), or let the database give both values.",
                confidence=0.91,
                evidence=[f"local zone {clock['zone']}, {clock['offset'] / 3600:+.0f} h from UTC"],
            )
            break


def _fills_dated(failure: Fact, function: Fact, given: str = "") -> bool:
    """Whether a function inserts into a table, naming no columns, that a later query compares with the server's clock.

    :param given: a function whose result it inserts there; any statement will do without.
    """
    last = function["line"] + len(function["source"])
    filled = {
        table
        for each in failure["statements"]
        if (table := written(each["sql"])[1])
        and not each["gives"]
        and _within(each["site"], function["path"], function["line"], last)
        and (not given or _calls(function, each["site"]["line"], given))
    }
    dated = (each["sql"] for each in failure["statements"] if _AGAINST_CLOCK.search(each["sql"]))
    return any(filled & tables_of(sql) for sql in dated)


def _calls(function: Fact, line: int, name: str) -> bool:
    """Whether the statement at a line of a function calls another function."""
    statement = enclosing(function, line, (ast.Expr, ast.Assign, ast.Return, ast.Assert))
    return statement is not None and name in {
        getattr(node.func, "attr", getattr(node.func, "id", None))
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
    }


def _within(site: Fact | None, path: str, first: int, last: int) -> bool:
    return site is not None and site["path"] == path and first <= int(site["line"]) < last


def _compared_with_clock(failure: Fact) -> set[str]:
    """The columns that a test fills and that a later query compares with the server's clock."""
    given: set[str] = set()
    compared: set[str] = set()
    for statement in failure["statements"]:
        compared |= given.intersection(_AGAINST_CLOCK.findall(statement["sql"].lower()))
        given.update(column.lower() for column in statement["gives"])
    return compared


def _timezone_latent(record: Record) -> Iterator[Finding]:
    """The same, at an hour when both clocks show the same date."""
    for fact in record.of("local_time"):
        function, clock = fact["function"], fact["clock"]
        line = line_with(function, _LOCAL_DATE) or line_with(function, _LOCAL_TIME)
        if line is None:
            continue
        yield finding(
            "time.timezone_mismatch",
            tests=[fact["test"]],
            culprit=Culprit(function["path"], line, function["name"]),
            explanation=f"{function['path']}:{line} takes the time of the local zone ({clock['zone']}), and the database goes by "
            f"{fact['zone']}. For {abs(clock['offset']) / 3600:g} hours of each day the two have another date.",
            fix="Use datetime.now(timezone.utc) (and .date()), or let the database give both values.",
            confidence=0.8,
            evidence=[f"local zone {clock['zone']}, {clock['offset'] / 3600:+.0f} h from UTC", fact["sql"]],
        )


def _outer_transactions(failure: Fact) -> list[list[Fact]]:
    """Per connection, the statements of a transaction that was opened during set-up and never ended."""
    opened: dict[int, list[Fact]] = {}
    for statement in failure["statements"]:
        verb, number = statement["sql"].strip().rstrip(";").upper(), statement["connection"]
        if verb == "BEGIN" and statement["when"] == "setup":
            opened[number] = []
        elif verb in ("COMMIT", "ROLLBACK") and number in opened:
            del opened[number]
        elif number in opened:
            opened[number].append(statement)
    return list(opened.values())


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _frozen_now,
    _timezone,
    _timezone_latent,
)
