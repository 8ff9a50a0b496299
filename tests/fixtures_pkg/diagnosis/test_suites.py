"""Whole suites with marked faults, and look-alikes that are right: every fault is found at its line, and nothing else."""

from __future__ import annotations

import sys

import pytest

# Each of them is a whole run of pytest, which takes seconds.
pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    "name",
    [
        "narrow",
        "holders",
        "keys",
        "turns",
        "wide",
        "records",
        "background",
        "drivers",
        "layers",
        "bare",
        "aside",
        "inn",
    ],
)
def test_every_marked_line_of_a_sick_suite_is_found_and_no_other(diagnose_suite, name):
    suite = diagnose_suite(f"{name}/sick")
    print(suite.confusion)
    assert suite.pointed_at == suite.marked, suite.output
    assert not suite.faults


@pytest.mark.parametrize(
    "name", ["narrow", "holders", "keys", "turns", "wide", "records", "drivers", "layers", "bare", "aside", "inn"]
)
def test_nothing_is_found_in_a_suite_of_look_alikes(diagnose_suite, name):
    suite = diagnose_suite(f"{name}/well")
    assert suite.findings == [], suite.output
    assert not suite.faults
    failed = [line for line in suite.evidence if line["kind"] == "phase" and line["outcome"] == "failed"]
    assert failed, f"the suite has tests that fail for an ordinary reason\n{suite.output}"


def test_one_cause_that_breaks_many_tests_is_one_finding_with_its_place_in_the_terminal(diagnose_suite):
    suite = diagnose_suite("narrow/sick", "test_warehouse.py")
    assert [len(found["tests"]) for found in suite.findings] == [4], suite.output
    assert "savepoint: findings" in suite.output
    assert "SP101 loop.resource_outlived_loop  warehouse.py:6" in suite.output


def test_findings_of_xdist_workers_reach_the_controller(diagnose_suite):
    suite = diagnose_suite("narrow/sick", "test_warehouse.py", "test_turnstile.py", "-n", "1")
    assert {each["code"] for each in suite.findings} == {"SP101", "SP107"}, suite.output


def test_both_statements_of_a_deadlock_are_told(diagnose_suite):
    suite = diagnose_suite("wide/sick", "test_bank.py", "-k", "transfers_cross")
    evidence = [each["evidence"] for each in suite.findings if each["code"] == "SP601"]
    assert [len([line for line in lines if line.startswith("update account")]) for lines in evidence] == [2], (
        suite.output
    )


def test_what_changed_meanwhile_is_told_of_a_serialization_failure(diagnose_suite):
    suite = diagnose_suite("records/sick", "-k", "shift or doctor or call")
    evidence = [each["evidence"][0] for each in suite.findings if each["code"] == "SP604"]
    assert [line.startswith("in between: update shift") for line in evidence] == [True], suite.output


CELLAR = """
import asyncio
import os

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"])
kept, queue, written = set(), asyncio.Queue(), asyncio.Event()


async def write(line):
    async with engine.begin() as connection:
        await connection.execute(text("insert into visit values (:line)"), {"line": line})
    written.set()


async def write_later(line):
    await asyncio.sleep(0)
    await waiting.wait()
    await write(line)


async def serve():
    while True:
        await write(await queue.get())


@pytest.fixture(scope="session", autouse=True)
async def tables():
    global waiting
    waiting = asyncio.Event()
    async with engine.begin() as connection:
        await connection.execute(text("create table visit (line text)"))
    yield
    for task in kept:
        task.cancel()
    await engine.dispose()


async def count(table):
    async with engine.connect() as connection:
        return await connection.scalar(text(f"select count(*) from {table}"))


async def test_worker_starts():
    kept.add(asyncio.create_task(serve()))


async def test_worker_serves_whoever_asks():
    queue.put_nowait("ann")
    await written.wait()
    assert await count("visit") == 1


async def test_visit_is_written_later():
    kept.add(asyncio.create_task(write_later("bob")))  # SP404
    written.clear()


async def test_visits():
    assert await count("visit") == 1
    waiting.set()
    await written.wait()
"""


def test_task_that_writes_while_another_test_runs_is_named_though_nobody_minds_and_a_worker_is_not(diagnose_suite):
    settings = "[pytest]\nasyncio_mode = auto\n" + "".join(
        f"asyncio_default_{kind}_loop_scope = session\n" for kind in ("fixture", "test")
    )
    suite = diagnose_suite({"test_cellar.py": CELLAR, "pytest.ini": settings}, "-p", "no:randomly")
    assert suite.pointed_at == suite.marked, suite.output
    assert "4 passed" in suite.output


WEATHER = """
import asyncio
import random

PATIENCE = 0.02


async def measure():
    await asyncio.sleep(random.uniform(0.2, 0.3))
    return "sunny"


async def forecast():
    try:
        async with asyncio.timeout(PATIENCE):  # SP609
            return await measure()
    except TimeoutError:
        return None


async def listen(bell):
    try:
        async with asyncio.timeout(PATIENCE):
            return await bell.wait() and await measure()
    except TimeoutError:
        return None


async def test_forecast():
    assert await forecast() == "sunny"


async def test_bell_that_nobody_rings():
    assert await listen(asyncio.Event()) == "sunny"


async def test_forecast_that_may_be_missing():
    assert await forecast() in ("sunny", None)
    assert await measure() == "rainy"
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout() is there since Python 3.11")
def test_deadline_that_the_code_catches_is_named_where_it_ended_work_that_the_test_misses(diagnose_suite):
    suite = diagnose_suite({"test_weather.py": WEATHER, "pytest.ini": "[pytest]\nasyncio_mode = auto\n"})
    assert suite.pointed_at == suite.marked, suite.output
    assert [found["tests"] for found in suite.findings] == [["test_weather.py::test_forecast"]]


GUESTS = """
import os

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
app = FastAPI()


@app.post("/guests/{name}")
async def welcome(name: str):
    async with engine.begin() as connection:
        await connection.execute(text("insert into guest values (:name)"), {"name": name})


@pytest.fixture
async def client():
    async with engine.begin() as connection:
        await connection.execute(text("create table if not exists guest (name text)"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://house") as client:
        yield client


async def count():
    async with engine.connect() as connection:
        return await connection.scalar(text("select count(*) from guest"))


async def test_guest_is_welcomed(client):
    await client.post("/guests/ann")  # SP507


async def test_house_is_empty(client):
    assert await count() == 0
"""


def test_row_committed_through_an_application_is_named_at_the_request_of_the_test(diagnose_suite):
    suite = diagnose_suite(
        {"test_guests.py": GUESTS, "pytest.ini": "[pytest]\nasyncio_mode = auto\n"}, "-p", "no:randomly"
    )
    assert suite.pointed_at == suite.marked, suite.output


ENDLESS = {
    "conftest.py": """
import gc
import os

import pytest


class Endless:
    def __init__(self):
        self.itself = self

    def __del__(self):
        os._exit(9)  # in place of a task that ignores that it is cancelled, and hangs


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary():
    gc.collect()
    Endless()
    gc.set_threshold(300)
""",
    "test_forgetful.py": """
import pytest


async def save():
    pass


@pytest.mark.asyncio
async def test_saves():
    save()
""",
}


def test_findings_are_written_before_what_never_ends_is_collected(diagnose_suite):
    suite = diagnose_suite(ENDLESS)
    assert [each["code"] for each in suite.findings] == ["SP403"], suite.output
    assert suite.evidence[-1]["kind"] == "finished"
