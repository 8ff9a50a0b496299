"""The tests that the setting `migration-tests` adds to a suite; they are collected from the Alembic configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pytest_savepoint.background import Background
from pytest_savepoint.databases.build import Builder
from pytest_savepoint.databases.schema import Schema, chosen_schema
from pytest_savepoint.errors import MigrationError, SettingsError
from pytest_savepoint.fixtures import WORKER
from pytest_savepoint.migrations.checks import Applied, MigrationChecks
from pytest_savepoint.settings import Settings
from pytest_savepoint.worker import Worker

__all__ = ["MigrationTests"]

_TESTS = ("one_head", "down_and_up_again", "models_match", "new_revisions")
# A driver that env.py cannot use is worse than none; this is what the plugin puts where nobody named one.
_PUT_THERE = "postgresql+asyncpg://"


class MigrationTests:
    """In every process of the run: adds the tests, and tells what the new revisions did.

    :raises SettingsError: when the project's schema is not made by Alembic.
    """

    def __init__(self, project: Path, settings: Settings) -> None:
        self.schema = chosen_schema(settings, project)
        if self.schema.source != "alembic":
            raise SettingsError(
                f"migration-tests is true, but the schema comes from {self.schema.note}.\n"
                "It needs Alembic: set alembic-config to the path of your alembic.ini, or turn migration-tests off."
            )
        self.settings = settings
        self._told: list[str] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        # xdist's workers get the arguments of the process that starts them.
        if not any(_names_tests(argument) for argument in config.args):
            config.args.append(str(self._file))

    @property
    def _file(self) -> Path:
        return self.schema.project / self.schema.parameter

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> MigrationFile | None:
        if file_path != self._file:
            return None
        found: MigrationFile = MigrationFile.from_parent(parent, path=file_path)
        found.tests = self
        return found

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        report = yield
        if call.when == "call" and isinstance(item, MigrationTest):
            # Attributes of plain values travel from a worker to the process that talks to the user.
            vars(report).update(
                savepoint_migrations=[asdict(each) for each in item.applied], savepoint_told=item.told
            )
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._told += getattr(report, "savepoint_told", ())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._told:
            terminalreporter.section("savepoint: migrations")
            terminalreporter.write_line("\n".join(self._told))


class MigrationFile(pytest.File):
    """The Alembic configuration, as the place where these tests are."""

    tests: MigrationTests

    def collect(self) -> Iterator[pytest.Item]:
        for name in _TESTS:
            if name != "new_revisions" or self.tests.settings.new_revisions:
                found: MigrationTest = MigrationTest.from_parent(self, name=name)
                found.schema, found.settings = self.tests.schema, self.tests.settings
                yield found


class MigrationTest(pytest.Item):
    """One check of the migrations."""

    schema: Schema
    settings: Settings

    def __init__(self, *, name: str, parent: pytest.Collector, **further: Any) -> None:
        super().__init__(name, parent, **further)
        self.applied: list[Applied] = []
        self.told: list[str] = []
        # So that the report says what a reader expects: it has a database of its own.
        self.add_marker(pytest.mark.savepoint(isolation="clone"))

    def runtest(self) -> None:
        worker = self.config.stash[WORKER]
        assert isinstance(worker, Worker), "the settings refuse it where there is no server"
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in self.settings.database_url_env or not value.startswith(_PUT_THERE)
        }
        builder = Builder(self.settings, sys.executable, environ)
        checks = MigrationChecks(self.schema, builder, worker.address, worker.source, worker.database.worker)
        with Background() as background:
            background.call(getattr(self, f"_{self.name}")(checks))

    async def _one_head(self, checks: MigrationChecks) -> None:
        await checks.one_head()

    async def _down_and_up_again(self, checks: MigrationChecks) -> None:
        self.told = [f"{path}: cannot be taken back, and says so" for path in await checks.down_and_up()]

    async def _models_match(self, checks: MigrationChecks) -> None:
        if unknown := await checks.drift():
            pytest.skip(unknown)  # an env.py without target_metadata names no models to compare with

    async def _new_revisions(self, checks: MigrationChecks) -> None:
        self.applied = await checks.apply_new(self.settings.new_revisions, self.settings.migration_seed)
        self.told = [str(each) for each in self.applied]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return str(excinfo.value) if isinstance(excinfo.value, MigrationError) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"migrations: {self.name}"


def _names_tests(argument: str) -> bool:
    """An argument with which somebody chose tests, so that no others are wanted."""
    return "::" in argument or Path(argument).is_file()
