"""One process that runs tests on SQLite in memory: the sandbox in which its tests run, and what it has not got."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pytest_savepoint.errors import SandboxError, SettingsError
from pytest_savepoint.isolation.sqlite_memory import SqliteEngines
from pytest_savepoint.settings import Settings
from pytest_savepoint.worker import Database

__all__ = ["SqliteWorker", "announce_file", "assigned_file", "set_sqlite_urls"]

# As SQLAlchemy has it for a database in memory whose sessions have a connection each.
_NAME = "file::memory:"
_URL = f"sqlite+aiosqlite:///{_NAME}?cache=shared&uri=true"
_FILE_VARIABLE = "SAVEPOINT_SQLITE"
_WORKER_VARIABLE = "PYTEST_XDIST_WORKER"


class SqliteWorker:
    """The state of one process that runs tests on SQLite."""

    rungs = ("savepoint", "rows")
    in_own_clone = False
    outgrew_rows = False
    keeps_clone = False

    def __init__(self, template: Path, settings: Settings) -> None:
        """
        :param template: the file that holds what every test is to find.
        :raises SettingsError: when aiosqlite is missing.
        """
        if importlib.util.find_spec("aiosqlite") is None:
            raise SettingsError(
                "provider is sqlite, but aiosqlite is not installed here.\nInstall it: pip install "
                "'pytest-savepoint[sqlite]', or set provider to auto."
            )
        self.settings = settings
        worker = os.environ.get(_WORKER_VARIABLE, "main")
        self.database = Database(_NAME, worker, template.name, host="", port=0, user="", url=_URL)
        self.engines = SqliteEngines(template, timeout=settings.sandbox_timeout)
        self.sandbox = self.engines.sandbox
        self._ways = {"savepoint": self._in_savepoint, "rows": self._restored, "clone": self._refused, "none": self._unisolated}

    def isolated(self, nodeid: str, isolation: str) -> AbstractContextManager[None]:
        """Run one test so that the next one finds the database as it was.

        :param isolation: savepoint, rows or none.
        :raises SandboxError: when the test asks for a clone, or escaped from its savepoint.
        """
        return self._ways[isolation](nodeid)

    def expect_clones(self) -> None:
        """There are none; the test that asks for one is told."""

    @contextmanager
    def _in_savepoint(self, nodeid: str) -> Iterator[None]:
        self.sandbox.enter(nodeid)
        yield
        try:
            self.sandbox.leave()
        except SandboxError:
            self.sandbox.close()
            self.engines.database.make_anew()
            raise

    @contextmanager
    def _restored(self, nodeid: str) -> Iterator[None]:
        self.sandbox.refuse_layer(nodeid, "rows")
        self.sandbox.close()
        with self.engines.database.restored():
            yield
            self.engines.settle()

    def begin_again(self) -> None:
        """Nothing of a first attempt is left: here sequences are undone with the rest."""

    @contextmanager
    def _refused(self, nodeid: str) -> Iterator[None]:
        raise SandboxError(
            f"{nodeid} asks for a database of its own, by isolation clone or by fresh_database or sessions, but SQLite in "
            "memory has no clones: provider is sqlite.\nSet provider to auto, which gives the suite PostgreSQL."
        )
        yield

    @contextmanager
    def _unisolated(self, nodeid: str) -> Iterator[None]:
        self.sandbox.refuse_layer(nodeid, "none")
        yield

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        """Keep what the fixtures of a module or a class commit in a transaction around its tests.

        :param name: the nodeid of the module or class.
        """
        self.sandbox.open_layer(name)
        try:
            yield
        finally:
            self.sandbox.close_layer()

    def close(self) -> None:
        self.engines.close()


def set_sqlite_urls(variables: tuple[str, ...]) -> None:
    """Put the URL of SQLite in memory where settings look for it.

    :param variables: names of environment variables.
    """
    for variable in variables:
        os.environ[variable] = _URL


def announce_file(template: Path) -> None:
    """Tell the workers that xdist starts from this process which file to begin with."""
    os.environ[_FILE_VARIABLE] = str(template)


def assigned_file() -> Path | None:
    """The file that the controller of this xdist worker has found or built; None in any other process."""
    if _WORKER_VARIABLE not in os.environ:
        return None
    # A pytest that a test of the suite starts is a run of its own.
    path = os.environ.pop(_FILE_VARIABLE, "")
    return Path(path) if path else None
