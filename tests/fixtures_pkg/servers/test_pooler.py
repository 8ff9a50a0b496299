"""A server URL that leads through a real pgbouncer: what it can serve works, and the rest is refused beforehand."""

from __future__ import annotations

import asyncpg
import pytest
from pgbouncer import pgbouncer
from pytest_savepoint.databases.run import DatabaseRun
from pytest_savepoint.errors import GuardError, ServerError
from pytest_savepoint.servers import start_server


@pytest.fixture
def server(make_settings, cache):
    server = start_server(make_settings(), cache=cache)
    yield server
    server.stop()


def test_pooler_that_moves_transactions_between_sessions_is_refused(server, make_settings, cache, tmp_path) -> None:
    with (
        pgbouncer(server.address, tmp_path, mode="transaction") as url,
        pytest.raises(GuardError, match=r"(?s)each transaction another session.*set pool_mode = session"),
    ):
        start_server(make_settings(server_url=url), cache=cache)


def test_pooler_that_knows_no_transactions_is_refused(server, make_settings, cache, tmp_path) -> None:
    with (
        pgbouncer(server.address, tmp_path, mode="statement") as url,
        pytest.raises(ServerError, match=r"is of no use: .*statement pooling mode"),
    ):
        start_server(make_settings(server_url=url), cache=cache)


def test_pooler_that_knows_some_databases_only_is_refused(server, make_settings, cache, tmp_path) -> None:
    with (
        pgbouncer(server.address, tmp_path, mode="session", databases="postgres") as url,
        pytest.raises(GuardError, match=r"knows the databases of its configuration only[^$]*'\* = host=...'"),
    ):
        start_server(make_settings(server_url=url), cache=cache)


async def test_databases_are_made_and_dropped_through_a_pooler_of_sessions(server, make_settings, tmp_path) -> None:
    with pgbouncer(server.address, tmp_path, mode="session") as url:
        run = DatabaseRun.open(make_settings(server_url=url, schema="none"), tmp_path, python="", environ={})
        run.create_databases(["gw0", "gw1"])
        connection = await asyncpg.connect(run.server.address.url(run.database("gw0"), "postgresql"))
        assert await connection.fetchval("select current_database()") == run.database("gw0")
        await connection.close()
        run.close()
    left = await asyncpg.connect(**server.address.connect_arguments("postgres"))
    assert not await left.fetchval("select count(*) from pg_database where datname like $1", f"%{run.id}%")
    await left.close()
