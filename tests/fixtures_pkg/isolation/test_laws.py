"""The laws of isolation, in each way that a suite may run its loops. The laws themselves are in `suites/laws`."""

from __future__ import annotations

import pytest
from pgbouncer import pgbouncer
from programs import OTHER_VERSIONS, path_with_postgresql
from pytest_savepoint.servers import start_server
from pytest_savepoint.settings import read_settings

LAWS = 41
ASYNCPG_LAWS = 2
# Not learned: a test that is refused in a savepoint would pass all the same, a rung higher.
SAVEPOINT = ["-o", "asyncio_mode=auto", "--savepoint-isolation", "savepoint"]
WAYS = {
    "a loop per test": SAVEPOINT,
    "one loop for all": [
        *SAVEPOINT, "-o", "asyncio_default_test_loop_scope=session",
        "-o", "asyncio_default_fixture_loop_scope=session",
    ],
    "fixtures on a wider loop than tests": [*SAVEPOINT, "-o", "asyncio_default_fixture_loop_scope=session"],
    "two workers": [*SAVEPOINT, "-n", "2"],
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
@pytest.mark.parametrize(
    ("version", "way"),
    [
        *((version, "a loop per test") for version in OTHER_VERSIONS),
        ("14", "a clone for each test"),  # which has one way only to copy a database
        ("17", "rows emptied"),
    ],
)
def test_laws_hold_with_each_version_of_the_server(version, way, run_suite):
    result = run_suite("laws", *WAYS[way], PATH=path_with_postgresql(version), SAVEPOINT_POSTGRES_VERSION=version)
    assert f"{LAWS + ASYNCPG_LAWS} passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.e2e
def test_laws_hold_with_psycopg(run_suite):
    result = run_suite("laws", "--ignore=test_asyncpg_laws.py", *SAVEPOINT, LAWS_DRIVER="psycopg", DATABASE_URL="postgresql+psycopg://")
    assert f"{LAWS} passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.e2e
def test_laws_hold_through_a_pooler_of_sessions(run_suite, tmp_path):
    server = start_server(read_settings(tmp_path, environ={}), cache=tmp_path / "cache")
    with pgbouncer(server.address, tmp_path, mode="session") as url:
        result = run_suite("laws", *SAVEPOINT, SAVEPOINT_SERVER_URL=url)
    server.stop()
    assert f"{LAWS + ASYNCPG_LAWS} passed" in result.stdout, result.stdout + result.stderr


WAYS_TO_UNDO = ("savepoint", "rows", "clone")
SEQUENCES = {
    f"test_{isolation}.py": f"""
import pytest
from shop import Crate, Session

pytestmark = pytest.mark.savepoint(isolation="{isolation}")

@pytest.mark.parametrize("time", range(3))
async def test_first_id(time):
    async with Session() as session:
        crate = Crate(label="apples")
        session.add(crate)
        await session.commit()
    with open("{isolation}.txt", "a") as file:
        print(crate.id, file=file)
"""
    for isolation in WAYS_TO_UNDO
}


@pytest.mark.parametrize("sequences", ["keep", "reset", "random"])
@pytest.mark.e2e
def test_sequences_stand_where_the_setting_says(sequences, run_suite, tmp_path):
    # The clones first: a sequence that is kept goes on from one test to the next, whatever undoes their rows.
    files = ("test_clone.py", "test_savepoint.py", "test_rows.py")
    result = run_suite(SEQUENCES, "-o", "asyncio_mode=auto", "--savepoint-sequences", sequences, "-p", "no:randomly", *files)
    assert "9 passed" in result.stdout, result.stdout + result.stderr
    ids = {
        isolation: [int(line) for line in (tmp_path / "project" / f"{isolation}.txt").read_text().split()]
        for isolation in WAYS_TO_UNDO
    }
    if sequences == "reset":
        assert all(each == [1, 1, 1] for each in ids.values())
    elif sequences == "keep":
        assert ids == {"clone": [1, 1, 1], "savepoint": [1, 2, 3], "rows": [4, 5, 6]}
    else:
        assert all(len(set(each)) == 3 and min(each) > 100_000 for each in ids.values())
