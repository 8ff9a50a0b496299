"""Import libraries once and fork workers.

The controller forks itself into a server while it has nothing of the project in it; otherwise it starts one as
`python server.py LISTENING-SOCKET`. A server ends with the controller, whose end it sees at its standard input, and with
the last of its workers. This file imports nothing but the standard library, so that it can run by itself.
"""

from __future__ import annotations

import atexit
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
import threading
import traceback
from pathlib import Path
from types import ModuleType
from typing import NoReturn

__all__ = ["KILL", "SIZE", "become_server", "is_alone"]

SIZE = 8
"""Bytes of the length that precedes each request."""
KILL = b"k"
"""What a controller sends to end a worker at once."""
# They replace parts of the standard library, which has to happen before others import those.
_PATCHING = {"gevent", "eventlet"}

Wanted = tuple[str, bytes, dict[bytes, bytes]]
"""What a worker is to run, in which folder, and with which environment."""


class RefusedError(Exception):
    """A request that cannot be met; the controller then starts a Python of its own."""


class Server:
    """Answers the requests of a socket until the controller and all workers are gone."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._listening, selectors.EVENT_READ)
        self._ready.register(0, selectors.EVENT_READ)
        self._askers: dict[socket.socket, int] = {}  # with the worker's process id
        self._workers: dict[int, tuple[int, socket.socket]] = {}  # by pidfd
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
                elif key.fileobj in self._askers:
                    self._asked_to_kill(key.fileobj)
        return None

    def _answer(self) -> Wanted | None:
        connection, _ = self._listening.accept()
        streams: list[int] = []
        try:
            size, streams, _, _ = socket.recv_fds(connection, SIZE, 3)
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
        if not self._can_fork:
            return
        for name in names:
            if name not in sys.modules:
                # What cannot be imported here is imported, and fails, where it is used.
                with contextlib.suppress(BaseException):
                    importlib.import_module(name)
        self._can_fork = is_alone()

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
        self._askers[connection] = worker
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

    def _asked_to_kill(self, connection: socket.socket) -> None:
        try:
            order = connection.recv(len(KILL))
        except OSError:
            order = b""
        if order == KILL:
            os.kill(self._askers[connection], signal.SIGKILL)
        else:
            # The controller is gone, and its worker sees that for itself.
            self._ready.unregister(connection)

    def _worker_ended(self, ended: int) -> None:
        worker, connection = self._workers.pop(ended)
        self._ready.unregister(ended)
        os.close(ended)
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        with contextlib.suppress(OSError):
            connection.sendall(bytes([code if code >= 0 else 128 - code]))
        if connection in self._ready.get_map():
            self._ready.unregister(connection)
        del self._askers[connection]
        connection.close()


def is_alone() -> bool:
    """Whether this process has one thread: another would not be there in a fork, but the locks that it holds would."""
    return len(list(Path("/proc/self/task").iterdir())) == 1


def become_server(listening: socket.socket) -> NoReturn:
    """Go on as a server, and in each fork of it as that worker, until the process ends."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Libraries leave no garbage worth looking for, and looking would write to all that is shared.
        gc.disable()
        wanted = Server(listening).serve()
        code = 0 if wanted is None else _become_a_worker(*wanted)
    except BaseException:  # noqa: BLE001 # nothing may reach the frames below, which are another process's
        traceback.print_exc()
    finally:
        os._exit(code)


def _become_a_worker(code: str, folder: bytes, environment: dict[bytes, bytes]) -> int:
    """Go on as a Python that was started with `-u -c code`, and give its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()
    os.environb.clear()
    os.environb.update(environment)
    os.chdir(folder)
    sys.argv = ["-c"]
    sys.path.insert(0, "")
    _forget_rewriting()
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
    # A recursion may be as deep as in a Python that has nothing of the controller below it.
    sys.setrecursionlimit(sys.getrecursionlimit() + _depth())
    main = sys.modules["__main__"] = ModuleType("__main__")
    try:
        return _run(code, main)
    finally:
        # What Python does at its end; only the memory is left to the kernel, for half of it is shared.
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 # as multiprocessing ends its forks
        atexit._run_exitfuncs()  # noqa: SLF001 # as above


def _depth() -> int:
    frame, depth = sys._getframe(), 0  # noqa: SLF001 # the interpreter's own name
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def _run(code: str, main: ModuleType) -> int:
    try:
        exec(code, vars(main))  # noqa: S102 # what a worker is started with
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 # as at the end of any Python
        traceback.print_exc()
        return 1
    return 0


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise RefusedError
        received += part
    return bytes(received)


def _rewrite_assertions() -> None:
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
    hook.mark_rewrite("pytest_savepoint", *_iter_rewritable_modules(files))


def _forget_rewriting() -> None:
    """A worker's pytest marks by itself what is to be rewritten."""
    if "_pytest.assertion.rewrite" in sys.modules:
        hook = sys.modules["_pytest.assertion.rewrite"].AssertionRewritingHook
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, hook)]


if __name__ == "__main__":
    # The folder of this file, in which nobody else's modules lie.
    del sys.path[0]
    _rewrite_assertions()
    become_server(socket.socket(fileno=int(sys.argv[1])))
