"""What a suite's configuration says about loops, read from the text of its pytest configuration."""

from __future__ import annotations

import configparser
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["CONFIGURATIONS", "SCOPES", "Suite", "read_suite"]

CONFIGURATIONS = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
"""The files that may configure pytest, in pytest's own order."""

SCOPES = ("function", "class", "module", "package", "session")
"""Of fixtures and loops, from narrow to wide."""

_SECTIONS = {"tox.ini": "pytest", "setup.cfg": "tool:pytest"}


@dataclass(frozen=True)
class Suite:
    """The settings that decide which loop a fixture or test gets; `folder` is where they stand."""

    folder: PurePosixPath
    strict: bool = True
    configured: bool = False
    """pytest-asyncio is spoken of in the configuration."""
    fixture_loop_scope: str = ""
    """Empty: a fixture's loop is as wide as the fixture."""
    test_loop_scope: str = "function"
    managed: bool = False
    """Savepoint's fixtures and its redirect of engines are in charge."""
    ignored_folders: tuple[str, ...] = ()
    file: str = ""
    """The name of the file that configures pytest, and its text."""
    text: str = ""
    pyproject: str = ""


def read_suite(folder: PurePosixPath, files: Mapping[str, str]) -> Suite | None:
    """The suite that a folder's configuration files describe; None when none of them speaks of pytest.

    :param files: the text of each configuration file by its name.
    """
    values, file, managed = None, "", False
    for name in CONFIGURATIONS:
        if name not in files:
            continue
        found = _values(name, files[name])
        if values is None and found is not None:
            values, file = found, name
        if name == "pyproject.toml":
            table = _toml(files[name]).get("tool", {}).get("savepoint")
            managed = isinstance(table, dict) and table.get("isolation") != "none"
    if values is None:
        pyproject = files.get("pyproject.toml", "")
        # A nested pyproject.toml that does not speak of pytest leaves the settings above it in force.
        speaks = managed or (pyproject and folder == PurePosixPath())
        return Suite(folder, managed=managed, pyproject=pyproject) if speaks else None
    scope = _text(values.get("asyncio_default_fixture_loop_scope"))
    return Suite(
        folder,
        strict=_text(values.get("asyncio_mode", "strict")) != "auto",
        configured=any(name.startswith("asyncio_") for name in values),
        fixture_loop_scope=scope if scope in SCOPES else "",
        test_loop_scope=_text(values.get("asyncio_default_test_loop_scope")) or "function",
        managed=managed,
        ignored_folders=tuple(_words(values.get("norecursedirs"))),
        file=file,
        text=files.get(file, ""),
        pyproject=files.get("pyproject.toml", ""),
    )


def _values(name: str, text: str) -> dict[str, Any] | None:
    if name.endswith(".toml"):
        table = _toml(text)
        if name.endswith("pytest.toml"):
            return dict(table.get("pytest", {}))
        pytest = table.get("tool", {}).get("pytest")
        if not isinstance(pytest, dict):
            return None
        return dict(pytest.get("ini_options", pytest))
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    section = _SECTIONS.get(name, "pytest")
    if parser.has_section(section):
        return dict(parser.items(section))
    return {} if name in ("pytest.ini", ".pytest.ini") else None


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _words(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else _text(value).split()
