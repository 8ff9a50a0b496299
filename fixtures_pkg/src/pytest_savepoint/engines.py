"""Leading every SQLAlchemy engine of a process to one database, whatever URL it was made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

if TYPE_CHECKING:
    from pytest_savepoint.address import Address

__all__ = ["lead_engines_to", "lead_engines_to_file", "redirected"]

# What names a server, a login or its encryption in the arguments of asyncpg, psycopg, psycopg2 and pg8000. A creator
# of the caller's would connect on its own and never see the rest.
_TARGETS = {
    "async_creator_fn", "channel_binding", "conninfo", "database", "dbname", "direct_tls", "dsn", "gssencmode", "host",
    "hostaddr", "krbsrvname", "load_balance_hosts", "passfile", "password", "port", "requirepeer", "service", "ssl",
    "ssl_context", "sslcert", "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert",
    "target_session_attrs", "unix_sock", "user",
}  # fmt: skip


def lead_engines_to(address: Address, database: str) -> Callable[[], None]:
    """Lead each new connection of every PostgreSQL engine in this process to `database`, and give the way back.

    Engines that exist already are led too; connections in their pools stay what they are.
    """

    def redirect(dialect: Any, _record: Any, arguments: list[Any], named: dict[str, Any]) -> None:
        if dialect.name == "postgresql":
            arguments.clear()
            target = redirected(dialect.driver, named, address, database)
            named.clear()
            named.update(target)

    # The event of the class is seen by every engine, also by those that were made before.
    event.listen(Engine, "do_connect", redirect)
    return lambda: event.remove(Engine, "do_connect", redirect)


def lead_engines_to_file(path: str) -> None:
    """Lead each new connection of every SQLite engine in this process to the file at `path`; refuse PostgreSQL's."""

    def redirect(dialect: Any, _record: Any, arguments: list[Any], named: dict[str, Any]) -> None:
        if dialect.name == "postgresql":
            raise RuntimeError(
                f"an engine for PostgreSQL ({dialect.driver}) wants to connect, but provider is sqlite; make it from "
                "the URL that it is given (sqlalchemy.url of Alembic, or database-url-env), or set provider to auto"
            )
        if dialect.name == "sqlite":
            arguments[:] = [path]
            named.pop("uri", None)

    event.listen(Engine, "do_connect", redirect)


def redirected(driver: str, named: dict[str, Any], address: Address, database: str) -> dict[str, Any]:
    """The connect arguments `named` of `driver` with our server and `database` in place of the target they name."""
    kept = {name: value for name, value in named.items() if name not in _TARGETS}
    target: dict[str, Any] = {"port": address.port, "user": address.user}
    if address.password:
        target["password"] = address.password.reveal()
    if driver == "pg8000":
        target |= {"database": database, "host": address.host}
        if address.socket_directory:
            target["unix_sock"] = f"{address.socket_directory}/.s.PGSQL.{address.port}"
        return kept | target
    target["host"] = address.socket_directory or address.host
    if driver == "asyncpg":
        return kept | target | {"database": database} | ({} if address.tls else {"ssl": False})
    return kept | target | {"dbname": database} | ({} if address.tls else {"sslmode": "disable"})
