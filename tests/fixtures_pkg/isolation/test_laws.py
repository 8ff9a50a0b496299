"""The laws of isolation, in each way that a suite may run its loops. The laws themselves are in `suites/laws`."""

from __future__ import annotations

import pytest

LAWS = 35
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


@pytest.mark.parametrize(
    "way", [way if way == "a loop per test" else pytest.param(way, marks=pytest.mark.e2e) for way in WAYS]
)
def test_laws_hold_with(way, run_suite):
    result = run_suite("laws", *WAYS[way])
    assert f"{LAWS + ASYNCPG_LAWS} passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.e2e
def test_laws_hold_with_psycopg(run_suite):
    result = run_suite("laws", "--ignore=test_asyncpg_laws.py", "-o", "asyncio_mode=auto", LAWS_DRIVER="psycopg", DATABASE_URL="postgresql+psycopg://")
    assert f"{LAWS} passed" in result.stdout, result.stdout + result.stderr


SEQUENCES = {
    "test_sequences.py": """
import pytest
from shop import Crate, Session

@pytest.mark.parametrize("time", range(3))
async def test_first_id(time, request):
    async with Session() as session:
        crate = Crate(label="apples")
        session.add(crate)
        await session.commit()
    with open("ids.txt", "a") as file:
        print(crate.id, file=file)
"""
}


@pytest.mark.parametrize("isolation", ["savepoint", "rows", "clone"])
@pytest.mark.parametrize("sequences", ["keep", "reset", "random"])
@pytest.mark.e2e
def test_sequences_stand_where_the_setting_says(isolation, sequences, run_suite, tmp_path):
    settings = ("--savepoint-isolation", isolation, "--savepoint-sequences", sequences, "-p", "no:randomly")
    result = run_suite(SEQUENCES, "-o", "asyncio_mode=auto", *settings)
    assert "3 passed" in result.stdout, result.stdout + result.stderr
    ids = [int(line) for line in (tmp_path / "project" / "ids.txt").read_text().split()]
    if sequences == "reset" or (sequences == "keep" and isolation == "clone"):
        assert ids == [1, 1, 1]
    elif sequences == "keep":
        assert ids == [1, 2, 3]
    else:
        assert len(set(ids)) == 3
        assert min(ids) > 100_000
