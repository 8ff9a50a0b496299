"""SP2xx: connections and pools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.record import (
    Fact,
    Record,
    at_site,
    innermost,
    place,
    raised,
    sqlstates,
    through,
    timed_out,
)

__all__ = ["RULES", "tasks_together"]

_BUSY = "another operation is in progress"
_TOO_MANY = "53300"
_LOST = {"57P01", "08003", "08006"}
_LOST_MEANWHILE = ("has been released back to the pool", "cannot switch to state")


def tasks_together(failure: Fact) -> Fact | None:
    """The first line of the function that made two or more tasks of a test, the latest such function."""
    functions = Counter((made["site"]["path"], made["site"]["name"]) for made in failure["made"])
    for made in reversed(failure["made"]):
        function = made["site"]["path"], made["site"]["name"]
        if functions[function] > 1:
            sites = [
                each["site"] for each in failure["made"] if (each["site"]["path"], each["site"]["name"]) == function
            ]
            again = Counter(each["line"] for each in sites).most_common(1)[0]
            first: Fact = next((each for each in sites if again[1] > 1 and each["line"] == again[0]), sites[0])
            return first
    return None


def _is_busy(error: Fact) -> bool:
    """Whether a connection was asked for something while it was at something else; a second begin() is, too."""
    return _BUSY in error["message"] or _begins_again(error)


def _begins_again(error: Fact) -> bool:
    origin = error["raised_in"] or {"path": "", "name": ""}
    of_connection = origin["path"].endswith("sqlalchemy/engine/base.py") and origin["name"] == "begin"
    return bool(error["type"] == "InvalidRequestError" and of_connection)


def _begun_by_another(failure: Fact, error: Fact) -> list[int]:
    """The connection on which a task has begun a transaction at the line at which the next one was refused."""
    line = error["sites"][-1] if _begins_again(error) and error["sites"] else None
    tasks = {made["task"] for made in failure["made"]}
    return [
        each["connection"]
        for each in failure["statements"]
        if line is not None
        and each["sql"] == "BEGIN"
        and each["task"] in tasks
        and each["site"] is not None
        and (each["site"]["path"], each["site"]["line"]) == (line["path"], line["line"])
    ]


def _shared_connection(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        error = next((each for each in failure["exceptions"] if _is_busy(each)), None)
        if (
            error is None
            or failure["foreign"]
            or through(failure, "sqlalchemy/orm/")
            or any(record.during("crossed", failure))
        ):
            continue
        used: dict[int, set[object]] = {number: {"refused"} for number in _begun_by_another(failure, error)}
        for statement in failure["statements"]:
            if statement["connection"] is not None and statement["task"] is not None:
                used.setdefault(statement["connection"], set()).add(statement["task"])
        shared = [number for number, tasks in used.items() if len(tasks) > 1]
        together = tasks_together(failure) or _beside_the_test(failure, shared)
        if not shared or together is None:
            continue
        yield finding(
            "connection.shared_across_tasks",
            tests=[failure["test"]],
            culprit=at_site(_made_by_application(failure, shared[0], together) or together),
            explanation=f"The tasks made at {place(together)} use one database connection at the same time. A connection "
            "does one thing at a time, so all but the first are refused.",
            fix="Give each task a connection of its own: pass the pool (or engine) and acquire inside the task.",
            confidence=0.95,
            evidence=[f"connection no. {shared[0]} was used by {len(used[shared[0]])} tasks in {failure['test']}"],
        )


def _beside_the_test(failure: Fact, shared: list[int]) -> Fact | None:
    """The line that made the one task with which the test shares a connection."""
    own = {made["task"] for made in failure["made"]}
    makers = (each["made"] for each in failure["statements"] if each["connection"] in shared and each["task"] in own)
    made = next(makers, None)
    site: Fact | None = made["site"] if made else None
    return site


def _made_by_application(failure: Fact, connection: int, together: Fact) -> Fact | None:
    """The application's line that opened the one connection, when a test's tasks only send requests to it."""
    file = failure["test"].partition("::")[0]
    born = next((each for each in failure["involved"] if each.get("connection") == connection), None)
    site: Fact | None = born["site"] if born and not born["maker"] else None
    uses = [each["site"] for each in failure["statements"] if each["connection"] == connection and each["site"]]
    paths = [each["path"] for each in (site, *uses) if each]
    of_tests = any(path == file or path.endswith("conftest.py") for path in paths)
    return site if together["path"] == file and not of_tests else None


def _exhausted(record: Record) -> Iterator[Finding]:
    """A pool had no connection left: either somebody kept one, or each holder waits for a second."""
    for failure in record.failures:
        for exhausted in record.during("pool_exhausted", failure):
            if exhausted["cancelled"] and not timed_out(failure):
                continue
            nested = None if exhausted["closing"] else _nested(failure, exhausted)
            found = nested or _not_returned(failure, exhausted)
            if found is not None:
                yield found
                break


def _nested(failure: Fact, exhausted: Fact) -> Finding | None:
    own = next((holder for holder in exhausted["holders"] if holder["own"] and holder["sites"]), None)
    if own is None:
        return None
    # The holder's function is further out in the stack of the second checkout: that line asks for it.
    held_in = own["sites"][0]
    if not exhausted["waiting"]:
        return None
    asking = next((site for site in exhausted["waiting"] if _same_function(site, held_in)), None)
    if asking is None and held_in["generator"]:
        # A dependency or context manager, which holds the connection while it waits at its yield.
        asking = exhausted["waiting"][0]
    if asking is None:
        return None
    engine = _engine_name(exhausted)
    return finding(
        "pool.nested_checkout_deadlock",
        tests=[failure["test"]],
        culprit=at_site(asking),
        explanation=f"{asking['name']} holds a connection of {engine} (taken at {place(held_in)}) and asks for a second one "
        f"at {place(asking)}. With {exhausted['size']} connections, that many tasks doing so wait for each other.",
        fix=f"Pass the open connection down from {place(asking)} instead of taking another one.",
        confidence=0.95,
        evidence=[f"{len(exhausted['holders'])} of {exhausted['size']} connections held when {place(asking)} waited"],
    )


def _same_function(one: Fact, other: Fact) -> bool:
    return bool(one["path"] == other["path"] and one["name"] == other["name"])


def _not_returned(failure: Fact, exhausted: Fact) -> Finding | None:
    lost = [
        each
        for each in exhausted["holders"]
        if each["sites"] and (_outlives_its_fixture(each, failure) if each["fixture"] else _abandoned(each, failure))
    ]
    if not lost:
        return None
    sites = Counter((each["sites"][0]["path"], each["sites"][0]["line"]) for each in lost)
    (path, line), count = sites.most_common(1)[0]
    site = next(
        each["sites"][0] for each in lost if (each["sites"][0]["path"], each["sites"][0]["line"]) == (path, line)
    )
    met = "waited for it to close the pool" if exhausted["closing"] else "found the pool empty"
    takers = ", ".join(dict.fromkeys(each["test"] for each in lost if each["test"]))
    return finding(
        "pool.connection_not_returned",
        tests=[failure["test"]],
        culprit=Culprit(path, line, site["name"]),
        explanation=f"{site['name']} takes a connection of {_engine_name(exhausted)} at {place(site)} and does not give it back "
        f"on every path ({count} are still out, from {takers}). {failure['test']} {met}.",
        fix=f"Use `async with engine.connect() as connection:` at {place(site)}, so that every path returns it.",
        confidence=0.95,
        evidence=[
            f"connection no. {each['connection']} taken at {place(each['sites'][0])} in {each['test']}" for each in lost
        ],
    )


def _abandoned(holder: Fact, failure: Fact) -> bool:
    task = holder["task"]
    of_other = holder["test"] != failure["test"]
    return bool(of_other or holder["own"] or task is None or task["state"] != "pending")


def _outlives_its_fixture(holder: Fact, failure: Fact) -> bool:
    """Whether a fixture of one test only, which is over, has taken a connection that is still out."""
    return bool(holder["fixture"]["scope"] == "function" and holder["test"] != failure["test"])


def _engine_name(exhausted: Fact) -> str:
    engine = exhausted["engine"]
    return (
        f"{engine['variable'] or 'the engine'} ({place(engine['site'])})" if engine and engine["site"] else "the engine"
    )


def _connection_limit(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        if _TOO_MANY not in sqlstates(failure):
            continue
        engines = [each for each in failure["engines"] if each["site"]]
        involved = [each for each in failure["involved"] if each["kind"] == "engine" and each["site"]]
        workers = {each["worker"] for each in record.failures} | {each["worker"] for each in record.of("configuration")}
        sites = Counter(place(each["site"]) for each in engines)
        again, times = sites.most_common(1)[0] if sites else ("", 0)
        if times > 2:
            engine = next(each for each in engines if place(each["site"]) == again)
            yield finding(
                "pool.engine_not_disposed",
                tests=[failure["test"]],
                culprit=at_site(engine["site"]),
                explanation=f"{place(engine['site'])} made {times} engines in this process that still have connections open. "
                "They add up until the server refuses another one.",
                fix="Dispose each engine in the teardown of the fixture that made it: await engine.dispose().",
                confidence=0.93,
                evidence=[f"{sum(each['open'] for each in engines)} connections of {times} engines open"],
            )
        elif len(workers) > 1:
            # A pool that could not be opened is no engine; who asked for it is in the failure.
            engine = next(iter(involved or engines), {"site": innermost(failure)})
            yield finding(
                "pool.server_connection_limit",
                tests=[failure["test"]],
                culprit=at_site(engine["site"]),
                explanation=f"Each of {len(workers)} workers opens a pool of its own at {place(engine['site'])}. Together they "
                "want more connections than the server, the database or the role allows.",
                fix="Size the pool per worker (limit // PYTEST_XDIST_WORKER_COUNT, max_overflow=0), or raise the limit.",
                confidence=0.93,
                evidence=[f"the server refused a connection ({_TOO_MANY}) with {len(workers)} workers"],
            )


def _backend_terminated(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        lost = bool(_LOST & sqlstates(failure)) or raised(failure, "asyncpg/connection.py", "_check_open") is not None
        lost = lost or any("connection is closed" in each["message"] for each in failure["exceptions"])
        # asyncpg's pool takes a connection back by itself when that is lost; while it sends, the end finds it at work.
        taken_back = any(text in each["message"] for each in failure["exceptions"] for text in _LOST_MEANWHILE)
        if not (lost or taken_back) or failure["foreign"]:
            continue
        kills = [
            each
            for each in record.of("ends_backends")
            if each["worker"] == failure["worker"]
            and each["at"] < failure["at"]
            and each["site"]
            and (lost or each["test"] == failure["test"])
        ]
        if not kills:
            continue
        kill = kills[-1]
        who = f"the fixture {kill['fixture']['name']}" if kill["fixture"] else kill["site"]["name"]
        yield finding(
            "pool.backend_terminated",
            tests=[failure["test"]],
            culprit=at_site(kill["site"]),
            explanation=f"{who} ends other connections' backends at {place(kill['site'])}, also those that wait in a pool. "
            f"{failure['test']} got one of them from the pool.",
            fix="Dispose the engine before that statement (await engine.dispose()), or drop the statement; pool_pre_ping=True "
            "hides it.",
            confidence=0.92,
            evidence=[kill["sql"][:160], failure["exceptions"][0]["message"][:160]],
        )


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _shared_connection,
    _exhausted,
    _connection_limit,
    _backend_terminated,
)
