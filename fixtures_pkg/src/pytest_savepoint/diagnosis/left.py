"""What a test leaves changed for the whole process, as a cause for another one."""

from __future__ import annotations

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.record import Fact, at_site, line_with, place

__all__ = ["decided_by", "described", "left_key"]

_PROVEN = 0.95
_FIXES = {
    "environment": "Set it with monkeypatch.setenv() or monkeypatch.delenv(), which put it back after the test.",
    "directory": "Change it with monkeypatch.chdir(), which goes back after the test.",
    "random": "Draw from a generator of its own, random.Random(seed), and leave the one that all share alone.",
    "handlers": "Remove or restore the handler in the teardown of a fixture, or look at what is logged with caplog.",
}
_FIX_OF_MODULE = (
    "Change it with monkeypatch.setattr() or monkeypatch.setitem(), which put it back, or empty it in an autouse fixture."
)
_FIX_OF_CACHE = (
    "Empty it around each test in an autouse fixture: cache_clear(), or monkeypatch.setattr(module, name, None)."
)


def left_key(fact: Fact) -> tuple[str, str]:
    """What a recorded fact is about: the kind of thing, and its name."""
    return fact["what"], fact["name"]


def described(fact: Fact) -> str:
    """What was left, where, and by which test."""
    where = f" at {place(fact['site'])}" if fact["site"] else ""
    fixture = f" (fixture {fact['fixture']['name']})" if fact["fixture"] else ""
    return f"{_thing(fact)}, which {fact['test']} {fact['how']}{where}{fixture} and does not put back"


def _thing(fact: Fact) -> str:
    things = {
        "environment": f"os.environ[{fact['name']!r}]",
        "directory": "the working directory",
        "random": "the state of the random module",
        "handlers": "the handlers of the root logger",
    }
    return things.get(fact["what"]) or str(fact["name"])


def decided_by(fact: Fact, failure: Fact) -> Finding:
    """The finding for a test that passes once this has its former value again."""
    # Filled by the application's own code, it is a value made once for the process; the test only asked first.
    is_cache = fact["how"] == "filled" and (fact["site"] or {}).get("path") != (fact["function"] or {}).get("path")
    return finding(
        "framework.cached_settings_leaked" if is_cache else "state.process_state_leaked",
        tests=[failure["test"]],
        culprit=at_site(fact["site"]) or _definition(fact),
        explanation=f"{failure['test']} fails for {described(fact)}. It passes alone, and after the same tests once that "
        "has its former value again.",
        fix=_FIX_OF_CACHE if is_cache else _FIXES.get(fact["what"], _FIX_OF_MODULE),
        confidence=_PROVEN,
        evidence=[
            f"passes alone, fails after {fact['test']}, passes with {_thing(fact)} put back in between",
            failure["exceptions"][0]["message"][:160],
        ],
    )


def _definition(fact: Fact) -> Culprit | None:
    """The test or fixture, where its line is not known."""
    function = fact["fixture"] or fact["function"]
    if function is None:
        return None
    return Culprit(function["path"], line_with(function, r"^\s*(async\s+)?def\b") or function["line"], function["name"])
