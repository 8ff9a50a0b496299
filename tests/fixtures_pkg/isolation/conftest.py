"""Running a suite as its author would: pytest in a process of its own, with the plugin."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import LEAN

SUITES = Path(__file__).parent / "suites"
SOURCE = SUITES.parents[3] / "fixtures_pkg" / "src"


@pytest.fixture
def run_suite(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Copy a suite of `suites/`, or write the files given, and run pytest on it."""

    def run(
        suite: str | dict[str, str], *arguments: str, application: str = "laws", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        project = tmp_path / "project"
        # A suite without an application tests on the tables and the application of another.
        shutil.copytree(SUITES / application, project, ignore=shutil.ignore_patterns("test_*"), dirs_exist_ok=True)
        if isinstance(suite, str):
            shutil.copytree(SUITES / suite, project, dirs_exist_ok=True)
        else:
            for name, text in suite.items():
                (project / name).write_text(text)
        (project / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["."]\n')
        command = [sys.executable, "-m", "pytest", "-p", "no:savepoint", *LEAN, "-p", "pytest_savepoint.plugin", "-q"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SAVEPOINT_RUN"))}
        environment = {
            **inherited,
            "PYTHONPATH": str(SOURCE),
            "SAVEPOINT_SCHEMA": "command",
            "SAVEPOINT_MIGRATE_COMMAND": f"{sys.executable} build_schema.py",
            **variables,
        }
        return subprocess.run(
            [*command, *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run
