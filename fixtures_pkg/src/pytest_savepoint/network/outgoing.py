"""Refuses connections that would leave this machine while a test runs, and names the call that wanted one."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import sys
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import pytest

from pytest_savepoint.errors import OutgoingCallError
from pytest_savepoint.loops.frames import Caller, walk

__all__ = ["OutgoingCalls", "known_hosts"]

# The variables in which these libraries hold the request while they connect.
_REQUESTS = ("request", "req")
_LIBRARIES = ("aiohttp", "httpx", "requests", "urllib")


class OutgoingCalls:
    """Stands before the socket: an in-process client and a mocked call never come here."""

    def __init__(self, root: Path, allowed: Collection[str]) -> None:
        """
        :param root: the project's folder.
        :param allowed: hosts of the test's own database and services.
        """
        self._caller = Caller(root)
        self._allowed = {host.lower() for host in allowed} | {"", "localhost", socket.gethostname().lower()}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with self.refused(item.nodeid):
            return (yield)

    @contextmanager
    def refused(self, nodeid: str) -> Iterator[None]:
        """Refuse them for the length of a block.

        :param nodeid: the test that is told about them.
        """
        connect, connect_ex, resolve = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
        loop_resolve = asyncio.BaseEventLoop.getaddrinfo

        def guarded_connect(self_: socket.socket, address: Any) -> None:
            self._check(address, nodeid)
            return connect(self_, address)

        def guarded_connect_ex(self_: socket.socket, address: Any) -> int:
            self._check(address, nodeid)
            return connect_ex(self_, address)

        def guarded_resolve(host: Any, port: Any, *args: Any, **named: Any) -> Any:
            self._check((host, port), nodeid)
            return resolve(host, port, *args, **named)

        # A loop asks in another thread, where nobody knows whose call it is.
        async def guarded_loop_resolve(loop: Any, host: Any, port: Any, **named: Any) -> Any:
            self._check((host, port), nodeid)
            return await loop_resolve(loop, host, port, **named)

        guards = (
            (socket.socket, "connect", guarded_connect),
            (socket.socket, "connect_ex", guarded_connect_ex),
            (socket, "getaddrinfo", guarded_resolve),
            (asyncio.BaseEventLoop, "getaddrinfo", guarded_loop_resolve),
        )
        before = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in guards]
        for owner, name, guard in guards:
            setattr(owner, name, guard)
        try:
            yield
        finally:
            for owner, name, original in before:
                # socket.socket inherits connect from the C class, and gets it back by forgetting ours.
                if original is None:
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)

    def _check(self, address: Any, nodeid: str) -> None:
        # The address of a Unix socket is a text, and that of any other family is no business of ours.
        if not isinstance(address, tuple) or len(address) < 2 or self._is_allowed(address[0]):
            return
        frames = list(walk(sys._getframe(2)))  # noqa: SLF001 # the only way to the caller's frame
        call = next(filter(None, map(_request_of, frames)), f"{_text(address[0])}:{address[1]}")
        own = next((frame for frame in frames if self._caller.owns(frame.f_code.co_filename)), None)
        place = f" at {self._caller.path(own.f_code.co_filename)}:{own.f_lineno}" if own is not None else ""
        raise OutgoingCallError(
            f"{nodeid} calls {call}{place}, which is not on this machine, and outgoing-http is refuse.\n"
            "Mock the call: the fixture respx_mock of pytest-savepoint[http] does it for httpx; docs/services.md shows "
            "how. Or set outgoing-http to allow."
        )

    def _is_allowed(self, host: Any) -> bool:
        name = _text(host).lower()
        if name in self._allowed:
            return True
        try:
            ip = ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return name.endswith(".localhost")
        return ip.is_loopback or ip.is_unspecified


def known_hosts(variables: Iterable[str]) -> set[str]:
    """The hosts of the URLs in these environment variables."""
    return {urlsplit(os.environ.get(name, "")).hostname or "" for name in variables}


def _text(host: Any) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")


def _request_of(frame: FrameType) -> str:
    for name in _REQUESTS:
        request: Any = frame.f_locals.get(name)
        if type(request).__module__.partition(".")[0] in _LIBRARIES:
            url = str(getattr(request, "full_url", "") or getattr(request, "url", ""))
            method = request.get_method() if hasattr(request, "get_method") else getattr(request, "method", "")
            if method and url:
                return f"{method} {_without_secrets(url)}"
    return ""


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
