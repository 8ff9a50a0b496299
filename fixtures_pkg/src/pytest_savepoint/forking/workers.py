"""The controller's side: starts the server, tells it what to import, and has xdist start stubs."""

from __future__ import annotations

import marshal
import os
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import pytest

__all__ = ["ForkedWorkers", "can_fork"]

_HERE = Path(__file__).resolve().parent
_LIBRARIES = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})
PATIENCE = 5.0
_WAITING = 256
"""Stubs and messages that may wait while the server imports."""


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
        self._measured = {name.partition(".")[0] for name in measured}
        self._folder = Path(tempfile.mkdtemp(prefix="savepoint-"))
        self._socket = str(self._folder / "workers")
        self._told: set[str] = set()
        try:
            self._server = self._start()
        except OSError:
            shutil.rmtree(self._folder)
            raise
        self._tell()

    def _start(self) -> subprocess.Popen[bytes]:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self._socket)
            listening.listen(_WAITING)
            return subprocess.Popen(
                [sys.executable, _HERE / "server.py", str(listening.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[listening.fileno()],
            )

    @pytest.hookimpl(trylast=True, optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: list[Any]) -> None:
        """The conftest has been imported by now, and with it most of what the workers will import."""
        if not self._tell():
            return
        stub = [sys.executable, "-I", "-S", str(_HERE / "stub.py"), self._socket]
        for number, spec in enumerate(specs):
            if spec.popen and not (spec.python or spec.via or spec.chdir):
                specs[number] = type(spec)(f"{spec}//python={shlex.join(stub)}")
                specs[number].id = spec.id

    def _tell(self) -> bool:
        """Have the server import the libraries that this process has imported; False when it is not there."""
        names = [
            name for name in _libraries() if name not in self._told and name.partition(".")[0] not in self._measured
        ]
        self._told.update(names)
        message = marshal.dumps(names)
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(self._socket)
                connection.sendall(len(message).to_bytes(8, "big") + message)
            except OSError:
                return False
        return True

    def pytest_unconfigure(self) -> None:
        """Let the server end; it waits for workers that are still there."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        try:
            self._server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _libraries() -> list[str]:
    """The modules of this process that are the standard library's or installed."""
    found = []
    for name, module in list(sys.modules.items()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if isinstance(origin, str) and origin.startswith(_LIBRARIES) and getattr(module, "__name__", None) == name:
            found.append(name)
    return found
