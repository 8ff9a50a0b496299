"""After every test a second connection looks into the worker's database; a row more or less fails that test."""

from __future__ import annotations

import os

import psycopg
import pytest

_at_first: dict[str, int] = {}


def rows() -> dict[str, int]:
    with psycopg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "")) as connection:
        tables = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return {table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    if not _at_first:
        _at_first.update(rows())


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    outcome = yield
    outcome.get_result()
    assert rows() == _at_first, f"{item.nodeid} left something behind"
