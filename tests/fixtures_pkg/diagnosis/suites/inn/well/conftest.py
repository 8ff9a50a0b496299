import asyncio
import contextlib
import os
import time

import pytest
from fastapi.testclient import TestClient
from inn import Sign, app, build, engine, hosted_by, pools

pytest_plugins = ["anyio.pytest_plugin"]
os.environ["TZ"] = "America/New_York"
time.tzset()


@pytest.fixture(scope="session", autouse=True)
async def rooms():
    await build()
    yield
    await engine.dispose()


@pytest.fixture
def visitor():
    with TestClient(app) as visitor:
        yield visitor
        for pool in pools:
            visitor.portal.call(pool.close)
        pools.clear()


@pytest.fixture
def named(monkeypatch):
    monkeypatch.setenv("INN_NAME", "The Bear")


@pytest.fixture
async def sign(named):
    return Sign()


@pytest.fixture
def evening():
    with contextlib.ExitStack() as evening:
        evening.enter_context(hosted_by("ann"))
        yield evening


@pytest.fixture
def broken_off():
    yield
    asyncio.run(asyncio.sleep(0))
    raise RuntimeError("Event loop is closed")
