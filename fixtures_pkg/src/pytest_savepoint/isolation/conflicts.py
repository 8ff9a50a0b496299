"""The words for what one connection cannot serve: both parties, why, and the way out.

Each is also kept until somebody takes it, because an application may swallow the error, and the test must then be run
again where it can be served all the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pytest_savepoint.databases.audit import Commit
from pytest_savepoint.errors import SandboxError
from pytest_savepoint.isolation.transaction import Transaction

__all__ = [
    "WAY_OUT",
    "broken_by_outer",
    "commit_was_lost",
    "committed_past",
    "connection_was_lost",
    "drivers_mixed",
    "failed_beside",
    "layer_is_elsewhere",
    "layer_was_lost",
    "listens",
    "needs_rollback",
    "no_sandbox_for_driver",
    "not_in_a_transaction",
    "outer_writes",
    "own_connection",
    "own_isolation_level",
    "raw_control",
    "savepoint_is_gone",
    "take_refusals",
    "test_escaped",
    "two_loops_at_once",
    "waited_too_long",
    "waits_were_ended",
]

WAY_OUT = 'mark the test with @pytest.mark.savepoint(isolation="rows"), where commits are real.'
_SHOWN_COMMITS = 5
# Their first lines only: the errors themselves would keep the frames of the test alive.
_refused: deque[str] = deque(maxlen=20)


def take_refusals() -> list[str]:
    """What was refused since the last call."""
    taken = list(_refused)
    _refused.clear()
    return taken


def _refusal(message: str) -> SandboxError:
    _refused.append(message.partition("\n")[0])
    return SandboxError(message)


def raw_control(transaction: Transaction, test: str | None) -> SandboxError:
    return _refusal(
        f"{transaction} sent raw transaction control (BEGIN, COMMIT, ROLLBACK or PREPARE TRANSACTION as text), which "
        f"would end the transaction that isolates {test}.\nUse the session's commit() and rollback(), or {WAY_OUT}"
    )


def broken_by_outer(inner: Transaction, outer: Transaction, test: str | None) -> SandboxError:
    return _refusal(
        f"{inner} was nested in {outer}, which has been rolled back in the meantime and took this one's changes with "
        f"it. On two connections they would be independent, on the one that isolates {test} they must end "
        f"last-in-first-out.\nCommit the outer session before the inner one begins, or {WAY_OUT}"
    )


def commit_was_lost(outer: Transaction, inner: Transaction, test: str | None) -> SandboxError:
    return _refusal(
        f"{outer} was rolled back after {inner} had committed inside it, so that commit is lost here, while on two "
        f"connections it would have stayed. What {test} reads from now on would be wrong.\n"
        f"Commit or close the first session before the second one begins, or {WAY_OUT}"
    )


def outer_writes(outer: Transaction, inner: Transaction, test: str | None) -> SandboxError:
    return _refusal(
        f"{outer} writes while {inner}, which began later, is still open. On two connections that works, on the one "
        f"that isolates {test} transactions must end last-in-first-out.\n"
        f"Commit or close the later session first, or {WAY_OUT}"
    )


def waited_too_long(transaction: Transaction, blocker: Transaction, seconds: float, test: str | None) -> SandboxError:
    return _refusal(
        f"{transaction} waited {seconds:g} s for {blocker}, whose transaction is still open with changes that are not "
        f"committed. On the one connection that isolates {test} only one of them can go on.\n"
        "Commit or close the first session before other tasks use the database, raise sandbox-timeout, or "
        f"{WAY_OUT}"
    )


def needs_rollback(transaction: Transaction) -> SandboxError:
    return _refusal(
        f"{transaction} had an error and was not rolled back before another session used the connection; on a "
        "connection of its own the server would refuse this statement too (current transaction is aborted).\n"
        f"Call rollback() after the error, or {WAY_OUT}"
    )


def savepoint_is_gone(transaction: Transaction) -> SandboxError:
    return _refusal(
        f"{transaction} had an error inside begin_nested() and rolls back to there after another session has used the "
        "connection, for which all that it did had to be rolled back. On a connection of its own the savepoint would have "
        f"stayed.\nLeave begin_nested() before another session is used, or {WAY_OUT}"
    )


def own_isolation_level(level: str, test: str | None) -> SandboxError:
    return _refusal(
        f"A session asks for isolation level {level.replace('_', ' ').upper()} in {test}, but all sessions of a test "
        f"that is isolated by a savepoint share one transaction, which has one level.\nUse the default level there, "
        f"or {WAY_OUT}"
    )


def two_loops_at_once(one: object, other: object, test: str | None) -> SandboxError:
    return _refusal(
        f"Two event loops use the database at the same moment in {test}: one statement is under way on {one!r}, "
        f"another was sent on {other!r}. One connection cannot serve both at once.\n"
        f"Await the first before the second begins, or {WAY_OUT}"
    )


def drivers_mixed(user: object, wanted: str, present: str, test: str | None) -> SandboxError:
    return _refusal(
        f"The session used at {user} needs the driver {wanted}, while {test} has begun with {present}. One connection "
        "speaks with one driver, so the two would not see each other's rows.\nUse one driver for all async engines; "
        "db_session has the driver that the database URL in the environment names, such as postgresql+psycopg://. Or "
        f"{WAY_OUT}"
    )


def connection_was_lost(test: str | None) -> SandboxError:
    return _refusal(
        f"The server connection that isolates {test} was closed by the server or by the test, and all that the test "
        f"did before is gone.\nTo end a backend on purpose, {WAY_OUT}"
    )


def not_in_a_transaction(transaction: Transaction, test: str | None) -> SandboxError:
    return _refusal(
        f"{transaction} sent a statement that PostgreSQL runs outside of transactions only, such as VACUUM or CREATE INDEX "
        f"CONCURRENTLY, but a transaction isolates {test}.\nTo run it, {WAY_OUT}"
    )


def layer_was_lost(layer: str, test: str | None) -> SandboxError:
    return _refusal(
        f"The data that fixtures of {layer} had put into the database were lost with its connection, when an earlier test "
        f"of it escaped or ended its own backend; so {test} cannot run.\nFor that earlier test, {WAY_OUT}"
    )


def layer_is_elsewhere(layer: str, test: str, isolation: str) -> SandboxError:
    return _refusal(
        f"{test} is isolated by {isolation}, but the data of {layer} (db_module_session, db_class_session) are in an open "
        "transaction, which only tests in a savepoint see.\nMove the test out of there, or make its data in the test."
    )


def test_escaped(test: str | None) -> SandboxError:
    return _refusal(
        f"{test} ended the transaction that isolates it, by COMMIT or ROLLBACK inside a longer text or a function, so "
        "what it did before has stayed; the worker's database was made anew after the test.\n"
        f"Use the session's commit() and rollback(), or {WAY_OUT}"
    )


def failed_beside(test: str) -> SandboxError:
    return _refusal(
        f"{test} failed and has used a connection that it made with the driver itself, which sees nothing of what the "
        f"savepoint around the test isolates.\nUse the application's async engine there, or {WAY_OUT}"
    )


def committed_past(test: str | None, commits: Sequence[Commit]) -> SandboxError:
    shown = list(dict.fromkeys(f"  {commit}" for commit in commits))
    more = [f"  and {len(shown) - _SHOWN_COMMITS} more"] if len(shown) > _SHOWN_COMMITS else []
    return _refusal(
        "\n".join(
            [
                (
                    f"While {test} ran, this was committed in its database past the savepoint that isolates it, by a "
                    "subprocess, a thread, a sync driver or a connection of its own:"
                ),
                *shown[:_SHOWN_COMMITS],
                *more,
                f"The worker's database was made anew after the test. Use the application's async engine there, or {WAY_OUT}",
            ]
        )
    )


def waits_were_ended(test: str | None, statements: Sequence[str]) -> SandboxError:
    shown = [f"  {statement}" for statement in dict.fromkeys(statements)]
    return _refusal(
        "\n".join(
            [
                (
                    f"While {test} ran, a subprocess, a thread, a sync driver or a connection of its own waited for a lock "
                    "that the savepoint around the test held, and would have until the test was over, so it was cancelled:"
                ),
                *shown[:_SHOWN_COMMITS],
                f"Use the application's async engine there, or {WAY_OUT}",
            ]
        )
    )


def no_sandbox_for_driver(user: object, driver: str, *, is_async: bool, test: str | None) -> SandboxError:
    return _refusal(
        f"The engine that connects at {user} in {test} has {'an async' if is_async else 'a sync'} driver ({driver}), "
        "whose connection cannot share the transaction that isolates the test: it would not see the test's rows, and "
        f"what it commits would stay.\nUse an async engine with asyncpg or psycopg there, or {WAY_OUT}"
    )


def own_connection(user: object, test: str | None) -> SandboxError:
    return _refusal(
        f"The engine used at {user} in {test} has a connection of its own, from a creator= or async_creator= or from a "
        "sync driver before the test began. It leads to whatever database it was made for, and cannot share the "
        "transaction that isolates the test.\nMake the engine from a URL in tests, with asyncpg or psycopg as its async "
        f"driver, or {WAY_OUT}"
    )


def listens(method: str, test: str | None) -> SandboxError:
    return _refusal(
        f"{method} was called in {test}: PostgreSQL delivers notifications at COMMIT, and in a test that is isolated "
        f"by a savepoint nothing is really committed.\nTo hear them, {WAY_OUT}"
    )
