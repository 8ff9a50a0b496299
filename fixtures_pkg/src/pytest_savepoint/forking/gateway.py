"""One forked worker, as execnet knows the processes that it has started."""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
from typing import TYPE_CHECKING

from execnet.gateway_base import Popen2IO
from execnet.gateway_io import popen_bootstrapline

from pytest_savepoint.forking.server import KILL, SIZE

if TYPE_CHECKING:
    from execnet.gateway_base import ExecModel

__all__ = ["ForkedWorker", "send"]

# Longer than any import; whoever has not answered by then is not going to.
_PATIENCE = 60.0
_STANDARD_ERROR = 2


class ForkedWorker(Popen2IO):
    """The pipes to and from a worker that the server has forked.

    :param path: the server's socket.
    :raises OSError: when there is no server, or when it does not fork.
    """

    def __init__(self, path: str, execmodel: ExecModel) -> None:
        self._code: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        its_input, our_output = os.pipe()
        our_input, its_output = os.pipe()
        try:
            self._connection.settimeout(_PATIENCE)
            self._connection.connect(path)
            request = marshal.dumps((popen_bootstrapline, os.getcwdb(), dict(os.environb)))  # noqa: PTH109 # in bytes
            send(self._connection, request, [its_input, its_output, _STANDARD_ERROR])
            if not self._connection.recv(1):
                raise ConnectionRefusedError
            self._connection.settimeout(None)
        except OSError:
            self._connection.close()
            os.close(our_output)
            os.close(our_input)
            raise
        finally:
            # Only the worker may hold these now: their end is how we see that it died.
            os.close(its_input)
            os.close(its_output)
        super().__init__(os.fdopen(our_output, "wb"), os.fdopen(our_input, "rb"), execmodel)

    def wait(self) -> int | None:
        """Wait for the end of the worker, and give its exit code; None when the server has ended first."""
        if self._code is None:
            with contextlib.suppress(OSError):
                self._code = next(iter(self._connection.recv(1)), None)
            self._connection.close()
        return self._code

    def kill(self) -> None:
        """End the worker at once."""
        with contextlib.suppress(OSError):
            self._connection.sendall(KILL)


def send(connection: socket.socket, message: bytes, streams: list[int]) -> None:
    """Send a request to the server, with the file descriptors that a worker begins with."""
    socket.send_fds(connection, [len(message).to_bytes(SIZE, "big")], streams)
    connection.sendall(message)
