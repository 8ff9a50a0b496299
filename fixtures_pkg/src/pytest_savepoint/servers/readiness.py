"""Waiting for a server by really connecting to it."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_savepoint.address import MAINTENANCE_DATABASE, Address

__all__ = ["NotReadyError", "version_when_ready"]


class NotReadyError(Exception):
    """The server did not answer; the message is the last thing that went wrong."""


def version_when_ready(address: Address, *, timeout: float, pause: float, is_alive: Callable[[], bool]) -> str:
    """Connect each `pause` seconds until the server answers, and give its version.

    :raises NotReadyError: when it ended, refused us, or `timeout` seconds are over.
    """
    # Here, because a clean-up that finds no server has no use for a driver.
    import asyncio  # noqa: PLC0415

    import asyncpg  # noqa: PLC0415

    from pytest_savepoint.background import Background  # noqa: PLC0415

    # What a starting, stopping or absent server answers; anything else, such as a wrong password, will not pass by waiting.
    passing = (OSError, asyncio.TimeoutError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError)
    deadline = time.monotonic() + timeout
    with Background() as background:
        while True:
            alive = is_alive()
            try:
                return background.call(_version(address, max(deadline - time.monotonic(), 0.1)))
            except passing as error:
                last = f"{type(error).__name__}: {error}"
            except asyncpg.PostgresError as error:
                raise NotReadyError(f"it refused the connection: {error}") from error
            if not alive:
                raise NotReadyError("it ended while starting")
            if time.monotonic() >= deadline:
                raise NotReadyError(f"no answer in {timeout:.0f} s ({last})")
            time.sleep(pause)


async def _version(address: Address, timeout: float) -> str:
    import asyncpg  # noqa: PLC0415

    connection = await asyncpg.connect(timeout=timeout, **address.connect_arguments(MAINTENANCE_DATABASE))
    try:
        return str(connection.get_settings().server_version).split(" ", maxsplit=1)[0]
    finally:
        connection.terminate()
