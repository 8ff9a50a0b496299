"""The laws of isolation on SQLite in memory, and what is refused there. The laws themselves are in `suites/sqlite`."""

from __future__ import annotations

import pytest
from pytest_savepoint.errors import SettingsError
from pytest_savepoint.settings import read_settings

LAWS = 20
SETTINGS = {
    "SAVEPOINT_PROVIDER": "sqlite", "SAVEPOINT_SCHEMA": "metadata", "SAVEPOINT_METADATA": "shop:Base",
    "SAVEPOINT_APP": "shop:app",
}  # fmt: skip
WAYS = {
    "a loop per test": [],
    "one loop for all": [
        "-o", "asyncio_default_test_loop_scope=session", "-o", "asyncio_default_fixture_loop_scope=session"
    ],
    "real commits": ["--savepoint-isolation", "rows", "--ignore=test_data_of_a_module.py"],
    "two workers": ["-n", "2"],
}  # fmt: skip


@pytest.fixture
def run_on_sqlite(run_suite, tmp_path):
    """Run a suite on SQLite, with a cache of its own."""

    def run(suite, *arguments, **options):
        given = {**SETTINGS, "SAVEPOINT_CACHE": str(tmp_path / "cache"), **options}
        return run_suite(suite, *arguments, "-o", "asyncio_mode=auto", "-v", **given)

    return run


@pytest.mark.e2e
@pytest.mark.parametrize("way", WAYS)
def test_laws_hold_without_any_server(way, run_on_sqlite, tmp_path):
    result = run_on_sqlite("sqlite", *WAYS[way])
    passed = LAWS - 2 if way == "real commits" else LAWS
    assert f"{passed} passed" in result.stdout, result.stdout + result.stderr
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["sqlite"]
    assert not (tmp_path / "project" / "savepoint-isolation.json").exists()


REFUSED = {
    "test_refused.py": """
import pytest
from shop import Session
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

async def test_database_of_its_own(fresh_database): pass
async def test_independent_sessions(sessions): pass

async def test_engine_for_postgresql():
    async with create_async_engine("postgresql+asyncpg://localhost/shop").connect(): pass
"""
}


@pytest.mark.e2e
def test_test_that_needs_postgresql_is_refused_by_the_name_of_the_setting(run_on_sqlite):
    said = run_on_sqlite(REFUSED, application="sqlite").stdout
    for test in ("database_of_its_own", "independent_sessions"):
        assert f"test_refused.py::test_{test} asks for a database of its own" in said
    assert "An engine for PostgreSQL (asyncpg) was used at" in said
    assert said.count("provider is sqlite") >= 3


@pytest.mark.e2e
def test_types_of_postgresql_fail_with_the_name_of_the_setting(run_on_sqlite):
    model = """
from shop import Base
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

class Host(Base):
    __tablename__ = "host"
    address: Mapped[str] = mapped_column(INET, primary_key=True)
"""
    said = run_on_sqlite({"hosts.py": model}, application="sqlite", SAVEPOINT_METADATA="hosts:Base").stderr
    assert "INET" in said
    assert "It was built for SQLite, because provider is sqlite." in said


def test_settings_that_need_postgresql_are_refused_together(tmp_path):
    wanted = {"isolation": "clone", "sequences": "random", "migration_tests": "true"}
    with pytest.raises(SettingsError) as refused:
        read_settings(tmp_path, flags={"provider": "sqlite", **wanted}, environ={})
    for name in ("isolation clone", "sequences random", "migration-tests"):
        assert f"{name} needs PostgreSQL, but provider is sqlite" in str(refused.value)


MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "one", None

def upgrade():
    op.create_table("crate", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("INSERT INTO crate VALUES (7)")
"""
RUN = "context.configure(connection=connection)\n    with context.begin_transaction():\n        context.run_migrations()"
ENVIRONMENTS = {
    "async": f"""
import asyncio
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def work(connection):
    {RUN}

async def main():
    async with create_async_engine(context.config.get_main_option("sqlalchemy.url")).begin() as connection:
        await connection.run_sync(work)

asyncio.run(main())
""",
    "sync": f"""
import os
from alembic import context
from sqlalchemy import create_engine

with create_engine(os.environ["DATABASE_URL"]).begin() as connection:
    {RUN}
""",
}
MIGRATED = """
from sqlalchemy import text

async def test_rows_of_the_migrations_are_there(db_session):
    assert await db_session.scalar(text("SELECT id FROM crate")) == 7
"""


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_migrations_make_the_tables(kind, run_on_sqlite, tmp_path):
    migrations = tmp_path / "project" / "migrations"
    (migrations / "versions").mkdir(parents=True)
    (migrations / "env.py").write_text(ENVIRONMENTS[kind])
    (migrations / "versions" / "one.py").write_text(MIGRATION)
    files = {"alembic.ini": "[alembic]\nscript_location = migrations\n", "test_it.py": MIGRATED, "conftest.py": ""}
    first = run_on_sqlite(files, application="sqlite", SAVEPOINT_SCHEMA="alembic")
    assert "1 passed" in first.stdout, first.stdout + first.stderr
    if kind == "sync":
        second = run_on_sqlite(files, application="sqlite", SAVEPOINT_SCHEMA="alembic")
        assert "found from alembic" in second.stdout
