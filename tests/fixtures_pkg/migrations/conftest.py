"""A project with Alembic whose migrations are tests, run by pytest in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import LEAN

SOURCE = Path(__file__).parents[3] / "fixtures_pkg" / "src"

_RUN = "context.configure(connection=connection, target_metadata={metadata})\n    with context.begin_transaction():\n        context.run_migrations()"
_ENVIRONMENTS = {
    "async": """
import asyncio, os, sqlalchemy as sa
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine
from models import metadata

def work(connection):
    RUN

async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with engine.connect() as connection:
        await connection.run_sync(work)
        await connection.commit()
    await engine.dispose()

asyncio.run(main())
""",
    "sync": """
import os
from alembic import context
from sqlalchemy import create_engine
from models import metadata

with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    RUN
""",
}

_REVISION = """
import sqlalchemy as sa
from alembic import op
revision = "{revision}"
down_revision = {down!r}
{head}
def upgrade():
    {up}

def downgrade():
    {back}
"""


class Migrated:
    """A project whose models and migrations agree, with one table and some rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def begin(self, env: str = "async", metadata: str = "metadata") -> None:
        self.write("alembic.ini", "[alembic]\nscript_location = migrations\n")
        self.write("migrations/env.py", _ENVIRONMENTS[env].replace("RUN", _RUN.format(metadata=metadata)))
        self.write("pyproject.toml", '[tool.savepoint]\nmigration-tests = true\n[tool.pytest.ini_options]\npythonpath = ["."]\n')
        self.models('sa.Column("id", sa.Integer, primary_key=True)')
        self.write("tests/test_one.py", "def test_one(): pass\n")
        self.revision(
            "0001", up='op.create_table("users", sa.Column("id", sa.Integer, primary_key=True))', back='op.drop_table("users")'
        )
        self.revision("0002", "0001", up='op.execute("insert into users values (1), (2)")', back='op.execute("delete from users")')

    def models(self, columns: str) -> None:
        self.write("models.py", f'import sqlalchemy as sa\nmetadata = sa.MetaData()\nsa.Table("users", metadata, {columns})\n')

    def revision(self, revision: str, down: str | None = None, *, up: str, back: str = "pass", head: str = "") -> str:
        name = f"migrations/versions/{revision}_step.py"
        self.write(name, _REVISION.format(revision=revision, down=down, up=up, back=back, head=head))
        return name

    def test(self, *arguments: str, **variables: str) -> Tested:
        """Run pytest in the project."""
        command = [sys.executable, "-m", "pytest", "-p", "no:savepoint", *LEAN, "-p", "pytest_savepoint.plugin", "-rA", *arguments]
        hidden = ("PYTEST_", "SAVEPOINT_", "DATABASE_URL")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        evidence = self.folder / "evidence.jsonl"
        environment |= {"PYTHONPATH": str(SOURCE), "SAVEPOINT_EVIDENCE": str(evidence), **variables}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return Tested(done, evidence)


class Tested:
    """What pytest said, and what it left as evidence."""

    __test__ = False

    def __init__(self, done: subprocess.CompletedProcess[str], evidence: Path) -> None:
        self.exit = done.returncode
        self.said = done.stdout + done.stderr
        lines = evidence.read_text().splitlines() if evidence.exists() else []
        self.evidence: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def outcomes(self) -> dict[str, str]:
        return {
            line["nodeid"].partition("::")[2]: line["outcome"]
            for line in self.evidence
            if line["kind"] == "phase" and line["when"] == "call"
        }


@pytest.fixture
def migrated(tmp_path: Path) -> Migrated:
    return Migrated(tmp_path / "project")


