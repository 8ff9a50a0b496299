"""Taking away what runs have left: only what carries our mark and has no living lease."""

from __future__ import annotations

from pathlib import Path

from pytest_savepoint.address import Address
from pytest_savepoint.cache import password_file
from pytest_savepoint.servers.given import UrlProvider
from pytest_savepoint.servers.leftovers import living_servers, remove_idle_containers, remove_idle_servers
from pytest_savepoint.settings import Settings

__all__ = ["clean"]


def clean(settings: Settings, *, cache: Path, kept: bool = False) -> list[str]:
    """Remove the servers, containers and databases that no living run uses, and give a line for each.

    Looked at are the local servers and containers of `cache`, and the server of `server-url`.

    :param kept: also the databases of failed tests, and the servers that run for their sake.
    :raises ServerError: when docker or the given server does not answer; the rest is clean by then.
    :raises GuardError: when the given server must not be used.
    """
    removed = [f"server {folder}" for folder in remove_idle_servers(cache, timeout=settings.server_timeout, kept=kept)]
    for address in living_servers(cache):
        removed += _drop_idle_databases(address, kept=kept)
    removed += [f"container {name}" for name in remove_idle_containers(cache, kept=kept)]
    if settings.server_url:
        removed += _drop_idle_databases(UrlProvider(settings).start().address, kept=kept)
    if kept:
        password_file(cache).unlink(missing_ok=True)
    return removed


def _drop_idle_databases(address: Address, *, kept: bool) -> list[str]:
    from pytest_savepoint.background import Background  # noqa: PLC0415 - only where a server runs

    with Background() as background:
        names = background.call(_drop(address, kept=kept))
    return [f"database {name} at {address.shown()}" for name in names]


async def _drop(address: Address, *, kept: bool) -> list[str]:
    from pytest_savepoint.databases.owned import MOST_KEPT, drop_dead_runs, drop_idle_templates  # noqa: PLC0415
    from pytest_savepoint.databases.session import session  # noqa: PLC0415

    async with session(address) as connection:
        dead = await drop_dead_runs(connection, keep=0 if kept else MOST_KEPT)
        return [*dead, *await drop_idle_templates(connection, keep=0)]
