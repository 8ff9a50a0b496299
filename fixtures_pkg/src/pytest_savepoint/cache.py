"""The folder in which we keep what outlives a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["cache_directory", "password_file"]


def cache_directory(environ: Mapping[str, str]) -> Path:
    """The folder named by SAVEPOINT_CACHE, else the user's own cache folder; it need not exist yet."""
    if environ.get("SAVEPOINT_CACHE"):
        return Path(environ["SAVEPOINT_CACHE"]).absolute()
    home = environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "savepoint"


def password_file(cache: Path) -> Path:
    """The file in which psql finds the passwords of kept databases."""
    return cache / "kept.pgpass"
