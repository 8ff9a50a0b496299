"""SP6xx: what a test takes for granted and gets by luck: random values that differ, and how long work takes."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.record import (
    Fact,
    Record,
    asserted,
    enclosing,
    innermost,
    line_with,
    place,
    sqlstates,
    timed_out,
)
from pytest_savepoint.diagnosis.sequences import inserts

__all__ = ["RULES"]

_UNIQUE = "23505"
_DRAWS = r"\b(random|secrets|rng|faker|fake|_random|randint|randrange|choice|choices|sample|uuid4\(\)\.hex\[)\b"
_LONG = 7
_SHORT = 1.0
_KEY = re.compile(r"\)=\((.*?)\)")


def _collision(record: Record) -> Iterator[Finding]:
    """Two values that were drawn at random are the same."""
    for failure in record.failures:
        comparison = failure["comparison"]
        taken = _UNIQUE in sqlstates(failure) and _taken_by_chance(failure)
        different = (
            asserted(failure)
            and comparison is not None
            and (
                (comparison["op"] == "!=" and comparison["equal"] and _small(comparison["shown"][0]))
                or (comparison["op"] == "not in" and _small(comparison["shown"][0]))
                or (comparison["op"] == "==" and _counts_distinct(failure))
            )
        )
        if not taken and not different:
            continue
        drawn = _draw(failure)
        if drawn is None:
            continue
        culprit, text = drawn
        yield finding(
            "random.value_collision",
            tests=[failure["test"]],
            culprit=culprit,
            explanation=f"{culprit.path}:{culprit.line} draws a value at random, and {failure['test']} needs values that differ. Now "
            "and then two are the same.",
            fix="Count instead of drawing (itertools.count), or draw from a space in which nothing repeats (uuid.uuid4()).",
            confidence=0.91,
            evidence=[text, failure["exceptions"][0]["message"][:160]],
        )


def _small(shown: str | None) -> bool:
    """Whether a value is from a space in which two may meet by chance."""
    return shown is not None and len(shown.strip("'\"")) < _LONG


def _taken_by_chance(failure: Fact) -> bool:
    """Whether one task inserted a value twice that stands nowhere in the test."""
    key = next((found[1] for error in failure["exceptions"] if (found := _KEY.search(error["message"]))), None)
    functions = [failure["function"], *(error["function"] for error in failure["exceptions"])]
    lines = [line for each in functions if each for line in each["source"] if not re.search(_DRAWS, line)]
    literal = key is not None and any(re.search(rf"(?<![\w.]){re.escape(key)}(?![\w.])", line) for line in lines)
    return not literal and len({each["task"] for each in inserts(failure)}) < 2


def _counts_distinct(failure: Fact) -> bool:
    """Whether the assertion is about the number of different values: `len({...}) == n` or `len(set(...)) == n`."""
    site = innermost(failure)
    node = enclosing(failure["exceptions"][0]["function"], site["line"], ast.Assert) if site else None
    return node is not None and any(
        isinstance(each, ast.SetComp | ast.Set)
        or (isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == "set")
        for each in ast.walk(node)
    )


def _draw(failure: Fact) -> tuple[Culprit, str] | None:
    """The line that draws at random, in a function that the test uses."""
    for function in failure["reached"]["draws"]:
        line = line_with(function, _DRAWS)
        if line is not None:
            text = str(function["source"][line - function["line"]]).strip()
            return Culprit(function["path"], line, function["name"]), text
    return None


def _timeout_race(record: Record) -> Iterator[Finding]:
    """A short deadline ended work that was going on, not waiting for somebody."""
    for failure in record.failures:
        if not failure["reached"]["draws"] and not failure["statements"]:
            continue
        found = _seen_to_expire(record, failure) or _read_from_source(failure)
        if found is None:
            continue
        site, line, seconds, work = found
        yield finding(
            "time.timeout_race",
            tests=[failure["test"]],
            culprit=Culprit(site["path"], line, site["name"]),
            explanation=f"{site['path']}:{line} gives the work {seconds:g} s. It was going on at {place(work)} when that was over: the "
            "deadline lies within the time that the work takes.",
            fix="Give a deadline that only a hang exceeds (10 s or more), or make the work's time part of the test's control.",
            confidence=0.85,
            evidence=[f"deadline {seconds:g} s at {site['path']}:{line}", f"interrupted at {place(work)}"],
        )


def _seen_to_expire(record: Record, failure: Fact) -> tuple[Fact, int, float, Fact] | None:
    """The latest short deadline that ended work in a test which ran out of time, or which got nothing for it."""
    if not timed_out(failure) and not _got_none(failure):
        return None
    for fact in reversed(list(record.during("expired", failure))):
        site, work = fact["site"], fact["work"]
        if fact["seconds"] > _SHORT or fact["when"] != failure["when"] or work is None:
            continue
        if _works(fact["innermost"]) and enclosing(work["function"], work["line"], ast.While) is None:
            return site, site["line"], fact["seconds"], work
    return None


def _got_none(failure: Fact) -> bool:
    """Whether a test found None where it expected something."""
    comparison, error = failure["comparison"], failure["exceptions"][0]
    if asserted(failure):
        return comparison is not None and "NoneType" in (comparison["left"], comparison["right"])
    return error["type"] in ("AttributeError", "TypeError") and "NoneType" in error["message"]


def _read_from_source(failure: Fact) -> tuple[Fact, int, float, Fact] | None:
    """The deadline as it is written down, where nobody could see it expire."""
    found, work = (_deadline(failure), _interrupted(failure)) if timed_out(failure) else (None, None)
    return (*found, work) if found is not None and work is not None else None


def _deadline(failure: Fact) -> tuple[Fact, int, float] | None:
    """The line with a short deadline that ended the work, innermost first."""
    for error in failure["exceptions"]:
        for site in reversed(error["sites"]):
            for function in (error["function"], failure["function"]):
                if function is None or function["name"] != site["name"]:
                    continue
                for node in _around(function, site["line"]):
                    seconds = _seconds(node)
                    if seconds is not None and seconds <= _SHORT:
                        return site, int(getattr(node, "lineno", site["line"])), seconds
    return None


def _around(function: Fact, line: int) -> Iterator[ast.AST]:
    for kind in (ast.AsyncWith, ast.With, ast.stmt):
        block = enclosing(function, line, kind)
        if isinstance(block, ast.AsyncWith | ast.With):
            yield from (each.context_expr for each in block.items)
        elif block is not None:
            yield from ast.walk(block)


def _seconds(node: ast.AST) -> float | None:
    if not isinstance(node, ast.Call):
        return None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    values = [keyword.value for keyword in node.keywords if keyword.arg in ("timeout", "delay")]
    if name == "wait_for" and len(node.args) > 1:
        values.append(node.args[1])
    elif name in ("timeout", "fail_after", "move_on_after") and node.args:
        values.append(node.args[0])
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
            return float(value.value)
    return None


def _works(innermost: Fact) -> bool:
    """Whether who was suspended in this function was at work, and did not wait for somebody's signal."""
    path = innermost["path"]
    if path.endswith("asyncio/tasks.py"):
        return bool(innermost["name"] == "sleep")
    return "/asyncio/" not in path and not path.startswith("asyncio/")


def _interrupted(failure: Fact) -> Fact | None:
    """Where the cancelled work was, when it was at work."""
    for error in failure["exceptions"]:
        origin = error["raised_in"]
        if error["type"] == "CancelledError" and origin is not None and _works(origin) and error["sites"]:
            site: Fact = error["sites"][-1]
            polls = enclosing(error["function"], site["line"], ast.While) is not None
            return None if polls else site
    return None


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _collision,
    _timeout_race,
)
