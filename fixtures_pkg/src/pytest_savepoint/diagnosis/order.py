"""SP5xx: fixtures, the order of tests, and the state that one test leaves for the next."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Finding, finding
from pytest_savepoint.diagnosis.record import Fact, Record, asserted, at_fixture, at_site, innermost, overturned, place
from pytest_savepoint.diagnosis.sessions import SESSION_MADE

__all__ = ["RULES"]

_SELECT = re.compile(r"^\s*(select|with)\b", re.IGNORECASE)
_ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)
_AGGREGATE = re.compile(r"^\s*select\s+(count|sum|min|max|avg|exists|bool_\w+)\s*\(", re.IGNORECASE)


def _async_fixture_not_handled(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        candidates = [
            failure["failed_fixture"],
            *(value["fixture"] for value in failure["fixtures"].values() if _raw(value)),
        ]
        fixture = next(
            (each for each in candidates if each is not None and each["async"] and not each["handled"]), None
        )
        origin = failure["exceptions"][0]["raised_in"]
        refused = (
            failure["exceptions"][0]["type"] == "Failed"
            and origin is not None
            and origin["path"].endswith("_pytest/fixtures.py")
            and origin["name"] != "_check_scope"
        )
        given_raw = fixture is not None and fixture is not failure["failed_fixture"]
        if fixture is None or not (refused or given_raw):
            continue
        yield finding(
            "fixture.async_fixture_not_handled",
            tests=[failure["test"]],
            culprit=at_fixture(fixture),
            explanation=f"The async fixture {fixture['name']} is declared with @pytest.fixture, and asyncio_mode is "
            f"{record.setting('asyncio_mode') or 'strict'}. No plugin runs it, so the test would get a coroutine.",
            fix=f"Declare {fixture['name']} with @pytest_asyncio.fixture, or set asyncio_mode = auto.",
            confidence=0.95,
            evidence=[f"{fixture['name']} is asynchronous and no plugin has taken it over"],
        )


def _raw(value: Fact) -> bool:
    return value["type"] in ("builtins.coroutine", "builtins.async_generator")


def _cancel_scope(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        for error in failure["exceptions"]:
            origin = error["raised_in"]
            if error["type"] != "RuntimeError" or origin is None or "anyio/_backends/" not in origin["path"]:
                continue
            if "exit" not in origin["name"] or failure["when"] == "call" or not error["sites"]:
                continue
            site = error["sites"][-1]
            yield finding(
                "fixture.cancel_scope_crosses_tasks",
                tests=[failure["test"]],
                culprit=at_site(site),
                explanation=f"{site['name']} yields inside the task group or cancel scope opened at {place(site)}. pytest-asyncio "
                "runs a fixture's set-up and teardown in two tasks, and a scope must be left in the task that entered it.",
                fix="Run the work in a task of its own and cancel it after the yield, or run fixture and tests with the anyio "
                "plugin.",
                confidence=0.95,
                evidence=[error["message"][:160]],
            )
            break


def _teardown_order(record: Record) -> Iterator[Finding]:
    """A fixture's teardown uses what another fixture, which it does not request, has already closed."""
    for failure in record.failures:
        if failure["when"] != "teardown":
            continue
        user = _fixture_around(failure)
        if user is None:
            continue
        for thing in failure["involved"]:
            owner = thing["fixture"]
            if owner is None or owner["name"] == user["name"] or owner["name"] not in failure["finished"]:
                continue
            if owner["name"] in user["requests"]:
                continue
            yield finding(
                "fixture.teardown_order",
                tests=[failure["test"]],
                culprit=at_fixture(user),
                explanation=f"The teardown of {user['name']} uses what {owner['name']} made, but {owner['name']} was torn down "
                f"first: {user['name']} does not request it, so pytest does not know the order.",
                fix=f"Let {user['name']} take {owner['name']} as a parameter; pytest then tears it down before {owner['name']}.",
                confidence=0.94,
                evidence=[f"{owner['name']} was finished before {place(innermost(failure))} ran in {failure['test']}"],
            )
            break


def _fixture_around(failure: Fact) -> Fact | None:
    """The fixture in whose teardown a failure was raised."""
    for error in failure["exceptions"]:
        for site in reversed(error["sites"]):
            for value in failure["fixtures"].values():
                fixture: Fact | None = value["fixture"]
                if fixture and fixture["path"] == site["path"] and site["name"] == fixture["name"]:
                    return fixture
    return None


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
                did = "rolls back" if verb == "ROLLBACK" else "commits"
                yield finding(
                    "state.rollback_isolation_broken",
                    tests=[failure["test"]],
                    culprit=at_fixture(fixture, SESSION_MADE),
                    explanation=f"The fixture {fixture['name']} opens a transaction around the test, and {place(statement['site'])} "
                    f"{did} it: the session joined it without a savepoint of its own. What the fixtures wrote is "
                    f"{'gone' if verb == 'ROLLBACK' else 'there for good'} from then on.",
                    fix='Make the session with join_transaction_mode="create_savepoint".',
                    confidence=0.93,
                    evidence=[
                        f"{verb} at {place(statement['site'])} on the connection that {fixture['name']} had begun"
                    ],
                )
                break


def _logging_disabled(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        if "caplog" not in failure["fixtures"] or not asserted(failure):
            continue
        for fact in record.of("logging_disabled"):
            if fact["worker"] != failure["worker"] or fact["at"] > failure["at"] or fact["site"] is None:
                continue
            silenced = sorted(set(fact["loggers"]) & set(failure["reached"]["loggers"]))
            if not silenced:
                continue
            yield finding(
                "state.logging_disabled",
                tests=[failure["test"]],
                culprit=at_site(fact["site"]),
                explanation=f"{place(fact['site'])} configures logging and disables every logger that exists "
                f"({', '.join(silenced[:3])} among them). {failure['test']} looks at captured logs after that and sees none.",
                fix="Pass disable_existing_loggers=False to fileConfig() or dictConfig().",
                confidence=0.93,
                evidence=[f"{len(fact['loggers'])} loggers disabled in {fact['test'] or 'an import'}"],
            )
            break


def _logging_latent(record: Record) -> Iterator[Finding]:
    """The same, where the order of this run kept it from the tests that look at logs."""
    for latent in record.of("latent"):
        fact = latent["leak"]
        if fact["kind"] != "logging_disabled" or fact["site"] is None:
            continue
        yield finding(
            "state.logging_disabled",
            tests=latent["tests"],
            culprit=at_site(fact["site"]),
            explanation=f"{place(fact['site'])} configures logging and disables every logger that exists. Tests that look at "
            "captured logs see none when they come after it.",
            fix="Pass disable_existing_loggers=False to fileConfig() or dictConfig().",
            confidence=0.75,
            evidence=[f"{len(fact['loggers'])} loggers disabled in {fact['test'] or 'an import'}"],
        )


def _unordered_select(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        comparison = failure["comparison"]
        if not asserted(failure) or comparison is None or comparison["op"] != "==" or not comparison["reordered"]:
            continue
        selects = [
            each for each in failure["statements"] if _SELECT.match(each["sql"]) and not _AGGREGATE.match(each["sql"])
        ]
        if not selects or _ORDERED.search(selects[-1]["sql"]):
            continue
        last = selects[-1]
        yield finding(
            "state.unordered_select",
            tests=[failure["test"]],
            culprit=at_site(last["site"]),
            explanation=f"{place(last['site'])} selects without ORDER BY, and {failure['test']} expects an order. The rows are "
            "the expected ones; an update, a vacuum or another plan moves them.",
            fix=f"Add ORDER BY at {place(last['site'])}, or compare without order (sorted() or a set).",
            confidence=0.95,
            evidence=[f"same elements in another order from: {last['sql'][:160]}"],
        )


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
        reads = [each for each in failure["statements"] if _SELECT.match(each["sql"]) and each["when"] == "call"]
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
        cleared = [w for w in failure["committed"] if w["verb"] in ("delete", "truncate") and w["when"] != "call"]
        if not left or cleared:
            continue
        write = left[-1]
        fixture = _session_fixture(failure)
        yield finding(
            "state.rows_leaked",
            tests=[failure["test"]],
            culprit=at_fixture(fixture, SESSION_MADE) if fixture else at_site(write["site"]),
            explanation=f"{write['test']} committed rows to {write['table']} at {place(write['site'])}, and nobody removed them. "
            f"{failure['test']} reads all of {write['table']} and finds them.",
            fix="Undo each test: bind the session to an outer transaction "
            '(join_transaction_mode="create_savepoint") that the fixture rolls back, or delete the rows in its teardown.',
            confidence=0.8,
            evidence=[f"insert into {write['table']} committed in {write['test']}", f"read by: {last['sql'][:120]}"],
        )


def _parallel(record: Record) -> bool:
    return len({each["worker"] for each in record.of("configuration")}) > 1


def _session_fixture(failure: Fact) -> Fact | None:
    for value in failure["fixtures"].values():
        if "ession" in value["type"].rpartition(".")[2] and value["fixture"] is not None:
            fixture: Fact = value["fixture"]
            return fixture
    return None


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _async_fixture_not_handled,
    _cancel_scope,
    _teardown_order,
    _rollback_isolation,
    _logging_disabled,
    _logging_latent,
    _unordered_select,
    _shared_database,
    _collection,
    _rows_leaked,
)
