"""The arguments that a project always gives to pytest: PYTEST_ADDOPTS and `addopts` of its configuration."""

from __future__ import annotations

import configparser
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["always_given"]

_FILES = (
    ("pytest.toml", "pytest"),
    (".pytest.toml", "pytest"),
    ("pytest.ini", "pytest"),
    (".pytest.ini", "pytest"),
    ("pyproject.toml", "tool.pytest"),
    ("tox.ini", "pytest"),
    ("setup.cfg", "tool:pytest"),
)


def always_given(project: Path, environ: Mapping[str, str]) -> list[str]:
    """Arguments that stand before those of a command line; a file that cannot be read gives none, pytest will say why.

    :param project: the folder in which pytest runs; as pytest does, its parents are searched, too.
    """
    return [*_configured(project.resolve()), *_words(environ.get("PYTEST_ADDOPTS", ""))]


def _words(given: Any) -> list[str]:
    if not isinstance(given, str):
        return [str(word) for word in given]
    try:
        return shlex.split(given)
    except ValueError:
        return []


def _configured(project: Path) -> list[str]:
    for folder in (project, *project.parents):
        for name, section in _FILES:
            options = _section(folder / name, section)
            if options is not None:
                return _words(options.get("addopts", []))
    return []


def _section(path: Path, section: str) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        if path.suffix == ".toml":
            table: Any = tomllib.loads(path.read_text("utf-8"))
            for key in section.split("."):
                table = table.get(key, {})
            return table.get("ini_options", table) or None
        parser = configparser.RawConfigParser(strict=False)
        parser.read(path, encoding="utf-8")
    except (ValueError, AttributeError, configparser.Error):
        return None
    return parser[section] if parser.has_section(section) else None
