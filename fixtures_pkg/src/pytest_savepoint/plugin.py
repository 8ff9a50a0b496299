"""The door of the plugin: pytest's hooks, each handing over to the part that does the work.

The order of a run: the controller (or the only process) provides the server and the template before any conftest is
imported, so that settings see the database URL; each worker gets a clone; around each test the sandbox begins and
ends; the last process to leave drops the clones.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_savepoint import fixtures
from pytest_savepoint.errors import SavepointError
from pytest_savepoint.fixtures import QUERIES, WORKER
from pytest_savepoint.observer import observe, start_watching
from pytest_savepoint.options import add_options, read_options
from pytest_savepoint.queries import Queries
from pytest_savepoint.selection import select_tests
from pytest_savepoint.settings import Settings
from pytest_savepoint.silence_marker import DECLARED

if TYPE_CHECKING:
    from pytest_savepoint.isolated_run import IsolatedRun

_SETTINGS = pytest.StashKey[Settings]()
_RUN: pytest.StashKey[IsolatedRun] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_load_initial_conftests")
def pytest_fork_before_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Make what workers are forked from while nobody measures, captures or has imported anything."""
    options = early_config.known_args_namespace
    # A number, `auto` or `logical`.
    is_parallel = getattr(options, "numprocesses", None) not in (None, 0, 1)
    # A worker has the controller's options.
    if is_parallel and "PYTEST_XDIST_WORKER" not in os.environ and not (options.help or options.version or options.collectonly):
        _fork_workers(early_config)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Have the database ready before a conftest imports the application."""
    early_config.pluginmanager.register(fixtures, "savepoint-fixtures")
    options = early_config.known_args_namespace
    if options.help or options.version:
        return
    start_watching(early_config)
    settings = _read_settings(early_config)
    try:
        if settings.isolation != "none" and settings.migration_tests:
            _add_migration_tests(early_config, settings)
        if settings.isolation != "none" and not options.collectonly:
            _isolate(early_config, settings)
            if "redis" in settings.services:
                _add_redis(early_config, settings)
    except SavepointError as error:
        _stop(error)


def _read_settings(config: pytest.Config) -> Settings:
    """Read them once, for whichever hook comes first."""
    if _SETTINGS not in config.stash:
        try:
            config.stash[_SETTINGS] = read_options(config.known_args_namespace, config.rootpath)
        except SavepointError as error:
            _stop(error)
    return config.stash[_SETTINGS]


# What a suite has to ask for is imported when it does.
def _isolate(config: pytest.Config, settings: Settings) -> None:
    from pytest_savepoint import isolated_run  # noqa: PLC0415

    config.stash[_RUN] = isolated_run.IsolatedRun(config, settings)


def _add_migration_tests(config: pytest.Config, settings: Settings) -> None:
    from pytest_savepoint.migrations.tests import MigrationTests  # noqa: PLC0415

    config.pluginmanager.register(MigrationTests(config.rootpath, settings), "savepoint-migrations")


def _fork_workers(config: pytest.Config) -> None:
    from pytest_savepoint.forking.workers import ForkedWorkers, can_fork  # noqa: PLC0415

    settings = _read_settings(config)
    if settings.isolation != "none" and settings.worker_start == "auto" and can_fork():
        # Every worker needs it, so what is forked has it already.
        from pytest_savepoint import isolated_run  # noqa: PLC0415, F401

        measured = [str(name) for name in getattr(config.known_args_namespace, "cov_source", None) or ()]
        # Where it cannot be had, xdist starts the workers as it always does.
        with contextlib.suppress(OSError):
            config.pluginmanager.register(ForkedWorkers(measured), "savepoint-workers")


def _add_redis(config: pytest.Config, settings: Settings) -> None:
    from pytest_savepoint.services.redis_tests import RedisTests  # noqa: PLC0415

    config.pluginmanager.register(RedisTests(settings, runs_tests=WORKER in config.stash), "savepoint-redis")


def _refuse_outgoing_calls(config: pytest.Config, settings: Settings) -> None:
    from pytest_savepoint.network.outgoing import OutgoingCalls, known_hosts  # noqa: PLC0415
    from pytest_savepoint.services.redis_tests import URL_VARIABLE  # noqa: PLC0415

    own = known_hosts((*settings.database_url_env, URL_VARIABLE))
    config.pluginmanager.register(OutgoingCalls(config.rootpath, own), "savepoint-outgoing")


def _stop(error: SavepointError) -> NoReturn:
    # Before pytest has a session nothing of it can report; a traceback of ours would say less than the message.
    sys.stderr.write(f"\nsavepoint: {error}\n")
    raise SystemExit(int(error.exit_code))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        'savepoint(isolation="..."): how this test is undone: savepoint, rows, clone, or none: it cleans up after itself.',
    )
    config.addinivalue_line("markers", DECLARED)
    queries = config.stash[QUERIES] = Queries()
    settings = config.stash.get(_SETTINGS, None)
    isolation, memory = (settings.isolation, settings.memory) if settings is not None else ("none", False)
    observe(config, isolation, queries, memory=memory)
    select_tests(config)
    if settings is not None and settings.outgoing_http == "refuse":
        _refuse_outgoing_calls(config, settings)
    if _RUN in config.stash:
        config.stash[_RUN].isolate_tests()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Make every worker's database before the first of them starts."""
    if _RUN in config.stash:
        config.stash[_RUN].create_databases([spec.id for spec in specs])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Make the database of a worker that replaces a crashed one."""
    if _RUN in node.config.stash:
        node.config.stash[_RUN].create_databases([node.gateway.id])


def pytest_report_header(config: pytest.Config) -> list[str]:
    return config.stash[_RUN].describe() if _RUN in config.stash else []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Run the application's start-up at the head of a test that asks for `client`, inside the test's own task."""
    client = getattr(item, "funcargs", {}).get("client")
    start = getattr(getattr(client, "_transport", None), "start", None)
    original = getattr(item, "obj", None)
    if start is None or not inspect.iscoroutinefunction(original):
        return (yield)

    @functools.wraps(original)
    async def with_lifespan(*args: Any, **kwargs: Any) -> Any:
        await start()
        return await original(*args, **kwargs)

    item.obj = with_lifespan  # type: ignore[attr-defined]
    try:
        return (yield)
    finally:
        item.obj = original  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    if _RUN in config.stash:
        config.stash[_RUN].close()
