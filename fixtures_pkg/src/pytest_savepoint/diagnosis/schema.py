"""Statements that change the schema: what they break, what blocks them, and who else sends them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Finding, finding
from pytest_savepoint.diagnosis.lock_waits import waits_of
from pytest_savepoint.diagnosis.record import Fact, Record, at_site, place, sqlstates, tables_of, timed_out

__all__ = ["RULES"]

_STALE = {"0A000", "XX000"}
_LOCK_REFUSED = {"55P03", "57014"}
_EXISTS = {"42P07", "42710", "42P06", "42701", "23505", "XX000"}
_GONE = {"42P01", "42704", "3F000"}
_DEFINES = re.compile(
    r"\s*(create|alter|drop|truncate|reindex|cluster|vacuum\s+full|lock\s+table|refresh\s+materialized)\b",
    re.IGNORECASE,
)
_ENDS = re.compile(r"\s*(commit|rollback|select\s+pg_advisory_unlock_all)\b", re.IGNORECASE)
_CATALOGUE = re.compile(r"\bpg_(type|class|namespace|extension|enum|proc|database)_\w+_index\b")


def _stale_statement(record: Record) -> Iterator[Finding]:
    """A connection used a prepared statement or a type as they were before somebody changed the schema."""
    for failure in record.failures:
        error = next((each for each in failure["exceptions"] if _is_stale(each)), None)
        if error is None or not failure["definitions"]:
            continue
        change = failure["definitions"][-1]
        yield finding(
            "pool.stale_statement_cache",
            tests=[failure["test"]],
            culprit=at_site(change["site"]),
            explanation=f"{place(change['site'])} changes the schema while the pool's connections keep statements that they prepared "
            f"before. {failure['test']} ran one of those, and PostgreSQL refused the plan.",
            fix="Change the schema before the pool is opened, or dispose the pool after it (await engine.dispose()); "
            "statement_cache_size=0 switches the cache off.",
            confidence=0.95,
            evidence=[change["sql"][:120], error["message"][:160]],
        )


def _is_stale(error: Fact) -> bool:
    if error["type"] in ("InvalidCachedStatementError", "OutdatedSchemaCacheError"):
        return True
    message = error["message"]
    return error["sqlstate"] in _STALE and ("cached plan" in message or "cache lookup failed for type" in message)


def _blocked(record: Record) -> Iterator[Finding]:
    """A statement that needs a table for itself waited for a transaction that had used the table and was still open."""
    for failure in record.failures:
        if not (timed_out(failure) or _LOCK_REFUSED & sqlstates(failure)):
            continue
        pair = _waiting(failure)
        if pair is None:
            continue
        waiting, holder, begun = pair
        where = f"the fixture {begun['fixture']['name']}" if begun["fixture"] else begun["test"]
        yield finding(
            "state.ddl_blocked_by_open_transaction",
            tests=[failure["test"]],
            culprit=at_site(begun["site"]),
            explanation=f"{place(waiting['site'])} needs {', '.join(sorted(tables_of(waiting['sql']))) or 'the table'} for itself and "
            f"waits for the transaction that {where} began at {place(begun['site'])} and has not ended. Even a SELECT holds a "
            "lock until its transaction ends.",
            fix=f"End that transaction first: commit, roll back or close what {place(begun['site'])} opened.",
            confidence=0.93,
            evidence=waits_of(record, failure)
            or [f"waiting: {waiting['sql'][:100]}", f"in the open transaction: {holder['sql'][:100]}"],
        )


def _waiting(failure: Fact) -> tuple[Fact, Fact, Fact] | None:
    """The statement that waited, one of the open transaction on the same table, and what began that."""
    begun: dict[int, Fact] = {each["connection"]: each for each in failure["open_before"]}
    used: dict[int, list[Fact]] = {
        number: [{**entry, "sql": sql} for sql in entry.get("sent", ())] for number, entry in begun.items()
    }
    last = {each["connection"]: each for each in failure["statements"] if not _ENDS.match(each["sql"])}
    found: tuple[Fact, Fact, Fact] | None = None
    for statement in failure["statements"]:
        number = statement["connection"]
        verb = statement["sql"].strip().rstrip(";").upper()
        if verb.startswith(("BEGIN", "START TRANSACTION")):
            begun[number], used[number] = statement, []
        elif verb in ("COMMIT", "ROLLBACK"):
            begun.pop(number, None)
        elif _DEFINES.match(statement["sql"]) and number is not None and statement == last[number]:
            found = _holder(statement, begun, used)
        elif number in begun:
            used[number].append(statement)
    return found


def _holder(waiting: Fact, begun: dict[int, Fact], used: dict[int, list[Fact]]) -> tuple[Fact, Fact, Fact] | None:
    tables = tables_of(waiting["sql"])
    for number, entry in begun.items():
        if number != waiting["connection"] and any(tables & tables_of(each["sql"]) for each in used[number]):
            return waiting, used[number][-1], entry
    return None


def _ddl_race(record: Record) -> Iterator[Finding]:
    """Two processes or tasks made or dropped the same object at once."""
    workers = {each["worker"] for each in record.of("configuration")}
    for failure in record.failures:
        states = sqlstates(failure)
        if not states & (_EXISTS | _GONE):
            continue
        sent = [each for each in failure["statements"] if _DEFINES.match(each["sql"])]
        refused = next((each for each in reversed(sent) if each["error"] in states or each["error"] is None), None)
        if refused is None or not _refused(failure, refused, states):
            continue
        together = {each["task"] for each in sent if each["sql"] == refused["sql"]}
        if len(workers) < 2 and len(together) < 2:
            continue
        who = f"{len(workers)} workers" if len(workers) > 1 else f"{len(together)} tasks"
        yield finding(
            "state.concurrent_ddl_race",
            tests=[failure["test"]],
            culprit=at_site(refused["site"]),
            explanation=f"{who} send the same statement at {place(refused['site'])} to one database. IF NOT EXISTS does not make "
            "it safe: both look before either has committed, and one is refused.",
            fix="Give each worker a database of its own, or let one process change the schema before the workers start (or "
            "all under pg_advisory_lock).",
            confidence=0.93,
            evidence=[refused["sql"][:120], failure["exceptions"][0]["message"][:160]],
        )


def _refused(failure: Fact, statement: Fact, states: set[str]) -> bool:
    """Whether this statement, not a query after it, is what the database refused."""
    last = failure["statements"][-1]
    later = [
        each
        for each in failure["statements"]
        if each["time"] > statement["time"]
        and each["connection"] == statement["connection"]
        and not each["sql"].upper().startswith(("ROLLBACK", "COMMIT"))
    ]
    if later and last is not statement:
        return False
    creates = statement["sql"].lower().lstrip().startswith(("create", "alter"))
    if "23505" in states:
        return any(_CATALOGUE.search(error["message"]) for error in failure["exceptions"])
    return bool(states & (_EXISTS if creates else _GONE | {"XX000"}))


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (_stale_statement, _blocked, _ddl_race)
