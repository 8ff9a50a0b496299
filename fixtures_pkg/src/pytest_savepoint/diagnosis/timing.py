"""SP6xx: concurrency in the database, and time."""

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
    line_with,
    nodes_of,
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
_NOW = re.compile(r"\b(now\s*\(\s*\)|current_timestamp|transaction_timestamp\s*\(\s*\)|localtimestamp)", re.IGNORECASE)
_LOCAL_DATE = r"\bdate\.today\(\s*\)"
_LOCAL_TIME = r"\bdatetime\.now\(\s*\)"
_AGAINST_CLOCK = re.compile(
    r"(\w+)\"?\s*[<>]=?\s*(?:(?!\band\b|\bor\b)[^;<>]){0,60}?"
    r"\b(?:now\s*\(|current_date|current_timestamp|localtimestamp|clock_timestamp)",
    re.IGNORECASE,
)
_SET_NOW = re.compile(r"(\w+)\s*=\s*(?:now\s*\(|current_timestamp|transaction_timestamp)", re.IGNORECASE)


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
            culprit=at_site(site),
            explanation=f"PostgreSQL refused the transaction at {place(site)} because a concurrent one changed what it had read "
            "(40001). At REPEATABLE READ and SERIALIZABLE that is normal, and nothing here tries again.",
            fix="Run the whole transaction again on SQLSTATE 40001 (a small retry loop around it), or lock the rows it reads.",
            confidence=0.93,
            evidence=[
                *([f"in between: {rival['sql'][:100]} at {place(rival['site'])}"] if rival else []),
                failure["exceptions"][0]["message"][:160],
            ],
        )


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
                flushed = any(_same(update["site"], each["site"]) for each in failure["statements"] if _commits(each))
                yield finding(
                    "concurrency.lost_update",
                    tests=[failure["test"]],
                    culprit=at_site(read["site"] if flushed else update["site"]),
                    explanation=f"Two transactions read {table} at {place(read['site'])}, computed the new value in Python and "
                    f"wrote it at {place(update['site'])}. Both had read the same value, so one update is lost.",
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


def _sleep_based(record: Record) -> Iterator[Finding]:
    """The assertion right after a sleep failed while a task of this test was still at work."""
    for failure in record.failures:
        site = innermost(failure)
        working = [task for task in failure["pending"] if task.get("test") == failure["test"]]
        if not asserted(failure) or site is None or not working:
            continue
        function = failure["exceptions"][0]["function"]
        sleep = _sleep_before(function, site["line"], failure["reached"]["sleeps"])
        if sleep is None:
            continue
        task = working[0]
        at = task["waiting_at"][-1] if task["waiting_at"] else task["site"]
        yield finding(
            "time.sleep_based_sync",
            tests=[failure["test"]],
            culprit=sleep,
            explanation=f"{sleep.path}:{sleep.line} sleeps a fixed time and hopes that the task made at {place(task['site'])} is done. "
            f"It was still at {place(at)} when the assertion ran.",
            fix="Wait for what the task signals, with a generous time-out: await asyncio.wait_for(event.wait(), 10), or await the "
            "task itself.",
            confidence=0.92,
            evidence=[f"{task['name']} pending at {place(at)} when {place(site)} failed"],
        )


def _sleep_before(function: Fact | None, line: int, sleepers: list[Fact]) -> Culprit | None:
    """The sleep that precedes the statement at `line`, with nothing awaited in between or by itself.

    :param sleepers: the functions in reach that sleep.
    """
    body = enclosing(function, line, (ast.FunctionDef, ast.AsyncFunctionDef))
    if function is None or not isinstance(body, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    slept = None
    for statement in body.body:
        awaited = [node for node in ast.walk(statement) if isinstance(node, ast.Await)]
        if statement.lineno >= line:
            return slept if not awaited else None
        if any("sleep" in ast.dump(node.value) for node in awaited):
            slept = Culprit(function["path"], statement.lineno, function["name"])
        elif awaited:
            slept = next((found for each in sleepers if (found := _only_sleeps(each, awaited)) is not None), None)
    return slept


def _only_sleeps(helper: Fact, awaited: list[ast.Await]) -> Culprit | None:
    """The line at which a function sleeps, when it is what was awaited and awaits nothing else itself."""
    called = [node.value.func for node in awaited if isinstance(node.value, ast.Call)]
    names = {getattr(each, "attr", None) or getattr(each, "id", None) for each in called}
    sleeps = [node for node in nodes_of(helper) if isinstance(node, ast.Await)]
    if names != {helper["name"]} or not sleeps or any("sleep" not in ast.dump(node.value) for node in sleeps):
        return None
    return Culprit(helper["path"], sleeps[0].lineno, helper["name"])


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
            if not stamped or not asked or len([e for e in transaction if _WRITE.match(e["sql"])]) < 2:
                continue
            question = asked[-1]["sql"].lower()
            comparison = failure["comparison"] or {}
            signs = "[-<>]" if _took_no_time(comparison) else "[<>]"
            in_sql = transaction in outer and any(
                re.search(rf"\b{column}\b\s*{signs}|{signs}\s*(?:\w+\.)?\b{column}\b", question) for column in columns
            )
            in_python = (
                comparison.get("left") == "datetime"
                and comparison.get("equal")
                and comparison["op"] in ("<", ">", "!=")
            )
            if not in_sql and not in_python:
                continue
            site = stamped[-1]["site"]
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
        looked_at += [(each, local) for each in failure["reached"]["clocks"] if _fills_dated(failure, each)]
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


def _fills_dated(failure: Fact, function: Fact) -> bool:
    """Whether a function inserts into a table, naming no columns, that a later query compares with the server's clock."""
    last = function["line"] + len(function["source"])
    filled = {
        _table(each)
        for each in failure["statements"]
        if _table(each) and not each["gives"] and _within(each["site"], function["path"], function["line"], last)
    }
    dated = (each["sql"] for each in failure["statements"] if _AGAINST_CLOCK.search(each["sql"]))
    return any(filled & tables_of(sql) for sql in dated)


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
    _deadlock,
    _check_then_insert,
    _serialization,
    _lost_update,
    _overrun,
    _sleep_based,
    _frozen_now,
    _timezone,
    _timezone_latent,
)
