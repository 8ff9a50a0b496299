"""What a test asks of the database is counted, and a block can be held to a number of statements."""

from __future__ import annotations

import json

import pytest

SUITE = {
    "test_queries.py": """
import pytest
from shop import Crate, Session, store
from sqlalchemy import select, text

async def test_loop_of_selects(assert_queries):
    async with Session() as session:
        for number in range(12):
            await session.execute(select(Crate).where(Crate.id == number))
        with assert_queries(1):
            await session.execute(text("SELECT 1"))
        with assert_queries(at_most=2) as statements:
            await session.execute(text("SELECT 2"))
        assert statements == ["SELECT 2"]

async def test_too_many(assert_queries):
    with assert_queries(1):
        await store("apples")
        await store("pears")

def test_without_a_database():
    pass
"""
}


@pytest.fixture
def evidence(run_suite, tmp_path):
    file = tmp_path / "evidence.jsonl"
    result = run_suite(SUITE, "-o", "asyncio_mode=auto", "-n", "1", SAVEPOINT_EVIDENCE=str(file))
    lines = map(json.loads, file.read_text().splitlines())
    return result.stdout, {
        line["nodeid"].partition("::")[2]: line["queries"]
        for line in lines
        if line["kind"] == "phase" and line["when"] == "teardown"
    }


@pytest.mark.e2e
def test_statements_are_counted_per_test_and_one_in_a_loop_is_shown(evidence):
    output, queries = evidence
    assert "1 failed, 2 passed" in output, output
    loop = queries["test_loop_of_selects"]
    assert loop["count"] >= 14
    assert loop["repeated"]["times"] == 12
    assert "FROM crate" in loop["repeated"]["statement"]
    assert 0 < loop["slowest"]["seconds"] <= loop["seconds"]
    assert queries["test_without_a_database"] is None
    assert "2 statements were sent, 1 wanted:" in output
    assert "2 x INSERT INTO crate" in output
