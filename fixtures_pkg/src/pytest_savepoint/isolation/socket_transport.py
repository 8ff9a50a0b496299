"""A transport over a socket that outlives event loops, so that one server connection can serve loop after loop.

asyncio's own transports belong to the loop that made them. This one only watches a socket on whatever loop it is
attached to, which is what lets `wire.Wire` hand an authenticated connection from a closed loop to the next.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Protocol

from pytest_savepoint.isolation.ahead import Ahead

__all__ = ["SocketTransport", "WireProtocol"]

_CHUNK = 256 * 1024


class WireProtocol(Protocol):
    """What the transport needs of a driver's protocol object."""

    def data_received(self, data: bytes) -> None: ...
    def connection_lost(self, error: Exception | None) -> None: ...


class SocketTransport(asyncio.Transport):
    """Moves bytes between one socket and one protocol on one loop; detaching leaves the socket open."""

    def __init__(
        self, sock: socket.socket, protocol: WireProtocol, loop: asyncio.AbstractEventLoop, ahead: Ahead
    ) -> None:
        """:param ahead: what is sent before the protocol's next message, and takes the answers to it."""
        super().__init__({"socket": sock})
        self._ahead = ahead
        self._sock = sock
        self._protocol = protocol
        self._loop = loop
        self._unsent = bytearray()
        self._open = False

    def attach(self) -> None:
        """Start to read from the socket, and from now on write to it; what was written before is dropped."""
        self._open = True
        self._loop.add_reader(self._sock.fileno(), self._read)

    def detach(self) -> None:
        """Stop watching the socket and leave it open; safe when the loop has been closed already."""
        if not self._open:
            return
        self._open = False
        self._unsent.clear()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def write(self, data: Any) -> None:
        if not self._open:
            return
        if first := self._ahead.take():
            data = first + bytes(data)
        if not self._unsent:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._lose(error)
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
            self._loop.add_writer(self._sock.fileno(), self._flush)
        self._unsent += data

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._sock.fileno())

    def _read(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        if not data:
            self._lose(None)
            return
        if self._ahead.is_under_way:
            data = self._ahead.rest_of(data)
        if data:
            self._protocol.data_received(data)

    def _lose(self, error: Exception | None) -> None:
        self.detach()
        self._sock.close()
        self._protocol.connection_lost(error)

    def abort(self) -> None:
        if self._open:
            self._lose(None)

    def close(self) -> None:
        self.abort()

    def is_closing(self) -> bool:
        return not self._open

    def pause_reading(self) -> None:
        self._loop.remove_reader(self._sock.fileno())

    def resume_reading(self) -> None:
        self._loop.add_reader(self._sock.fileno(), self._read)
