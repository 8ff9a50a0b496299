"""SP5xx: the order of tests, and the state that one test leaves for the next."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.record import (
    Fact,
    Record,
    asserted,
    at_fixture,
    at_site,
    line_with,
    overturned,
    place,
    selects,
)
from pytest_savepoint.diagnosis.sessions import SESSION_MADE

__all__ = ["RULES", "left_by"]

_CONNECTION_MADE = r"\b(?:connect|acquire|begin)\("
_TAKES_AWAY = re.compile(r"\b(?:truncate|delete\s+from|drop\s+table|drop\s+schema)\b[^;]*", re.IGNORECASE)
_ROLLS_BACK = r"\.rollback\("


def _rollback_isolation(record: Record) -> Iterator[Finding]:
    """Code under test ended the transaction that a fixture had opened around the test."""
    for failure in record.failures:
        if failure["when"] != "call":
            continue
        opened: dict[int, Fact] = {}
        for statement in failure["statements"]:
            verb, number = statement["sql"].strip().upper(), statement["connection"]
            if verb == "BEGIN" and statement["when"] == "setup" and statement["fixture"] is not None:
                opened[number] = statement
            elif verb in ("ROLLBACK", "COMMIT") and number in opened:
                outer = opened.pop(number)
                if statement["when"] != "call":
                    continue
                value = failure["fixtures"].get(outer["fixture"]["name"])
                fixture = (value and value["fixture"]) or outer["fixture"]
                yield _outer_ended(failure, fixture, verb, statement["site"])
                break


def _outer_ended(failure: Fact, fixture: Fact, verb: str, site: Fact | None) -> Finding:
    did = "rolls back" if verb == "ROLLBACK" else "commits"
    return finding(
        "state.rollback_isolation_broken",
        tests=[failure["test"]],
        culprit=at_fixture(fixture, SESSION_MADE),
        explanation=f"The fixture {fixture['name']} opens a transaction around the test, and {place(site)} "
        f"{did} it: the session joined it without a savepoint of its own. What the fixtures wrote is "
        f"{'gone' if verb == 'ROLLBACK' else 'there for good'} from then on.",
        fix='Make the session with join_transaction_mode="create_savepoint".',
        confidence=0.93,
        evidence=[f"{verb} at {place(site)} on the connection that {fixture['name']} had begun"],
    )


def _undoing(failure: Fact, write: Fact) -> Fact | None:
    """The fixture that had begun the transaction which a test committed, where it means to roll it back."""
    value = failure["fixtures"].get(write.get("begun_by"))
    fixture: Fact | None = value["fixture"] if value else None
    return fixture if fixture is not None and line_with(fixture, _ROLLS_BACK) is not None else None


def _shared_database(record: Record) -> Iterator[Finding]:
    """Workers that write to the same table of one database, and a test that found the other's rows."""
    if any(each["isolation"] != "none" for each in record.of("configuration")):
        return
    writers: dict[tuple[str, str], dict[str, Fact]] = {}
    for fact in record.of("written"):
        writers.setdefault((fact["database"], fact["table"]), {})[fact["worker"]] = fact
    for failure in record.failures:
        touched = {each["table"] for each in record.of("written") if each["worker"] == failure["worker"]}
        for (database, table), workers in writers.items():
            if len(workers) < 2 or table not in touched or not _mentions(failure, table) or not overturned(failure):
                continue
            own = workers.get(failure["worker"]) or next(iter(workers.values()))
            others = sorted(set(workers) - {failure["worker"]})
            yield finding(
                "state.shared_database_across_workers",
                tests=[failure["test"]],
                culprit=at_site(own["engine"]),
                explanation=f"The workers {', '.join([failure['worker'], *others])} all write to table {table} of the one database "
                f"{database}. {failure['test']} found what another worker had written or removed.",
                fix="Give each worker a database (or schema) of its own, named after worker_id.",
                confidence=0.9,
                evidence=[f"{table} written by {', '.join(sorted(workers))} in {database}"],
            )
            break


def _mentions(failure: Fact, table: str) -> bool:
    return any(re.search(rf"\b{re.escape(table)}\b", each["sql"], re.IGNORECASE) for each in failure["statements"])


def _collection(record: Record) -> Iterator[Finding]:
    for fact in record.of("collections_differ"):
        site = fact["site"]
        if not fact["same_tests"] and len(fact["examples"]) < 2:
            continue
        yield finding(
            "xdist.nondeterministic_collection",
            tests=[fact["test"].partition("[")[0]],
            culprit=at_site(site),
            explanation=f"The workers {' and '.join(fact['workers'])} collected the tests in different order, from "
            f"{' and '.join(fact['examples'])} on. The parameters at {place(site)} have no fixed order, such as those of a set.",
            fix="Parametrize over something ordered: sorted(...), a list or a tuple.",
            confidence=0.95,
            evidence=[f"same tests: {fact['same_tests']}; first difference: {' / '.join(fact['examples'])}"],
        )


def _rows_leaked(record: Record) -> Iterator[Finding]:
    """A test that expects an empty or known table meets rows that another test has committed."""
    if any(each["isolation"] != "none" for each in record.of("configuration")) or _parallel(record):
        return
    for failure in record.failures:
        if not asserted(failure):
            continue
        reads = [each for each in failure["statements"] if selects(each["sql"]) and each["when"] == "call"]
        last = reads[-1] if reads else None
        if last is None or " where " in last["sql"].lower():
            continue
        left = [
            write
            for write in failure["committed"]
            if write["verb"] == "insert"
            and write["when"] == "call"
            and _mentions({"statements": [last]}, write["table"])
        ]
        if not left or _cleared(failure) or _emptied(failure, left[-1]):
            continue
        write = left[-1]
        yield _left_behind(
            failure,
            write,
            explanation=f"{write['test']} committed rows to {write['table']} at {place(write['site'])}, and nobody removed them. "
            f"{failure['test']} reads all of {write['table']} and finds them.",
            confidence=0.8,
            evidence=[f"insert into {write['table']} committed in {write['test']}", f"read by: {last['sql'][:120]}"],
        )


def _key_leaked(record: Record) -> Iterator[Finding]:
    """A test makes a row whose key another test has made and committed before it."""
    if any(each["isolation"] != "none" for each in record.of("configuration")) or _parallel(record):
        return
    for failure in record.failures:
        rivals = failure["rivals"]
        if rivals is None or not rivals["given"] or failure["reached"]["draws"]:
            continue
        committed = {(write["time"], write["test"]) for write in failure["committed"]}
        met = rivals["inserts"][-1] if rivals["inserts"] else None
        wide = met is not None and met["fixture"] is not None and met["fixture"]["scope"] != "function"
        if met is None or wide or (met["time"], met["test"]) not in committed:
            continue
        if _cleared(failure) or _emptied(failure, {"table": rivals["table"], "time": met["time"]}):
            continue
        column = ", ".join(rivals["columns"])
        yield _left_behind(
            failure,
            met,
            explanation=f"{met['test']} committed a row to {rivals['table']} at {place(met['site'])}, and nobody removed it. "
            f"{failure['test']} makes one with the same {column} and is refused.",
            confidence=0.92,
            evidence=[f"the same {column} of {rivals['table']} was given in {met['test']} and in {failure['test']}"],
        )


def _left_behind(failure: Fact, write: Fact, *, explanation: str, confidence: float, evidence: list[str]) -> Finding:
    """A test that failed because of what another one's write left in the database."""
    undoing = _undoing(failure, write)
    if undoing is not None:
        return _outer_ended(failure, undoing, "COMMIT", write["ended_at"])
    return finding(
        "state.rows_leaked",
        tests=[failure["test"]],
        culprit=left_by(failure, write),
        explanation=explanation,
        fix="Undo each test: bind the session to an outer transaction "
        '(join_transaction_mode="create_savepoint") that the fixture rolls back, or delete the rows in its teardown.',
        confidence=confidence,
        evidence=evidence,
    )


def left_by(failure: Fact, write: Fact) -> Culprit | None:
    """The fixture that gives tests their session or connection and undoes nothing, else who wrote."""
    file = write["test"].partition("::")[0]
    session = _fixture_of(failure, "ession", "essionmaker")
    if session is not None:
        return at_fixture(session, SESSION_MADE)
    served = next((each for each in write["stack"] if each["path"].rpartition("/")[2] == "conftest.py"), None)
    itself = served is None and write["site"] is not None and write["site"]["path"] == file
    connection = _fixture_of(failure, "Connection", "ConnectionProxy") if itself else None
    if connection is not None and connection["scope"] == "function":
        return at_fixture(connection, _CONNECTION_MADE)
    # A line of a conftest that wrote for the test, else the test's own that made somebody write, such as its request.
    asked = next((each for each in reversed(write["stack"]) if each["path"] == file), None)
    return at_site(served or asked or write["site"])


def _cleared(failure: Fact) -> bool:
    """Whether fixtures remove rows of the tables that a test uses."""
    return any(each["verb"] in ("delete", "truncate") and each["when"] != "call" for each in failure["committed"])


def _emptied(failure: Fact, write: Fact) -> bool:
    """Whether somebody took the table, or its rows, away after a write to it; also within several statements at once."""
    later = (each for each in (*failure["statements"], *failure["definitions"]) if each["time"] > write["time"])
    gone = (text.lower() for each in later for text in _TAKES_AWAY.findall(each["sql"]))
    return any(write["table"] in text or text.startswith("drop schema") for text in gone)


def _parallel(record: Record) -> bool:
    return len({each["worker"] for each in record.of("configuration")}) > 1


def _fixture_of(failure: Fact, *kinds: str) -> Fact | None:
    """The caller's fixture whose value is of a class named like this."""
    for value in failure["fixtures"].values():
        if value["type"].endswith(kinds) and value["fixture"] is not None:
            fixture: Fact = value["fixture"]
            return fixture
    return None


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _rollback_isolation,
    _shared_database,
    _collection,
    _rows_leaked,
    _key_leaked,
)
