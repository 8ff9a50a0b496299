"""SP5xx: fixtures, and the order in which they are set up and torn down."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Finding, finding
from pytest_savepoint.diagnosis.record import (
    Fact,
    Record,
    at_fixture,
    at_site,
    innermost,
    line_with,
    overturned,
    place,
    sqlstates,
    tables_of,
    written,
)

__all__ = ["RULES"]

_UNDEFINED = {"42P01", "42703", "42704", "3F000"}
_CLOSES = r"\byield\b|\baddfinalizer\("
_SETS_VARIABLE = re.compile(r"""(?:setenv\(|environ\[)\s*(["'])(\w+)\1\]?\s*[,=]\s*(["'])(.{2,}?)\3""")
_MAKES_SCHEMA = r"(?i)\bcreate\s+(table|type|schema|extension|sequence)\b|create_all\(|\bupgrade\("


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
            around = _fixture_around(failure)
            of_fixture = [each for each in error["sites"] if around and each["name"] == around["name"]]
            site = (of_fixture or error["sites"])[-1]
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
        # What cannot be closed on this loop could not be closed in another order either.
        if failure["when"] != "teardown" or any(each["known"] for each in failure["foreign"]):
            continue
        user = _fixture_around(failure)
        if user is None:
            continue
        for name in dict.fromkeys([*_makers(failure), *failure["called"]]):
            owner = _fixture(failure, name)
            if owner is None or name == user["name"] or name not in failure["finished"]:
                continue
            if name in _requests(failure, user) or line_with(owner, _CLOSES) is None:
                continue
            # At the end of a scope pytest reports after everything is torn down; what was set up first went last.
            if failure["set_up"].index(name) < failure["set_up"].index(user["name"]):
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


def _makers(failure: Fact) -> list[str]:
    """The fixtures that made the connections and engines which the failing code used."""
    return [thing["fixture"]["name"] for thing in failure["involved"] if thing["fixture"] is not None]


def _fixture_around(failure: Fact) -> Fact | None:
    """The fixture in whose teardown a failure was raised."""
    for error in failure["exceptions"]:
        for site in reversed(error["sites"]):
            for value in failure["fixtures"].values():
                fixture: Fact | None = value["fixture"]
                if fixture and fixture["path"] == site["path"] and site["name"] == fixture["name"]:
                    return fixture
    return None


def _setup_order(record: Record) -> Iterator[Finding]:
    """A fixture was set up too early for another one of the same test, and neither requests the other."""
    for failure in record.failures:
        pair = _undone(failure) or _premature(failure) or _before_its_variable(failure)
        if pair is None:
            continue
        early, late, what, seen = pair
        yield finding(
            "fixture.setup_order",
            tests=[failure["test"]],
            culprit=at_fixture(early),
            explanation=f"In {failure['test']} the fixture {early['name']} is set up before {late['name']}, {what}. Neither "
            "requests the other, so their order follows from how this test lists them.",
            fix=f"Let {early['name']} take {late['name']} as a parameter; pytest then sets {late['name']} up first.",
            confidence=0.93,
            evidence=[seen],
        )


def _fixture(failure: Fact, name: str) -> Fact | None:
    value = failure["fixtures"].get(name)
    return value["fixture"] if value else None


def _undone(failure: Fact) -> tuple[Fact, Fact, str, str] | None:
    """What a fixture wrote and a later one removed before the test looked for it."""
    if not overturned(failure):
        return None
    setup = [each for each in failure["statements"] if each["when"] == "setup" and each["fixture"] is not None]
    looked_at = {table for each in failure["statements"] if each["when"] == "call" for table in tables_of(each["sql"])}
    for number, removal in enumerate(setup):
        verb, table = written(removal["sql"])
        if verb not in ("delete", "truncate") or (looked_at and table not in looked_at):
            continue
        for write in setup[:number]:
            if written(write["sql"]) != ("insert", table) or write["fixture"]["name"] == removal["fixture"]["name"]:
                continue
            early = _fixture(failure, write["fixture"]["name"])
            late = _fixture(failure, removal["fixture"]["name"])
            if early is None or late is None or _related(failure, early, late):
                continue
            return (
                early,
                late,
                f"which removes the rows of {table} again",
                f"{place(removal['site'])} {removal['sql'][:80]}",
            )
    return None


def _premature(failure: Fact) -> tuple[Fact, Fact, str, str] | None:
    """A fixture that needed what a later one of the same test makes."""
    early = failure["failed_fixture"]
    if early is None or failure["when"] != "setup" or not _UNDEFINED & sqlstates(failure):
        return None
    missing = {word for error in failure["exceptions"] for word in re.findall(r'"([\w.]+)"', error["message"])}
    for late in failure["unset_fixtures"]:
        if line_with(late, _MAKES_SCHEMA) is None or _related(failure, early, late):
            continue
        source = "\n".join(late["source"])
        if "create_all(" in source or "upgrade(" in source or any(name in source for name in missing):
            return early, late, "which makes what it needs", failure["exceptions"][0]["message"][:160]
    return None


def _before_its_variable(failure: Fact) -> tuple[Fact, Fact, str, str] | None:
    """A fixture that looked at an environment variable before a later one of the same test set it to what the test expects."""
    site = innermost(failure)
    # What an earlier test's environment filled a cache with is the same in any order of fixtures.
    if site is None or failure["when"] != "call" or failure["outdated"]:
        return None
    values = list(failure["fixtures"].values())
    for number, late in enumerate(values):
        source = "\n".join(late["fixture"]["source"]) if late["fixture"] else ""
        for _, variable, _, value in _SETS_VARIABLE.findall(source):
            for early in values[:number]:
                looked = early["fixture"] is not None and variable in early["environment"]
                if not looked or early["fixture"]["scope"] != "function" or value not in site["text"]:
                    continue
                if _related(failure, early["fixture"], late["fixture"]):
                    continue
                what = f"which sets {variable}"
                return early["fixture"], late["fixture"], what, f"{place(site)} expects {value[:80]!r}"
    return None


def _related(failure: Fact, one: Fact, other: Fact) -> bool:
    return one["name"] in _requests(failure, other) or other["name"] in _requests(failure, one)


def _requests(failure: Fact, fixture: Fact) -> set[str]:
    """The fixtures that one requests, directly or through others."""
    found: set[str] = set()
    waiting = list(fixture["requests"])
    while waiting:
        name = waiting.pop()
        requested = _fixture(failure, name) if name not in found else None
        found.add(name)
        waiting += requested["requests"] if requested else ()
    return found


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _async_fixture_not_handled,
    _cancel_scope,
    _teardown_order,
    _setup_order,
)
