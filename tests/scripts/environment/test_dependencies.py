"""What a project needs is found by its files, lock files first."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_savepoint.errors import SavepointError
from savepoint_ci.environment.dependencies import detect_dependencies

PYPROJECT = """
[project]
name = "thing"
version = "1"
[project.optional-dependencies]
test = ["pytest"]
docs = ["sphinx"]
[dependency-groups]
dev = ["ruff"]
lint = ["mypy"]
"""


@pytest.fixture
def project(tmp_path):
    def make(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".", 1)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def words(project: Path) -> list[list[str]]:
    found = detect_dependencies(project)
    assert found is not None
    commands = found.commands(Path("/env/bin/python"), Path("/scratch"))
    return [[Path(command[0]).name, *map(str, command[1:])] for command in commands]


def test_lock_file_wins_over_everything_else(project):
    folder = project(uv_lock="", requirements_txt="", pyproject_toml=PYPROJECT)
    assert detect_dependencies(folder).source == "uv.lock"
    export, install = words(folder)
    assert export[:3] == ["uv", "export", "--frozen"]
    assert list(zip(export[-6:-2:2], export[-5:-2:2], strict=True)) == [("--group", "dev"), ("--extra", "test")]
    assert install == ["uv", "pip", "install", "--python", "/env/bin/python", "-r", "/scratch/exported.txt"]


@pytest.mark.parametrize("lock", ["poetry", "pdm"])
def test_lock_of_another_manager_is_installed_by_that_manager(project, lock):
    folder = project(**{f"{lock}_lock": "", "pyproject_toml": PYPROJECT})
    (command,) = words(folder)
    assert command[:4] == ["uv", "tool", "run", "--from"]
    assert command[4].startswith(lock)
    assert command[4].endswith(">=2,<3")
    assert command[5:7] == [lock, "install"]
    assert "test" in command
    assert "docs" not in command


def test_requirements_and_the_groups_of_pyproject_are_installed_together(project):
    folder = project(requirements_txt="", **{"requirements-dev_txt": "", "notes_txt": ""}, pyproject_toml=PYPROJECT)
    (command,) = words(folder)
    named = [word for word in command if word.endswith((".txt", ".toml"))]
    assert [Path(word).name for word in named] == ["requirements-dev.txt", "requirements.txt", "pyproject.toml"]
    assert command[command.index("--extra") + 1] == "test"
    assert command[command.index("--group") + 1] == "pyproject.toml:dev"
    assert "notes.txt" not in " ".join(command)


def test_project_that_is_a_package_is_installed_itself(project):
    folder = project(pyproject_toml=PYPROJECT + '[build-system]\nrequires = ["hatchling"]\n')
    assert words(folder)[0][5:7] == ["-e", ".[test]"]


def test_file_that_a_requirements_file_includes_decides_too(project):
    folder = project(requirements_txt="-r base.txt\n-c limits.txt\n", base_txt="httpx", limits_txt="httpx<1")
    assert {path.name for path in detect_dependencies(folder).files} == {"requirements.txt", "base.txt", "limits.txt"}


def test_project_without_any_file_needs_nothing(project):
    assert detect_dependencies(project()) is None


def test_broken_pyproject_is_named(project):
    with pytest.raises(SavepointError, match=r"pyproject\.toml cannot be read"):
        detect_dependencies(project(pyproject_toml="[project"))
