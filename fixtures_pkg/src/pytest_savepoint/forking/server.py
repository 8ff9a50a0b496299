"""Import libraries once and fork workers: python server.py LISTENING-SOCKET

Ends with the controller, whose end it sees at its standard input, and with the last of its workers. It runs by itself, so
that nothing but the libraries is imported before a fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.metadata
import io
import marshal
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

# They replace parts of the standard library, which has to happen before others import those.
_PATCHING = {"gevent", "eventlet"}
_SIZE = 8

Wanted = tuple[str, bytes, dict[bytes, bytes]]
"""What a worker is to run, in which folder, and with which environment."""


class RefusedError(Exception):
    """A request that cannot be met; the stub then starts a Python of its own."""


class Server:
    """Answers the requests of a socket until the controller and all workers are gone."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._listening, selectors.EVENT_READ)
        self._ready.register(0, selectors.EVENT_READ)
        self._stubs: dict[socket.socket, int] = {}  # with the worker's process id
        self._workers: dict[int, tuple[int, socket.socket]] = {}  # by pidfd
        self._locals = _local_packages()
        self._can_fork = True

    def serve(self) -> Wanted | None:
        """Give what a forked worker is to run, in that worker; None in the server, when its work is over."""
        while self._ready.get_map():
            for key, _ in self._ready.select():
                if key.fileobj == 0:
                    self._ready.unregister(0)
                    self._ready.unregister(self._listening)
                    self._listening.close()
                elif key.fileobj is self._listening:
                    request = self._answer()
                    if request is not None:
                        return request
                elif key.fileobj in self._workers:
                    self._worker_ended(key.fileobj)
                elif key.fileobj in self._stubs:
                    # Somebody has ended the stub, and means its worker.
                    os.kill(self._stubs[key.fileobj], signal.SIGKILL)
                    self._ready.unregister(key.fileobj)
        return None

    def _answer(self) -> Wanted | None:
        connection, _ = self._listening.accept()
        streams: list[int] = []
        try:
            size, streams, _, _ = socket.recv_fds(connection, _SIZE, 3)
            request = marshal.loads(_receive(connection, int.from_bytes(size, "big")))  # noqa: S302 # from our own user
            if streams:
                return self._fork(connection, streams, request)
            self._preload(request)
            connection.close()
        except (OSError, RefusedError):
            connection.close()
        finally:
            for stream in streams:
                os.close(stream)
        return None

    def _preload(self, names: list[str]) -> None:
        self._can_fork = self._can_fork and _PATCHING.isdisjoint(names)
        if self._can_fork:
            _import(name for name in names if name.partition(".")[0] not in self._locals)
            # A thread would not be there in a worker, but the locks that it holds would.
            self._can_fork = len(list(Path("/proc/self/task").iterdir())) == 1

    def _fork(self, connection: socket.socket, streams: list[int], request: Wanted) -> Wanted | None:
        if not self._can_fork:
            raise RefusedError
        connection.sendall(b"f")
        gc.freeze()
        worker = os.fork()
        if worker == 0:
            self._leave()
            connection.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            return request
        ended = os.pidfd_open(worker)
        self._stubs[connection] = worker
        self._workers[ended] = worker, connection
        self._ready.register(connection, selectors.EVENT_READ)
        self._ready.register(ended, selectors.EVENT_READ)
        return None

    def _leave(self) -> None:
        """A worker keeps nothing of the server."""
        self._ready.close()
        self._listening.close()
        for ended, (_, connection) in self._workers.items():
            os.close(ended)
            connection.close()

    def _worker_ended(self, ended: int) -> None:
        worker, connection = self._workers.pop(ended)
        self._ready.unregister(ended)
        os.close(ended)
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        with contextlib.suppress(OSError):
            connection.sendall(bytes([code if code >= 0 else 128 - code]))
        if connection in self._ready.get_map():
            self._ready.unregister(connection)
        del self._stubs[connection]
        connection.close()


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise RefusedError
        received += part
    return bytes(received)


def _local_packages() -> set[str]:
    """What was installed from a file or folder of this machine may be the project under test, whose import is measured."""
    local = {
        file.parts[0].removesuffix(".py")
        for distribution in importlib.metadata.distributions()
        if '"file:' in (distribution.read_text("direct_url.json") or "").replace('": "', '":"')
        for file in distribution.files or ()
    }
    return local - {"pytest_savepoint"}


def _import(names: Iterable[str]) -> None:
    with _assertions_rewritten():
        for name in names:
            if name not in sys.modules:
                # What cannot be imported here is imported, and fails, where it is used.
                with contextlib.suppress(BaseException):
                    importlib.import_module(name)


@contextlib.contextmanager
def _assertions_rewritten() -> Iterator[None]:
    """Import as pytest does, which rewrites the assertions of plugins and warns of those that it was too late for."""
    from _pytest.assertion import install_importhook  # noqa: PLC0415 # the first thing that is worth sharing
    from _pytest.config import _iter_rewritable_modules, get_config  # noqa: PLC0415 # as pytest marks them

    hook = install_importhook(get_config())
    files = [
        str(file)
        for distribution in importlib.metadata.distributions()
        if any(point.group == "pytest11" for point in distribution.entry_points)
        for file in distribution.files or ()
    ]
    hook.mark_rewrite(*_iter_rewritable_modules(files))
    try:
        yield
    finally:
        sys.meta_path.remove(hook)


def _become_a_worker(code: str, folder: bytes, environment: dict[bytes, bytes]) -> None:
    """Go on as a Python that was started with `-u -c code`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environb.clear()
    os.environb.update(environment)
    os.chdir(folder)
    sys.argv = ["-c"]
    sys.path.insert(0, "")
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 # a stream, for as long as the process
    setattr(sys, "__stdin__", sys.stdin)  # noqa: B010 # final for others
    for name, number in (("stdout", 1), ("stderr", 2)):
        raw = io.FileIO(number, "w", closefd=False)
        errors = "strict" if name == "stdout" else "backslashreplace"
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors=errors, write_through=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if "numpy" in sys.modules:  # the standard library's generator does this by itself
        sys.modules["numpy"].random.seed()
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(code, vars(main))  # noqa: S102 # what the stub was started with


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The folder of this file, in which nobody else's modules lie.
    del sys.path[0]
    asked = Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if asked is not None:
        _become_a_worker(*asked)
