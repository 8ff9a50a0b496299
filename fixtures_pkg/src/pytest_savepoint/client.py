"""The `client` fixture's transport: the application in this process, with its lifespan run on the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx

__all__ = ["AppTransport"]

Message = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]


class AppTransport(httpx.ASGITransport):
    """httpx's ASGI transport, which does not run the lifespan, with the lifespan."""

    def __init__(self, app: App) -> None:
        """:param app: the ASGI application under test."""
        super().__init__(app=self._call)
        self._app = app
        self._lifespan: _Lifespan | None = None

    async def _call(self, scope: Message, receive: Any, send: Any) -> None:
        if self._lifespan is not None:
            scope["state"] = self._lifespan.state.copy()
        await self._app(scope, receive, send)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self.start()
        return await super().handle_async_request(request)

    async def start(self) -> None:
        """Run the application's start-up on the running loop, unless it has run there.

        :raises RuntimeError: when the application says that its start-up failed.
        """
        if self._lifespan is None or self._lifespan.loop is not asyncio.get_running_loop():
            self._lifespan = _Lifespan(self._app)
        await self._lifespan.start()

    async def stop(self) -> None:
        """Run the application's shutdown, if its start-up ran on the running loop.

        :raises RuntimeError: when the application says that its shutdown failed.
        """
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None and lifespan.loop is asyncio.get_running_loop():
            await lifespan.stop()

    def stop_between_loops(self) -> None:
        """Run the shutdown while no loop runs, if the loop of the start-up is still open."""
        if self._lifespan is not None and not self._lifespan.loop.is_closed():
            self._lifespan.loop.run_until_complete(self.stop())


class _Lifespan:
    """One start-up and shutdown by the ASGI lifespan protocol, in one task, as cancel scopes in it need."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.loop = asyncio.get_running_loop()
        self.state: dict[str, Any] = {}
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._started: asyncio.Future[None] = self.loop.create_future()
        self._stopped: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._task is None:
            self._inbox.put_nowait({"type": "lifespan.startup"})
            self._task = self.loop.create_task(self._run(), name="savepoint-lifespan")
        await asyncio.shield(self._started)

    async def stop(self) -> None:
        self._stopped = self.loop.create_future()
        if self._task is not None and self._task.done():
            return
        self._inbox.put_nowait({"type": "lifespan.shutdown"})
        await self._stopped

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._inbox.get, self._send)
        except Exception as error:  # noqa: BLE001 # whatever the application raises is the caller's to see
            # Before the start-up was answered this says "no lifespan here", as the ASGI specification has it.
            if self._started.done():
                _settle(self._stopped, error)
        finally:
            _settle(self._started)
            _settle(self._stopped)

    async def _send(self, message: Message) -> None:
        what, _, how = str(message["type"]).removeprefix("lifespan.").partition(".")
        step = self._started if what == "startup" else self._stopped
        text = f"the application's {what} failed:\n{message.get('message', '')}"
        _settle(step, RuntimeError(text) if how == "failed" else None)


def _settle(future: asyncio.Future[None] | None, error: Exception | None = None) -> None:
    if future is None or future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
