"""Putting a database's URL where the caller's own code looks for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pytest_savepoint.address import Address, SqliteFile

__all__ = ["OWN_VARIABLE", "database_variables", "known_scheme"]

OWN_VARIABLE = "SAVEPOINT_DATABASE_URL"
_DEFAULT_SCHEME = "postgresql+asyncpg"


def database_variables(
    address: Address | SqliteFile, database: str, names: Iterable[str], environ: Mapping[str, str], project: Path
) -> dict[str, str]:
    """The environment variables that lead the caller's settings to `database`.

    A variable keeps the driver of the URL that it has now, in the environment or in the project's .env file.
    """
    if isinstance(address, SqliteFile):
        return {name: address.url() for name in (*names, OWN_VARIABLE)}
    variables = {
        name: address.url(database, known_scheme(name, environ, project) or _DEFAULT_SCHEME)
        for name in (*names, OWN_VARIABLE)
    }
    # What psql and other programs of libpq read.
    libpq = {
        "PGHOST": address.host or address.socket_directory or "",
        "PGPORT": str(address.port),
        "PGUSER": address.user,
        "PGPASSWORD": address.password.reveal(),
        "PGDATABASE": database,
    }
    return variables | libpq


def known_scheme(name: str, environ: Mapping[str, str], project: Path) -> str | None:
    """The PostgreSQL scheme, with its driver, of the URL that the variable `name` has; None when it has none."""
    url = environ.get(name) or _dotenv(project).get(name, "")
    scheme = url.partition("://")[0]
    return scheme if scheme.split("+")[0] in ("postgresql", "postgres") else None


def _dotenv(project: Path) -> dict[str, str]:
    try:
        lines = (project / ".env").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.removeprefix("export ").partition("=") for line in lines if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
