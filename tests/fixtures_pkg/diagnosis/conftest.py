"""Running a whole suite in a pytest of its own and reading the findings that it ended with."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from programs import LEAN
from pytest_savepoint.databases.clean import clean
from pytest_savepoint.servers import Server, start_server
from pytest_savepoint.settings import read_settings

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "fixtures_pkg" / "src"


@dataclass(frozen=True)
class Diagnosed:
    """A suite that has run: what the terminal showed, and the lines of the evidence file."""

    folder: Path
    output: str
    evidence: list[dict[str, Any]]

    @property
    def findings(self) -> list[dict[str, Any]]:
        return [line for line in self.evidence if line["kind"] == "finding"]

    @property
    def faults(self) -> list[str]:
        return [line["text"] for line in self.evidence if line["kind"] == "warning"]

    @property
    def pointed_at(self) -> set[tuple[str, str, int]]:
        return {(each["code"], each["culprit"]["path"], each["culprit"]["line"]) for each in self.findings}

    @property
    def marked(self) -> set[tuple[str, str, int]]:
        """The lines at which the suite itself says, in a comment, what is wrong."""
        return {
            (code, path.relative_to(self.folder).as_posix(), number)
            for path in self.folder.rglob("*.py")
            for number, line in enumerate(path.read_text().splitlines(), 1)
            for code in re.findall(r"# (SP\d{3})", line)
        }

    @property
    def confusion(self) -> str:
        """A table of the marked faults and of what was found, for who reads the tests' output."""
        rows = sorted(self.marked | self.pointed_at)
        words = {(True, True): "found", (True, False): "MISSED", (False, True): "FALSE ALARM"}
        lines = [f"{words[row in self.marked, row in self.pointed_at]:<12}{row[0]}  {row[1]}:{row[2]}" for row in rows]
        right = len(self.marked & self.pointed_at)
        return "\n".join(
            [
                *lines,
                f"{right} of {len(self.marked)} faults at their lines, {len(self.pointed_at - self.marked)} false alarms",
            ]
        )


Diagnose = Callable[..., Diagnosed]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    cache = tmp_path_factory.mktemp("cache")
    server = start_server(read_settings(cache, environ={}), cache=cache)
    yield server
    server.stop()
    clean(read_settings(cache, environ={}), cache=cache)


@pytest.fixture
def diagnose_suite(tmp_path: Path, server: Server) -> Diagnose:
    """Copy one side of a suite of `suites/` and what both have, or write the files given; run pytest there in observe mode."""

    def diagnose(suite: str | dict[str, str], *arguments: str) -> Diagnosed:
        folder = tmp_path / "suite"
        if isinstance(suite, str):
            name, _, side = suite.partition("/")
            for part in ("both", side):
                if (source := HERE / "suites" / name / part).is_dir():
                    shutil.copytree(source, folder, dirs_exist_ok=True)
        else:
            folder.mkdir()
            for name, text in suite.items():
                (folder / name).write_text(text)
        database = f"suite_{uuid.uuid4().hex[:12]}"
        asyncio.run(_create(server, database))
        evidence = tmp_path / "evidence.jsonl"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SAVEPOINT_"))}
        environ = {
            **kept,
            "PYTHONPATH": str(SOURCE),
            "DATABASE_URL": server.address.url(database),
            "SAVEPOINT_EVIDENCE": str(evidence),
        }
        command = [
            sys.executable, "-m", "pytest", "-p", "no:savepoint", *LEAN, "-p", "pytest_savepoint.plugin",
            "--savepoint-isolation", "none", "-p", "no:cacheprovider", *arguments,
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
        )
        lines = evidence.read_text().splitlines() if evidence.exists() else []
        return Diagnosed(folder, done.stdout + done.stderr, [json.loads(line) for line in lines])

    return diagnose


async def _create(server: Server, database: str) -> None:
    connection = await asyncpg.connect(**server.address.connect_arguments("postgres"))
    await connection.execute(f'create database "{database}"')
    await connection.close()
