"""Whatever several sessions of one task do, the sandbox ends like independent connections would, or says that it cannot."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies
from pytest_savepoint.databases.run import DatabaseRun
from pytest_savepoint.errors import SandboxError
from pytest_savepoint.isolation.engines import SharedEngines
from pytest_savepoint.settings import read_settings
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

SESSIONS = 2
REFUSALS = ("last-in-first-out", "is lost here", "was not rolled back")
BUILD = Path(__file__).parent / "suites" / "laws" / "build_schema.py"


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedEngines]:
    project = tmp_path_factory.mktemp("project")
    flags = {"schema": "command", "migrate_command": f"{sys.executable} {BUILD}"}
    run = DatabaseRun.open(read_settings(project, flags=flags), project, python=sys.executable, environ=dict(os.environ))
    run.create_databases(["main"])
    engines = SharedEngines(run.server.address, run.database("main"), timeout=2)
    yield engines
    engines.close()
    run.close()


class Expected:
    """What independent connections would have committed."""

    def __init__(self) -> None:
        self.committed: set[str] = set()
        self.pending: list[list[set[str]]] = [[set()] for _ in range(SESSIONS)]

    def insert(self, session: int, label: str) -> None:
        self.pending[session][-1].add(label)

    def end(self, session: int, *, commit: bool) -> None:
        if commit:
            self.committed |= set().union(*self.pending[session])
        self.pending[session] = [set()]

    def visible_to_all(self) -> set[str]:
        return set(self.committed)


STEPS = strategies.lists(
    strategies.tuples(
        strategies.integers(0, SESSIONS - 1),
        strategies.sampled_from(
            ["insert"] * 4 + ["commit"] * 3 + ["rollback"] * 3 + ["read", "fail", "nest", "unnest", "cancel"]
        ),
    ),
    min_size=5,
    max_size=10,
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(steps=STEPS)
@example([(0, "insert"), (1, "insert"), (1, "commit"), (0, "rollback")])
@example([(0, "insert"), (1, "insert"), (0, "rollback"), (1, "commit")])
@example([(0, "insert"), (1, "insert"), (0, "commit"), (1, "rollback")])
@example([(0, "insert"), (1, "insert"), (0, "commit"), (1, "rollback"), (0, "insert"), (0, "commit")])
@example([(0, "insert"), (1, "read"), (1, "fail"), (0, "read"), (0, "commit")])
@example([(0, "insert"), (1, "insert"), (1, "commit"), (0, "commit"), (1, "insert"), (1, "rollback")])
def test_any_interleaving_ends_as_on_independent_connections_or_is_named(engines, steps):
    engines.sandbox.enter("a generated test")
    refusal = ""
    try:
        expected, found = asyncio.run(play(steps))
    except SandboxError as error:
        refusal, expected, found = str(error), set(), set()
    finally:
        engines.sandbox.leave()
    assert found == expected
    assert not refusal or any(words in refusal for words in REFUSALS)
    assert asyncio.run(rows_from_outside(engines)) == 0


async def play(steps: list[tuple[int, str]]) -> tuple[set[str], set[str]]:
    engine = create_async_engine("postgresql+asyncpg://nobody@nowhere.invalid/nothing")
    sessions = [AsyncSession(engine) for _ in range(SESSIONS)]
    nested: list[list] = [[] for _ in range(SESSIONS)]
    expected = Expected()
    for number, (index, step) in enumerate(steps):
        session = sessions[index]
        if step == "insert":
            await session.execute(text("INSERT INTO crate (label) VALUES (:label)"), {"label": str(number)})
            expected.insert(index, str(number))
        elif step == "read":
            own = set().union(*expected.pending[index])
            assert own <= await labels(session)
        elif step == "nest":
            nested[index].append(await session.begin_nested())
            expected.pending[index].append(set())
        elif step == "unnest" and nested[index]:
            await nested[index].pop().rollback()
            expected.pending[index].pop()
        elif step == "fail":
            with pytest.raises(IntegrityError):
                await session.execute(text("INSERT INTO crate (label) VALUES (NULL)"))
            await end(session, nested[index], commit=False)
            expected.end(index, commit=False)
        elif step == "cancel":
            task = asyncio.create_task(session.execute(text("SELECT pg_sleep(10)")))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await end(session, nested[index], commit=False)
            expected.end(index, commit=False)
        elif step in ("commit", "rollback"):
            await end(session, nested[index], commit=step == "commit")
            expected.end(index, commit=step == "commit")
    for index, session in enumerate(sessions):
        await end(session, nested[index], commit=False)
        await session.close()
    async with AsyncSession(engine) as last:
        found = await labels(last)
    await engine.dispose()
    return expected.committed, found


async def end(session: AsyncSession, nested: list, *, commit: bool) -> None:
    nested.clear()
    # A commit of the session commits its open savepoints too; a rollback ends only the innermost.
    while session.in_transaction():
        await (session.commit() if commit else session.rollback())


async def labels(session: AsyncSession) -> set[str]:
    return set((await session.scalars(text("SELECT label FROM crate"))).all())


async def rows_from_outside(engines: SharedEngines) -> int:
    engine = create_async_engine("postgresql+asyncpg://nobody@nowhere.invalid/nothing")
    async with engine.connect() as connection:
        count = (await connection.execute(text("SELECT count(*) FROM crate"))).scalar_one()
    await engine.dispose()
    return count
