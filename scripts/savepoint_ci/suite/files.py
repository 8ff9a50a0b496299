"""The caller's test files, found as pytest would, without its start-up time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["test_files"]

_NOT_OURS = {"node_modules", "site-packages", "__pycache__"}


def test_files(project: Path) -> Iterator[Path]:
    """Every test_*.py, *_test.py and conftest.py of the project, outside hidden folders and installed packages."""
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_OURS)
        for name in sorted(names):
            if name == "conftest.py" or name.endswith("_test.py") or (name.startswith("test_") and name.endswith(".py")):
                yield Path(folder, name)

