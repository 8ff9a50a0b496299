"""Evidence changes no outcome and keeps nothing alive, whoever runs the loops: each suite runs without it, then with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Each of them is two whole runs of pytest.
pytestmark = pytest.mark.e2e

SOURCE = Path(__file__).parents[3] / "fixtures_pkg" / "src"

# Both runs in one process, since most of such a suite's time is the start of the interpreter.
TWICE = """
import json, sys
import pytest
import pytest_savepoint.plugin as plugin

WATCH = plugin.start_watching, plugin.observe

class Outcomes:
    def __init__(self):
        self.seen = []
        self.facts = 0

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report):
        crash = getattr(report.longrepr, "reprcrash", None)
        self.seen.append([report.nodeid, report.when, report.outcome, crash and crash.message])
        self.facts += len(getattr(report, "savepoint", {}).get("facts", ()))

def run(evidence):
    plugin.start_watching, plugin.observe = WATCH if evidence else [lambda *_, **__: None] * 2
    outcomes = Outcomes()
    plugins = ["pytest_asyncio.plugin", "anyio.pytest_plugin", "pytest_savepoint.plugin", "no:cacheprovider"]
    options = [option for name in plugins for option in ("-p", name)]
    code = pytest.main(["-q", *options, "--savepoint-isolation", "none", "test_it.py"], [outcomes])
    sys.modules.pop("test_it", None)
    return {"code": int(code), "outcomes": outcomes.seen, "facts": outcomes.facts}

without, with_ = run(False), run(True)
print("\\n" + json.dumps([without, with_]))
"""

COLLECTED = """
import asyncio, gc, weakref
import pytest

born = []

def remember(*things):
    born.extend(map(weakref.ref, things))
    return things[0]

def test_nothing_is_kept_alive():
    gc.collect()
    assert born
    assert [each() for each in born if each() is not None] == []
"""

UVLOOP = """
import uvloop

async def work():
    task = remember(asyncio.create_task(asyncio.sleep(0)), asyncio.get_running_loop())
    await task
    return await asyncio.gather(asyncio.sleep(0, 1), asyncio.to_thread(lambda: 2))

def test_runs():
    assert uvloop.run(work()) == [1, 2]

def test_lock_of_another_loop():
    lock = asyncio.Lock()
    async def contend():
        await asyncio.gather(*(hold(lock) for _ in range(2)))
    uvloop.run(contend())
    uvloop.run(contend())

async def hold(lock):
    async with lock:
        await asyncio.sleep(0)
"""

ANYIO = """
import anyio

pytestmark = pytest.mark.anyio

@pytest.fixture(params=BACKENDS)
def anyio_backend(request):
    return request.param

@pytest.fixture
async def bell():
    yield anyio.Event()

async def test_task_group(bell):
    async with anyio.create_task_group() as group:
        remember(bell)
        group.start_soon(bell.wait)
        await anyio.sleep(0)
        bell.set()

async def test_scope_is_cancelled():
    with anyio.move_on_after(0) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught

async def test_thread():
    assert await anyio.to_thread.run_sync(lambda: 1) == 2

async def test_time_is_up():
    with anyio.fail_after(0.01):
        await anyio.sleep_forever()
"""

TEST_CLIENT = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient

lock = asyncio.Lock()
done = []

@asynccontextmanager
async def lifespan(app):
    remember(asyncio.get_running_loop(), asyncio.create_task(asyncio.sleep(0)))
    yield {"started": True}

async def greet(request):
    async with lock:
        return PlainTextResponse(str(request.state.started), background=BackgroundTask(done.append, 1))

async def echo(socket):
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()

app = Starlette(routes=[Route("/", greet), WebSocketRoute("/echo", echo)], lifespan=lifespan)

@pytest.mark.parametrize("turn", [1, 2])
def test_request(turn):
    with TestClient(app) as client:
        assert client.get("/").text == "True"
        with client.websocket_connect("/echo") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "hello"
    assert len(done) == turn

def test_nothing_there():
    with TestClient(app) as client:
        assert client.get("/nowhere").status_code == 200
"""

THREADS = """
import queue, threading
from concurrent.futures import ThreadPoolExecutor
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

async def ask(number):
    engine = create_async_engine("sqlite+aiosqlite://")
    async with AsyncSession(engine) as session:
        remember(session, asyncio.get_running_loop(), asyncio.current_task())
        found = await session.scalar(text("select :number"), {"number": number})
    await engine.dispose()
    return found

def test_a_loop_in_each_thread():
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda number: asyncio.run(ask(number)), range(6))) == list(range(6))

def test_a_loop_that_runs_in_another_thread():
    loop = remember(asyncio.new_event_loop())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert asyncio.run_coroutine_threadsafe(ask(7), loop).result(10) == 8
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

async def put(numbers):
    numbers.put_nowait(await ask(3))

@pytest.mark.asyncio
async def test_beside_the_suites_own_loop():
    numbers = queue.Queue()
    thread = threading.Thread(target=asyncio.run, args=[put(numbers)])
    thread.start()
    assert await asyncio.to_thread(numbers.get, timeout=10) == 3
    thread.join()
"""

FORKS = """
import multiprocessing, os

async def work(number):
    task = remember(asyncio.create_task(asyncio.sleep(0, number)))
    return await task

def run(number):
    return asyncio.run(work(number))

def test_pool_of_forks():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(run, range(4)) == [0, 1, 2, 3]

def test_child_that_ends_by_itself():
    child = os.fork()
    if child == 0:
        os._exit(run(7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert run(1) == 2

@pytest.mark.asyncio
async def test_fork_under_a_running_loop():
    remember(asyncio.get_running_loop())
    child = os.fork()
    if child == 0:
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
"""

SUITES = {
    "uvloop": UVLOOP,
    "anyio": f'BACKENDS = ["asyncio"]\n{ANYIO}',
    "anyio on trio": f'BACKENDS = ["trio"]\n{ANYIO}',
    "TestClient": TEST_CLIENT,
    "threads": THREADS,
    "forks": FORKS,
}


@pytest.mark.parametrize("name", SUITES)
def test_outcomes_are_those_without_evidence(name, tmp_path):
    first, last = COLLECTED.split("def test_nothing")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    (tmp_path / "test_it.py").write_text(f"{first}\n{SUITES[name]}\ndef test_nothing{last}")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SAVEPOINT_"))}
    kept["SAVEPOINT_EVIDENCE"] = str(tmp_path / "evidence.jsonl")
    environ = {**kept, "PYTHONPATH": str(SOURCE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TWICE],
        cwd=tmp_path,
        env=environ,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    without, watched = json.loads(done.stdout.splitlines()[-1])
    assert _plain(watched) == _plain(without), done.stdout
    outcomes = {outcome for _, _, outcome, _ in watched["outcomes"]}
    assert outcomes == {"passed", "failed"}, done.stdout
    assert _outcome(watched, "test_nothing_is_kept_alive") == "passed", done.stdout
    assert watched["facts"] > without["facts"] == 0


def _plain(run: dict[str, Any]) -> list[Any]:
    """The outcomes, with the addresses of objects left out of the messages."""
    return [[*rest, message and message.partition(" at 0x")[0]] for *rest, message in run["outcomes"]]


def _outcome(run: dict[str, Any], test: str) -> str:
    return next(outcome for nodeid, when, outcome, _ in run["outcomes"] if nodeid.endswith(test) and when == "call")
