"""The settings as pytest options: --savepoint-NAME, declared from the one table."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from pytest_savepoint.settings import SETTINGS, Settings, read_settings

__all__ = ["add_options", "read_options"]


def add_options(parser: pytest.Parser) -> None:
    """Add an option for every setting that plain pytest knows."""
    group = parser.getgroup("savepoint", "async tests on real PostgreSQL")
    for setting in SETTINGS:
        if setting.plugin:
            name, dest = f"--savepoint-{setting.kebab}", f"savepoint_{setting.name}"
            if isinstance(setting.default, bool):
                group.addoption(name, dest=dest, action="store_const", const=True, default=None, help=setting.help)
            else:
                # No choices here: all faults of all settings are reported together, by the reader.
                group.addoption(name, dest=dest, default=None, help=setting.help)


def read_options(options: Namespace, project: Path) -> Settings:
    """The settings in force, from the command line, the environment and the project's pyproject.toml.

    :raises SettingsError: with all faults at once.
    """
    flags = {setting.name: getattr(options, f"savepoint_{setting.name}", None) for setting in SETTINGS}
    return read_settings(project, flags=flags)
