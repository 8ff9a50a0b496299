"""What isolation costs a test: one that adds three rows, commits and reads them, on session loops and on function loops.

With Redis it sets three keys and reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from measure.machine import BENCH, Machine
from measure.tables import Samples, milliseconds, ratio, table

__all__ = ["Isolation"]

_SUITE = BENCH / "isolation"
_SAVEPOINT = ("pytest_savepoint.plugin", "peer_savepoint")
_SAVEPOINT_REDIS = ("pytest_savepoint.plugin", "peer_savepoint_redis")
_REDIS = ("--savepoint-services", "redis")
_LOOPS = ("session", "function")
_EMPTY = "the same test with no database"
_BARE = "the body and its savepoint on one held connection, no pytest"


@dataclass(frozen=True)
class _Peer:
    name: str
    loop: str
    plugins: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    test: str = "test_rows.py"

    @property
    def key(self) -> str:
        return f"{self.loop}: {self.name}"


_PEERS = [
    peer
    for loop in _LOOPS
    for peer in (
        _Peer(_EMPTY, loop, test="test_empty.py"),
        _Peer("Savepoint", loop, _SAVEPOINT),
        _Peer("Savepoint, rows", loop, _SAVEPOINT, ("--savepoint-isolation", "rows")),
        _Peer("Savepoint, clone", loop, _SAVEPOINT, ("--savepoint-isolation", "clone")),
        _Peer("pytest-sqla", loop, ("sqla", "peer_sqla"), ("-o", "sqla_schema=none")),
    )
] + [
    _Peer("by hand, one engine and an outer transaction", "session", ("peer_handwritten_session_loop",)),
    _Peer("by hand, DELETE of every table", "session", ("peer_handwritten_delete",)),
    _Peer("pytest-async-sqlalchemy", "session", ("pytest_async_sqlalchemy", "peer_async_sqlalchemy")),
    _Peer("by hand, an engine with NullPool per test", "function", ("peer_handwritten_nullpool",)),
    *(_Peer("Savepoint, SQLite in memory", loop, _SAVEPOINT, ("--savepoint-provider", "sqlite")) for loop in _LOOPS),
    _Peer("by hand, SQLite in memory made for each test", "function", ("peer_handwritten_sqlite",)),
    _Peer("Savepoint, keys in Redis in place of rows", "session", _SAVEPOINT_REDIS, _REDIS, "test_keys.py"),
    _Peer("by hand, keys in Redis and FLUSHDB", "session", ("peer_handwritten_redis",), (), "test_keys.py"),
]


class Isolation:
    """Processor time of process and servers, and time by the clock, per test."""

    title = "Cost of isolation per test"

    def __init__(self, machine: Machine, tests: int) -> None:
        self._machine = machine
        self._tests = str(tests)
        self._cpu, self._wall = Samples(), Samples()

    def measure_once(self) -> None:
        self._note(_BARE, ["bare.py"], {})
        for peer in _PEERS:
            plugins = [part for name in ("asyncio", *peer.plugins) for part in ("-p", name)]
            scopes = [f"asyncio_default_{what}_loop_scope={peer.loop}" for what in ("test", "fixture")]
            settings = [part for each in ("asyncio_mode=auto", *scopes) for part in ("-o", each)]
            command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "measure.clock", *plugins, *settings]
            self._note(peer.key, [*command, *peer.options, peer.test], {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})

    def _note(self, name: str, command: list[str], environ: dict[str, str]) -> None:
        variables: dict[str, str] = {
            "BENCH_TESTS": self._tests,
            "BENCH_DATABASE_URL": self._machine.database_url,
            "SAVEPOINT_SERVER_URL": self._machine.server_url,
            "SAVEPOINT_REDIS_URL": self._machine.redis_url,
            "SAVEPOINT_SCHEMA": "metadata",
            "SAVEPOINT_METADATA": "tables:Base",
            "PYTHONPATH": f"{_SUITE}:{_SUITE / 'peers'}",
            **environ,
        }
        seconds: dict[str, Any] = self._machine.run(command, folder=_SUITE, environ=variables)
        self._cpu.add(name, seconds["cpu"])
        self._wall.add(name, seconds["wall"])

    def shown(self) -> str:
        rows = [[_BARE, *milliseconds(self._cpu, _BARE), "1.0", "1.0", *milliseconds(self._wall, _BARE)[:1]]]
        for peer in sorted(_PEERS, key=lambda peer: peer.loop == "function"):
            empty = f"{peer.loop}: {_EMPTY}"
            rows.append(
                [
                    f"{peer.loop} loop{'s' if peer.loop == 'function' else ''}: {peer.name}",
                    *milliseconds(self._cpu, peer.key),
                    ratio(self._cpu.median(peer.key) - self._cpu.median(empty), self._cpu.median(_BARE)),
                    ratio(self._cpu.least(peer.key) - self._cpu.least(empty), self._cpu.least(_BARE)),
                    *milliseconds(self._wall, peer.key)[:1],
                ]
            )
        heads = ["case", "CPU ms, median", "least", "over no database, in bare bodies", "by the least", "wall ms, median"]
        return table(heads, rows)
