"""Where a PostgreSQL server comes from: four providers behind one protocol."""

from __future__ import annotations

from pytest_savepoint.address import Address
from pytest_savepoint.servers.choice import start_server
from pytest_savepoint.servers.protocol import Server

__all__ = ["Address", "Server", "start_server"]
