"""Redis for a pytest run: the URL before the application is imported, an empty database for each test."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from pytest_savepoint.cache import cache_directory
from pytest_savepoint.secret import Secret
from pytest_savepoint.services.redis_container import NEWEST_IMAGE, RedisContainer
from pytest_savepoint.services.redis_database import RedisDatabase, refuse_foreign_server
from pytest_savepoint.services.redis_server import OwnRedis, redis_program
from pytest_savepoint.settings import Settings

__all__ = ["URL_VARIABLE", "RedisTests"]

URL_VARIABLE = "REDIS_URL"
# What the process that starts the server hands to its workers.
_SERVER_VARIABLE = "SAVEPOINT_REDIS_SERVER"


class RedisTests:
    """In every process of the run; the first one starts the server, those that run tests have a database each."""

    def __init__(self, settings: Settings, *, runs_tests: bool) -> None:
        """
        :raises ServerError: when there is no server, or no free database.
        :raises GuardError: when the given server must not be used.
        """
        self._server: OwnRedis | RedisContainer | None = None
        self._database: RedisDatabase | None = None
        url = settings.redis_url or Secret(os.environ.pop(_SERVER_VARIABLE, ""))
        if url:
            refuse_foreign_server(url, settings.trusted_host)
        else:
            self._server = _start(settings)
            url = self._server.url
            if not runs_tests:
                os.environ[_SERVER_VARIABLE] = url.reveal()
        if runs_tests:
            self._database = RedisDatabase.claim(url)
            os.environ[URL_VARIABLE] = self._database.url.reveal()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            # One round trip, whether the test used it or not: so nothing that a subprocess or thread wrote is missed.
            if self._database is not None:
                self._database.empty()

    def pytest_unconfigure(self) -> None:
        if self._database is not None:
            self._database.give_back()
        if self._server is not None:
            os.environ.pop(_SERVER_VARIABLE, None)
            self._server.stop()


def _start(settings: Settings) -> OwnRedis | RedisContainer:
    program = redis_program()
    if settings.redis_image or program is None:
        image, cache = settings.redis_image or NEWEST_IMAGE, cache_directory(os.environ)
        return RedisContainer.start(image, cache=cache, timeout=settings.server_timeout)
    return OwnRedis.start(program, timeout=settings.server_timeout)
