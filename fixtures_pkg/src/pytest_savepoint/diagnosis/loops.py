"""SP1xx: event loops, and what was made on one and used on another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.record import Fact, Record, at_fixture, at_site, innermost, line_with, place, raised

__all__ = ["RULES"]

_MAKES_PORTAL = r"TestClient\(|start_blocking_portal\("
_CLOSES = re.compile(r"\.(dispose|close|aclose|disconnect|shutdown|terminate|wait_closed)\(")
_PRIMITIVES = ("asyncio.locks.", "asyncio.queues.")
_TIMEOUTS = {"TimeoutError", "CancelledError", "Cancelled"}
_ONE_LOOP = (
    "run tests and fixtures on one loop (asyncio_default_fixture_loop_scope = session and "
    "asyncio_default_test_loop_scope = session)"
)


def _crossed_loops(record: Record) -> Iterator[Finding]:
    """A connection, pool or client of one loop met another loop in a test that failed."""
    for failure in record.failures:
        crossing = _crossing(record, failure)
        if crossing is not None:
            yield _name_crossing(record, failure, *crossing)


def _crossing(record: Record, failure: Fact) -> tuple[Fact, Fact] | None:
    """The resource and the loop on which it was used, when that was not its own."""
    for fact in record.during("crossed", failure):
        if fact["when"] == failure["when"]:
            return fact["resource"], fact["loop"]
    if any(each["type"] == "AssertionError" for each in failure["exceptions"][:1]):
        return None
    for fact in failure["foreign"]:
        if fact["known"] is not None:
            return {**fact["known"], "loop": fact["loop"]}, failure["loop"]
    for fact in failure["foreign"]:
        holder = fact["holder"]
        if holder is not None and holder.get("line") and not fact["task"] and not fact["type"].startswith(_PRIMITIVES):
            site = {"path": holder["path"], "line": holder["line"], "name": holder["name"]}
            resource = {"kind": fact["type"], "site": site, "fixture": None, "loop": fact["loop"], "maker": None}
            return {**resource, "test": "", "variable": holder["name"]}, failure["loop"]
    return _owned(failure)


def _owned(failure: Fact) -> tuple[Fact, Fact] | None:
    """The client that carries something of another loop deep inside, such as the transport of a kept connection."""
    owner = failure["owner"]
    transport = next((each for each in failure["foreign"] if not each["task"] and not _is_primitive(each)), None)
    if owner is None or transport is None:
        return None
    value = failure["fixtures"].get(owner["name"]) if owner["kind"] == "fixture" else None
    fixture = value["fixture"] if value else None
    site = fixture or (owner if owner.get("line") else None)
    if site is None:
        return None
    resource = {"kind": owner["type"], "site": site, "fixture": fixture, "loop": transport["loop"], "maker": None}
    return {**resource, "test": "", "variable": owner["name"]}, failure["loop"]


def _is_primitive(thing: Fact) -> bool:
    return bool(thing["type"].startswith(_PRIMITIVES))


def _name_crossing(record: Record, failure: Fact, resource: Fact, here: Fact) -> Finding:  # noqa: PLR0911 # one per cause
    maker = resource.get("maker") or resource
    birth = resource["loop"]
    what = _resource_name(maker)
    seen = [
        f"{what}: its connection was opened {_where(resource)} on {_loop_name(birth)}",
        f"{failure['test']} used it on {_loop_name(here)}",
    ]
    common = {"tests": [failure["test"]], "evidence": seen}
    override = record.event_loop_override()
    makers = {birth["maker"], here["maker"]}
    if override is not None:
        return finding(
            "loop.event_loop_fixture_removed",
            culprit=Culprit(override["path"], override["line"], "event_loop"),
            explanation=f"pytest-asyncio {record.asyncio_version()} ignores the event_loop fixture, so the loops are not the "
            f"ones it makes. {what} was used on {_loop_name(here)} although it belongs to {_loop_name(birth)}.",
            fix=f"Delete the event_loop fixture and {_ONE_LOOP}.",
            confidence=0.95,
            **common,
        )
    if makers == {"pytest-asyncio", "anyio"}:
        return finding(
            "loop.two_async_plugins",
            culprit=at_site(failure["anyio_marker"]) or _function(failure),
            explanation=f"{failure['test']} is run by {here['maker']}, but {what} was made on a loop of {birth['maker']}. "
            "Two async plugins mean two loops, and a connection works on its own loop only.",
            fix="Run the test and all its fixtures with one plugin: drop the other one's marker and backend fixture.",
            confidence=0.95,
            **common,
        )
    if "portal" in makers:
        portal = birth if birth["maker"] == "portal" else here
        return finding(
            "loop.testclient_portal",
            culprit=_testclient_culprit(failure, portal),
            explanation=f"TestClient runs the application on a loop of its own thread. {what} belongs to "
            f"{_loop_name(birth)} and was used on {_loop_name(here)}.",
            fix="Use httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) in an async test, so that application and "
            "test share one loop.",
            confidence=0.9,
            **common,
        )
    own_run = next((loop for loop in (birth, here) if _is_own_run(loop)), None)
    closing = innermost(failure)
    if (
        closing is not None
        and failure["when"] != "call"
        and _CLOSES.search(closing["text"])
        and (_is_own_run(here) or not _is_own_run(birth))
    ):
        return finding(
            "loop.dispose_on_wrong_loop",
            # The loop of an asyncio.run() is there for nothing but this.
            culprit=at_site(here["site"] if _is_own_run(here) and here["site"] else closing),
            explanation=f"{closing['name']} closes {what} on {_loop_name(here)}, but its connections live on "
            f"{_loop_name(birth)}. They cannot be closed from there.",
            fix="Close it on the loop on which it was used: in a fixture with the same loop_scope as the tests.",
            confidence=0.95,
            **common,
        )
    prepared = own_run is birth and own_run["site"] is not None and resource.get("when") in ("", "setup")
    if own_run is not None and (own_run["fixture"] is not None or prepared):
        name = own_run["fixture"]["name"] if own_run["fixture"] else own_run["site"]["name"]
        return finding(
            "loop.asyncio_run_in_fixture",
            culprit=at_site(own_run["site"]),
            explanation=f"{'The fixture ' if own_run['fixture'] else ''}{name} runs a loop of its own with {own_run['maker']}(), "
            f"and {what} was used on it and on {_loop_name(here if own_run is birth else birth)}. A pooled connection "
            "works on the loop that opened it only.",
            fix=f"Make {name} an async fixture on the tests' loop, or give it an engine of its own "
            "with poolclass=NullPool that it disposes.",
            confidence=0.95,
            **common,
        )
    fixture = resource["fixture"] or maker["fixture"]
    if birth["scope"] and here["scope"] and birth["scope"] != here["scope"]:
        marked = failure["loop_marker"] if fixture is None or fixture["loop_scope"] is None else None
        culprit = at_site(marked) or (_at(fixture) if fixture else _function(failure))
        name = f"The fixture {fixture['name']}" if fixture else what
        return finding(
            "loop.scope_mismatch",
            culprit=culprit,
            explanation=f"{name} lives on {_loop_name(birth)}, but {failure['test']} runs on {_loop_name(here)}. "
            "A connection works on the loop that opened it only.",
            fix=f'Run the tests on the {birth["scope"]} loop as well: loop_scope="{birth["scope"]}" at {place(marked)}.'
            if marked
            else f"Either {_ONE_LOOP}, or make {fixture['name'] if fixture else what} as narrow as the tests' loop.",
            confidence=0.95,
            **common,
        )
    return finding(
        "loop.resource_outlived_loop",
        culprit=at_site(maker["site"]),
        explanation=f"{what} kept a connection that was opened {_where(resource)} on {_loop_name(birth)}. "
        f"{failure['test']} used it on {_loop_name(here)}, where it cannot work.",
        fix=f"Either {_ONE_LOOP} and dispose it at the end, or use poolclass=NullPool in tests, or dispose it at the end "
        "of every test.",
        confidence=0.95,
        **common,
    )


def _at(fixture: Fact) -> Culprit:
    return Culprit(fixture["path"], fixture["line"], fixture["name"])


def _is_own_run(loop: Fact) -> bool:
    return loop["maker"] in ("asyncio.run", "run_until_complete")


def _testclient_culprit(failure: Fact, portal: Fact) -> Culprit | None:
    for value in failure["fixtures"].values():
        if value["type"].endswith("testclient.TestClient") and value["fixture"] is not None:
            return at_fixture(value["fixture"], _MAKES_PORTAL)
    owner = failure["owner"]
    if owner is not None and owner.get("line") and owner["type"].endswith("testclient.TestClient"):
        return at_site(owner)
    function = failure["function"]
    line = line_with(function, _MAKES_PORTAL) if function else None
    # The portal's own line may be the application's, that first ran on it.
    return at_site(portal["site"] if line is None else {**function, "line": line}) or _function(failure)


def _function(failure: Fact) -> Culprit | None:
    return at_site(failure["function"])


def _resource_name(maker: Fact) -> str:
    site = maker["site"]
    place = f" ({site['path']}:{site['line']})" if site else ""
    return f"{maker.get('variable') or maker['kind']}{place}"


def _where(resource: Fact) -> str:
    if resource["fixture"] is not None:
        return f"in the fixture {resource['fixture']['name']}"
    return f"in {resource['test']}" if resource["test"] else "before the first test"


def _loop_name(loop: Fact) -> str:
    if loop["maker"] == "pytest-asyncio":
        name = f"pytest-asyncio's {loop['scope']} loop" if loop["scope"] else "a loop of pytest-asyncio"
    elif _is_own_run(loop):
        site = loop["site"]
        name = f"the loop of {loop['maker']}()" + (f" at {site['path']}:{site['line']}" if site else "")
    elif loop["maker"] == "portal":
        name = "TestClient's own loop"
    else:
        name = f"a loop of {loop['maker']}"
    return f"{name} (no. {loop['loop']}{', closed' if loop['closed'] else ''})"


def _bound_primitive(record: Record) -> Iterator[Finding]:
    """A lock, event or queue that was first waited for on one loop is waited for on another."""
    for failure in record.failures:
        for thing in failure["foreign"]:
            if not thing["type"].startswith(_PRIMITIVES) or not _refused_by_loop(failure) or _dead_tasks(failure):
                continue
            holder = thing["holder"]
            culprit = Culprit(holder["path"], holder["line"], holder["name"]) if holder and holder.get("line") else None
            name = holder["name"] if holder else f"a {thing['type'].rpartition('.')[2]}"
            yield finding(
                "loop.primitive_bound_to_old_loop",
                tests=[failure["test"]],
                culprit=culprit or at_site(innermost(failure)),
                explanation=f"{name} is one {thing['type'].rpartition('.')[2]} for the whole process and bound itself to "
                f"{_loop_name(thing['loop'])} when it was first waited for. {failure['test']} waits for it on "
                f"{_loop_name(failure['loop'])}.",
                fix=f"Make {name} where it is used, per object or per loop, not at import; or {_ONE_LOOP}.",
                confidence=0.97,
                evidence=[f"{thing['type']} held by {name} is bound to {_loop_name(thing['loop'])}"],
            )
            break


def _refused_by_loop(failure: Fact) -> bool:
    """The primitive itself said so, or the closed loop to which it belongs."""
    return bool(
        raised(failure, "asyncio/mixins.py", "_get_loop") or raised(failure, "asyncio/base_events.py", "_check_closed")
    )


def _dead_tasks(failure: Fact) -> list[Fact]:
    """Tasks of the caller that ended with an earlier loop and that objects in the failing frames still hold."""
    return [
        thing["task"]
        for thing in failure["foreign"]
        if thing["task"] is not None
        and thing["task"].get("site")
        and thing["task"]["state"] != "pending"
        and thing["task"]["test"] != failure["test"]
    ]


def _dead_worker(record: Record) -> Iterator[Finding]:
    """A test waits for a background task that ended with an earlier loop."""
    for failure in record.failures:
        stuck = any(_TIMEOUTS & {each["type"], *each["bases"]} for each in failure["exceptions"])
        if not stuck and not _refused_by_loop(failure):
            continue
        for task in _dead_tasks(failure)[:1]:
            yield finding(
                "loop.worker_died_with_loop",
                tests=[failure["test"]],
                culprit=at_site(task["site"]),
                explanation=f"The background task {task['name']} was started once, in {task['test'] or 'an import'}, and ended "
                f"with {_loop_name(task['loop'])}. {failure['test']} waits for it on {_loop_name(failure['loop'])}, "
                "where nobody works any more.",
                fix="Start and stop the worker in a fixture, once per loop (or in the application's lifespan), or "
                f"{_ONE_LOOP}.",
                confidence=0.93,
                evidence=[
                    f"task {task['name']} made at {task['site']['path']}:{task['site']['line']} is {task['state']}",
                    f"{failure['test']} ended with {failure['exceptions'][0]['type']}",
                ],
            )


def _fixture_wider_than_loop(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        fixture = failure["failed_fixture"]
        if fixture is None or not fixture["async"] or not raised(failure, "_pytest/fixtures.py", "_check_scope"):
            continue
        setting = record.setting("asyncio_default_fixture_loop_scope") or "function"
        wanted = fixture["loop_scope"] or setting
        if fixture["handled"] and any(each["name"] == "anyio_backend" for each in failure["unset_fixtures"]):
            yield _taken_by_anyio(failure, fixture)
            continue
        yield finding(
            "loop.fixture_wider_than_loop",
            tests=[failure["test"]],
            culprit=Culprit(fixture["path"], fixture["line"], fixture["name"]),
            explanation=f"The async fixture {fixture['name']} has scope {fixture['scope']}, but the loop it would run on has "
            f"scope {wanted} and ends before it. pytest refuses to set it up.",
            fix=f'Give {fixture["name"]} loop_scope="{fixture["scope"]}", or set asyncio_default_fixture_loop_scope = '
            f"{fixture['scope']}.",
            confidence=0.97,
            evidence=[f"{fixture['name']}: scope {fixture['scope']}, loop scope {wanted}"],
        )


def _taken_by_anyio(failure: Fact, fixture: Fact) -> Finding:
    return finding(
        "loop.two_async_plugins",
        tests=[failure["test"]],
        culprit=at_site(failure["anyio_marker"]) or _function(failure),
        explanation=f"{failure['test']} is run by anyio, and {fixture['name']} ({place(fixture)}) is a fixture of pytest-asyncio. "
        f"anyio takes over the fixtures of its tests, and its backend is narrower than {fixture['name']}.",
        fix="Run the test and all its fixtures with one plugin: drop the other one's marker and backend fixture.",
        confidence=0.94,
        evidence=[f"{fixture['name']}: scope {fixture['scope']}, asked for anyio_backend"],
    )


def _running_loop_reentry(record: Record) -> Iterator[Finding]:
    starts = (("asyncio/runners.py", "run"), ("asyncio/base_events.py", "_check_running"))
    for failure in record.failures:
        error = next((found for place in starts if (found := raised(failure, *place))), None)
        if error is None or error["type"] != "RuntimeError" or not error["sites"]:
            continue
        outer = next((site for site in reversed(error["sites"]) if site["async"]), error["sites"][-1])
        inner = error["sites"][-1]
        yield finding(
            "loop.running_loop_reentry",
            tests=[failure["test"]],
            culprit=at_site(outer),
            explanation=f"{outer['name']} runs on a loop and calls synchronous code that starts a second one at "
            f"{inner['path']}:{inner['line']}. A thread has one running loop at a time.",
            fix=f"Move the call out of the loop: await asyncio.to_thread(...) at {outer['path']}:{outer['line']}, or await "
            "the coroutine itself.",
            confidence=0.97,
            evidence=[f"{inner['path']}:{inner['line']} {inner['text']}", error["message"]],
        )


def _current_loop_unset(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        error = raised(failure, "asyncio/events.py", "get_event_loop")
        if error is None or error["type"] != "RuntimeError" or not error["sites"]:
            continue
        unset = failure["loop_unset"]
        asked = error["sites"][-1]
        if unset is None:
            continue
        yield finding(
            "loop.current_loop_unset",
            tests=[failure["test"]],
            culprit=at_site(unset["site"]) or at_site(asked),
            explanation=f"{asked['path']}:{asked['line']} asks for the current event loop outside of one, and "
            f"{unset['by']} has left this thread without any. asyncio.run() does so when it ends.",
            fix=f"Replace get_event_loop() at {asked['path']}:{asked['line']} by asyncio.run() or an asyncio.Runner.",
            confidence=0.95,
            evidence=[f"set_event_loop(None) by {unset['by']}", f"{asked['path']}:{asked['line']} {asked['text']}"],
        )


def _event_loop_requested(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        missing = failure["missing_fixture"]
        if missing is None or missing["name"] != "event_loop":
            continue
        yield finding(
            "loop.event_loop_fixture_removed",
            tests=[failure["test"]],
            culprit=at_site(missing["requested_by"]),
            explanation=f"pytest-asyncio {record.asyncio_version()} has no event_loop fixture any more; it was removed in 1.0. "
            f"{missing['requested_by']['name'] if missing['requested_by'] else 'This test'} still requests it.",
            fix="Drop the parameter and use asyncio.get_running_loop() inside the coroutine; choose the loop by loop_scope.",
            confidence=0.97,
            evidence=["fixture 'event_loop' was requested and does not exist"],
        )


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _crossed_loops,
    _bound_primitive,
    _dead_worker,
    _fixture_wider_than_loop,
    _running_loop_reentry,
    _current_loop_unset,
    _event_loop_requested,
)
