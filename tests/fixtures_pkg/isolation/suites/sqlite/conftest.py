"""After every test a connection of its own looks into the database; what it finds fails the test that was last."""

import asyncio

import pytest
from shop import engine
from sqlalchemy import text


async def tables():
    async with engine.connect() as connection:
        names = await connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'kept'"))
        return {name: await connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in names.all()}


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    outcome = yield
    outcome.get_result()
    if "db_module_session" in item.fixturenames:
        return  # what is around its tests goes with the last of them
    loop = asyncio.new_event_loop()
    left = loop.run_until_complete(tables())
    loop.close()
    assert left == {"crate": 0, "apple": 0, "sqlite_sequence": 0}, f"{item.nodeid} left {left}"
