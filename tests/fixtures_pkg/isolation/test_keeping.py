"""The database of a failed test can be kept, and looked at as the printed line says."""

from __future__ import annotations

import re
import subprocess

import pytest
from pytest_savepoint.databases.clean import clean
from pytest_savepoint.settings import read_settings

FAILING = {
    "test_failing.py": """
from shop import Crate, Session

async def test_fails():
    async with Session() as session:
        session.add(Crate(label="pears"))
        await session.commit()
    assert False

async def test_passes():
    async with Session() as session:
        session.add(Crate(label="apples"))
        await session.commit()
"""
}
ORDER_DEPENDENT = {
    "test_order.py": """
import os

async def test_fails_first():
    first = not os.environ.get("BEEN_HERE")
    os.environ["BEEN_HERE"] = "yes"
    assert not first
"""
}
ASSUMES_AN_ID = {
    "test_ids.py": """
import pytest
from shop import Crate, Session

@pytest.mark.parametrize("time", range(2))
async def test_first_id(time):
    async with Session() as session:
        crate = Crate(label="pears")
        session.add(crate)
        await session.commit()
    assert crate.id == 1
"""
}
HANGS = {
    "test_hanging.py": """
import asyncio
import pytest

@pytest.mark.timeout(1)
async def test_hangs():
    await asyncio.sleep(300)
"""
}
TEN_AND_MORE = {
    "test_many.py": """
import pytest

@pytest.mark.parametrize("number", range(12))
async def test_fails(number):
    assert False
"""
}
ASYNC = ("-o", "asyncio_mode=auto", "-p", "no:randomly")
COMMAND = re.compile(r"^env PGPASSFILE=\S+ psql \S+$", re.MULTILINE)


@pytest.fixture
def own_cache(tmp_path):
    """A cache of this test's own: what is kept there stays."""
    cache = tmp_path / "cache"
    yield cache
    clean(read_settings(tmp_path, environ={}), cache=cache, kept=True)


@pytest.fixture
def keeping(run_suite, own_cache):
    """Run a suite that keeps the databases of failed tests."""
    return lambda suite, *arguments: run_suite(suite, *ASYNC, "--savepoint-keep-failed", *arguments, SAVEPOINT_CACHE=str(own_cache))


def ask(line: str, question: str) -> str:
    """What the printed line, pasted into a shell, gives."""
    done = subprocess.run(["sh", "-c", f"{line} -At -c '{question}'"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr


def can_be_opened_until_it_is_cleaned(line: str, own_cache, folder) -> None:
    assert ask(line, "select label from crate") == "pears"
    settings = read_settings(folder, environ={})
    clean(settings, cache=own_cache)
    assert ask(line, "select label from crate") == "pears"
    clean(settings, cache=own_cache, kept=True)
    assert "pears" not in ask(line, "select label from crate")


@pytest.mark.e2e
def test_database_of_a_failed_test_can_be_opened_with_the_printed_line_until_it_is_cleaned(keeping, own_cache, tmp_path):
    result = keeping(FAILING, "-n", "2")
    assert "1 failed, 1 passed" in result.stdout, result.stdout + result.stderr
    (line,) = COMMAND.findall(result.stdout)
    assert "It failed there, too." in result.stdout
    can_be_opened_until_it_is_cleaned(line, own_cache, tmp_path)


@pytest.mark.e2e
def test_what_the_repetition_of_a_failed_test_showed_is_said_and_one_that_hangs_is_not_repeated(keeping, own_cache, tmp_path):
    files = ("test_ids.py", "test_failing.py", "test_order.py", "test_hanging.py")
    result = keeping(FAILING | ORDER_DEPENDENT | ASSUMES_AN_ID | HANGS, *files)
    assert "4 failed, 2 passed" in result.stdout, result.stdout + result.stderr
    assert "It passed there: the isolation, or chance, has a part in its failure." in result.stdout
    assert "SP512 state.sequence_assumption" in result.stdout
    assert "Seen: test_ids.py::test_first_id[1] passed when it was repeated in a database of its own" in result.stdout
    assert "Timeout (>1.0s) from pytest-timeout." in result.stdout
    _, line, _ = COMMAND.findall(result.stdout)  # none for the one that hangs
    can_be_opened_until_it_is_cleaned(line, own_cache, tmp_path)


@pytest.mark.e2e
def test_a_run_keeps_ten_databases_and_shows_no_password(keeping, own_cache):
    result = keeping(TEN_AND_MORE)
    assert "12 failed" in result.stdout, result.stdout + result.stderr
    assert len(COMMAND.findall(result.stdout)) == 10
    passwords = {line.rpartition(":")[2] for line in (own_cache / "kept.pgpass").read_text().splitlines()}
    assert not [password for password in passwords if password in result.stdout + result.stderr]


@pytest.mark.e2e
def test_nothing_is_kept_unless_asked(run_suite, own_cache):
    result = run_suite(FAILING, *ASYNC, SAVEPOINT_CACHE=str(own_cache))
    assert "1 failed, 1 passed" in result.stdout, result.stdout + result.stderr
    assert "kept" not in result.stdout
    assert not (own_cache / "kept.pgpass").exists()
