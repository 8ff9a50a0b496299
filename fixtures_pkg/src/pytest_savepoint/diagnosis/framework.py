"""SP7xx: the framework's process-wide state, and context variables."""

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
    innermost,
    line_with,
    place,
    raised,
)

__all__ = ["RULES"]

_MAKES_CLIENT = r"ASGITransport|AsyncClient|LifespanManager|TestClient"


def _lifespan(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        lifespan = failure["lifespan"]
        found = _not_there(failure, lifespan) if lifespan is not None else None
        if found is None:
            continue
        name, missing = found
        client = _made_by(failure, ("httpx.", "starlette.testclient."), _MAKES_CLIENT)
        yield finding(
            "framework.lifespan_not_run",
            tests=[failure["test"]],
            culprit=client,
            explanation=f"The application's lifespan {lifespan['name']} ({place(lifespan)}) sets {name}, and nobody ran it: "
            "httpx.ASGITransport sends requests only, no start-up, and TestClient runs it in a with block only.",
            fix="Enter it around the client: async with app.router.lifespan_context(app): ... (or asgi-lifespan's "
            "LifespanManager); with TestClient(app) as client: ...",
            confidence=0.95,
            evidence=[missing["message"], f"{lifespan['name']} stores {', '.join(lifespan['stores'])}"],
        )


def _not_there(failure: Fact, lifespan: Fact) -> tuple[str, Fact] | None:
    """The name that the lifespan would have set, and the error of whoever missed it."""
    missing = raised(failure, "starlette/datastructures.py", "__getattr__")
    if missing is not None and missing["type"] == "AttributeError":
        name = next((each for each in lifespan["stores"] if f"'{each}'" in missing["message"]), None)
        return (name, missing) if name else None
    for error in failure["exceptions"]:
        if error["type"] not in ("AttributeError", "TypeError", "KeyError", "NameError") or not error["sites"]:
            continue
        text = error["sites"][-1]["text"]
        for name in lifespan["unset"]:
            if re.search(rf"\b{re.escape(name)}\b", text):
                return name, error
    return None


def _made_by(failure: Fact, kinds: tuple[str, ...], pattern: str) -> Culprit | None:
    helper = next((each for each in failure["reached"]["clients"] if line_with(each, pattern)), None)
    for value in failure["fixtures"].values():
        if value["type"].startswith(kinds) and value["fixture"] is not None:
            own = line_with(value["fixture"], pattern)
            return at_fixture(value["fixture"] if own or helper is None else helper, pattern)
    for function in (failure["function"], helper):
        line = line_with(function, pattern) if function else None
        if function and line:
            return Culprit(function["path"], line, function["name"])
    return at_site(_asks(failure) or innermost(failure))


def _asks(failure: Fact) -> Fact | None:
    """The caller's line that sent the request which an endpoint could not answer."""
    endpoint = failure["endpoint"]
    for error in failure["exceptions"] if endpoint else ():
        inside = next((n for n, site in enumerate(error["sites"]) if site["path"] == endpoint["path"]), 0)
        if inside:
            site: Fact = error["sites"][inside - 1]
            return site
    return None


def _leaks(record: Record, kind: str, failure: Fact) -> Iterator[Fact]:
    """What earlier tests of this process left behind and the failing test met."""
    for fact in record.of(kind):
        if fact["worker"] == failure["worker"] and fact["at"] < failure["at"] and fact["test"] != failure["test"]:
            yield fact


def _set_at(maker: Fact, pattern: str, variable: str | None = None) -> Culprit:
    """The line that sets what leaked, in the fixture or test itself or in a function that it calls."""
    for function in (maker, *maker["setters"]):
        line = line_with(function, pattern)
        if line is not None and (function is maker or variable is None or variable in function["variables"]):
            # Who is given the token and drops it is to blame.
            gives_token = variable is not None and line_with(function, rf"\breturn\b.*{pattern}") is not None
            asked = line_with(maker, rf"\b{function['name']}\(") if function is not maker and gives_token else None
            at, line = (maker, asked) if asked else (function, line)
            return Culprit(at["path"], line, at["name"])
    return at_fixture(maker)


def _override_leaked(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        if not asserted(failure):
            continue
        asked = {value["application"] for value in failure["fixtures"].values()} - {None}
        for fact in _leaks(record, "override_leaked", failure):
            fixture = fact["fixture"]
            if fact["name"].partition("[")[0] not in asked:
                continue
            if fixture is not None and fixture["name"] in failure["fixtures"]:
                continue
            culprit = _set_at(fixture or fact["function"], r"dependency_overrides")
            who = f"The fixture {fixture['name']}" if fixture else fact["test"]
            yield finding(
                "framework.dependency_override_leaked",
                tests=[failure["test"]],
                culprit=culprit,
                explanation=f"{who} sets {fact['name'].replace('[', '.dependency_overrides[')} and never removes it. It was set in "
                f"{fact['test']} and is still there in {failure['test']}, which did not ask for it.",
                fix="Remove it in the teardown, or use monkeypatch.setitem(app.dependency_overrides, dependency, replacement).",
                confidence=0.9,
                evidence=[f"{fact['name']} left behind by {fact['test']}"],
            )
            break


def _context_leaked(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        if not asserted(failure):
            continue
        for fact in _leaks(record, "context_leaked", failure):
            fixture = fact["fixture"]
            maker = fixture or fact["function"]
            if maker["async"] or maker["name"] in failure["fixtures"]:
                continue
            if fact["name"] not in failure["reached"]["variables"]:
                continue
            who = f"The fixture {fixture['name']}" if fixture else maker["name"]
            yield finding(
                "context.leaked_from_fixture",
                tests=[failure["test"]],
                culprit=_set_at(maker, r"\.set\(", fact["name"]),
                explanation=f"{who} sets the context variable {fact['name']} to {fact['value']} and never resets it. Synchronous "
                f"fixtures and tests run in pytest's own context, so the value stayed for {failure['test']}.",
                fix=f"Keep the token and reset it afterwards: token = {fact['name']}.set(...); yield; "
                f"{fact['name']}.reset(token).",
                confidence=0.9,
                evidence=[f"{fact['name']} was {fact['value']} after {fact['test']}"],
            )
            break


def _context_latent(record: Record) -> Iterator[Finding]:
    """The same leak, where the order of this run kept it from the tests that read the variable."""
    for latent in record.of("latent"):
        fact = latent["leak"]
        fixture = fact.get("fixture")
        if fact["kind"] != "context_leaked" or fixture is None or fixture["async"] or fixture["scope"] != "function":
            continue
        yield finding(
            "context.leaked_from_fixture",
            tests=latent["tests"],
            culprit=_set_at(fixture, r"\.set\(", fact["name"]),
            explanation=f"The fixture {fixture['name']} sets the context variable {fact['name']} to {fact['value']} and never resets "
            "it. Tests that can read it and did not ask for the fixture get that value when they come later.",
            fix=f"Keep the token and reset it after the yield: token = {fact['name']}.set(...); yield; "
            f"{fact['name']}.reset(token).",
            confidence=0.75,
            evidence=[f"{fact['name']} was {fact['value']} after {fact['test']}"],
        )


def _token_elsewhere(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        error = next(
            (e for e in failure["exceptions"] if e["type"] == "ValueError" and "different Context" in e["message"]),
            None,
        )
        if error is None or not error["sites"]:
            continue
        reset = error["sites"][-1]
        holder = next((v for v in failure["fixtures"].values() if v["token"] and v["fixture"]), None)
        entered = rf"\b{re.escape(reset['name'])}\("
        fixture = holder["fixture"] if holder else _entering(failure, entered)
        name = holder["token"] if holder else "a context variable"
        yield finding(
            "context.token_reset_elsewhere",
            tests=[failure["test"]],
            culprit=at_fixture(fixture, r"\.set\(|\breturn\b|\byield\b" if holder else entered)
            if fixture
            else at_site(reset),
            explanation=f"{name} was set {'in the fixture ' + fixture['name'] if fixture else 'elsewhere'} and is reset at "
            f"{place(reset)}. An async fixture and the test run in two contexts, and a token works only in its own.",
            fix="Set and reset it in one function: both in the test, or both in the fixture.",
            confidence=0.94,
            evidence=[error["message"][:160]],
        )


def _entering(failure: Fact, entered: str) -> Fact | None:
    """The async fixture that entered the generator which resets the token at its end."""
    fixtures = (value["fixture"] for value in failure["fixtures"].values())
    return next((each for each in fixtures if each and each["async"] and line_with(each, entered)), None)


def _cached(record: Record) -> Iterator[Finding]:
    """A value that the process keeps was made by an earlier test under another environment."""
    for failure in record.failures:
        if not asserted(failure):
            continue
        for cache in failure["outdated"]:
            function, name = cache["function"], cache["name"]
            filled = rf"\b{cache['attribute']}(\[[^]]*\])?\s*=[^=]|\b{cache['attribute']}\.(setdefault|update)\("
            line = line_with(function, filled) if cache["attribute"] else None
            yield finding(
                "framework.cached_settings_leaked",
                tests=[failure["test"]],
                culprit=Culprit(function["path"], line or function["line"], function["name"]),
                explanation=f"{name} is made once per process. {cache['test']} asked first, when {', '.join(cache['changed'])} had "
                f"another value than in {failure['test']}, which got what was made then.",
                fix=f"Empty it around each test: {name}.cache_clear() in an autouse fixture."
                if not cache["attribute"]
                else f"Set it back around each test: monkeypatch.setattr({name.rpartition('.')[0]}, {cache['attribute']!r}, None).",
                confidence=0.92,
                evidence=[f"{name} was filled in {cache['test']}; since then {', '.join(cache['changed'])} changed"],
            )
            break


def _middleware(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        if not asserted(failure):
            continue
        for unseen in failure["unseen"]:
            yield finding(
                "framework.middleware_context_lost",
                tests=[failure["test"]],
                culprit=at_site(unseen),
                explanation=f"The middleware reads {unseen['variable']} at {place(unseen)} after the request, and "
                f"{unseen['set_in']['name']} ({place(unseen['set_in'])}) sets it. Below BaseHTTPMiddleware the endpoint runs in "
                "a task of its own, whose context the middleware never sees.",
                fix="Carry the value on the request (request.state), or write the middleware as plain ASGI.",
                confidence=0.91,
                evidence=[f"{unseen['variable']} is set in {unseen['set_in']['name']} and read at {place(unseen)}"],
            )
            break


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _lifespan,
    _override_leaked,
    _context_leaked,
    _context_latent,
    _token_elsewhere,
    _cached,
    _middleware,
)
