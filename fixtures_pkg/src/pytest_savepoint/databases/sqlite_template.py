"""The migrated SQLite file from which databases in memory are filled: built once for its contents, found by its name."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pytest_savepoint.address import SqliteFile
from pytest_savepoint.background import Background
from pytest_savepoint.cache import cache_directory
from pytest_savepoint.databases.build import Builder
from pytest_savepoint.databases.schema import chosen_schema
from pytest_savepoint.databases.template import Template
from pytest_savepoint.errors import MigrationError
from pytest_savepoint.settings import Settings

__all__ = ["find_or_build_file", "template_file"]

_KEPT_FILES = 8


def template_file(template: Template, environ: Mapping[str, str]) -> Path:
    """Where the file of a template is."""
    return cache_directory(environ) / "sqlite" / template.name


def find_or_build_file(settings: Settings, project: Path, *, python: str, environ: Mapping[str, str]) -> Template:
    """Find the migrated SQLite file, or build it in the caller's environment.

    :param project: the folder in which migrations run.
    :param python: the interpreter of the caller's environment, for the migrations.
    :param environ: the caller's environment; it also says where our cache is.
    :raises MigrationError: when it cannot be built.
    """
    started = time.monotonic()
    schema = chosen_schema(settings, project.resolve())
    fingerprint = schema.fingerprint("sqlite", "")[:12]
    folder = cache_directory(environ) / "sqlite"
    finished = folder / f"{fingerprint}.db"
    hit = finished.exists()
    if not hit:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            unfinished = SqliteFile(Path(scratch) / "template.db")
            with contextlib.closing(sqlite3.connect(unfinished.path)) as connection:
                connection.execute("VACUUM")  # makes the file, also where the project has no tables
            try:
                with Background() as background:
                    background.call(Builder(settings, python, environ).build(schema, unfinished, ""))
            except MigrationError as error:
                raise MigrationError(
                    f"{error}\n\nIt was built for SQLite, because provider is sqlite. What needs PostgreSQL (its types, "
                    "its SQL in migrations) cannot run there: set provider to auto."
                ) from error
            unfinished.path.replace(finished)
        _drop_oldest(folder)
    return Template(finished.name, fingerprint, hit, time.monotonic() - started, schema.source, schema.note, ())


def _drop_oldest(folder: Path) -> None:
    newest_first = sorted(folder.glob("*.db"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT_FILES:]:
        path.unlink(missing_ok=True)
