"""The laws of isolation, in each way that a suite may run its loops. The laws themselves are in `suites/laws`."""

from __future__ import annotations

import pytest

LAWS = 23
ASYNCPG_LAWS = 2
WAYS = {
    "a loop per test": ["-o", "asyncio_mode=auto"],
    "one loop for all": [
        "-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session",
        "-o", "asyncio_default_fixture_loop_scope=session",
    ],
    "fixtures on a wider loop than tests": [
        "-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=session",
    ],
    "two workers": ["-o", "asyncio_mode=auto", "-n", "2"],
    "rows emptied": ["-o", "asyncio_mode=auto", "--savepoint-isolation", "rows"],
    "rows emptied, one loop for all": [
        "-o", "asyncio_mode=auto", "--savepoint-isolation", "rows", "-o", "asyncio_default_test_loop_scope=session",
        "-o", "asyncio_default_fixture_loop_scope=session",
    ],
    "a clone for each test": ["-o", "asyncio_mode=auto", "--savepoint-isolation", "clone"],
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_laws_hold_with(way, run_suite):
    result = run_suite("laws", *WAYS[way])
    assert f"{LAWS + ASYNCPG_LAWS} passed" in result.stdout, result.stdout + result.stderr


def test_laws_hold_with_psycopg(run_suite):
    result = run_suite("laws", "--ignore=test_asyncpg_laws.py", "-o", "asyncio_mode=auto", LAWS_DRIVER="psycopg", DATABASE_URL="postgresql+psycopg://")
    assert f"{LAWS} passed" in result.stdout, result.stdout + result.stderr
