"""Who is behind a statement is told exactly, though most of the stack is not looked at again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_savepoint.evidence import Recorder
from pytest_savepoint.loops.watch import Watch
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.pool import StaticPool


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch(Recorder(), Path(__file__).parent)
    watch.start()
    watch.recorder.test, watch.recorder.when = "test_it", "call"
    yield watch
    watch.stop()


@pytest.fixture(params=[True, False], ids=["fixtures may run", "the test runs"])
def session(watch: Watch, request: pytest.FixtureRequest) -> AsyncSession:
    watch.caller.fixtures_run = request.param
    return AsyncSession(create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool))


def names(watch: Watch, sql: str) -> list[list[str]]:
    """The functions behind each statement with this text, innermost first."""
    return [[site["name"] for site in each["stack"]] for each in watch.history.of_test("test_it") if each["sql"] == sql]


async def ask(session: AsyncSession) -> None:
    await session.execute(text("select 1"))


def test_function_that_listens_within_a_greenlet_is_told_where_the_same_statement_came_without_it(watch, session):
    waiting = ["select 2"]

    def listen(state: ORMExecuteState) -> None:
        while waiting:
            state.session.execute(text(waiting.pop()))

    async def work() -> None:
        async with session:
            await ask(session)
            await session.execute(text("select 2"))
            event.listen(session.sync_session, "do_orm_execute", listen)
            await ask(session)

    asyncio.run(work())
    assert [each[:2] for each in names(watch, "select 1")] == [["ask", "work"]] * 2
    assert [each[0] for each in names(watch, "select 2")] == ["work", "listen"]


def test_function_that_is_run_in_a_greenlet_is_told_for_each_of_its_statements(watch, session):
    def insert(connection: Any) -> None:
        for _ in range(2):
            connection.execute(text("select 3"))

    async def work() -> None:
        async with session.bind.connect() as connection:
            await _run(connection, insert)

    asyncio.run(work())
    assert [each[:2] for each in names(watch, "select 3")] == [["insert", "_run"]] * 2
    assert {each[0] for each in names(watch, "BEGIN")} == {"insert"}


async def _run(connection: AsyncConnection, work: Any) -> None:
    await connection.run_sync(work)


def test_two_runs_of_one_loop_are_told_apart(watch, session):
    loop = asyncio.new_event_loop()

    def first() -> None:
        loop.run_until_complete(ask(session))

    def second() -> None:
        loop.run_until_complete(ask(session))

    first()
    second()
    loop.run_until_complete(session.close())
    loop.run_until_complete(session.bind.dispose())
    loop.close()
    assert [each[:2] for each in names(watch, "select 1")] == [["ask", "first"], ["ask", "second"]]
