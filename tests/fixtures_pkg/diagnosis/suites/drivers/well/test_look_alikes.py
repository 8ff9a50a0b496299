"""Tests named `..._fails` fail for an ordinary reason: what they expect is wrong."""

import asyncio

import pytest
from conftest import psycopg_engine, sync_engine
from sqlalchemy import text


@pytest.mark.parametrize("number", range(3))
async def test_psycopg_goes_from_loop_to_loop(number):
    async with psycopg_engine.connect() as connection:
        assert await connection.scalar(text("select :n"), {"n": str(number)}) == str(number)


async def test_psycopg_on_another_loop_fails():
    async with psycopg_engine.connect() as connection:
        assert await connection.scalar(text("select 1")) == 2


@pytest.mark.parametrize("number", range(2))
async def test_sync_engine_in_async_tests_fails(number):
    with sync_engine.connect() as connection:
        assert connection.scalar(text("select 1")) == 2


async def test_one_connection_after_another(pool):
    for number in range(3):
        async with pool.acquire(timeout=1) as connection:
            assert await connection.fetchval("select $1::int", number) == number


async def test_deadline_while_a_connection_is_held_fails(pool):
    async with pool.acquire():
        await asyncio.wait_for(asyncio.Event().wait(), 0.1)


def test_boxes_in_browser(browser):
    assert browser.get("/boxes").json() == 2


def test_boxes_in_browser_fails(browser):
    assert browser.get("/boxes").json() == 7


async def test_unreachable_service_fails(client):
    assert (await client.get("http://127.0.0.1:9/")).status_code == 200


@pytest.mark.parametrize("number", range(3))
async def test_engines_are_disposed(engines, number):
    for engine in engines:
        async with engine.connect() as connection:
            assert await connection.scalar(text("select 1")) == 1


def test_session_is_undone(session):
    assert session.scalar(text("select count(*) from box")) == 3


def test_session_is_undone_fails(session):
    assert session.scalar(text("select count(*) from box")) == 4


async def test_tasks_take_turns_on_one_connection(pool):
    lock = asyncio.Lock()

    async def ask(connection, number):
        async with lock:
            return await connection.fetchval("select $1::int", number)

    async with pool.acquire() as connection:
        assert await asyncio.gather(*(ask(connection, number) for number in range(3))) == [0, 1, 2]


async def test_nothing_is_left_in_the_table_fails(pool):
    assert await pool.fetch("select * from box where n > 7") != []
