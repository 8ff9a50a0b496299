"""SP512: a number of a sequence that a test takes for granted."""

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
    place,
    tables_of,
    written,
)
from pytest_savepoint.syntax import nodes_of

__all__ = ["RULES", "inserts"]

_RETURNS_NUMBER = re.compile(r"\breturning\s+(?:\w+\.)?\"?((?:\w+_)?id)\"?\s*;?\s*$", re.IGNORECASE)
_NUMBER = re.compile(r"(^|_)(id|pk|no|number|ids)$", re.IGNORECASE)
_BY_NUMBER = r"\.get\(\s*\w+\s*,\s*\d+\s*\)|[\"'][^\"']*/\d+\b|\bid\s*={1,2}\s*\d+\b|\bid\s*=\s*:?\d+"
_NOTHING = {"None", "404"}
_FOUND_NOTHING = {"NoResultFound", "AttributeError", "TypeError", "KeyError", "HTTPStatusError"}


def _sequence(record: Record) -> Iterator[Finding]:
    """A number that a sequence gave was not the one that the test expects, because others have drawn from it."""
    for failure in record.failures:
        comparison, site = failure["comparison"], innermost(failure)
        if not asserted(failure) or comparison is None or site is None or not failure["inserted_before"]:
            continue
        line = _expects_number(failure, comparison, site)
        inserted = {written(each["sql"])[1] for each in inserts(failure)} & set(failure["inserted_before"])
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
    for insert in inserts(failure):
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
        written(each["sql"])[1] for each in inserts(failure) if each["when"] == "call" and "id" not in each["gives"]
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


def inserts(failure: Fact) -> list[Fact]:
    """The rows that a failing test made, statement by statement."""
    return [each for each in failure["statements"] if written(each["sql"])[0] == "insert"]


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _sequence,
    _number_given,
    _number_asked,
)
