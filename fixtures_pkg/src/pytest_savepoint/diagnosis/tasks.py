"""SP4xx: tasks, threads, and what holds the loop."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.lock_waits import waits_of
from pytest_savepoint.diagnosis.record import (
    Fact,
    Record,
    asserted,
    at_fixture,
    at_site,
    enclosing,
    innermost,
    is_of_other_test,
    overturned,
    place,
    sqlstates,
    tables_of,
    through,
    timed_out,
    written,
)

__all__ = ["RULES"]

_LONG = 0.1
_AWAITS = re.compile(r"\bawait\b|\basync\s+(with|for)\b")
_SENDS = re.compile(r"\.(execute|executemany|commit|scalar|scalars)\(")
_CANCELLATIONS = {"BaseException", "CancelledError"}
_LOCK_REFUSED = {"55P03", "57014"}


def _held_loop(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        late = _measured(failure)
        # Who waits for a pool waits for a connection; the loop may have been held before that.
        of_a_pool = any(
            error["type"] == "TimeoutError" and error["module"].startswith("sqlalchemy")
            for error in failure["exceptions"]
        )
        if late is None and (of_a_pool or not timed_out(failure)):
            continue
        held = [
            each
            for each in record.during("held", failure)
            if each["seconds"] >= _LONG
            and each["when"] == failure["when"]
            and any(site["async"] for site in each["sites"])
            and not _awaits(failure, each["sites"][0])
            and (late is None or each["seconds"] * 2 > late > each["seconds"] / 2)
        ]
        if not held:
            continue
        longest = max(held, key=lambda each: float(each["seconds"]))
        site = longest["sites"][0]
        coroutine = next(each for each in longest["sites"] if each["async"])
        yield finding(
            "blocking.sync_call_in_loop",
            tests=[failure["test"]],
            culprit=at_site(site),
            explanation=f"{place(site)} held the event loop for {longest['seconds']:.2f} s, called from the coroutine "
            f"{coroutine['name']} ({place(coroutine)}). Nothing else on that loop could run, and {failure['test']} missed its "
            "deadline.",
            fix=f"Call {site['name']} in a thread, await asyncio.to_thread({site['name']}), or use an asynchronous call."
            if site is not coroutine
            else "Replace the blocking call by its asynchronous form, or move it into asyncio.to_thread().",
            confidence=0.92,
            evidence=[f"loop held {longest['seconds']:.2f} s at {place(site)} during {failure['test']}"],
        )


def _awaits(failure: Fact, site: Fact) -> bool:
    """Whether a line only awaits: what took long there was the machine's load, not a call of the caller's."""
    functions = (failure["function"], *(error["function"] for error in failure["exceptions"]))
    for function in functions:
        if function and function["path"] == site["path"]:
            lines = dict(enumerate(function["source"], function["line"]))
            if site["line"] in lines:
                return bool(_AWAITS.search(lines[site["line"]]))
    return False


def _measured(failure: Fact) -> float | None:
    """The seconds that a test measured and found too long."""
    comparison = failure["comparison"]
    if not asserted(failure) or comparison is None or comparison["op"] not in ("<", "<=", ">", ">="):
        return None
    if "float" not in (comparison["left"], comparison["right"]) or None in comparison["shown"]:
        return None
    return max(float(shown) for shown in comparison["shown"])


def _self_deadlock(record: Record) -> Iterator[Finding]:
    """A synchronous driver waits on the loop's own thread for a lock that a transaction of that loop holds."""
    for failure in record.failures:
        if not (_LOCK_REFUSED & sqlstates(failure) or timed_out(failure)):
            continue
        sites: list[Fact] = next((error["sites"] for error in failure["exceptions"] if error["sites"]), [])
        if not any(site["async"] for site in sites) or not _waits_in_driver(failure, sites[-1]):
            continue
        opened = _open_writes(failure)
        if opened is None:
            continue
        site = sites[-1]
        yield finding(
            "blocking.sync_db_call_self_deadlock",
            tests=[failure["test"]],
            culprit=at_site(site),
            explanation=f"{place(site)} waits in a synchronous driver for a lock, and the loop waits with it. The lock is held by "
            f"the transaction that {place(opened['site'])} left open on the same loop, which therefore cannot end.",
            fix="Run both statements on the same asynchronous connection, or commit before the synchronous call and move it to "
            "a thread.",
            confidence=0.93,
            evidence=[
                *waits_of(record, failure),
                f"open transaction: {opened['sql'][:120]}",
                failure["exceptions"][0]["message"][:160],
            ],
        )


def _waits_in_driver(failure: Fact, site: Fact) -> bool:
    """Whether a synchronous driver was at work; psycopg2's, written in C, leaves no lines of its own."""
    known = through(failure, "psycopg") or any(error["module"].startswith("psycopg") for error in failure["exceptions"])
    sends = _SENDS.search(site["text"]) is not None and not through(failure, "sqlalchemy/ext/asyncio/")
    return not through(failure, "asyncpg") and (known or sends)


def _open_writes(failure: Fact) -> Fact | None:
    """A statement of an asynchronous connection whose transaction was still open when the test failed."""
    opened: dict[int, Fact] = {}
    for statement in failure["statements"]:
        verb = statement["sql"].strip().upper()
        if verb.startswith(("COMMIT", "ROLLBACK;")) or verb == "ROLLBACK":
            # The failure itself rolls back on its way out.
            if statement["connection"] in opened and not verb.startswith("ROLLBACK"):
                del opened[statement["connection"]]
        elif verb.startswith(("UPDATE", "DELETE", "INSERT", "LOCK")) or "FOR UPDATE" in verb:
            opened[statement["connection"]] = statement
    return next(reversed(list(opened.values())), None)


def _never_awaited(record: Record) -> Iterator[Finding]:
    for fact in record.of("never_awaited"):
        site = fact["site"]
        yield finding(
            "task.coroutine_never_awaited",
            tests=[fact["test"]] if fact["test"] else [],
            culprit=at_site(site),
            explanation=f"{place(site)} calls {fact['name']}() without awaiting it, so its body never ran.",
            fix=f"Write await in front of the call at {place(site)}.",
            confidence=0.95,
            evidence=[f"coroutine {fact['name']} was made at {place(site)} and collected without having run"],
        )


def _ignores_cancellation(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        # Whoever compares values asks for something else than whether the task has ended.
        asks_for_the_end = asserted(failure) and failure["comparison"] is None
        if not timed_out(failure) and not asks_for_the_end:
            continue
        for task in failure["pending"]:
            at_the_end = timed_out(failure) and through(failure, "pytest_asyncio/")
            called_off = task["cancelling"] and (timed_out(failure) or task.get("test") == failure["test"])
            if not task.get("site") or not (called_off or at_the_end):
                continue
            for site in reversed(task["waiting_at"]):
                handler = _swallows(site)
                if handler is None:
                    continue
                yield finding(
                    "task.ignores_cancellation",
                    tests=[failure["test"]],
                    culprit=Culprit(site["path"], handler, site["name"]),
                    explanation=f"The task made at {place(task['site'])} was cancelled and goes on: {site['path']}:{handler} "
                    "catches the cancellation. Whoever ends the loop waits for it for ever.",
                    fix="Catch Exception, not BaseException or CancelledError (or raise it again), and cancel and await the "
                    "task in the test or fixture that started it.",
                    confidence=0.93,
                    evidence=[
                        f"{task['name']} still pending after {task['cancelling'] or 'a'} cancel request at {place(site)}"
                    ],
                )
                break


def _swallows(site: Fact) -> int | None:
    """The line of a handler around a suspended await that catches a cancellation and does not raise it again."""
    suppressing = enclosing(site["function"], site["line"], ast.With)
    for item in suppressing.items if isinstance(suppressing, ast.With) else ():
        if "suppress" in ast.dump(item.context_expr) and _CANCELLATIONS & _names(item.context_expr):
            return item.context_expr.lineno
    block = enclosing(site["function"], site["line"], ast.Try)
    if not isinstance(block, ast.Try):
        return None
    for handler in block.handlers:
        names = _names(handler.type) if handler.type else {"BaseException"}
        if names & _CANCELLATIONS and not any(isinstance(node, ast.Raise) for node in ast.walk(handler)):
            return handler.lineno
    return None


def _names(expression: ast.AST) -> set[str]:
    """What an expression names, such as the classes of exceptions, with or without their modules."""
    nodes = list(ast.walk(expression))
    plain = {node.id for node in nodes if isinstance(node, ast.Name)}
    return plain | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def _leaked_task(record: Record) -> Iterator[Finding]:
    """A task of one test wrote while another one ran, to what that one asks for, and that one failed."""
    for failure in record.failures:
        foreign = [each for each in failure["statements"] if is_of_other_test(each, failure)]
        own = {table for each in failure["statements"] if each not in foreign for table in tables_of(each["sql"])}
        for statement in foreign if overturned(failure) else ():
            made = statement["made"]
            if _table_written(statement, failure) not in own:
                continue
            yield finding(
                "task.leaked_past_test",
                tests=[failure["test"]],
                culprit=at_site(made["site"]),
                explanation=f"The task made at {place(made['site'])} in {made['test']} went on after that test and sent a statement "
                f"while {failure['test']} ran.",
                fix="Await or cancel background tasks before the test ends: keep them in a set and drain it in a fixture's "
                "teardown.",
                confidence=0.9,
                evidence=[f"{statement['sql'][:120]} sent by a task of {made['test']} during {failure['test']}"],
            )
            break


def _leaked_in_memory(record: Record) -> Iterator[Finding]:
    """A task of one test ended in another one, which met what the task had in hand and is written nowhere in that test."""
    for failure in record.failures:
        sources = [failure["function"], *(each["fixture"] for each in failure["fixtures"].values())]
        written_down = "\n".join(line for each in sources if each for line in each["source"])
        site = innermost(failure)
        text = site["text"] if site else ""
        for task in failure["ended"] if asserted(failure) else ():
            shown = [repr(each) for each in task["in_hand"] if each not in written_down]
            asked = [each for each in task["works_on"] if re.search(rf"\b{each}\b", text)]
            if not (shown or asked) or task["test"] == failure["test"]:
                continue
            yield finding(
                "task.leaked_past_test",
                tests=[failure["test"]],
                culprit=at_site(task["site"]),
                explanation=f"The task made at {place(task['site'])} in {task['test']} went on after that test and ended while "
                f"{failure['test']} ran, which met what it left.",
                fix="Await or cancel background tasks before the test ends: keep them in a set and drain it in a fixture's "
                "teardown.",
                confidence=0.91,
                evidence=[f"the assertion looks at {(shown or asked)[0]}, which a task of {task['test']} had in hand"],
            )
            break


def _table_written(statement: Fact, failure: Fact) -> str:
    """The table that a statement writes to, or that its transaction had written to when it commits."""
    if statement["sql"].strip().upper().startswith("COMMIT"):
        writes = (each for each in failure["committed"] if each["connection"] == statement["connection"])
        return next((str(each["table"]) for each in writes if each["test"] == statement["made"]["test"]), "")
    return written(statement["sql"])[1]


def _threads_left(record: Record) -> Iterator[Finding]:
    for fact in record.of("thread_left"):
        started = fact["started"]
        fixture = started["fixture"]
        who = f"the fixture {fixture['name']}" if fixture else started["site"]["name"]
        yield finding(
            "thread.non_daemon_left_running",
            tests=[started["test"]] if started["test"] else [],
            culprit=at_site(started["site"]) or (at_fixture(fixture) if fixture else None),
            explanation=f"The thread {fact['name']} that {who} started at {place(started['site'])} still runs after the last test. "
            "It is not a daemon, so the interpreter waits for it and pytest does not exit.",
            fix=f"Close what owns the thread where it is opened: async with around {place(started['site'])}, or close() in the "
            "fixture's teardown.",
            confidence=0.95,
            evidence=[f"{fact['name']} alive after the session, started in {started['test'] or 'an import'}"],
        )


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    _held_loop,
    _self_deadlock,
    _never_awaited,
    _ignores_cancellation,
    _leaked_task,
    _leaked_in_memory,
    _threads_left,
)
