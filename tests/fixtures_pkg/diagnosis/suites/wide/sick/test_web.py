import asyncio
import contextvars

import pytest_asyncio
from fastapi.testclient import TestClient
from web import app, greeting

TRACE = contextvars.ContextVar("trace")


class Trace:
    def begin(self):
        self.token = TRACE.set("begun")
        return self

    def end(self):
        TRACE.reset(self.token)


@pytest_asyncio.fixture
async def trace():
    return Trace().begin()  # SP704


async def test_price(browser):
    assert (await browser.get("/price")).json() == 3


async def test_ping_while_report_is_made(browser):
    async def ping_later():
        await asyncio.sleep(0.01)
        return await browser.get("/ping")

    slow = asyncio.create_task(browser.get("/report"))
    try:
        await asyncio.wait_for(ping_later(), 0.3)
    finally:
        await slow


async def test_known_visitor(known_visitor, browser):
    assert (await browser.get("/hello")).json() == "Eve"


async def test_unknown_visitor(browser):
    assert (await browser.get("/hello")).json() == "nobody"


async def test_french(in_french):
    assert greeting() == "bonjour"


async def test_english():
    assert greeting() == "hello"


async def test_trace_ends(trace):
    trace.end()


def test_customers_over_the_sync_client():
    with TestClient(app) as client:  # SP106
        assert client.get("/customers").json() >= 0


async def test_photo_is_developed():
    ready = asyncio.Event()

    async def develop():
        await asyncio.sleep(0.5)
        ready.set()

    task = asyncio.create_task(develop())
    await asyncio.sleep(0.05)  # SP605
    assert ready.is_set()
    await task
