"""SP1xx: event loops: how they are named, and what goes wrong with a loop itself or waits for one that is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.record import Fact, Record, at_site, innermost, place, raised

__all__ = ["ONE_LOOP", "PRIMITIVES", "RULES", "at_test", "is_own_run", "loop_name"]

PRIMITIVES = ("asyncio.locks.", "asyncio.queues.")
_TIMEOUTS = {"TimeoutError", "CancelledError", "Cancelled"}
ONE_LOOP = (
    "run tests and fixtures on one loop (asyncio_default_fixture_loop_scope = session and "
    "asyncio_default_test_loop_scope = session)"
)


def is_own_run(loop: Fact) -> bool:
    """Whether the caller's code ran a loop itself."""
    return loop["maker"] in ("asyncio.run", "run_until_complete")


def at_test(failure: Fact) -> Culprit | None:
    """The failing test as a culprit."""
    return at_site(failure["function"])


def loop_name(loop: Fact) -> str:
    """A loop as people call it: after whoever made it."""
    if loop["maker"] == "pytest-asyncio":
        name = f"pytest-asyncio's {loop['scope']} loop" if loop["scope"] else "a loop of pytest-asyncio"
    elif is_own_run(loop):
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
            if not thing["type"].startswith(PRIMITIVES) or not _refused_by_loop(failure) or _dead_tasks(failure):
                continue
            holder = thing["holder"]
            culprit = Culprit(holder["path"], holder["line"], holder["name"]) if holder and holder.get("line") else None
            name = holder["name"] if holder else f"a {thing['type'].rpartition('.')[2]}"
            yield finding(
                "loop.primitive_bound_to_old_loop",
                tests=[failure["test"]],
                culprit=culprit or at_site(innermost(failure)),
                explanation=f"{name} is one {thing['type'].rpartition('.')[2]} for the whole process and bound itself to "
                f"{loop_name(thing['loop'])} when it was first waited for. {failure['test']} waits for it on "
                f"{loop_name(failure['loop'])}.",
                fix=f"Make {name} where it is used, per object or per loop, not at import; or {ONE_LOOP}.",
                confidence=0.97,
                evidence=[f"{thing['type']} held by {name} is bound to {loop_name(thing['loop'])}"],
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
                f"with {loop_name(task['loop'])}. {failure['test']} waits for it on {loop_name(failure['loop'])}, "
                "where nobody works any more.",
                fix="Start and stop the worker in a fixture, once per loop (or in the application's lifespan), or "
                f"{ONE_LOOP}.",
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
        culprit=at_site(failure["anyio_marker"]) or at_test(failure),
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
    _bound_primitive,
    _dead_worker,
    _fixture_wider_than_loop,
    _running_loop_reentry,
    _current_loop_unset,
    _event_loop_requested,
)
