"""SP3xx: ORM sessions and the objects they gave."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.connections import tasks_together
from pytest_savepoint.diagnosis.finding import Finding, finding
from pytest_savepoint.diagnosis.record import (
    Fact,
    Record,
    at_fixture,
    at_site,
    enclosing,
    innermost,
    line_with,
    place,
    reads,
    sqlstates,
    tables_of,
    through,
)

__all__ = ["RULES", "SESSION_MADE"]

SESSION_MADE = r"(?i)^(?!\s*(async\s+)?def\b).*(session\w*\s*\(|sessionmaker)"
_ABORTED = "25P02"
_CONTROLS = ("BEGIN", "START", "SAVEPOINT", "ROLLBACK", "RELEASE", "COMMIT")
_BUSY = "another operation is in progress"
_SESSIONS = (
    "sqlalchemy.ext.asyncio.session.",
    "sqlalchemy.orm.session.",
    "sqlalchemy.ext.asyncio.engine.AsyncConnection",
    "asyncpg.connection.",
    "asyncpg.pool.PoolConnectionProxy",
    "psycopg.",
)


def _shared_session(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        machine = next((error for error in failure["exceptions"] if _refused_by_session(error)), None)
        busy = any(_BUSY in error["message"] for error in failure["exceptions"]) and through(failure, "sqlalchemy/orm/")
        users = _users(failure)
        together = _users_made(failure, users) or tasks_together(failure)
        if (machine is None and not busy) or together is None or failure["foreign"]:
            continue
        # The teardown of a test that failed meets the same again, where nobody requests anything.
        first = next((each for each in record.failures if each["test"] == failure["test"]), failure)
        given_by = first["given_by"] if through(first, "fastapi/") else None
        yield finding(
            "session.shared_across_tasks",
            tests=[failure["test"]],
            culprit=at_site(given_by or together),
            explanation=f"{_session_name(failure['session'])} is used by the tasks made at {place(together)} at the same time as by "
            f"others{', because ' + place(given_by) + ' gives it to every request' if given_by else ''}. A session is one "
            "conversation with the database; whether this fails depends on who comes first.",
            fix="Open a session inside each task (async with session_factory() as session), and pass the factory or engine."
            if given_by is None
            else "Let the override open a session for each request: async with session_factory() as session: yield session.",
            confidence=0.95,
            evidence=[
                *(
                    [f"session no. {failure['session']['session']} was in use when another asked for it"]
                    if users
                    else []
                ),
                failure["exceptions"][0]["message"][:200],
            ],
        )


def _session_name(session: Fact | None) -> str:
    if session is None or session["site"] is None:
        return "One session"
    return f"One session ({'of the fixture ' + session['fixture']['name'] if session['fixture'] else place(session['site'])})"


def _users(failure: Fact) -> set[object]:
    """The tasks that have the session in hand which refused; if none has any more, those that spoke through it."""
    session = failure["session"]
    if session is None:
        return set()
    spoke = (each for each in failure["statements"] if each["session"] == session["session"] and each["when"] == "call")
    return set(session["in_hand_of"]) or {each["task"] for each in spoke}


def _users_made(failure: Fact, users: set[object]) -> Fact | None:
    """The first line, in the function that made the latest of them, that makes a task which uses the session."""
    sites = [each["site"] for each in failure["made"] if each["task"] in users]
    first: Fact | None = next(
        (each for each in sites if (each["path"], each["name"]) == (sites[-1]["path"], sites[-1]["name"])), None
    )
    return first


def _refused_by_session(error: Fact) -> bool:
    origin = error["raised_in"]
    return bool(
        origin is not None
        and error["type"] in ("InvalidRequestError", "IllegalStateChangeError")
        and ("concurrent" in error["message"] or error["type"] == "IllegalStateChangeError")
        and "sqlalchemy/orm/" in origin["path"]
    )


def _failed_transaction(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        pending = any(error["type"] == "PendingRollbackError" for error in failure["exceptions"])
        if _ABORTED not in sqlstates(failure) and not pending:
            continue
        first = _first_error(record, failure) or _sent_before(failure)
        wide = [
            value["fixture"]
            for value in failure["fixtures"].values()
            if value["fixture"] and value["fixture"]["scope"] != "function" and value["type"].startswith(_SESSIONS)
        ]
        maker = failure["session"]["fixture"] if failure["session"] else None
        wide.sort(key=lambda fixture: maker is None or fixture["name"] != maker["name"])
        elsewhere = first is None or first["test"] != failure["test"]
        if elsewhere and (not wide or (first is None and _failed_before(failure))):
            continue
        name = wide[0]["name"] if wide else "the session"
        happened = (
            f"A statement at {place(first['site'])} failed with {first['type']} in {first['test']}, and nobody rolled back."
            if first is not None
            else f"A statement of an earlier test failed on {name}, and nobody rolled back."
        )
        yield finding(
            "session.failed_transaction_reused",
            tests=[failure["test"]],
            culprit=at_site(_caught_at(failure, first)) if first is not None and not elsewhere else at_fixture(wide[0]),
            explanation=f"{happened} {name} stays in the aborted transaction, and PostgreSQL refuses whatever comes next.",
            fix=f"Give {name} function scope, or roll back after the expected error (async with session.begin_nested() or "
            "connection.transaction() around it).",
            confidence=0.95,
            evidence=[f"{first['type']} ({first['sqlstate']}) in {first['test']}: {first['sql'][:120]}"]
            if first is not None
            else [f"the first statement of {failure['test']} was refused: {failure['exceptions'][0]['message'][:120]}"],
        )


def _first_error(record: Record, failure: Fact) -> Fact | None:
    """The error that aborted the transaction, as far as it was recorded."""
    errors = [
        each
        for each in record.of("database_error")
        if each["worker"] == failure["worker"] and each["at"] < failure["at"]
    ]
    last = next((each for each in reversed(errors) if each["sqlstate"] == _ABORTED), None)
    return next(
        (
            each
            for each in reversed(errors)
            if each["sqlstate"] not in (_ABORTED, None) and (last is None or each["connection"] == last["connection"])
        ),
        None,
    )


def _sent_before(failure: Fact) -> Fact | None:
    """The statement before the one that was refused: after an error all are refused, so that one was in error."""
    site = innermost(failure)
    sent = [each for each in failure["statements"] if each["when"] == failure["when"]]
    refused = next((n for n, each in reversed(list(enumerate(sent))) if _same_line(each["site"], site)), None)
    if refused is None:
        return None
    before = [each for each in sent[:refused] if each["connection"] == sent[refused]["connection"]]
    if not before or before[-1]["sql"].lstrip().upper().startswith(_CONTROLS):
        return None
    return {**before[-1], "type": "an error", "sqlstate": before[-1]["error"]}


def _same_line(one: Fact | None, other: Fact | None) -> bool:
    return one is not None and other is not None and (one["path"], one["line"]) == (other["path"], other["line"])


def _caught_at(failure: Fact, error: Fact) -> Fact | None:
    """The line within the `try` that caught an error and went on, where it is in sight; else the statement's."""
    for site in error.get("stack", ()):
        for function in failure["functions"]:
            if (function["path"], function["name"]) != (site["path"], site["name"]):
                continue
            block = enclosing(function, site["line"], ast.Try)
            if isinstance(block, ast.Try) and site["line"] <= (block.body[-1].end_lineno or 0):
                found: Fact = site
                return found
    statement: Fact | None = error["site"]
    return statement


def _failed_before(failure: Fact) -> bool:
    """Whether the test sent anything before the statement that was refused: that may have failed itself."""
    return len([each for each in failure["statements"] if each["when"] == failure["when"]]) > 1


def _detached_object(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        if not any(error["type"] == "DetachedInstanceError" for error in failure["exceptions"]):
            continue
        for name, value in failure["fixtures"].items():
            fixture, thing = value["fixture"], value["object"]
            if fixture is None or thing is None or not thing["detached"]:
                continue
            yield finding(
                "session.detached_object_shared",
                tests=[failure["test"]],
                culprit=at_fixture(fixture, SESSION_MADE),
                explanation=f"The {fixture['scope']}-scoped fixture {name} returns a {thing['class']} whose session is closed, and "
                f"the commit has expired its attributes. Reading one needs the session that is gone.",
                fix="Make the session with expire_on_commit=False, or return plain values (the id) and load the object where "
                "it is used.",
                confidence=0.95,
                evidence=[f"{thing['class']} is detached; expired: {', '.join(thing['expired']) or 'relationships'}"],
            )
            break
        else:
            kept = failure["detached"]
            if kept is not None and kept["holder"] is not None and kept["holder"].get("line"):
                yield _detached_and_kept(failure, kept, kept["holder"])


def _detached_and_kept(failure: Fact, thing: Fact, holder: Fact) -> Finding:
    return finding(
        "session.detached_object_shared",
        tests=[failure["test"]],
        culprit=at_site(holder),
        explanation=f"{holder['name']} keeps a {thing['class']} for the whole process, whose session is closed. {failure['test']} "
        f"reads of it what was not loaded ({', '.join(thing['expired'] or thing['relationships'])}), which needs that session.",
        fix=f"Load all that is read of it ({place(holder)}: selectinload(), expire_on_commit=False), or keep plain values.",
        confidence=0.93,
        evidence=[f"{thing['class']} is detached and held by {holder['name']}"],
    )


def _lazy_load(record: Record) -> Iterator[Finding]:
    """An attribute was read that needs the database, where nobody can await."""
    for failure in record.failures:
        missing = any(error["type"] == "MissingGreenlet" for error in failure["exceptions"])
        response = next((error for error in failure["exceptions"] if error["object"] is not None), None)
        if response is not None:
            found = _lazy_response(failure, response)
            if found is not None:
                yield found
        elif missing and through(failure, "sqlalchemy/orm/strategies.py"):
            yield _lazy_relationship(failure)
        elif missing and through(failure, "sqlalchemy/orm/state.py", "sqlalchemy/orm/loading.py"):
            yield _lazy_expired(failure)
        elif (refused := _refused_in_validation(record, failure)) is not None:
            yield _lazy_expired(failure) if _expired_by_commit(failure, refused) else _lazy_relationship(failure)


def _refused_in_validation(record: Record, failure: Fact) -> Fact | None:
    """The query that an attribute needed while pydantic read it, which tells of it in its own error only."""
    error = failure["exceptions"][0]
    if not error["module"].startswith("pydantic") or "MissingGreenlet" not in error["message"]:
        return None
    return next((each for each in record.during("database_error", failure) if each["type"] == "MissingGreenlet"), None)


def _expired_by_commit(failure: Fact, refused: Fact) -> bool:
    """Whether the session had used the table before a commit that came before the refused query."""
    sent = [each for each in failure["statements"] if each["connection"] == refused["connection"]]
    # Its transactions may be on several connections in turn.
    own = [each for each in failure["statements"] if sent and each["session"] == sent[-1]["session"]]
    ends = [number for number, each in enumerate(own) if each["sql"].strip().upper() == "COMMIT"]
    used = {table for each in own[: ends[-1]] for table in tables_of(each["sql"])} if ends else set()
    return bool(used & tables_of(refused["sql"]))


def _lazy_response(failure: Fact, error: Fact) -> Finding | None:
    thing, endpoint = error["object"], failure["endpoint"]
    names = [name for name in error["attributes"] if name in thing["relationships"] or name in thing["expired"]]
    if not names or endpoint is None:
        return None
    name = names[0]
    expired = name in thing["expired"]
    pattern = rf"select\(\s*{thing['class']}\b" if not expired else r"\.commit\("
    line = line_with(endpoint, pattern) or line_with(endpoint, r"^\s*return\b") or endpoint["line"]
    return finding(
        "session.lazy_load_after_commit" if expired else "session.lazy_relationship_outside_greenlet",
        tests=[failure["test"]],
        culprit=at_site({**endpoint, "line": line}),
        explanation=f"{endpoint['name']} returns a {thing['class']} whose {name} was "
        f"{'expired by a commit' if expired else 'never loaded'}. FastAPI reads it to make the response, where no query can be "
        "awaited.",
        fix="Make the session with expire_on_commit=False, or refresh the object after the commit."
        if expired
        else f"Load it in the query: .options(selectinload({thing['class']}.{name})).",
        confidence=0.95,
        evidence=[f"{thing['class']}.{name} was not loaded when the response of {endpoint['name']} was made"],
    )


def _lazy_relationship(failure: Fact) -> Finding:
    site = innermost(failure)
    return finding(
        "session.lazy_relationship_outside_greenlet",
        tests=[failure["test"]],
        culprit=at_site(_loaded_at(failure) or site),
        explanation=f"{place(site)} reads a relationship that the query had not loaded. Loading it now needs a query, and plain "
        "attribute access cannot await one.",
        fix="Load it with the query, .options(selectinload(...)), or await object.awaitable_attrs.<name>.",
        confidence=0.93,
        evidence=[site["text"] if site else "MissingGreenlet"],
    )


def _loaded_at(failure: Fact) -> Fact | None:
    """The query of the object whose relationship was read, where it is in the application and the read is not beside it."""
    thing, read = failure["unread"], innermost(failure)
    file = failure["test"].partition("::")[0]
    for statement in reversed(failure["statements"] if thing is not None else ()):
        site: Fact | None = statement["site"]
        if site is not None and thing is not None and reads(statement["sql"], thing["table"]):
            return site if read is None or (file not in (site["path"], read["path"])) else None
    return None


def _after_commit(failure: Fact) -> Fact | None:
    """The line, in the function that committed, from which the expired attribute was read."""
    commits = [each for each in failure["statements"] if each["sql"].strip().upper() == "COMMIT" and each["site"]]
    sites: list[Fact] = next((error["sites"] for error in failure["exceptions"] if error["sites"]), [])
    by = (commits[-1]["site"]["path"], commits[-1]["site"]["name"]) if commits else None
    return next((site for site in reversed(sites) if (site["path"], site["name"]) == by), None)


def _lazy_expired(failure: Fact) -> Finding:
    site = _after_commit(failure) or innermost(failure)
    return finding(
        "session.lazy_load_after_commit",
        tests=[failure["test"]],
        culprit=at_site(site),
        explanation=f"{place(site)} reads an attribute that a commit has expired. Reading it again needs a query, and plain "
        "attribute access cannot await one.",
        fix="Make the session with expire_on_commit=False, or await session.refresh(object) after the commit.",
        confidence=0.93,
        evidence=[site["text"] if site else "MissingGreenlet"],
    )


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _shared_session,
    _failed_transaction,
    _detached_object,
    _lazy_load,
)
