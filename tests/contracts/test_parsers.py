"""action.yml and every workflow are accepted by GitHub's own parser, its schemas, and a security linter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_savepoint.cache import cache_directory

ROOT = Path(__file__).parents[2]
ACTIONS = ["action.yml", "scripts/cleanup_action/action.yml", "scripts/post_action/action.yml"]
WORKFLOWS = sorted(
    str(file.relative_to(ROOT))
    for folder in (".github/workflows", "workflows")
    for file in (ROOT / folder).glob("*.yml")
)

Faults = dict[str, list[str]]


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def parse() -> Callable[..., Faults]:
    """GitHub's own parser: the faults of each file, by its name under a root."""
    installed = run(Path(__file__).parent / "workflow_parser" / "install", cache_directory(os.environ))
    assert installed.returncode == 0, installed.stderr
    folder = Path(installed.stdout.strip())

    def faults_of(*files: str, root: Path = ROOT) -> Faults:
        done = run("node", "--import", "./json_modules.mjs", "check.mjs", root, *files, cwd=folder)
        assert done.returncode == 0, done.stderr
        faults: Faults = json.loads(done.stdout)
        return faults

    return faults_of


def test_githubs_parser_finds_no_fault(parse: Callable[..., Faults]) -> None:
    files = [*ACTIONS, *WORKFLOWS]
    assert parse(*files) == {file: [] for file in files}


def test_githubs_parser_would_find_a_fault(parse: Callable[..., Faults], tmp_path: Path) -> None:
    """The check itself works: what a composite may not have, and an input that a called workflow does not have."""
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    action = (ROOT / "action.yml").read_text()
    (tmp_path / "action.yml").write_text(action.replace("using: composite", "using: composite\n  services: {}"))
    called = ".github/workflows/savepoint.yml"
    (tmp_path / called).write_text((ROOT / called).read_text())
    caller = (ROOT / "workflows" / "matrix.yml").read_text()
    (tmp_path / "caller.yml").write_text(caller.replace("postgres-versions", "postgres-version"))
    faults = parse("action.yml", "caller.yml", root=tmp_path)
    assert ["services" in faults["action.yml"][0], "postgres-version " in faults["caller.yml"][0]] == [True, True]


@pytest.mark.parametrize(("kind", "files"), [("actions", ACTIONS), ("workflows", WORKFLOWS)])
def test_githubs_schemas_accept_the_files(kind: str, files: list[str]) -> None:
    done = run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.github-{kind}", *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_security_linter_has_no_finding() -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    done = run(zizmor, "--offline", "--no-progress", "--config", ".github/zizmor.yml", *ACTIONS, *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr
