"""Every PostgreSQL engine of a process is led to one database, whatever URL or options it was made with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_savepoint.databases.clean import clean
from pytest_savepoint.engines import lead_engines_to
from pytest_savepoint.servers import Server, start_server
from pytest_savepoint.settings import read_settings
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

WHERE = text("select current_database() || ' as ' || current_user")
ELSEWHERE = "nobody:wrong@127.0.0.1:1/production"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    cache = tmp_path_factory.mktemp("cache")
    settings = read_settings(cache, environ={})
    server = start_server(settings, cache=cache)
    yield server
    server.stop()
    clean(settings, cache=cache)


@pytest.fixture
def led(server: Server) -> Iterator[None]:
    undo = lead_engines_to(server.address, "template1")
    yield
    undo()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://{ELSEWHERE}?sslmode=verify-full&connect_timeout=2",
        f"postgresql+psycopg://{ELSEWHERE.replace('127.0.0.1:1', '')}?host=one:1&host=two:2",
        f"postgresql+psycopg2://{ELSEWHERE}?sslmode=require&sslrootcert=/nowhere",
        f"postgresql+pg8000://{ELSEWHERE}",
        "postgresql+psycopg2://",
    ],
)
def test_sync_engine_is_led_to_the_database(led: None, url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(WHERE) == "template1 as postgres"
    engine.dispose()


@pytest.mark.parametrize(
    "url", [f"postgresql+asyncpg://{ELSEWHERE}?ssl=require", f"postgresql+psycopg://{ELSEWHERE}?sslmode=require"]
)
async def test_async_engine_is_led_to_the_database(led: None, url: str) -> None:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        assert await connection.scalar(WHERE) == "template1 as postgres"
    await engine.dispose()


async def test_creator_among_the_connect_arguments_is_not_asked(led: None) -> None:
    async def create(*args: object, **kwargs: object) -> None:
        pytest.fail("the caller's creator was asked")

    engine = create_async_engine("postgresql+asyncpg://", connect_args={"async_creator_fn": create})
    async with engine.connect() as connection:
        assert await connection.scalar(WHERE) == "template1 as postgres"
    await engine.dispose()


def test_engine_made_before_is_led_too_and_other_databases_are_left_alone(server: Server) -> None:
    earlier, sqlite = create_engine(f"postgresql+psycopg://{ELSEWHERE}"), create_engine("sqlite://")
    undo = lead_engines_to(server.address, "template1")
    with earlier.connect() as connection, sqlite.connect() as other:
        assert connection.scalar(WHERE) == "template1 as postgres"
        assert other.scalar(text("select sqlite_version() is not null")) == 1
    undo()
    earlier.dispose()
    sqlite.dispose()


def test_the_callers_other_options_are_kept(led: None) -> None:
    engine = create_engine(
        f"postgresql+psycopg://{ELSEWHERE}", connect_args={"application_name": "shop", "options": "-c work_mem=7MB"}
    )
    with engine.connect() as connection:
        assert connection.scalar(text("select current_setting('application_name')")) == "shop"
        assert connection.scalar(text("show work_mem")) == "7MB"
    engine.dispose()


def test_redirect_needs_nothing_but_sqlalchemy() -> None:
    code = "import sys; import pytest_savepoint.engines; print('asyncpg' in sys.modules, 'pytest' in sys.modules)"
    source = Path(__file__).parents[2] / "fixtures_pkg" / "src"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=source)
    assert shown.stdout.split() == ["False", "False"]
