"""A server that the user gives by its URL, and the guard before it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from pytest_savepoint.address import MAINTENANCE_DATABASE, Address
from pytest_savepoint.errors import GuardError, ServerError
from pytest_savepoint.secret import Secret
from pytest_savepoint.servers.readiness import NotReadyError, version_when_ready
from pytest_savepoint.settings import Settings

__all__ = ["GivenServer", "UrlProvider", "parse_server_url"]


@dataclass
class GivenServer:
    """A server that is not ours: we make and drop our own databases on it and nothing else."""

    provider: str
    reason: str
    version: str
    address: Address

    def log_tail(self, lines: int = 40) -> str:  # noqa: ARG002
        return ""

    def keep(self) -> None:
        """It was there before us and stays."""

    def stop(self) -> None:
        """It was there before us and stays."""


class UrlProvider:
    """The server of `server-url`."""

    name = "url"
    remedy = "set SAVEPOINT_SERVER_URL to postgresql://user:password@host:port/postgres"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def obstacle(self) -> str:
        return "" if self._settings.server_url else "server-url is empty"

    def start(self) -> GivenServer:
        address = parse_server_url(self._settings.server_url)
        self._refuse_foreign_host(address)
        try:
            version = version_when_ready(
                address, timeout=self._settings.server_timeout, pause=0.1, is_alive=lambda: True
            )
        except NotReadyError as error:
            raise ServerError(
                f"The server of server-url at {address.shown()} is of no use: {address.scrub(str(error))}.\n"
                "Check host, port, user and password in SAVEPOINT_SERVER_URL; set server-timeout for a slow server."
            ) from error
        import asyncpg  # noqa: PLC0415 - only where a server is given

        from pytest_savepoint.background import Background  # noqa: PLC0415
        from pytest_savepoint.servers.pooler import refuse_useless_pooler  # noqa: PLC0415

        with Background() as background:
            try:
                background.call(refuse_useless_pooler(address))
            except asyncpg.PostgresError as error:
                raise ServerError(f"The server of server-url at {address.shown()} is of no use: {error}.") from error
            background.call(_refuse_weak_role(address))
        self._refuse_other_version(address, version)
        return GivenServer("url", f"the given server at {address.shown()}", version, address)

    def _refuse_foreign_host(self, address: Address) -> None:
        if not _is_this_machine(address.host) and address.host != self._settings.trusted_host:
            raise GuardError(
                f"The server of server-url is {address.host}, which is not this machine; tests make and drop databases "
                "on it, so it might be the wrong one.\n"
                f"If it is a server for tests, set trusted-host to exactly {address.host}."
            )

    def _refuse_other_version(self, address: Address, version: str) -> None:
        wanted = self._settings.postgres_version
        if wanted and version.split(".", maxsplit=1)[0] != wanted:
            raise ServerError(
                f"The server of server-url at {address.shown()} is PostgreSQL {version}, but postgres-version is "
                f"{wanted}.\nGive the URL of another server, or leave postgres-version empty."
            )


async def _refuse_weak_role(address: Address) -> None:
    import asyncpg  # noqa: PLC0415

    connection = await asyncpg.connect(**address.connect_arguments(MAINTENANCE_DATABASE))
    try:
        may_create = await connection.fetchval(
            "select rolsuper or rolcreatedb from pg_roles where rolname = current_user"
        )
    finally:
        connection.terminate()
    if not may_create:
        raise GuardError(
            f"The role {address.user!r} of server-url may not create databases at {address.shown()}; we work only in "
            "databases that we make ourselves.\n"
            f'Give the role the right (ALTER ROLE "{address.user}" CREATEDB), or name another role in '
            "SAVEPOINT_SERVER_URL."
        )


def _is_this_machine(host: str) -> bool:
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_server_url(url: Secret) -> Address:
    """Read `postgresql://user:password@host:port/name`, also with a driver in the scheme or `?host=/socket/folder`.

    :raises GuardError: when it is not the URL of a PostgreSQL server.
    """
    try:
        parts = urlsplit(url.reveal())
        port = parts.port or 5432
    except ValueError:
        raise GuardError("server-url cannot be read as a URL; " + UrlProvider.remedy + ".") from None
    if parts.scheme.split("+")[0] not in ("postgresql", "postgres"):
        sqlite = " For SQLite in memory set provider to sqlite." if parts.scheme.startswith("sqlite") else ""
        raise GuardError(f"server-url has the scheme {parts.scheme!r}, not postgresql; {UrlProvider.remedy}.{sqlite}")
    query = parse_qs(parts.query)
    host = unquote(parts.hostname or query.get("host", [""])[0])
    is_socket = host.startswith("/")
    return Address(
        host="" if is_socket else host or "localhost",
        port=port,
        user=unquote(parts.username or "postgres"),
        password=Secret(unquote(parts.password or "")),
        socket_directory=host if is_socket else None,
        tls=not is_socket,
    )
