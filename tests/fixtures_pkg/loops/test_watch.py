"""The watch observes: it keeps nothing alive, puts everything back, and never fails the code it looks at."""

from __future__ import annotations

import asyncio
import gc
import resource
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from pytest_savepoint.evidence import Recorder
from pytest_savepoint.loops.watch import Watch
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch(Recorder(), Path(__file__).parent)
    watch.start()
    yield watch
    watch.stop()


def test_loops_tasks_and_engines_are_collected_as_without_the_watch(watch):
    seen: list[weakref.ref[object]] = []

    async def work() -> None:
        task = asyncio.create_task(asyncio.sleep(0))
        seen.extend([weakref.ref(task), weakref.ref(asyncio.get_running_loop())])
        assert watch.tasks.made(task) is not None
        assert watch.loops.running() is not None
        await task

    asyncio.run(work())
    seen.append(weakref.ref(create_engine("postgresql+psycopg://nobody@127.0.0.1/nothing")))
    gc.collect()
    assert [each() for each in seen] == [None, None, None]


def test_task_in_which_sqlalchemy_closes_a_session_is_not_taken_for_the_callers(watch):
    closing: list[asyncio.Task[object]] = []

    class Session(AsyncSession):
        async def close(self) -> None:
            task = asyncio.current_task()
            assert task is not None
            closing.append(task)
            await super().close()

    async def work() -> None:
        async with Session(create_async_engine("postgresql+asyncpg://nobody@127.0.0.1/nothing")):
            pass
        assert asyncio.current_task() not in closing
        assert [watch.tasks.made(task) for task in closing] == [None]

    asyncio.run(work())


def test_stopping_puts_every_original_back():
    places = [
        (asyncio.BaseEventLoop, "create_task"),
        (asyncio.BaseEventLoop, "_run_once"),
        (asyncio.events, "set_event_loop"),
        (threading.Thread, "start"),
        (Engine, "__init__"),
        (asyncpg.connection.Connection, "execute"),
    ]
    before = [vars(owner)[name] for owner, name in places]
    watch = Watch(Recorder(), Path(__file__).parent)
    watch.start()
    during = [vars(owner)[name] for owner, name in places]
    watch.stop()
    assert all(one is not other for one, other in zip(before, during, strict=True))
    assert [vars(owner)[name] for owner, name in places] == before


def test_an_observation_that_fails_leaves_the_observed_code_alone(watch, monkeypatch):
    monkeypatch.setattr(watch.caller, "owns", lambda filename: 1 / 0)

    async def work() -> str:
        return await asyncio.create_task(asyncio.sleep(0, "done"))

    assert asyncio.run(work()) == "done"


def test_a_task_carries_the_line_that_made_it(watch):
    async def work() -> dict[str, object]:
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        return watch.tasks.made(task)["site"]

    site = asyncio.run(work())
    assert (site["path"], site["name"]) == ("test_watch.py", "work")
    assert "task = asyncio.create_task" in Path(__file__).read_text().splitlines()[site["line"] - 1]


def test_a_loop_is_named_after_who_runs_it(watch):
    async def work() -> dict[str, object]:
        return watch.loops.running()

    loop = asyncio.run(work())
    assert loop["maker"] == "asyncio.run"
    assert loop["site"]["name"] == "test_a_loop_is_named_after_who_runs_it"
    assert watch.loops.now(loop)["closed"]


def test_transaction_is_forgotten_with_its_connection(watch):
    connection = create_engine("sqlite://").connect()
    connection.exec_driver_sql("SELECT 1")
    assert len(watch.history.open_transactions()) == 1
    connection.invalidate()
    assert watch.history.open_transactions() == []


def test_tests_after_which_the_process_holds_more_are_named(watch):
    kept: list[object] = []
    # Growth below the highest that this process has been is not looked at.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    gc.collect()
    for name in ("first", "frugal", "greedy", "thrifty", "circular"):
        kept.append(b"x" * (peak - now + 16 * 2**20) if name == "greedy" else None)
        if name == "circular":
            for circle in ([] for _ in range(3_000)):
                circle.append(circle)
            gc.collect()
        watch.recorder.test = name
        watch.growth.look()
    watch.growth.note()
    grown = watch.recorder.take()[-1]
    assert [each["test"] for each in grown["tests"]] == ["greedy", "circular"]
    assert [each["cycles"] > 2_900 for each in grown["tests"]] == [False, True]
    assert grown["last"]["bytes"] - grown["first"]["bytes"] > 2**22
