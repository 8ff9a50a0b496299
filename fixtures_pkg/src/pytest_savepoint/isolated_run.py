"""The part of a pytest process in a run with databases of its own: imported where there are some."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from pytest_savepoint.climbing import Climber, Learner
from pytest_savepoint.databases.run import DatabaseRun
from pytest_savepoint.databases.spare import CloneSource
from pytest_savepoint.databases.template import Template
from pytest_savepoint.errors import SavepointError
from pytest_savepoint.fixtures import WORKER
from pytest_savepoint.isolation.ladder import Ladder, load_learned
from pytest_savepoint.isolator import Isolator
from pytest_savepoint.settings import Settings
from pytest_savepoint.worker import Database, Worker, announce, assigned_database, set_database_urls

__all__ = ["IsolatedRun"]

_ONLY_WORKER = "main"


class IsolatedRun:
    """The server, the template and the databases, each in the process that has to have it."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        """Have the database ready.

        :raises SavepointError: when it cannot be had.
        """
        self._config = config
        self._settings = settings
        self._run: DatabaseRun | None = None
        self._template: Template | None = None
        if settings.provider == "sqlite":
            self._prepare_sqlite()
        else:
            self._prepare()

    def _prepare(self) -> None:
        settings = self._settings
        assigned = assigned_database(settings)
        if assigned is not None:
            address, database, source = assigned
        else:
            run = self._run = DatabaseRun.open(
                settings, self._config.rootpath, python=sys.executable, environ=dict(os.environ)
            )
            self._template = run.template
            address, source = run.server.address, _source(run)
            database = Database.at(address, run.database(_ONLY_WORKER), _ONLY_WORKER, source, settings)
        set_database_urls(address, database.name, settings.database_url_env)
        if self._run is not None and self._starts_workers():
            return
        if self._run is not None:
            self._run.create_databases([_ONLY_WORKER])
        self._config.stash[WORKER] = Worker(address, database, source, settings)

    def _prepare_sqlite(self) -> None:
        from pytest_savepoint import sqlite_worker  # noqa: PLC0415 # few suites have it
        from pytest_savepoint.databases import sqlite_template  # noqa: PLC0415 # as above

        settings = self._settings
        file = sqlite_worker.assigned_file()
        is_assigned = file is not None
        if file is None:
            self._template = sqlite_template.find_or_build_file(
                settings, self._config.rootpath, python=sys.executable, environ=dict(os.environ)
            )
            file = sqlite_template.template_file(self._template, os.environ)
        sqlite_worker.set_sqlite_urls(settings.database_url_env)
        if is_assigned or not self._starts_workers():
            self._config.stash[WORKER] = sqlite_worker.SqliteWorker(file, settings)
        else:
            sqlite_worker.announce_file(file)

    def _starts_workers(self) -> bool:
        options = self._config.known_args_namespace
        return bool(getattr(options, "numprocesses", None) or getattr(options, "tx", None))

    def isolate_tests(self) -> None:
        """Put around each test what undoes it, and keep what is learned of it."""
        config, settings = self._config, self._settings
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(Learner(config.rootpath, relearn=settings.relearn), "savepoint-learner")
        if WORKER in config.stash:
            worker = config.stash[WORKER]
            learned = {} if settings.relearn else load_learned(config.rootpath)
            ladder = Ladder(settings.isolation, learned, worker.rungs)
            climber = Climber(worker, ladder, keep_failed=settings.keep_failed)
            config.pluginmanager.register(climber, "savepoint-climber")
            config.pluginmanager.register(Isolator(worker, climber), "savepoint-isolator")

    def create_databases(self, workers: list[Any]) -> None:
        """Make the databases of xdist's workers that have none yet, before they start.

        :raises ServerError: with the server's own words.
        """
        missing = [worker for worker in workers if self._run is not None and worker not in self._run.databases]
        if self._run is not None and missing:
            self._run.create_databases(missing)
            announce(self._run.server.address, _source(self._run))

    def describe(self) -> list[str]:
        """What the head of pytest's output says about it."""
        run, template = self._run, self._template
        if template is None:
            return []
        server = "SQLite in memory" if run is None else f"PostgreSQL {run.server.version} ({run.server.reason})"
        how = "found" if template.hit else f"{'restored' if template.restored else 'built'} in {template.seconds:.1f} s"
        return [
            *([f"savepoint: {template.warning}"] if template.warning else []),
            f"savepoint: {server}",
            f"savepoint: template {template.name} {how} from {template.source}; isolation {self._settings.isolation}",
        ]

    def close(self) -> None:
        """Drop this process's part of the databases; what cannot be dropped is told, and changes no verdict."""
        if WORKER in self._config.stash:
            self._config.stash[WORKER].close()
        if self._run is not None:
            try:
                self._run.close()
            except SavepointError as error:
                sys.stderr.write(f"\nsavepoint: warning: {error}\n")


def _source(run: DatabaseRun) -> CloneSource:
    return CloneSource(run.id, run.template.name, run.template.carried)
