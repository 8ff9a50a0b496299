"""The example's suite in the oldest and the newest environment that are supported."""

from __future__ import annotations

import asyncpg
import pytest
from pytest_savepoint.servers import start_server
from pytest_savepoint.settings import read_settings

pytestmark = pytest.mark.e2e

SESSION_LOOPS = (
    "-o", "asyncio_default_test_loop_scope=session", "-o", "asyncio_default_fixture_loop_scope=session",
)  # fmt: skip
REQUIREMENTS = ("--requirements", "examples/shop/pyproject.toml", "--extra", "test", "psycopg[binary]")
CORNERS = {
    "oldest": (
        "3.10",
        ("tomli", "pytest<9", "pytest-asyncio==0.24.*", "sqlalchemy==2.0.*", "asyncpg==0.29.*"),
        ("-n", "2", "-o", "asyncio_mode=strict"),
    ),
    "newest": ("newest", ("pytest-randomly",), ("-n", "3", *SESSION_LOOPS)),
}
OURS = "select array_agg(datname::text) from pg_database where datname like 'savepoint%'"


async def test_two_corners_at_once_on_one_server_are_green_and_leave_nothing(example, make_corner):
    server = start_server(read_settings(example.project.parent, environ={}), cache=example.cache)
    example.environ["SAVEPOINT_SERVER_URL"] = server.address.url("postgres", "postgresql")
    runs = {}
    for corner, (version, pins, arguments) in CORNERS.items():
        python = make_corner(version, *REQUIREMENTS, *pins)
        runs[corner] = example.start_pytest(python, "-p", "second_look", *arguments)
    printed = {corner: run.communicate()[0] for corner, run in runs.items()}
    for corner, run in runs.items():
        assert run.returncode == 0, f"{corner}:\n{printed[corner]}"
    connection = await asyncpg.connect(**server.address.connect_arguments("postgres"))
    assert [name for name in await connection.fetchval(OURS) if not name.startswith("savepoint_t_")] == []
    code, log = example.tool("clean")
    assert code == 0, log
    assert await connection.fetchval(OURS) is None
    await connection.close()
    server.stop()
