"""The doctor as people meet it: a suite in the style of old guides made green, and a hook of pre-commit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import LEAN, UV

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SUITES = Path(__file__).parent / "suites"
PRE_COMMIT = "pre-commit==4.7.0"
LIMIT = 300
OLD_CLIENT = "from httpx import AsyncClient\n\n\nasync def test_x(app):\n    AsyncClient(app=app)\n"


def call(*command: str | Path, folder: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environ or os.environ, capture_output=True, text=True, timeout=LIMIT, check=False
    )


def doctor(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call(sys.executable, ROOT / "scripts" / "savepoint", "doctor", *arguments, folder=folder)


def pytest_with_savepoint(folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    environ["PYTHONPATH"] = str(ROOT / "fixtures_pkg" / "src")
    return call(sys.executable, "-m", "pytest", "-q", *LEAN, "-p", "pytest_savepoint.plugin", folder=folder, environ=environ)


@pytest.mark.parametrize("style", sorted(each.name for each in SUITES.iterdir()))
def test_old_suite_runs_green_after_the_edits_and_once_is_enough(style, tmp_path):
    suite = tmp_path / style
    shutil.copytree(SUITES / style, suite)
    assert pytest_with_savepoint(suite).returncode == 1
    moved = doctor(suite, "--migrate", "--fix")
    assert moved.returncode == 1, moved.stderr
    assert "add pytest-savepoint to the dependencies of the tests" in moved.stdout
    after = pytest_with_savepoint(suite)
    assert after.returncode == 0, after.stdout
    again = doctor(suite, "--migrate", "--diff")
    assert (again.returncode, again.stdout) == (0, "")


def test_session_in_several_tasks_is_left_to_people(tmp_path):
    suite = tmp_path / "suite"
    shutil.copytree(SUITES / "session_loop", suite)
    test = "\n\nasync def test_at_once(db_session):\n    await asyncio.gather(*[db_session.get(Note, n) for n in (1, 2)])\n"
    with (suite / "tests" / "test_notes.py").open("a") as file:
        file.write(test.replace(".get(Note, n)", ".scalar(n)"))
    moved = doctor(suite, "--migrate", "--fix")
    assert "SP301 session.shared_across_tasks  tests/test_notes.py" in moved.stdout
    assert "SP301" in doctor(suite).stdout


@pytest.fixture
def repository(tmp_path) -> Path:
    """A repository whose hooks come from this checkout, as it is."""
    hooks, repository = tmp_path / "hooks", tmp_path / "repository"
    shutil.copytree(ROOT / "scripts", hooks / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "fixtures_pkg", hooks / "fixtures_pkg", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    repository.mkdir()
    for folder in (hooks, repository):
        call("git", "init", "--quiet", folder=folder)
    revision = commit(hooks)
    config = {"repos": [{"repo": str(hooks), "rev": revision, "hooks": [{"id": "savepoint-doctor"}]}]}
    (repository / ".pre-commit-config.yaml").write_text(json.dumps(config))
    return repository


def commit(folder: Path) -> str:
    call("git", "add", "--all", folder=folder)
    who = ("-c", "user.name=O. Cat", "-c", "user.email=o@cat.example")
    made = call("git", *who, "commit", "--quiet", "--no-verify", "-m", "change", folder=folder)
    assert made.returncode == 0, made.stderr
    return call("git", "rev-parse", "HEAD", folder=folder).stdout.strip()


def run_hook(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call(UV, "tool", "run", "--quiet", "--from", PRE_COMMIT, "pre-commit", "run", *arguments, folder=folder)


def test_hook_examines_what_is_committed_with_the_whole_project_in_view(repository):
    (repository / "test_old.py").write_text(OLD_CLIENT)
    (repository / "conftest.py").write_text("import pytest\n\n\n@pytest.fixture\nasync def number():\n    return 1\n")
    commit(repository)
    test = "import pytest\n\n\n@pytest.mark.asyncio\nasync def test_y(number):\n    assert number == 1\n"
    (repository / "test_new.py").write_text(test)
    call("git", "add", "--all", folder=repository)
    staged = run_hook(repository)
    assert staged.returncode == 0, staged.stdout + staged.stderr
    everything = run_hook(repository, "--all-files")
    assert everything.returncode == 1
    assert "SP705 framework.client_app_removed  test_old.py:5 (test_x)" in everything.stdout
    assert "SP501 fixture.async_fixture_not_handled  conftest.py:4 (number)" in everything.stdout


def test_hook_that_fixes_changes_the_file_and_passes_the_second_time(repository):
    config = repository / ".pre-commit-config.yaml"
    config.write_text(config.read_text().replace('"savepoint-doctor"', '"savepoint-doctor-fix"'))
    (repository / "test_old.py").write_text(OLD_CLIENT)
    call("git", "add", "--all", folder=repository)
    assert run_hook(repository).returncode == 1
    assert "transport=ASGITransport(app=app)" in (repository / "test_old.py").read_text()
    call("git", "add", "--all", folder=repository)
    second = run_hook(repository)
    assert second.returncode == 0, second.stdout
