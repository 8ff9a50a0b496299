"""Edits of a suite's pytest configuration and of [tool.savepoint], in the file that holds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from savepoint_ci.doctor.edits import Edit
from savepoint_ci.doctor.suite import Suite

__all__ = ["pytest_settings", "savepoint_settings"]


def pytest_settings(suite: Suite, values: Mapping[str, str]) -> list[Edit]:
    """Set pytest options where the suite has its own, in a new pytest.ini when it has none."""
    if not suite.file:
        return _new_file(suite.folder / "pytest.ini", "[pytest]", [f"{name} = {text}" for name, text in values.items()])
    is_toml = suite.file.endswith(".toml")
    lines = {name: f'{name} = "{text}"' if is_toml else f"{name} = {text}" for name, text in values.items()}
    return _in_section(suite.folder / suite.file, suite.text, _PYTEST_SECTION, lines)


def savepoint_settings(suite: Suite, values: Mapping[str, str]) -> list[Edit]:
    """Set [tool.savepoint] in pyproject.toml."""
    path = suite.folder / "pyproject.toml"
    lines = {name: f'{name} = "{text}"' for name, text in values.items()}
    if _SAVEPOINT_SECTION.search(suite.pyproject):
        return _in_section(path, suite.pyproject, _SAVEPOINT_SECTION, lines)
    if not suite.pyproject:
        return _new_file(path, "[tool.savepoint]", list(lines.values()))
    end = len(suite.pyproject)
    gap = "\n" if suite.pyproject.endswith("\n") else "\n\n"
    return [Edit(path, end, end, "\n".join([f"{gap}[tool.savepoint]", *lines.values()]) + "\n")]


_PYTEST_SECTION = re.compile(
    r"^\[(?:tool\.pytest\.ini_options|tool\.pytest|tool:pytest|pytest)\][^\n]*\n?", re.MULTILINE
)
_SAVEPOINT_SECTION = re.compile(r"^\[tool\.savepoint\][^\n]*\n?", re.MULTILINE)


def _in_section(path: PurePosixPath, text: str, section: re.Pattern[str], lines: Mapping[str, str]) -> list[Edit]:
    head = section.search(text)
    if head is None:
        return []
    following = re.compile(r"^\[", re.MULTILINE).search(text, head.end())
    end = following.start() if following else len(text)
    edits, added = [], []
    for name, line in lines.items():
        known = re.compile(rf"^{re.escape(name)}[ \t]*=[^\n]*", re.MULTILINE).search(text, head.end(), end)
        if known is None:
            added.append(f"{line}\n")
        elif known[0] != line:
            edits.append(Edit(path, known.start(), known.end(), line))
    if added:
        edits.append(Edit(path, head.end(), head.end(), "".join(added)))
    return edits


def _new_file(path: PurePosixPath, section: str, lines: list[str]) -> list[Edit]:
    """The head and each line by itself, so that several who make the same file make it once."""
    return [Edit(path, 0, 0, f"{section}\n"), *(Edit(path, 1, 1, f"{line}\n") for line in lines)]
