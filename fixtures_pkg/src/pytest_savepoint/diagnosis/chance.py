"""What a test takes for granted and gets by luck: numbers of a sequence, random values, and how long work takes."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.record import (
    Fact,
    Record,
    asserted,
    at_site,
    enclosing,
    innermost,
    line_with,
    nodes_of,
    place,
    sqlstates,
    tables_of,
    timed_out,
    written,
)

__all__ = ["RULES"]

_UNIQUE = "23505"
_RETURNS_NUMBER = re.compile(r"\breturning\s+(?:\w+\.)?\"?((?:\w+_)?id)\"?\s*;?\s*$", re.IGNORECASE)
_NUMBER = re.compile(r"(^|_)(id|pk|no|number|ids)$", re.IGNORECASE)
_BY_NUMBER = r"\.get\(\s*\w+\s*,\s*\d+\s*\)|[\"'][^\"']*/\d+\b|\bid\s*={1,2}\s*\d+\b|\bid\s*=\s*:?\d+"
_NOTHING = {"None", "404"}
_FOUND_NOTHING = {"NoResultFound", "AttributeError", "TypeError", "KeyError", "HTTPStatusError"}
_DRAWS = r"\b(random|secrets|rng|faker|fake|_random|randint|randrange|choice|choices|sample|uuid4\(\)\.hex\[)\b"
_LONG = 7
_SHORT = 1.0
_KEY = re.compile(r"\)=\((.*?)\)")


def _sequence(record: Record) -> Iterator[Finding]:
    """A number that a sequence gave was not the one that the test expects, because others have drawn from it."""
    for failure in record.failures:
        comparison, site = failure["comparison"], innermost(failure)
        if not asserted(failure) or comparison is None or site is None or not failure["inserted_before"]:
            continue
        line = _expects_number(failure, comparison, site)
        inserted = {written(each["sql"])[1] for each in _inserts(failure)} & set(failure["inserted_before"])
        if line is None or not inserted:
            continue
        table = min(inserted)
        others = failure["inserted_before"][table]
        yield finding(
            "state.sequence_assumption",
            tests=[failure["test"]],
            culprit=Culprit(site["path"], line, site["name"]),
            explanation=f"{site['path']}:{line} expects a certain number from the sequence of {table}. {others[-1]} has drawn from it "
            "before, and a sequence does not go back when rows are removed or rolled back.",
            fix="Take the number from the object that was made, and compare with that.",
            confidence=0.92,
            evidence=[
                f"{table} got rows in {', '.join(others[-3:])} before",
                failure["exceptions"][0]["message"][:120],
            ],
        )


def _expects_number(failure: Fact, comparison: Fact, site: Fact) -> int | None:
    """The line that compares an id with a number of the source, or that asks for a row by one and finds none."""
    shown = comparison["shown"]
    if all(each is not None and each.lstrip("-").isdigit() for each in shown) and shown[0] != "404":
        node = enclosing(failure["exceptions"][0]["function"], site["line"], ast.Assert)
        compare = node.test if isinstance(node, ast.Assert) else None
        if isinstance(compare, ast.Compare) and len(compare.ops) == 1:
            sides = (compare.left, compare.comparators[0])
            numbers = [side for side in sides if isinstance(side, ast.Constant) and isinstance(side.value, int)]
            named = [side for side in sides if _NUMBER.search(_last_name(side)) or _is_drawn(failure, side)]
            return site["line"] if numbers and named else None
        return None
    if not {comparison["left"], *shown} & {"NoneType", *_NOTHING}:
        return None
    return line_with(failure["function"], _BY_NUMBER) if failure["function"] else None


def _is_drawn(failure: Fact, side: ast.AST) -> bool:
    """Whether a variable holds what an INSERT returned as the id that the database gave."""
    if not isinstance(side, ast.Name):
        return False
    for insert in _inserts(failure):
        returned = _RETURNS_NUMBER.search(insert["sql"])
        given = returned and re.search(rf"\(.*\b{returned[1]}\b.*?\)\s*(values|select)", insert["sql"], re.IGNORECASE)
        if not returned or given or not insert["site"]:
            continue
        node = enclosing(failure["function"], insert["site"]["line"], ast.Assign)
        if isinstance(node, ast.Assign) and side.id in {_last_name(target) for target in node.targets}:
            return True
    return False


def _number_given(record: Record) -> Iterator[Finding]:
    """A row was made with a number written down, which the sequence gave to another row later."""
    for failure in record.failures:
        rivals = failure["rivals"]
        if rivals is None or rivals["given"] or rivals["number"] is None or not rivals["inserts"]:
            continue
        insert, column = rivals["inserts"][-1], rivals["columns"][0]
        culprit = at_site(insert["literal"] or insert["site"])
        yield finding(
            "state.sequence_assumption",
            tests=[failure["test"]],
            culprit=culprit,
            explanation=f"{place(insert['literal'] or insert['site'])} makes a row of {rivals['table']} with {column} "
            f"{rivals['number']} by itself, of which the sequence knows nothing. It gave the same number to the row of "
            f"{place(rivals['site'])}.",
            fix=f"Let the database give the number: leave {column} out, and read it from the object that was made.",
            confidence=0.93,
            evidence=[f"{column} {rivals['number']} of {rivals['table']} given by {_giver(insert)}, then drawn"],
        )


def _giver(insert: Fact) -> str:
    return f"the fixture {insert['fixture']['name']}" if insert["fixture"] else str(insert["test"])


def _number_asked(record: Record) -> Iterator[Finding]:
    """A test made a row whose number the sequence gave, and asked for one by a number written down, and found none."""
    for failure in record.failures:
        error = next((e for e in failure["exceptions"] if e["type"] in _FOUND_NOTHING), None)
        asked = [each for each in failure["statements"] if each["when"] == "call" and "id" in each["asked"]]
        if error is None or not asked:
            continue
        number = int(asked[-1]["asked"]["id"])
        drawn = _drawn(failure)
        # On a new sequence the rows that the test made would have the numbers from 1 on.
        tables = [
            each for each in tables_of(asked[-1]["sql"]) if number <= drawn[each] and each in failure["inserted_before"]
        ]
        line = _written_down(failure, number) if tables else None
        if line is None:
            continue
        yield finding(
            "state.sequence_assumption",
            tests=[failure["test"]],
            culprit=line,
            explanation=f"{line.path}:{line.line} asks for the row of {tables[0]} with id {number}, but the sequence gave another "
            f"number: {failure['inserted_before'][tables[0]][-1]} has drawn from it before, and it does not go back.",
            fix="Take the number from the object that was made, and ask for that.",
            confidence=0.92,
            evidence=[f"id {number} of {tables[0]} asked for at {place(asked[-1]['site'])}", error["message"][:120]],
        )


def _drawn(failure: Fact) -> Counter[str]:
    """How often a test's inserts left the number to the database, by table."""
    return Counter(
        written(each["sql"])[1] for each in _inserts(failure) if each["when"] == "call" and "id" not in each["gives"]
    )


def _written_down(failure: Fact, number: int) -> Culprit | None:
    """The line of the test that hands a certain number, or a path with it, to a call."""
    function = failure["function"]
    calls = [] if function is None else [each for each in nodes_of(function) if isinstance(each, ast.Call)]
    for call in calls:
        for value in (*call.args, *(each.value for each in call.keywords)):
            if isinstance(value, ast.Constant) and _names_number(value.value, number):
                return Culprit(function["path"], value.lineno, function["name"])
    return None


def _names_number(value: object, number: int) -> bool:
    """Whether a constant is a number, or a path with it as a part."""
    return (type(value) is int and value == number) or (isinstance(value, str) and f"/{number}/" in f"{value}/")


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return node.id if isinstance(node, ast.Name) else ""


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
    return not literal and len({each["task"] for each in _inserts(failure)}) < 2


def _inserts(failure: Fact) -> list[Fact]:
    return [each for each in failure["statements"] if written(each["sql"])[0] == "insert"]


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
    _sequence,
    _number_given,
    _number_asked,
    _collision,
    _timeout_race,
)
