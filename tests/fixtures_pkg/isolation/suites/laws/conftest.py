"""After every test a second connection looks into the worker's database; what it finds fails the test that was last."""

import os

import psycopg
import pytest


def rows_seen_from_outside() -> int:
    url = os.environ["DATABASE_URL"].replace("+asyncpg", "").replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT count(*) FROM crate").fetchone()[0]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    outcome = yield
    outcome.get_result()
    assert rows_seen_from_outside() == 0, f"{item.nodeid} left rows behind"


@pytest.fixture
def seen_from_outside():
    return rows_seen_from_outside
