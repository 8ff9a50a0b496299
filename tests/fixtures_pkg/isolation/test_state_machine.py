"""Whatever several sessions do, each step in the sandbox ends as on connections to a plain database, or is refused by name.

A generated program runs twice: on sessions of the sandbox, and on connections of their own to another clone of the same
template. What each step gave is compared; sessions touch rows of their own only, because on connections of their own
they would wait for each other for ever.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies
from pytest_savepoint.databases.run import DatabaseRun
from pytest_savepoint.errors import SandboxError
from pytest_savepoint.isolation.engines import SharedEngines
from pytest_savepoint.settings import read_settings
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

SESSIONS = 2
TOGETHER = 3
REFUSALS = ("last-in-first-out", "is lost here", "savepoint would have stayed")
NOT_ROLLED_BACK = "was not rolled back"
FAILED = "25P02"
"""What PostgreSQL answers to everything but a rollback in a transaction in which a statement has failed."""
BUILD = Path(__file__).parent / "suites" / "laws" / "build_schema.py"

STEPS = strategies.lists(
    strategies.tuples(
        strategies.integers(0, SESSIONS - 1),
        strategies.sampled_from(
            ["insert"] * 4
            + ["commit"] * 3
            + ["rollback"] * 3
            + ["read", "look", "change", "remove", "fail", "stumble", "nest", "back", "release", "together"]
            + ["cancel 0", "cancel 1", "cancel 2", "cancel 4", "cancel 8"]
        ),
    ),
    min_size=5,
    max_size=12,
)


class Session(Protocol):
    """One party of a program, with a transaction from its first statement on."""

    async def execute(self, sql: str) -> list[str]: ...
    async def nest(self) -> None: ...
    async def back(self) -> None: ...
    async def release(self) -> None: ...
    async def end(self, *, commit: bool) -> None: ...


class OfTheSandbox:
    def __init__(self, engine: AsyncEngine) -> None:
        self._session = AsyncSession(engine)
        self._nested: list[Any] = []

    async def execute(self, sql: str) -> list[str]:
        result = await self._session.execute(text(sql))
        return sorted(result.scalars()) if result.returns_rows else []

    async def nest(self) -> None:
        self._nested.append(await self._session.begin_nested())

    async def back(self) -> None:
        await self._nested.pop().rollback()

    async def release(self) -> None:
        await self._nested.pop().commit()

    async def end(self, *, commit: bool) -> None:
        self._nested.clear()
        # A commit of the session commits its open savepoints too; a rollback ends only the innermost.
        while self._session.in_transaction():
            await (self._session.commit() if commit else self._session.rollback())

    async def close(self) -> None:
        with suppress(SandboxError, DBAPIError):
            await self._session.close()


class OfTheDatabase:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._depth = 0

    async def execute(self, sql: str) -> list[str]:
        if not self._connection.is_in_transaction():
            await self._connection.execute("BEGIN")
        return sorted(row[0] for row in await self._connection.fetch(sql))

    async def nest(self) -> None:
        self._depth += 1
        await self.execute(f"SAVEPOINT s{self._depth}")

    async def back(self) -> None:
        await self.execute(f"ROLLBACK TO SAVEPOINT s{self._depth}")
        self._depth -= 1

    async def release(self) -> None:
        await self.execute(f"RELEASE SAVEPOINT s{self._depth}")
        self._depth -= 1

    async def end(self, *, commit: bool) -> None:
        self._depth = 0
        await self._connection.execute("COMMIT" if commit else "ROLLBACK")


@dataclass
class Party:
    """A session, and what the program knows of it."""

    session: Session
    prefix: str
    depth: int = 0
    is_open: bool = False
    failed: bool = False

    def may(self, step: str) -> bool:
        if step in ("back", "release"):
            return self.depth > 0 and not (self.failed and step == "release")
        if step == "commit":
            return not (self.failed and self.depth)
        return step in ("insert", "rollback") or not self.failed

    async def take(self, step: str, number: int) -> object:
        """What the step gave: rows, or the SQLSTATE of its error."""
        if step in ("commit", "rollback"):
            self.depth, self.is_open, self.failed = 0, False, False
            return await self.session.end(commit=step == "commit")
        self.is_open = True
        if step == "back":
            self.depth, self.failed = self.depth - 1, False
            return await self.session.back()
        if step in ("nest", "release"):
            self.depth += 1 if step == "nest" else -1
            return await (self.session.nest() if step == "nest" else self.session.release())
        own = f"label LIKE '{self.prefix}%'"
        statements = {
            "insert": f"INSERT INTO crate (label) VALUES ('{self.prefix}{number}')",
            "change": f"UPDATE crate SET label = label || '!' WHERE {own}",
            "remove": f"DELETE FROM crate WHERE {own}",
            "fail": "INSERT INTO crate (label) VALUES (NULL)",
            "stumble": "SELECT (1 / 0)::text",
            "read": f"SELECT label FROM crate WHERE {own}",
            "look": "SELECT label FROM crate",
        }
        try:
            return await self.session.execute(statements[step])
        except (DBAPIError, asyncpg.PostgresError) as error:
            self.failed = True
            return getattr(error, "orig", error).sqlstate


class Place:
    """Where a program runs."""

    def __init__(self, sessions: list[Session]) -> None:
        self.parties = [Party(session, f"s{number}-") for number, session in enumerate(sessions)]
        self.trace: list[object] = []

    async def play(self, steps: list[tuple[int, str]]) -> None:
        programmed, helpers = self.parties[:SESSIONS], self.parties[SESSIONS:]
        for number, (index, step) in enumerate(steps):
            party = programmed[index]
            if step == "together":
                await asyncio.gather(*(_alone(helper, number) for helper in helpers))
            elif not party.may(step.split()[0]):
                continue
            elif step == "look" and any(other.is_open for other in programmed if other is not party):
                continue  # what others have not committed is seen in the sandbox, and on connections of their own not
            elif step.startswith("cancel"):
                await self._cancel(party, number, ticks=int(step.split()[1]))
            else:
                self.trace.append((number, step, await party.take(step, number)))
        for party in programmed:
            await party.take("rollback", len(steps))
        self.trace.append(await helpers[0].take("look", len(steps)))
        await helpers[0].take("rollback", len(steps))

    async def _cancel(self, party: Party, number: int, *, ticks: int) -> None:
        """Cancel a statement after so many turns of the loop, wherever it is by then; its transaction is rolled back."""
        task = asyncio.create_task(party.take("insert", number))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and isinstance(task.exception(), SandboxError):
            raise task.exception()
        await party.take("rollback", number)


async def _alone(party: Party, number: int) -> None:
    await party.take("insert", number)
    await party.take("rollback" if party.prefix == "s3-" else "commit", number)


class Laboratory:
    """The sandbox and the plain database, on one event loop."""

    def __init__(self, run: DatabaseRun, driver: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.engines = SharedEngines(run.server.address, run.database("main"), timeout=2)
        self._engine = create_async_engine(f"postgresql+{driver}://nobody@nowhere.invalid/nothing")
        arguments = run.server.address.connect_arguments(run.database("plain"))
        connecting = (asyncpg.connect(**arguments) for _ in range(SESSIONS + TOGETHER))
        self._connections = [self.loop.run_until_complete(each) for each in connecting]

    async def in_the_database(self, steps: list[tuple[int, str]]) -> list[object]:
        place = Place([OfTheDatabase(connection) for connection in self._connections])
        try:
            await place.play(steps)
        finally:
            await self._connections[0].execute("DELETE FROM crate")
        return place.trace

    async def in_the_sandbox(self, steps: list[tuple[int, str]]) -> tuple[list[object], str]:
        sessions = [OfTheSandbox(self._engine) for _ in range(SESSIONS + TOGETHER)]
        place = Place(sessions)
        refusal = ""
        try:
            await place.play(steps)
        except SandboxError as error:
            refusal = str(error)
        finally:
            for session in sessions:
                await session.close()
        return place.trace, refusal

    async def left_behind(self) -> int:
        async with self._engine.connect() as connection:
            return (await connection.execute(text("SELECT count(*) FROM crate"))).scalar_one()

    def close(self) -> None:
        self.loop.run_until_complete(self._engine.dispose())
        self.engines.close()
        for connection in self._connections:
            connection.terminate()
        self.loop.close()


@pytest.fixture(scope="module", params=["asyncpg", pytest.param("psycopg", marks=pytest.mark.e2e)])
def laboratory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    project = tmp_path_factory.mktemp("project")
    flags = {"schema": "command", "migrate_command": f"{sys.executable} {BUILD}"}
    run = DatabaseRun.open(read_settings(project, flags=flags), project, python=sys.executable, environ=dict(os.environ))
    run.create_databases(["main", "plain"])
    laboratory = Laboratory(run, request.param)
    yield laboratory
    laboratory.close()
    run.close()


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(steps=STEPS)
@example([(0, "insert"), (1, "insert"), (1, "commit"), (0, "rollback")])
@example([(0, "insert"), (1, "insert"), (0, "rollback"), (1, "commit")])
@example([(0, "insert"), (1, "insert"), (0, "commit"), (1, "rollback")])
@example([(0, "insert"), (1, "insert"), (0, "commit"), (1, "rollback"), (0, "insert"), (0, "commit")])
@example([(0, "insert"), (1, "read"), (1, "fail"), (0, "read"), (0, "commit")])
@example([(0, "insert"), (1, "insert"), (1, "commit"), (0, "commit"), (1, "insert"), (1, "rollback")])
@example([(0, "nest"), (0, "insert"), (0, "fail"), (0, "insert"), (0, "back"), (0, "insert"), (0, "commit"), (1, "look")])
@example([(0, "insert"), (0, "commit"), (1, "together"), (0, "change"), (0, "cancel 2"), (0, "look")])
@example([(0, "insert"), (1, "insert"), (1, "together"), (0, "rollback"), (1, "rollback")])
@example([(1, "nest"), (1, "fail"), (0, "read"), (1, "back")])
@example([(0, "insert"), (1, "insert"), (0, "stumble"), (1, "commit")])
@example([(0, "insert"), (1, "insert"), (0, "stumble"), (1, "insert"), (1, "commit")])
@example([(0, "insert"), (1, "read"), (1, "stumble"), (0, "commit")])
@example([(0, "insert"), (1, "insert"), (1, "commit"), (0, "stumble"), (1, "look")])
@example([(0, "insert"), (1, "insert"), (1, "commit"), (0, "stumble"), (1, "read")])
@example([(1, "nest"), (1, "stumble"), (0, "insert")])
@example([(1, "fail"), (0, "stumble"), (0, "together"), (1, "commit")])
@example([(0, "cancel 4"), (1, "fail"), (1, "rollback"), (0, "insert"), (0, "commit")])
def test_any_program_ends_step_for_step_as_in_a_plain_database_or_is_named(laboratory, steps):
    loop, sandbox = laboratory.loop, laboratory.engines.sandbox
    expected = loop.run_until_complete(laboratory.in_the_database(steps))
    sandbox.enter("a generated test")
    try:
        found, refusal = loop.run_until_complete(laboratory.in_the_sandbox(steps))
    finally:
        sandbox.leave()
    assert found == (expected[: len(found)] if refusal else expected)
    if NOT_ROLLED_BACK in refusal:
        assert FAILED in expected[len(found)], "only where the server would refuse, too"
    else:
        assert not refusal or any(words in refusal for words in REFUSALS)
    assert loop.run_until_complete(laboratory.left_behind()) == 0
