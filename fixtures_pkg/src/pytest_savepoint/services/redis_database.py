"""One numbered database of a Redis server that belongs to one process until it gives it back."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_savepoint.errors import GuardError, ServerError
from pytest_savepoint.secret import Secret

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RedisDatabase", "refuse_foreign_server"]

_LOCAL = ("localhost", "127.0.0.1", "::1", None)
_LEASE_SECONDS = 86_400
_CLAIM = "savepoint:database:{number}"


class RedisDatabase:
    """A database that was empty and that nobody else of ours uses, emptied after each test."""

    def __init__(self, url: Secret, number: int, home: Any, own: Any) -> None:
        self.number = number
        self.url = Secret(urlsplit(url.reveal())._replace(path=f"/{number}").geturl())
        self._home = home
        self._own = own

    @classmethod
    def claim(cls, url: Secret) -> Self:
        """Take the first database that is empty and has no owner; owners stand in the database of the URL itself.

        :raises ServerError: when the server does not answer, or no database is free.
        """
        try:
            import redis  # noqa: PLC0415 # only where the setting asks for it
        except ImportError:
            raise ServerError(
                "services asks for redis, but its client is not installed.\nInstall pytest-savepoint[redis]."
            ) from None
        home = redis.Redis.from_url(url.reveal())
        owner = f"{socket.gethostname()}:{os.getpid()}"
        kept = home.connection_pool.connection_kwargs.get("db", 0)
        try:
            number = -1
            while True:
                number += 1
                if number == kept:
                    continue
                own = redis.Redis.from_url(urlsplit(url.reveal())._replace(path=f"/{number}").geturl())
                # Asked first, since it fails behind the last database.
                empty = own.dbsize() == 0
                if empty and home.set(_CLAIM.format(number=number), owner, nx=True, ex=_LEASE_SECONDS):
                    return cls(url, number, home, own)
                own.close()
        except redis.ResponseError as error:
            raise ServerError(
                f"No database of the Redis server {_shown(url)} is free: all {number} have keys or an owner ({error}).\n"
                "Empty those that nobody needs, or leave redis-url empty: Savepoint starts a server of its own."
            ) from None
        except redis.RedisError as error:
            raise ServerError(f"The Redis server {_shown(url)} does not answer: {error}.\nCheck redis-url.") from None

    def empty(self) -> None:
        """Remove every key; one round trip."""
        self._own.flushdb()

    def give_back(self) -> None:
        """Empty it and let others have it."""
        self._own.flushdb()
        self._home.delete(_CLAIM.format(number=self.number))
        self._own.close()
        self._home.close()


def refuse_foreign_server(url: Secret, trusted_host: str) -> None:
    """See that a given server is this machine's, or the one that is trusted.

    :raises GuardError: when it is not.
    """
    host = urlsplit(url.reveal()).hostname
    if host not in _LOCAL and host != trusted_host:
        raise GuardError(
            f"redis-url leads to {host}, which is not this machine; tests empty databases there.\n"
            f"If it is for tests only, set trusted-host to {host}."
        )


def _shown(url: Secret) -> str:
    parts = urlsplit(url.reveal())
    return f"{parts.hostname}:{parts.port or 6379}"
