"""SP3xx: what one session cannot see of what another one wrote."""

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
    is_of_other_test,
    place,
    reads,
    written,
)

__all__ = ["RULES"]

_NOTHING_FOUND = {"NoResultFound", "AttributeError", "TypeError", "HTTPStatusError", "IndexError", "KeyError"}
_LOADS = {"get", "get_one", "scalar", "scalars", "execute", "merge"}


def _stale_identity_map(record: Record) -> Iterator[Finding]:
    """A session that had loaded an object gave it again as it was, after another connection had changed its row."""
    for failure in record.failures:
        comparison = failure["comparison"]
        if not asserted(failure) or comparison is None or comparison["equal"]:
            continue
        for thing in failure["loaded"]:
            change = _changed_behind(failure, thing) if thing["compared"] else None
            if change is None:
                continue
            first, write, again = change
            culprit = at_site(again["site"]) if again else _loading_line(failure, write) or at_site(innermost(failure))
            yield finding(
                "session.stale_identity_map",
                tests=[failure["test"]],
                culprit=culprit,
                explanation=f"{place(first['site'])} loaded a {thing['class']}, and {place(write['site'])} changed its row through "
                f"another connection. The first session keeps its object: reading again gives {', '.join(thing['compared'])} "
                "as it was.",
                fix="Read what others changed with await session.refresh(object), or "
                ".execution_options(populate_existing=True), or in a new session.",
                confidence=0.93,
                evidence=[
                    f"connection no. {write['connection']}: {write['sql'][:100]}",
                    f"read by no. {first['connection']}",
                ],
            )
            break


def _changed_behind(failure: Fact, thing: Fact) -> tuple[Fact, Fact, Fact | None] | None:
    """The first read of an object, another connection's write to what was compared, and the first one's read after that."""
    statements, table = failure["statements"], thing["table"]
    for number, write in enumerate(statements):
        changed = write["when"] == "call" and written(write["sql"]) == ("update", table)
        if not changed or not any(re.search(rf"\b{name}\b", write["sql"]) for name in thing["compared"]):
            continue
        earlier = [
            each
            for each in statements[:number]
            if _speaker(each) != _speaker(write) and (reads(each["sql"], table) or written(each["sql"])[1] == table)
        ]
        if not earlier or written(earlier[-1]["sql"])[0] == "update":
            continue
        first = earlier[-1]
        later = [
            each for each in statements[number:] if _speaker(each) == _speaker(first) and reads(each["sql"], table)
        ]
        if any(each["refreshes"] for each in later):
            continue
        return first, write, later[-1] if later else None
    return None


def _speaker(statement: Fact) -> tuple[str, object]:
    """Who sent a statement: its session, which may speak on several connections in turn, or else the connection."""
    session = statement["session"]
    return ("session", session) if session is not None else ("connection", statement["connection"])


def _loading_line(failure: Fact, write: Fact) -> Culprit | None:
    """The line of the test, after the write, that asks the session for the object again."""
    function, site = failure["function"], innermost(failure)
    if function is None or site is None:
        return None
    written_at = max((each["line"] for each in write["stack"] if each["path"] == function["path"]), default=0)
    for line in range(site["line"], written_at, -1):
        call = enclosing(function, line, ast.Call)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _LOADS:
            return Culprit(function["path"], line, function["name"])
    return None


def _uncommitted(record: Record) -> Iterator[Finding]:
    """A test looked through one connection for what another one had written and not committed."""
    for failure in record.failures:
        if not (asserted(failure) or {failure["exceptions"][0]["type"]} & _NOTHING_FOUND) or failure["when"] != "call":
            continue
        pair = _hidden(failure)
        if pair is None:
            continue
        write, read = pair
        _, table = written(write["sql"])
        kept_open = _kept_open(failure, write)
        yield finding(
            "session.uncommitted_data_invisible",
            tests=[failure["test"]],
            culprit=at_site(kept_open or write["site"]),
            explanation=f"{place(write['site'])} writes to {table} in a transaction that "
            f"{'is kept open for the whole test at ' + place(kept_open) if kept_open else 'is not committed'}, and {place(read['site'])} "
            "looks for it through another connection. No other connection sees it before the commit.",
            fix="Let both use the connection of that transaction, or commit and remove the rows afterwards."
            if kept_open
            else f"Commit after {place(write['site'])} (await session.commit()), or let both use the same session.",
            confidence=0.92,
            evidence=[
                f"connection no. {write['connection']}: {write['sql'][:100]}",
                f"connection no. {read['connection']}: {read['sql'][:100]}",
            ],
        )


def _hidden(failure: Fact) -> tuple[Fact, Fact] | None:
    """The last read of a table, and the write to it that another connection's open transaction still held back."""
    open_writes: dict[int, list[Fact]] = {}
    found = None
    for statement in failure["statements"]:
        number = statement["connection"]
        verb = statement["sql"].strip().rstrip(";").upper()
        if number is None or statement["when"] == "teardown" or is_of_other_test(statement, failure):
            continue
        if verb.startswith(("BEGIN", "START TRANSACTION")):
            open_writes[number] = []
        elif verb in ("COMMIT", "ROLLBACK"):
            open_writes.pop(number, None)
        elif written(statement["sql"])[0] in ("insert", "update") and number in open_writes:
            open_writes[number].append(statement)
        elif statement["when"] == "call" and verb.startswith(("SELECT", "WITH")):
            hidden = [
                write
                for other, writes in open_writes.items()
                for write in writes
                if other != number and reads(statement["sql"], written(write["sql"])[1])
            ]
            # The same connection has written to the table itself, so it is not looking for the other's rows.
            own = [write for write in open_writes.get(number, ()) if reads(statement["sql"], written(write["sql"])[1])]
            found = (hidden[-1], statement) if hidden and not own and not _writes_too(failure, statement) else None
    return found


def _kept_open(failure: Fact, write: Fact) -> Fact | None:
    """Where a fixture began the transaction of a test's write, which the test itself does not end."""
    begun = None
    for statement in failure["statements"]:
        if statement["connection"] == write["connection"] and statement["time"] < write["time"]:
            verb = statement["sql"].strip().rstrip(";").upper()
            if verb.startswith(("BEGIN", "START TRANSACTION")):
                begun = statement
            elif verb in ("COMMIT", "ROLLBACK"):
                begun = None
    of_fixture = begun is not None and begun["when"] == "setup" and begun["fixture"] is not None
    return begun["site"] if begun is not None and of_fixture and write["when"] == "call" else None


def _writes_too(failure: Fact, read: Fact) -> bool:
    """Whether who reads a table at this line then writes to it, in this task or in another: then it looks for a rival."""
    called = [each for each in failure["statements"] if each["when"] == "call"]
    looks = [each for each in called if (each["site"], each["sql"]) == (read["site"], read["sql"])]
    return any(
        each["time"] > look["time"]
        and (each["connection"], each["task"]) == (look["connection"], look["task"])
        and written(each["sql"])[0] == "insert"
        and reads(look["sql"], written(each["sql"])[1])
        for look in looks
        for each in called
    )


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (_stale_identity_map, _uncommitted)
