"""The package that users install: built as a wheel, without its source, with plain pytest."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from programs import UV

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PROJECT = {
    "pyproject.toml": '[tool.pytest.ini_options]\nasyncio_mode = "auto"\n',
    "alembic.ini": "[alembic]\nscript_location = migrations\n",
    "migrations/env.py": """
import asyncio, os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def upgrade(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    async with create_async_engine(os.environ["DATABASE_URL"]).begin() as connection:
        await connection.run_sync(upgrade)

asyncio.run(main())
""",
    "migrations/versions/0001_letters.py": """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None

def upgrade():
    op.create_table("letter", sa.Column("id", sa.Integer, primary_key=True))
""",
    "test_letters.py": """
import pytest
from sqlalchemy import text

@pytest.mark.parametrize("turn", [1, 2])
async def test_committed_letter_is_gone(db_session, turn):
    assert await db_session.scalar(text("SELECT count(*) FROM letter")) == 0
    await db_session.execute(text("INSERT INTO letter VALUES (1)"))
    await db_session.commit()
""",
}


def test_installed_wheel_isolates_a_project_with_migrations(make_environment, tmp_path):
    source = shutil.copytree(
        ROOT / "fixtures_pkg", tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__", "dist")
    )
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", source], check=True)
    shutil.rmtree(source)
    (wheel,) = tmp_path.glob("dist/*.whl")
    python = make_environment("newest", str(wheel), "alembic", "pytest-asyncio")
    for name, text in PROJECT.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    hidden = ("PYTHONPATH", "PYTEST_", "SAVEPOINT_", "DATABASE_URL")
    environ = {name: text for name, text in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        [python.with_name("pytest")], cwd=tmp_path / "project", capture_output=True, text=True, check=False,
        env=environ | {"SAVEPOINT_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "from alembic" in done.stdout
