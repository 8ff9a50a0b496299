"""SP6xx: transactions and tasks that meet in the database."""

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
    innermost,
    place,
    sqlstates,
    tables_of,
    transactions,
)

__all__ = ["RULES"]

_DEADLOCK, _UNIQUE, _SERIALIZATION = "40P01", "23505", "40001"
_WRITE = re.compile(r"^\s*(?:update|delete\s+from|insert\s+into)\s+(?:only\s+)?\"?([\w.]+)", re.IGNORECASE)
_READ = re.compile(r"\bfrom\s+(?:only\s+)?\"?([\w.]+)", re.IGNORECASE)
_LOCKS = re.compile(r"^\s*(update|delete|insert|lock)\b|\bfor\s+(no\s+key\s+)?(update|share)\b", re.IGNORECASE)
_WAITS = re.compile(r"\badvisory_(xact_)?lock|\bfor\s+(no\s+key\s+)?update\b|^\s*(lock|update)\b", re.IGNORECASE)


def _deadlock(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        if _DEADLOCK not in sqlstates(failure):
            continue
        site = _application_line(failure)
        victims = [
            transaction
            for transaction in transactions(failure)
            if any(_same(each["site"], site) for each in transaction)
        ]
        locks = [each for each in (victims[-1] if victims else []) if _LOCKS.search(each["sql"]) and each["site"]]
        first = locks[0]["site"] if locks else site
        other = next((t for t in reversed(transactions(failure)) if t and t not in victims[-1:]), [])
        if len(failure["deadlocked"]) > 1:
            # The server itself names the two.
            seen = [f"{each['sql'][:100]} at {place(each['site'])}" for each in failure["deadlocked"][:2]]
        else:
            facing = f" Facing it: {place(other[-1]['site'])}." if other else ""
            seen = [f"deadlock detected at {place(site)}.{facing}", *(each["sql"][:100] for each in locks[:2])]
        yield finding(
            "concurrency.deadlock",
            tests=[failure["test"]],
            culprit=at_site(first),
            explanation=f"Two transactions lock the same rows in opposite order: one took its first lock at {place(first)} and was "
            f"refused at {place(site)}. PostgreSQL ended one of them.",
            fix="Take the locks in one fixed order, such as sorted by primary key, in every transaction.",
            confidence=0.95,
            evidence=seen,
        )


def _application_line(failure: Fact) -> Fact | None:
    """The caller's line that the database refused, whichever exception of the chain carries it."""
    refused = next((error for error in failure["exceptions"] if error["sqlstate"] and error["sites"]), None)
    site: Fact | None = refused["sites"][-1] if refused else innermost(failure)
    return site


def _same(one: Fact | None, other: Fact | None) -> bool:
    return one is not None and other is not None and (one["path"], one["line"]) == (other["path"], other["line"])


def _check_then_insert(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        if _UNIQUE not in sqlstates(failure):
            continue
        site = _application_line(failure)
        inserts = [
            each
            for each in failure["statements"]
            if (written := _WRITE.match(each["sql"])) and each["sql"].lower().lstrip().startswith("insert") and written
        ]
        refused = next((each for each in reversed(inserts) if _same(each["site"], site)), None)
        if refused is None or "on conflict" in refused["sql"].lower():
            continue
        table = _table(refused)
        checks = [
            each
            for each in failure["statements"]
            if each["task"] == refused["task"]
            and each["time"] < refused["time"]
            and table in _READ.findall(each["sql"].lower())
        ]
        rivals = [
            each
            for each in inserts
            if each["connection"] != refused["connection"] and each["task"] != refused["task"] and _table(each) == table
        ]
        if not checks or not any(checks[-1]["time"] < rival["time"] < refused["time"] + 5 for rival in rivals):
            continue
        function = next((error["function"] for error in failure["exceptions"] if error["function"]), None)
        branch = enclosing(function, site["line"], ast.If) if site else None
        line = getattr(branch, "lineno", None) or checks[-1]["site"]["line"]
        culprit = Culprit(refused["site"]["path"], line, refused["site"]["name"])
        yield finding(
            "concurrency.check_then_insert_race",
            tests=[failure["test"]],
            culprit=culprit,
            explanation=f"{refused['site']['name']} looks for a row in {table} at {place(checks[-1]['site'])} and inserts it at "
            f"{place(refused['site'])} when there is none. Another task did the same in between.",
            fix="Let the database decide in one step: INSERT ... ON CONFLICT DO NOTHING, then select; or take a lock first.",
            confidence=0.94,
            evidence=[f"{len(rivals) + 1} tasks inserted into {table} after looking", refused["sql"][:120]],
        )


def _table(statement: Fact) -> str:
    written = _WRITE.match(statement["sql"])
    return written[1].lower() if written else ""


def _serialization(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        if _SERIALIZATION not in sqlstates(failure):
            continue
        site = _application_line(failure)
        rival = _changed_meanwhile(failure, site)
        yield finding(
            "concurrency.serialization_failure",
            tests=[failure["test"]],
            culprit=at_site(_asks_for_isolation(failure, site) or site),
            explanation=f"PostgreSQL refused the transaction at {place(site)} because a concurrent one changed what it had read "
            "(40001). At REPEATABLE READ and SERIALIZABLE that is normal, and nothing here tries again.",
            fix="Run the whole transaction again on SQLSTATE 40001 (a small retry loop around it), or lock the rows it reads.",
            confidence=0.93,
            evidence=[
                *([f"in between: {rival['sql'][:100]} at {place(rival['site'])}"] if rival else []),
                failure["exceptions"][0]["message"][:160],
            ],
        )


def _asks_for_isolation(failure: Fact, site: Fact | None) -> Fact | None:
    """The line of the same function that begins the transaction with an isolation of its own: there belongs the retry."""
    for statement in failure["statements"]:
        begun: Fact | None = statement["site"]
        asks = statement["sql"].upper().startswith(("BEGIN ISOLATION", "START TRANSACTION ISOLATION"))
        if asks and site and begun and (begun["path"], begun["name"]) == (site["path"], site["name"]):
            return begun
    return None


def _changed_meanwhile(failure: Fact, site: Fact | None) -> Fact | None:
    """Another connection's latest write to a table that the refused transaction had read or written before."""
    own = [each for each in transactions(failure) if any(_same(sent["site"], site) for sent in each)]
    if not own:
        return None
    tables = {table for sent in own[-1] for table in tables_of(sent["sql"])}
    return next(
        (
            each
            for each in reversed(failure["statements"])
            if each["connection"] != own[-1][0]["connection"]
            and each["time"] > own[-1][0]["time"]
            and _table(each) in tables
        ),
        None,
    )


def _lost_update(record: Record) -> Iterator[Finding]:
    """Two transactions of a failing test read a row, computed, and wrote it, side by side."""
    for failure in record.failures:
        if not asserted(failure):
            continue
        written: dict[str, list[tuple[Fact, Fact]]] = {}
        for transaction in transactions(failure):
            for number, update in enumerate(transaction):
                table = _table(update)
                if not update["sql"].lower().lstrip().startswith("update") or _computes(update["sql"]):
                    continue
                reads = [each for each in transaction[:number] if table in _READ.findall(each["sql"].lower())]
                if reads and not any(_LOCKS.search(each["sql"]) for each in reads):
                    written.setdefault(table, []).append((reads[-1], update))
        for table, pairs in written.items():
            race = _overlapping(pairs)
            if race is not None:
                read, update = race
                # What a commit flushes is written nowhere else: the read is what can be changed.
                flushed = update["site"] is None or any(
                    _same(update["site"], each["site"]) for each in failure["statements"] if _commits(each)
                )
                yield finding(
                    "concurrency.lost_update",
                    tests=[failure["test"]],
                    culprit=at_site(read["site"] if flushed else update["site"]),
                    explanation=f"Two transactions read {table} at {place(read['site'])}, computed the new value in Python and "
                    f"wrote it {'when they ended' if update['site'] is None else 'at ' + place(update['site'])}. Both had read the same value, so one update is lost.",
                    fix="Compute in the statement (set n = n + 1), or read with SELECT ... FOR UPDATE.",
                    confidence=0.92,
                    evidence=[update["sql"][:140], f"{len(pairs)} transactions read {table} before either wrote"],
                )


def _overrun(record: Record) -> Iterator[Finding]:
    """Tasks counted or looked before any had inserted, and then all inserted: a test met more than there may be."""
    for failure in record.failures:
        if not _too_many(failure):
            continue
        pairs: dict[str, list[tuple[Fact, Fact]]] = {}
        for transaction in transactions(failure):
            for number, insert in enumerate(transaction):
                table, before = _table(insert), transaction[:number]
                looks = [each for each in before if table in _READ.findall(each["sql"].lower())]
                safe = "on conflict" in insert["sql"].lower() or any(_WAITS.search(each["sql"]) for each in before)
                if insert["sql"].lower().lstrip().startswith("insert") and looks and not safe:
                    pairs.setdefault(table, []).append((looks[-1], insert))
        for table, each in pairs.items():
            race = _overlapping(each)
            if race is None or not all(_same(look["site"], race[0]["site"]) for look, _ in each):
                continue
            look, insert = race
            yield finding(
                "concurrency.check_then_insert_race",
                tests=[failure["test"]],
                culprit=at_site(look["site"]),
                explanation=f"{place(look['site'])} looks at {table}, and {place(insert['site'])} inserts according to what was "
                f"there. {len(each)} tasks looked before any of them had inserted.",
                fix=f"Let one at a time do both: lock before {place(look['site'])} (SELECT ... FOR UPDATE of the parent row, or "
                "pg_advisory_xact_lock), or let a constraint refuse what is too much.",
                confidence=0.91,
                evidence=[look["sql"][:120], insert["sql"][:120]],
            )


def _too_many(failure: Fact) -> bool:
    """Whether a test counted more than it expected."""
    comparison = failure["comparison"]
    if not asserted(failure) or comparison is None or {comparison["left"], comparison["right"]} != {"int"}:
        return False
    left, right = (int(each) for each in comparison["shown"])
    return comparison["op"] in ("==", "<", "<=") and left > right


def _computes(sql: str) -> bool:
    return bool(re.search(r"\b(\w+)\s*=\s*\(?\s*(?:\w+\.)?\1\b\s*[-+*/|]", sql))


def _commits(statement: Fact) -> bool:
    return bool(statement["sql"].strip().upper().startswith("COMMIT"))


def _overlapping(pairs: list[tuple[Fact, Fact]]) -> tuple[Fact, Fact] | None:
    for _, update in pairs:
        for other_read, other_update in pairs:
            apart = (other_update["connection"], other_update["task"]) != (update["connection"], update["task"])
            if apart and other_read["time"] < update["time"] < other_update["time"]:
                return other_read, other_update
    return None


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _deadlock,
    _check_then_insert,
    _serialization,
    _lost_update,
    _overrun,
)
