"""The documentation says what the files say, its samples run, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_savepoint.errors import ExitCode
from pytest_savepoint.settings import read_settings
from read_yaml import read_yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md")]
PAGES += [ROOT / "fixtures_pkg/README.md", ROOT / "examples/shop/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED: dict[Path, str] = runpy.run_path(str(ROOT / "docs" / "generate.py"))["generated_files"]()

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:py|toml))\n")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_page_is_what_the_generator_gives(path: Path) -> None:
    assert path.read_text() == GENERATED[path], "write it anew: uv run docs/generate.py"


def samples(page: str) -> dict[str, str]:
    """The code blocks of a page whose first line names a file."""
    blocks = [text for _, text in FENCE.findall((ROOT / page).read_text())]
    return {named[1]: text for text in blocks if (named := FILE.match(text))}


@pytest.mark.e2e
def test_samples_pass(tmp_path: Path) -> None:
    files = samples("README.md") | samples("docs/isolation.md")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "SAVEPOINT_RUN"))}
    plugins = ["-p", "no:savepoint", "-p", "pytest_savepoint.plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins], cwd=tmp_path, text=True, capture_output=True, check=False,
        env={**inherited, "PYTHONPATH": str(ROOT / "fixtures_pkg" / "src")}, timeout=120,
    )  # fmt: skip
    wanted = sum(text.count("def test_") for text in files.values())
    assert f"{wanted} passed" in done.stdout, done.stdout + done.stderr


def test_settings_in_samples_exist(tmp_path: Path) -> None:
    blocks = [text for page in PAGES for kind, text in FENCE.findall(page.read_text()) if kind == "toml"]
    tables = [text for text in blocks if "[tool.savepoint]" in text]
    assert tables
    for text in tables:
        (tmp_path / "pyproject.toml").write_text(text)
        read_settings(tmp_path, environ={})


@every_page
def test_workflow_samples_are_files_of_workflows(page: Path) -> None:
    workflows = [read_yaml(file.read_text()) for file in (ROOT / "workflows").glob("*.yml")]
    for kind, text in FENCE.findall(page.read_text()):
        if kind == "yaml" and not text.startswith("repos:"):
            assert read_yaml(text) in workflows


@every_page
def test_hooks_in_samples_exist(page: Path) -> None:
    known = {each["id"] for each in read_yaml((ROOT / ".pre-commit-hooks.yaml").read_text())}
    for kind, text in FENCE.findall(page.read_text()):
        if kind == "yaml" and text.startswith("repos:"):
            hooks = (hook for repository in read_yaml(text)["repos"] for hook in repository["hooks"])
            assert {hook["id"] for hook in hooks} <= known


@every_page
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    prose = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("http://", "https://")):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if heading:
            assert heading in {anchor(line) for line in file.read_text().splitlines() if line.startswith("#")}, target


def anchor(heading: str) -> str:
    """The name that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-")


def exit_codes(page: str) -> list[int]:
    table = (ROOT / page).read_text().split("## Exit codes")[1].split("\n## ")[0]
    return [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]


@pytest.mark.parametrize("page", ["README.md", "docs/how-it-works.md"])
def test_exit_codes_are_listed(page: str) -> None:
    assert exit_codes(page) == sorted(ExitCode)
