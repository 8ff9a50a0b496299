"""Taking away what runs have left: only what carries our mark and has no living lease."""

from __future__ import annotations

from pathlib import Path

from pytest_savepoint.address import Address
from pytest_savepoint.background import Background
from pytest_savepoint.databases.owned import drop_dead_runs, drop_idle_templates
from pytest_savepoint.databases.session import session
from pytest_savepoint.servers.given import UrlProvider
from pytest_savepoint.servers.leftovers import living_servers, remove_idle_containers, remove_idle_servers
from pytest_savepoint.settings import Settings

__all__ = ["clean"]


def clean(settings: Settings, *, cache: Path) -> list[str]:
    """Remove the servers, containers and databases that no living run uses, and give a line for each.

    Looked at are the local servers and containers of `cache`, and the server of `server-url`.

    :raises ServerError: when docker or the given server does not answer; the rest is clean by then.
    :raises GuardError: when the given server must not be used.
    """
    removed = [f"server {folder}" for folder in remove_idle_servers(cache, timeout=settings.server_timeout)]
    for address in living_servers(cache):
        removed += _drop_idle_databases(address)
    removed += [f"container {name}" for name in remove_idle_containers(cache)]
    if settings.server_url:
        removed += _drop_idle_databases(UrlProvider(settings).start(keep=False).address)
    return removed


def _drop_idle_databases(address: Address) -> list[str]:
    with Background() as background:
        names = background.call(_drop(address))
    return [f"database {name} at {address.shown()}" for name in names]


async def _drop(address: Address) -> list[str]:
    async with session(address) as connection:
        return [*await drop_dead_runs(connection), *await drop_idle_templates(connection, keep=0)]
