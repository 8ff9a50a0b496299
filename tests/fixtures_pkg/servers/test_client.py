"""Which pg_dump, pg_restore and psql are used, and what is said where none fits."""

from __future__ import annotations

import pytest
from pytest_savepoint.address import Address
from pytest_savepoint.errors import ServerError
from pytest_savepoint.secret import Secret
from pytest_savepoint.servers.binaries import client_program
from pytest_savepoint.servers.client import find_client

ADDRESS = Address("127.0.0.1", 5432, "ann", Secret("s3cret"))


def test_oldest_program_that_speaks_with_the_server_is_used() -> None:
    assert client_program("pg_dump") == client_program("pg_dump", at_least=15)
    newer = client_program("pg_dump", at_least=16)
    assert newer is None or "15" not in str(newer)


def test_machine_without_a_program_that_is_new_enough_says_what_to_install() -> None:
    with pytest.raises(ServerError, match=r"no pg_dump of PostgreSQL 99 or newer.\nInstall it \(apt-get install postgresql-client-99"):
        find_client("pg_dump", ADDRESS, major=99)


def test_password_is_in_the_environment_of_the_program_and_nowhere_to_be_seen() -> None:
    program = find_client("psql", ADDRESS, major=14)
    assert program.environ["PGPASSWORD"] == "s3cret"
    assert "s3cret" not in f"{program} {program.command}"


async def test_failing_program_is_told_in_its_own_words() -> None:
    with pytest.raises(ServerError, match="unrecognized option '--nothing-like-this'"):
        await find_client("pg_dump", ADDRESS, major=14).run("--nothing-like-this")
