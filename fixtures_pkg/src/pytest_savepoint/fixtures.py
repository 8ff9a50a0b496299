"""The fixtures that tests ask for.

All of them are ordinary functions, so they work with every async plugin, mode and loop scope: nothing that they hand
out belongs to an event loop until the test uses it on its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_savepoint.errors import SettingsError
from pytest_savepoint.overrides import Override
from pytest_savepoint.queries import AssertQueries, Queries

# SQLAlchemy is imported by the fixtures that need it: a suite without it is spared the half second.
if TYPE_CHECKING:
    import httpx
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

    from pytest_savepoint.sessions import Sessions
    from pytest_savepoint.sqlite_worker import SqliteWorker
    from pytest_savepoint.worker import Database, Worker

__all__ = [
    "app",
    "assert_queries",
    "client",
    "database",
    "db_class_session",
    "db_connection",
    "db_engine",
    "db_module_session",
    "db_session",
    "fresh_database",
    "override",
    "sessions",
]

WORKER = pytest.StashKey["Worker | SqliteWorker"]()
QUERIES = pytest.StashKey[Queries]()
_ENGINE = pytest.StashKey["AsyncEngine"]()
_OVERRIDDEN = pytest.StashKey[bool]()


def _worker(request: pytest.FixtureRequest) -> Worker | SqliteWorker:
    worker = request.config.stash.get(WORKER, None)
    if worker is None:
        pytest.fail(
            f"The fixture {request.fixturename} needs a database of Savepoint, but isolation is none, which leaves "
            "your own fixtures in charge.\nSet isolation to savepoint, or use your own fixture.",
            pytrace=False,
        )
    return worker


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Database:
    """The URL and the names of this worker's database."""
    return _worker(request).database


@pytest.fixture
def db_engine(request: pytest.FixtureRequest) -> AsyncEngine:
    """An engine on this worker's database; in a test it shares the one connection with the application's engines."""
    return _own_engine(request)


def _own_engine(request: pytest.FixtureRequest) -> AsyncEngine:
    # Not by way of the fixture `database`: another fixture would cost as much as a savepoint.
    database, stash = _worker(request).database, request.config.stash
    if _ENGINE not in stash or stash[_ENGINE].url.database != database.name:
        stash[_ENGINE] = _engine_at(database.url)
    return stash[_ENGINE]


@pytest.fixture
def fresh_database(request: pytest.FixtureRequest) -> Database:
    """A database of the test's own, a clone of the template; the whole test runs in it, and its commits are real."""
    worker = _worker(request)
    if not worker.in_own_clone:
        pytest.fail(
            f"The fixture {request.fixturename} needs a database of the test's own, but a marker gives it another "
            'isolation.\nTake the marker away, or write @pytest.mark.savepoint(isolation="clone").',
            pytrace=False,
        )
    return worker.database


@pytest.fixture
def sessions(fresh_database: Database, request: pytest.FixtureRequest) -> Sessions:
    """Independent sessions on the test's own database, for transactions that meet."""
    from sqlalchemy.pool import NullPool

    from pytest_savepoint.sessions import Sessions

    engine = _engine_at(fresh_database.url, poolclass=NullPool)
    return Sessions(engine, timeout=_worker(request).settings.sandbox_timeout)


@pytest.fixture(scope="module")
def db_module_session(request: pytest.FixtureRequest) -> Iterator[AsyncSession]:
    """A session for data that all tests of a module see; they are undone after the last of them."""
    yield from _layer_session(request)


@pytest.fixture(scope="class")
def db_class_session(request: pytest.FixtureRequest) -> Iterator[AsyncSession]:
    """A session for data that all tests of a class see; they are undone after the last of them."""
    yield from _layer_session(request)


def _layer_session(request: pytest.FixtureRequest) -> Iterator[AsyncSession]:
    worker = _worker(request)
    with worker.layer(request.node.nodeid):
        session = _session_of(_engine_at(worker.database.url))
        yield session
        _forget(session)


def _forget(session: AsyncSession) -> None:
    """Leave a session without a word to the server, whose loop may be closed: the end of the test undoes what is open."""
    nested = session.sync_session.get_nested_transaction()
    if nested is None and _abandoned(session):
        closing = session.close()
        with contextlib.suppress(StopIteration), contextlib.closing(closing):
            closing.send(None)  # it has nothing to wait for
        return
    while nested is not None:
        # Else SQLAlchemy would roll back to the savepoint, which it can only say on a loop.
        for connection, *_ in nested._connections.values():  # noqa: SLF001
            connection.invalidate()
        nested = nested.parent
    session.sync_session.invalidate()
    session.sync_session.expunge_all()


def _abandoned(session: AsyncSession) -> bool:
    """Whether every connection of the session has given up its transaction, so that its pool can have it back."""
    transaction = session.sync_session.get_transaction()
    connections = {connection for connection, *_ in transaction._connections.values()} if transaction else ()  # noqa: SLF001
    return all(map(_abandoned_by, connections))


def _abandoned_by(connection: Connection) -> bool:
    if connection.closed or connection.invalidated:
        return False
    driver: Any = connection.connection.driver_connection
    return hasattr(driver, "abandon") and bool(driver.abandon())


def _engine_at(url: str, **options: Any) -> AsyncEngine:
    from sqlalchemy import make_url
    from sqlalchemy.ext.asyncio import create_async_engine

    made = make_url(url)
    with_driver = made if "+" in made.drivername else made.set(drivername="postgresql+asyncpg")
    return create_async_engine(with_driver, **options)


def _session_of(engine: AsyncEngine) -> AsyncSession:
    from sqlalchemy.ext.asyncio import AsyncSession

    return AsyncSession(engine, expire_on_commit=False)


def _engine(request: pytest.FixtureRequest) -> AsyncEngine:
    """What the fixture `db_engine` gives, without the cost of a fixture where nobody has overridden it."""
    stash = request.node.parent.stash
    if _OVERRIDDEN not in stash:
        # No public way to see whether a conftest, a module or a class has one of its own.
        found = request.session._fixturemanager.getfixturedefs("db_engine", request.node)  # noqa: SLF001
        stash[_OVERRIDDEN] = len(found or ()) > 1
    return cast("AsyncEngine", request.getfixturevalue("db_engine")) if stash[_OVERRIDDEN] else _own_engine(request)


@pytest.fixture
def db_session(request: pytest.FixtureRequest) -> Iterator[AsyncSession]:
    """A session whose commit() and rollback() behave as in production while the test runs."""
    session = _session_of(_engine(request))
    yield session
    _forget(session)


@pytest.fixture
def db_connection(db_engine: AsyncEngine) -> Iterator[AsyncConnection]:
    """A started connection of `db_engine`, for SQL without the ORM."""
    # Connections of a test belong to no loop, so one that runs for this moment only can start them.
    loop = asyncio.new_event_loop()
    try:
        connection = loop.run_until_complete(_started(db_engine))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    yield connection
    if connection.sync_connection is not None and not connection.sync_connection.closed:
        connection.sync_connection.invalidate()
        connection.sync_connection.close()


async def _started(engine: AsyncEngine) -> AsyncConnection:
    return await engine.connect()


@pytest.fixture
def assert_queries(request: pytest.FixtureRequest) -> AssertQueries:
    """Holds the block of a `with` to a number of statements, exactly or `at_most`."""
    return AssertQueries(request.config.stash[QUERIES])


@pytest.fixture
def app(request: pytest.FixtureRequest) -> Any:
    """The ASGI application of the setting `app`; override this fixture to build one yourself."""
    reference = _worker(request).settings.app
    if not reference:
        pytest.fail(
            "The fixture client needs your application, but the setting app is empty.\n"
            'Set app = "module:attribute" in [tool.savepoint] of pyproject.toml, or define a fixture named app.',
            pytrace=False,
        )
    return load_reference(reference)


@pytest.fixture
def override(request: pytest.FixtureRequest) -> Iterator[Override]:
    """Stand-ins for dependencies of the application and for attributes, undone when the test ends."""
    with pytest.MonkeyPatch.context() as patch:
        yield Override(lambda: request.getfixturevalue("app"), patch)


@pytest.fixture
def client(request: pytest.FixtureRequest, app: Any, db_engine: AsyncEngine) -> Iterator[httpx.AsyncClient]:
    """An httpx client that calls the application in this process, with its lifespan run on the test's loop."""
    import httpx

    from pytest_savepoint.client import AppTransport

    overrides = getattr(app, "dependency_overrides", None)
    before = dict(overrides) if overrides is not None else {}
    get_db = _worker(request).settings.get_db
    if overrides is not None and get_db:
        overrides.setdefault(load_reference(get_db), _session_dependency(db_engine))
    transport = AppTransport(app)
    with _test_loop_kept_open(request):
        yield httpx.AsyncClient(transport=transport, base_url="http://test")
        transport.stop_between_loops()
    if overrides is not None:
        overrides.clear()
        overrides.update(before)


@contextlib.contextmanager
def _test_loop_kept_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the loop of the test until here, so that what lives on it can be shut down there."""
    for name in request.fixturenames:
        # pytest-asyncio closes the loop with this fixture (before 1.0 named event_loop or "...::<event_loop>"); one that
        # is set up first is torn down last.
        if name == "event_loop" or name.endswith(("_scoped_runner", "::<event_loop>")):
            request.getfixturevalue(name)
    if "anyio_backend" not in request.fixturenames:
        yield
        return
    from anyio.pytest_plugin import extract_backend_and_options, get_runner

    with get_runner(*extract_backend_and_options(request.getfixturevalue("anyio_backend"))):
        yield


def _session_dependency(engine: AsyncEngine) -> Any:
    async def get_db() -> AsyncIterator[AsyncSession]:
        async with _session_of(engine) as session:
            yield session

    return get_db


def load_reference(reference: str) -> Any:
    """The object that a setting names.

    :param reference: `module:attribute`, with dots inside the attribute allowed.
    :raises SettingsError: when the module cannot be imported or has no such attribute.
    """
    module, _, attribute = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"{reference} cannot be loaded: {error}.\nIt is read as module:attribute from the project's folder; check "
            "the spelling, and that the folder is on sys.path (pythonpath in [tool.pytest.ini_options])."
        ) from error
    return found
