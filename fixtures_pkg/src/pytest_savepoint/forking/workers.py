"""The controller's side: makes the server, tells it what to import, and has execnet ask it for workers."""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from execnet import gateway_io

from pytest_savepoint.forking.gateway import ForkedWorker, send
from pytest_savepoint.forking.libraries import holds_only_libraries, libraries, local_packages, marked_for_rewriting
from pytest_savepoint.forking.server import become_server, is_alone

if TYPE_CHECKING:
    from execnet.gateway_base import ExecModel
    from execnet.xspec import XSpec

__all__ = ["ForkedWorkers", "can_fork"]

_SERVER = str(Path(__file__).with_name("server.py"))
_PYTEST = ("pytest", "py.test", "__main__.py")
PATIENCE = 5.0
_WAITING = 256
"""Messages that may wait while the server imports."""
_LAG = 0.05
"""Seconds by which the server's imports may be behind the conftest's."""


def can_fork() -> bool:
    """Whether this system starts processes in the ways that are needed: Linux, from 5.3 on."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # an older kernel, or a container that forbids it
        return False
    return True


class ForkedWorkers:
    """One server for the workers of a run.

    :param measured: the names of packages whose import is measured, so that each worker has to do it itself.
    :raises OSError: when no socket or process can be made, such as in a temporary folder with a long name.
    """

    def __init__(self, measured: list[str]) -> None:
        self._measured = {name.partition(".")[0] for name in measured} | local_packages()
        self._folder = Path(tempfile.mkdtemp(prefix="savepoint-"))
        self._socket = str(self._folder / "workers")
        self._create_io = gateway_io.create_io
        try:
            self._server, self._alive = self._start()
        except OSError:
            shutil.rmtree(self._folder)
            raise
        self._told: set[str] = set()
        self._marked = marked_for_rewriting()
        self._tell()
        sys.meta_path.insert(0, self)

    def _start(self) -> tuple[int, int]:
        """A new server's process id, and the pipe that it lives as long as."""
        its_end, ours = os.pipe()
        start = _fork if _is_shareable(self._measured) else _spawn
        with socket.socket(socket.AF_UNIX) as listening:
            try:
                listening.bind(self._socket)
                listening.listen(_WAITING)
                return start(listening, its_end, ours), ours
            except OSError:
                os.close(ours)
                raise
            finally:
                os.close(its_end)

    def find_spec(self, *_: object) -> ModuleSpec | None:
        """See that something is imported, and have the server import what was, beside us."""
        if time.monotonic() - self._told_at > _LAG:
            self._tell()
        return None

    @pytest.hookimpl(trylast=True, optionalhook=True)
    def pytest_xdist_setupnodes(self) -> None:
        """The conftest has been imported by now, and with it most of what the workers will import."""
        sys.meta_path.remove(self)
        if self._tell():
            gateway_io.create_io = self._create

    def _create(self, spec: XSpec, execmodel: ExecModel) -> Any:
        """Start a worker; execnet calls this in place of its own."""
        is_plain = spec.popen and not (spec.python or spec.via or spec.dont_write_bytecode)
        with contextlib.suppress(OSError):
            if is_plain:
                return ForkedWorker(self._socket, execmodel)
        return self._create_io(spec, execmodel)

    def _tell(self) -> bool:
        """Have the server import the libraries that this process has imported; False when it is not there."""
        self._told_at = time.monotonic()
        # What the conftest has marked since, the server would import as it is.
        apart = self._measured | (marked_for_rewriting() - self._marked)
        names = [name for name in libraries(self._told) if apart.isdisjoint(_packages(name))]
        self._told.update(names)
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(self._socket)
                send(connection, marshal.dumps(names), [])
            except OSError:
                return False
        return True

    def pytest_unconfigure(self) -> None:
        """Let the server end; it waits for workers that are still there."""
        gateway_io.create_io = self._create_io
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        os.close(self._alive)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # somebody has waited for it already
            _wait_for(self._server)
        shutil.rmtree(self._folder, ignore_errors=True)


def _packages(name: str) -> list[str]:
    """A module and all packages that it is in."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _wait_for(server: int) -> None:
    ended = os.pidfd_open(server)
    if not select.select([ended], [], [], PATIENCE)[0]:
        os.kill(server, signal.SIGKILL)
    os.close(ended)
    os.waitpid(server, 0)


def _is_shareable(measured: set[str]) -> bool:
    """Whether a worker may begin with what this process has: pytest and its plugins, and nothing of the project."""
    called = getattr(sys.modules["__main__"], "__file__", None) or ""
    # Python's own options are not for workers, and a script of the caller's may have done anything.
    option = next(iter(sys.orig_argv[1:]), "")
    is_plain = Path(called).name in _PYTEST and (option == "-m" or not option.startswith("-"))
    return is_plain and is_alone() and not _is_watched() and holds_only_libraries(measured)


def _is_watched() -> bool:
    """Whether a debugger, a profiler or coverage looks at what runs here."""
    monitoring = getattr(sys, "monitoring", None)
    return bool(sys.gettrace() or sys.getprofile() or (monitoring and any(map(monitoring.get_tool, range(6)))))


def _fork(listening: socket.socket, alive: int, ours: int) -> int:
    # What waits to be written is this process's to write.
    sys.stdout.flush()
    sys.stderr.flush()
    # What is here now stays until the end; to collect it would copy, page by page, what is shared.
    gc.freeze()
    server = os.fork()
    if server == 0:
        os.close(ours)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, stream in enumerate((alive, nothing, nothing)):
            os.dup2(stream, number)
        become_server(listening)
    return server


def _spawn(listening: socket.socket, alive: int, _: int) -> int:
    number = 3
    streams = [
        (os.POSIX_SPAWN_DUP2, alive, 0),
        *((os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)),
        (os.POSIX_SPAWN_DUP2, listening.fileno(), number),
    ]
    return os.posix_spawn(sys.executable, [sys.executable, _SERVER, str(number)], os.environ, file_actions=streams)
