"""One process that runs tests: which database is its own, and the sandbox in which its tests run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field

from pytest_savepoint.address import Address
from pytest_savepoint.background import Background
from pytest_savepoint.databases.names import database_name
from pytest_savepoint.databases.rows import Tables
from pytest_savepoint.databases.sequences import SequenceState, as_at_first, setting_sequences
from pytest_savepoint.databases.spare import CloneSource, SpareClones
from pytest_savepoint.errors import SandboxError
from pytest_savepoint.isolation import conflicts
from pytest_savepoint.isolation.engines import SharedEngines
from pytest_savepoint.isolation.ladder import RUNGS
from pytest_savepoint.isolation.lock_watch import LockWatch
from pytest_savepoint.isolation.wire import Wire
from pytest_savepoint.secret import Secret
from pytest_savepoint.settings import Settings

__all__ = ["Database", "Worker", "announce", "assigned_database", "set_database_urls"]

# What the controller hands to its workers, and what xdist names a worker by; both before any conftest is imported.
_RUN_VARIABLE = "SAVEPOINT_RUN"
_WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
_ASYNCPG = "postgresql+asyncpg"


@dataclass(frozen=True)
class Database:
    """The database of this worker, for tests that need its URL or names."""

    name: str
    worker: str
    template: str
    host: str
    port: int
    user: str
    url: str = field(repr=False)
    """For SQLAlchemy, with the password, and with the driver that the environment's database URL names."""

    @classmethod
    def at(cls, address: Address, name: str, worker: str, source: CloneSource, settings: Settings) -> Database:
        url = address.url(name, _scheme(settings.database_url_env[0]) if settings.database_url_env else _ASYNCPG)
        return cls(name, worker, source.template, address.host, address.port, address.user, url)


class Worker:
    """The state of one process that runs tests."""

    rungs = RUNGS

    def __init__(self, address: Address, database: Database, source: CloneSource, settings: Settings) -> None:
        self.database = database
        """The database of the running test: the worker's, or a clone that is the test's alone."""
        self.settings = settings
        self.outgrew_rows = False
        """The last test left behind what emptying tables could not undo."""
        self.keeps_clone = False
        """The running test has a clone of its own that is to stay."""
        self.kept: Database | None = None
        """The clone that stayed last."""
        self._own = database
        self.address = address
        self.source = source
        self._clones: SpareClones | None = None
        self._tables: Tables | None = None
        self._sequences_at_first: Sequence[SequenceState] | None = None
        self._lock_watch: LockWatch | None = None
        self._ways = {
            "savepoint": self._in_savepoint,
            "rows": self._with_rows_emptied,
            "clone": self._in_clone,
            "none": self._unisolated,
        }
        self.engines = SharedEngines(address, database.name, timeout=settings.sandbox_timeout)
        self.sandbox = self.engines.sandbox

    def isolated(self, nodeid: str, isolation: str) -> AbstractContextManager[None]:
        """Run one test so that the next one finds the database as it was.

        :param isolation: savepoint, rows, clone or none.
        :raises SandboxError: when the test escaped from its savepoint; the database has been made anew by then.
        """
        self.outgrew_rows = False
        return self._ways[isolation](nodeid)

    @property
    def in_own_clone(self) -> bool:
        """The running test has a database of its own."""
        return self.database is not self._own

    @contextmanager
    def keeping_clone(self) -> Iterator[None]:
        """The test that runs in the block gets a clone of its own, which is `kept` afterwards."""
        self.keeps_clone, self.kept = True, None
        try:
            yield
        finally:
            self.keeps_clone = False

    def has_room_to_keep(self) -> bool:
        """Whether the run may keep one more clone."""
        return self._spare_clones.has_room_to_keep()

    def expect_clones(self) -> None:
        """Some test will need a clone of its own, so begin to make the first."""
        self._spare_clones.prepare()

    @contextmanager
    def _in_savepoint(self, nodeid: str) -> Iterator[None]:
        self._listen()
        watch = self._lock_watch = self._lock_watch or LockWatch(self.address, self._own.name, self.sandbox)
        self.sandbox.sequences = self._sequences_for(nodeid)
        self.sandbox.enter(nodeid)
        yield
        waited = watch.take_ended()
        try:
            commits = self.sandbox.leave()
        except SandboxError:
            self._make_anew()
            raise
        if commits:
            self._make_anew()
            raise conflicts.committed_past(nodeid, commits)
        if waited:
            raise conflicts.waits_were_ended(nodeid, waited)

    @contextmanager
    def _with_rows_emptied(self, nodeid: str) -> Iterator[None]:
        if self.sandbox.holds_fixture_rows:
            # Rows that are to stay are among those of the test, and emptying knows no difference.
            with self._in_clone(nodeid):
                yield
            return
        self.sandbox.refuse_layer(nodeid, "rows")
        tables = self._known_tables()
        self._listen()
        if self.sandbox.wire is not None:
            self._executed(self.sandbox.wire, self._sequences_for(nodeid))
        yield
        self.engines.settle()
        sql = tables.cleaning(self.sandbox.listen_now())
        wire = self.sandbox.wire
        if sql is None or wire is None or not wire.is_open or not self._executed(wire, sql):
            self.outgrew_rows = True
            self._make_anew()

    def _known_tables(self) -> Tables:
        if self._tables is None:
            self._tables = self._spare_clones.read_tables(self._own.name)
        return self._tables

    def begin_again(self) -> None:
        """Set sequences back that a first attempt at a test has moved; what it wrote is undone already."""
        if self.settings.sequences != "keep" or self.sandbox.holds_fixture_rows or self.sandbox.wire is None:
            return
        if self._sequences_at_first is None:
            clone = self._spare_clones.take()
            template = self._spare_clones.read_tables(clone).sequences
            self._spare_clones.drop(clone)
            self._sequences_at_first = as_at_first(self._known_tables().sequences, template)
        self._executed(self.sandbox.wire, setting_sequences(self._sequences_at_first, "reset", ""))

    def _sequences_for(self, nodeid: str) -> str:
        how = self.settings.sequences
        return "" if how == "keep" else setting_sequences(self._known_tables().sequences, how, nodeid)

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        """Keep what the fixtures of a module or a class commit in a transaction around its tests.

        :param name: the nodeid of the module or class.
        :raises SandboxError: when one of its tests escaped; the database has been made anew by then.
        """
        self._listen()
        self.sandbox.open_layer(name)
        commits = []
        try:
            yield
        finally:
            commits = self.sandbox.close_layer()
        if commits:
            self._make_anew()
            raise conflicts.committed_past(f"a test of {name}", commits)

    def _executed(self, wire: Wire, sql: str) -> bool:
        try:
            return not sql or wire.execute_now(sql)
        except OSError:
            return False

    @contextmanager
    def _in_clone(self, nodeid: str) -> Iterator[None]:
        self.sandbox.refuse_layer(nodeid, "clone")
        name = self._clone_of_now()
        self._spare_clones.execute(name, self._sequences_for(nodeid))
        self._listen()
        self._lead_to(Database.at(self.address, name, self._own.worker, self.source, self.settings))
        try:
            yield
        finally:
            kept = self.database
            self._lead_to(self._own)
            if self.keeps_clone:
                self._spare_clones.keep(name, nodeid)
                self.kept = kept
            else:
                self._spare_clones.drop(name)
        if self.sandbox.listen_now():
            # A URL that the test module read at import leads to the worker's database all the same.
            self._make_anew()

    def _clone_of_now(self) -> str:
        if not self.sandbox.holds_fixture_rows:
            return self._spare_clones.take()
        # The template lacks what fixtures of wider scope have committed. A database can be copied while nobody uses it.
        self.sandbox.close()
        self.engines.drop_own_connections()
        return self._spare_clones.copy(self._own.name)

    def _lead_to(self, database: Database) -> None:
        self.engines.drop_own_connections()
        self.database = database
        self.engines.database = database.name
        set_database_urls(self.address, database.name, self.settings.database_url_env)

    @contextmanager
    def _unisolated(self, nodeid: str) -> Iterator[None]:
        self.sandbox.refuse_layer(nodeid, "none")
        self._listen()
        yield
        # It commits for real and says so: nothing of it is the next test's.
        self.sandbox.listen_now()

    def _listen(self) -> None:
        if self.sandbox.wire is None or not self.sandbox.wire.is_open:
            with Background() as background:
                self.sandbox.wire = background.call(self.engines.open_control())

    def _make_anew(self) -> None:
        self.sandbox.close()
        self.sandbox.holds_fixture_rows = False
        self.engines.drop_own_connections()
        self._spare_clones.remake(self._own.name)

    @property
    def _spare_clones(self) -> SpareClones:
        if self._clones is None:
            self._clones = SpareClones(self.address, self.source, self._own.worker)
        return self._clones

    def close(self) -> None:
        if self._lock_watch is not None:
            self._lock_watch.close()
        self.engines.close()
        if self._clones is not None:
            self._clones.close()


def announce(address: Address, source: CloneSource) -> None:
    """Put into this process's environment what the workers that xdist starts from it need to know."""
    values = {**asdict(address), "password": address.password.reveal()}
    os.environ[_RUN_VARIABLE] = json.dumps({"address": values, "source": asdict(source)})


def assigned_database(settings: Settings) -> tuple[Address, Database, CloneSource] | None:
    """The database that the controller of this xdist worker made for it; None in any other process."""
    text, worker = os.environ.get(_RUN_VARIABLE), os.environ.get(_WORKER_VARIABLE)
    if not text or not worker:
        return None
    # A pytest that a test of the suite starts is a run of its own.
    del os.environ[_RUN_VARIABLE]
    run = json.loads(text)
    address = Address(**{**run["address"], "password": Secret(run["address"]["password"])})
    source = CloneSource(**{**run["source"], "carried": tuple(run["source"]["carried"])})
    # The name follows from run and worker, because one that replaces a crashed worker was not known when the run began.
    name = database_name(source.run_id, worker)
    return address, Database.at(address, name, worker, source, settings), source


def set_database_urls(address: Address, name: str, variables: tuple[str, ...]) -> None:
    """Put the database's URL where settings look for it, with the driver that the variable named before.

    :param variables: names of environment variables.
    """
    for variable in variables:
        os.environ[variable] = address.url(name, _scheme(variable))


def _scheme(variable: str) -> str:
    scheme = os.environ.get(variable, "").partition("://")[0]
    return scheme if scheme.startswith("postgres") else _ASYNCPG
