"""SP1xx: a connection, pool or client of one loop that met another loop, and why there were two."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.loops import ONE_LOOP, PRIMITIVES, at_test, is_own_run, loop_name
from pytest_savepoint.diagnosis.record import Fact, Record, at_fixture, at_site, innermost, line_with, place

__all__ = ["RULES"]

_MAKES_PORTAL = r"TestClient\(|start_blocking_portal\("
_CLOSES = re.compile(r"\.(dispose|close|aclose|disconnect|shutdown|terminate|wait_closed)\(")


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
        if holder is not None and holder.get("line") and not fact["task"] and not fact["type"].startswith(PRIMITIVES):
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
    return bool(thing["type"].startswith(PRIMITIVES))


def _name_crossing(record: Record, failure: Fact, resource: Fact, here: Fact) -> Finding:  # noqa: PLR0911 # one per cause
    maker = resource.get("maker") or resource
    birth = resource["loop"]
    what = _resource_name(maker)
    seen = [
        f"{what}: its connection was opened {_where(resource)} on {loop_name(birth)}",
        f"{failure['test']} used it on {loop_name(here)}",
    ]
    common = {"tests": [failure["test"]], "evidence": seen}
    override = record.event_loop_override()
    makers = {birth["maker"], here["maker"]}
    if override is not None:
        return finding(
            "loop.event_loop_fixture_removed",
            culprit=Culprit(override["path"], override["line"], "event_loop"),
            explanation=f"pytest-asyncio {record.asyncio_version()} ignores the event_loop fixture, so the loops are not the "
            f"ones it makes. {what} was used on {loop_name(here)} although it belongs to {loop_name(birth)}.",
            fix=f"Delete the event_loop fixture and {ONE_LOOP}.",
            confidence=0.95,
            **common,
        )
    if makers == {"pytest-asyncio", "anyio"}:
        return finding(
            "loop.two_async_plugins",
            culprit=at_site(failure["anyio_marker"]) or at_test(failure),
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
            f"{loop_name(birth)} and was used on {loop_name(here)}.",
            fix="Use httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) in an async test, so that application and "
            "test share one loop.",
            confidence=0.9,
            **common,
        )
    own_run = next((loop for loop in (birth, here) if is_own_run(loop)), None)
    closing = innermost(failure)
    if (
        closing is not None
        and failure["when"] != "call"
        and _CLOSES.search(closing["text"])
        and (is_own_run(here) or not is_own_run(birth))
    ):
        return finding(
            "loop.dispose_on_wrong_loop",
            # The loop of an asyncio.run() is there for nothing but this.
            culprit=at_site(here["site"] if is_own_run(here) and here["site"] else closing),
            explanation=f"{closing['name']} closes {what} on {loop_name(here)}, but its connections live on "
            f"{loop_name(birth)}. They cannot be closed from there.",
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
            f"and {what} was used on it and on {loop_name(here if own_run is birth else birth)}. A pooled connection "
            "works on the loop that opened it only.",
            fix=f"Make {name} an async fixture on the tests' loop, or give it an engine of its own "
            "with poolclass=NullPool that it disposes.",
            confidence=0.95,
            **common,
        )
    fixture = resource["fixture"] or maker["fixture"]
    if birth["scope"] and here["scope"] and birth["scope"] != here["scope"]:
        marked = failure["loop_marker"] if fixture is None or fixture["loop_scope"] is None else None
        culprit = at_site(marked) or (_at(fixture) if fixture else at_test(failure))
        name = f"The fixture {fixture['name']}" if fixture else what
        return finding(
            "loop.scope_mismatch",
            culprit=culprit,
            explanation=f"{name} lives on {loop_name(birth)}, but {failure['test']} runs on {loop_name(here)}. "
            "A connection works on the loop that opened it only.",
            fix=f'Run the tests on the {birth["scope"]} loop as well: loop_scope="{birth["scope"]}" at {place(marked)}.'
            if marked
            else f"Either {ONE_LOOP}, or make {fixture['name'] if fixture else what} as narrow as the tests' loop.",
            confidence=0.95,
            **common,
        )
    return finding(
        "loop.resource_outlived_loop",
        culprit=at_site(maker["site"]),
        explanation=f"{what} kept a connection that was opened {_where(resource)} on {loop_name(birth)}. "
        f"{failure['test']} used it on {loop_name(here)}, where it cannot work.",
        fix=f"Either {ONE_LOOP} and dispose it at the end, or use poolclass=NullPool in tests, or dispose it at the end "
        "of every test.",
        confidence=0.95,
        **common,
    )


def _at(fixture: Fact) -> Culprit:
    return Culprit(fixture["path"], fixture["line"], fixture["name"])


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
    return at_site(portal["site"] if line is None else {**function, "line": line}) or at_test(failure)


def _resource_name(maker: Fact) -> str:
    site = maker["site"]
    place = f" ({site['path']}:{site['line']})" if site else ""
    return f"{maker.get('variable') or maker['kind']}{place}"


def _where(resource: Fact) -> str:
    if resource["fixture"] is not None:
        return f"in the fixture {resource['fixture']['name']}"
    return f"in {resource['test']}" if resource["test"] else "before the first test"


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (_crossed_loops,)
