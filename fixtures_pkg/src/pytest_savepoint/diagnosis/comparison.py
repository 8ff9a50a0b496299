"""What only the difference between two runs shows: a test that needs another one, or that another one breaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.left import decided_by, described
from pytest_savepoint.diagnosis.order import left_by
from pytest_savepoint.diagnosis.record import Fact, Record, line_with, place

__all__ = ["Compared", "explain", "met_writes"]

_CIRCUMSTANTIAL = 0.85


@dataclass(frozen=True)
class Compared:
    """A test whose outcome depends on others, with the facts of two runs that differ in those only.

    :param polluters: tests after which it fails.
    :param setters: tests without which it fails.
    :param left: what those tests leave for the whole process and the outcome hangs on, as runs have proven.
    """

    victim: str
    polluters: tuple[str, ...]
    setters: tuple[str, ...]
    failing: Sequence[Fact]
    passing: Sequence[Fact]
    left: Sequence[Fact] = ()


def met_writes(facts: Sequence[Fact], victim: str, others: Sequence[str]) -> list[Fact]:
    """What these other tests had committed to the tables that a failing test used, as the failure recorded it."""
    return [
        write
        for fact in facts
        if fact["kind"] == "failure" and fact["test"] == victim
        for write in fact["committed"]
        if write["test"] in others and _is_of_test(write)
    ]


def _is_of_test(write: Fact) -> bool:
    """A wide fixture writes while the first test that asks for it is set up; that is no deed of this test."""
    return write["fixture"] is None or write["fixture"]["scope"] == "function"


def explain(compared: Compared) -> Iterator[Finding]:
    """The cause, where the difference of the runs proves one."""
    failing = Record(compared.failing)
    for failure in failing.failures:
        if failure["test"] != compared.victim:
            continue
        if compared.setters:
            yield _depends_on_earlier(compared, failure)
        elif compared.left:
            yield from (decided_by(fact, failure) for fact in compared.left)
        elif compared.polluters:
            yield from _rows_leaked(compared, failure)
        return


def _depends_on_earlier(compared: Compared, failure: Fact) -> Finding:
    setters = " and ".join(compared.setters)
    tables = {word for each in failure["statements"] for word in each["sql"].lower().replace('"', " ").split()}
    left = [
        write
        for fact in Record(compared.passing).of("committed")
        for write in fact["writes"]
        if write["test"] in compared.setters and write["table"] in tables and _is_of_test(write)
    ]
    what = (
        " and ".join(map(described, compared.left))
        if compared.left
        else f"the rows that it commits to {left[-1]['table']} at {place(left[-1]['site'])}"
        if left
        else "what it leaves behind"
    )
    return finding(
        "state.depends_on_earlier_test",
        tests=[compared.victim],
        culprit=_definition(failure["function"]),
        explanation=f"{compared.victim} passes only when {setters} ran before it: it needs {what}. "
        "Alone, in another order or on another worker it fails.",
        fix=f"Make in a fixture of its own what it needs, instead of relying on {setters}.",
        confidence=_CIRCUMSTANTIAL,
        evidence=[f"fails alone, passes after {setters}", failure["exceptions"][0]["message"][:160]],
    )


def _definition(function: Fact | None) -> Culprit | None:
    """The line of `def`, below decorators."""
    if function is None:
        return None
    return Culprit(function["path"], line_with(function, r"^\s*(async\s+)?def\b") or function["line"], function["name"])


def _rows_leaked(compared: Compared, failure: Fact) -> Iterator[Finding]:
    met = met_writes(compared.failing, compared.victim, compared.polluters)
    left = [write for write in met if write["verb"] == "insert"]
    if not left:
        return
    write = left[-1]
    yield finding(
        "state.rows_leaked",
        tests=[compared.victim],
        culprit=left_by(failure, write),
        explanation=f"{write['test']} commits rows to {write['table']} at {place(write['site'])}, and nobody removes them. "
        f"{compared.victim} passes alone and fails after it.",
        fix="Undo each test: bind the session to an outer transaction "
        '(join_transaction_mode="create_savepoint") that the fixture rolls back, or delete the rows in its teardown.',
        confidence=_CIRCUMSTANTIAL,
        evidence=[f"passes alone, fails after {write['test']}", failure["exceptions"][0]["message"][:160]],
    )
