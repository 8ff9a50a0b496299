"""Which provider `auto` takes, what it says about that, and the guard before a given server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from pytest_savepoint.errors import GuardError, ServerError
from pytest_savepoint.servers import start_server
from pytest_savepoint.servers.binaries import system_binaries


def test_auto_says_what_it_took_and_what_it_passed_over(make_settings, cache) -> None:
    server = start_server(make_settings(postgres_version="15"), cache=cache)
    server.stop()
    assert server.provider == "system"
    assert server.reason == (
        "the machine's own programs in /usr/lib/postgresql/15/bin, "
        "the first that is possible here (skipped url: server-url is empty)"
    )


def test_auto_takes_the_wheel_when_the_machine_has_another_version(make_settings, cache) -> None:
    server = start_server(make_settings(postgres_version="18"), cache=cache)
    server.stop()
    assert server.provider == "embedded"
    assert "system: postgres-version is 18, and only 15 was found" in server.reason


def test_no_provider_lists_every_obstacle_and_its_remedy(make_settings, cache, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerError) as refused:
        start_server(make_settings(postgres_version="99"), cache=cache)
    message = str(refused.value)
    assert "url: server-url is empty" in message
    assert "set SAVEPOINT_SERVER_URL to postgresql://" in message
    assert "system: postgres-version is 99, and only 15 was found" in message
    assert "apt-get install postgresql" in message
    assert "pip install 'pytest-savepoint[embedded]'" in message
    assert "container: docker is not on PATH" in message
    assert "install Docker" in message


def test_named_provider_that_is_not_possible_says_why(make_settings, cache, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        ServerError, match=r"The provider container is not possible: docker is not on PATH\.\n.*install"
    ):
        start_server(make_settings(provider="container"), cache=cache)


@pytest.mark.parametrize(
    "place",
    [
        "usr/lib/postgresql/17/bin",
        "usr/pgsql-17/bin",
        "opt/homebrew/opt/postgresql@17/bin",
        "usr/local/opt/postgresql@17/bin",
        "Program Files/PostgreSQL/17/bin",
    ],
)
def test_programs_are_found_where_packagers_put_them(tmp_path: Path, place: str) -> None:
    for folder in (tmp_path / place, tmp_path / "usr/lib/postgresql/9.6/bin"):
        folder.mkdir(parents=True)
        for program in ("postgres", "initdb"):
            (folder / program).touch()
    incomplete = tmp_path / "usr/lib/postgresql/18/bin"
    incomplete.mkdir(parents=True)
    (incomplete / "psql").touch()
    assert [(found.major, found.folder) for found in system_binaries(tmp_path)] == [(17, tmp_path / place)]


def test_foreign_host_is_refused_before_it_is_touched(make_settings, cache) -> None:
    url = "postgresql://me:secret@db.production.example/app"
    with pytest.raises(GuardError, match=r"set trusted-host to exactly db\.production\.example") as refused:
        start_server(make_settings(server_url=url), cache=cache)
    assert "secret" not in str(refused.value)


def test_trusted_host_has_to_be_exactly_that_host(make_settings, cache) -> None:
    settings = make_settings(server_url="postgresql://me@db.example.com/app", trusted_host="example.com")
    with pytest.raises(GuardError, match="which is not this machine"):
        start_server(settings, cache=cache)


def test_trusted_host_is_let_through_to_the_connection(make_settings, cache) -> None:
    settings = make_settings(
        server_url="postgresql://me@savepoint.invalid/app", trusted_host="savepoint.invalid", server_timeout="0.2"
    )
    with pytest.raises(ServerError, match=r"savepoint\.invalid:5432 is of no use: no answer in 0 s"):
        start_server(settings, cache=cache)


def test_url_of_another_kind_of_server_is_refused(make_settings, cache) -> None:
    with pytest.raises(GuardError, match="has the scheme 'mysql', not postgresql"):
        start_server(make_settings(server_url="mysql://localhost/app"), cache=cache)


def test_wrong_password_is_said_at_once_and_not_shown(make_settings, cache) -> None:
    given = start_server(make_settings(), cache=cache)
    url = f"postgresql://postgres:wrong-one@127.0.0.1:{given.address.port}/postgres"
    with pytest.raises(ServerError, match="password authentication failed") as refused:
        start_server(make_settings(server_url=url), cache=cache)
    assert "wrong-one" not in str(refused.value)
    given.stop()


async def test_given_server_is_used_as_it_is_and_stays(make_settings, cache) -> None:
    given = start_server(make_settings(), cache=cache)
    url = given.address.url("a_database_that_need_not_exist", "postgresql+psycopg")
    server = start_server(make_settings(server_url=url), cache=cache)
    assert server.provider == "url"
    assert server.reason == f"the given server at 127.0.0.1:{given.address.port}, because server-url is given"
    server.stop()
    connection = await asyncpg.connect(**server.address.connect_arguments("postgres"))
    await connection.close()
    given.stop()


async def test_server_that_listens_on_a_socket_only_can_be_given(make_settings, cache) -> None:
    given = start_server(make_settings(), cache=cache)
    folder = quote(given.address.socket_directory or "", safe="")
    url = f"postgresql://postgres@/postgres?host={folder}"
    socket_only = start_server(make_settings(server_url=url.replace("@/", f"@:{given.address.port}/")), cache=cache)
    assert socket_only.address.host == ""
    connection = await asyncpg.connect(socket_only.address.url("postgres", "postgresql"))
    await connection.close()
    given.stop()


async def test_role_that_may_not_create_databases_is_refused(make_settings, cache) -> None:
    given = start_server(make_settings(), cache=cache)
    connection = await asyncpg.connect(**given.address.connect_arguments("postgres"))
    await connection.execute("create role \"weak one\" login password 'p@ss'")
    await connection.close()
    url = f"postgresql://weak%20one:p%40ss@127.0.0.1:{given.address.port}/postgres"
    with pytest.raises(GuardError, match=r"ALTER ROLE \"weak one\" CREATEDB"):
        start_server(make_settings(server_url=url), cache=cache)
    given.stop()


def test_given_server_of_another_version_is_refused(make_settings, cache) -> None:
    given = start_server(make_settings(provider="system"), cache=cache)
    url = given.address.url("postgres", "postgresql")
    with pytest.raises(ServerError, match="but postgres-version is 17"):
        start_server(make_settings(server_url=url, postgres_version="17"), cache=cache)
    given.stop()
