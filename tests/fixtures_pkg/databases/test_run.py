"""A run's databases: its own, made from the template, gone when it ends or when it was killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from programs import every_version
from pytest_savepoint.databases.clean import clean
from pytest_savepoint.databases.names import BIRTH_MARK
from pytest_savepoint.databases.run import DatabaseRun
from pytest_savepoint.errors import GuardError, MigrationError, ServerError
from pytest_savepoint.servers import start_server
from pytest_savepoint.settings import read_settings

DATABASES = "select array_agg(datname::text order by datname) from pg_database where datname like 'savepoint%'"
TABLES = "psql --quiet --command 'create table users (id int)'"


@pytest.fixture
def open_tables(open_run) -> Callable[..., DatabaseRun]:
    return lambda **flags: open_run(schema="command", migrate_command=TABLES, **flags)


@every_version
async def test_each_worker_has_a_database_with_the_schema_until_the_run_ends(open_tables, ask) -> None:
    run = open_tables()
    run.create_databases(["gw0", "gw1"])
    assert dict(run.databases) == {"gw0": f"savepoint_{run.id}_gw0", "gw1": f"savepoint_{run.id}_gw1"}
    await ask(run.database("gw0"), "insert into users values (1)")
    assert await ask(run.database("gw1"), "select count(*) from users") == 0
    run.close()
    assert not set(await ask("postgres", DATABASES)) & {f"savepoint_{run.id}_gw0", f"savepoint_{run.id}_gw1"}


async def test_two_runs_at_once_do_not_meet(open_tables, ask) -> None:
    first, second = open_tables(), open_tables()
    for run in (first, second):
        run.create_databases(["gw0"])
    await ask(first.database("gw0"), "insert into users values (1)")
    first.close()
    assert await ask(second.database("gw0"), "select count(*) from users") == 0


async def test_runs_that_start_together_build_the_template_once(project, open_run) -> None:
    command = "echo built >> built.log; sleep 0.3; psql --quiet --command 'create table users (id int)'"
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: open_run(schema="command", migrate_command=command), range(3)))
    assert sorted(run.template.hit for run in runs) == [False, True, True]
    assert (project.folder / "built.log").read_text() == "built\n"


async def test_callers_loop_is_neither_used_nor_replaced(open_tables) -> None:
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    run = open_tables()
    run.create_databases(["main"])
    assert asyncio.get_running_loop() is loop
    assert asyncio.all_tasks() == before


@every_version
async def test_nobody_can_connect_to_the_template(open_tables, ask) -> None:
    run = open_tables()
    with pytest.raises(asyncpg.PostgresError, match="not currently accepting connections"):
        await ask(run.template.name, "select 1")


async def test_failed_build_leaves_nothing_and_the_next_one_can_succeed(project, open_run, ask) -> None:
    command = "psql --quiet --file schema.sql --set ON_ERROR_STOP=1"
    project.write("schema.sql", "create table users (id int); select nothing_like_this();")
    before = await ask("postgres", DATABASES)
    with pytest.raises(MigrationError):
        open_run(schema="command", migrate_command=command)
    assert await ask("postgres", DATABASES) == before
    project.write("schema.sql", "create table users (id int);")
    assert not open_run(schema="command", migrate_command=command).template.hit


async def test_databases_with_our_name_but_not_our_mark_are_never_dropped(open_tables, ask, environ, cache) -> None:
    template = open_tables().template.name
    foreign = "savepoint_0000aaaa_gw0"
    await ask("postgres", f"create database {foreign}")
    open_tables().close()
    clean(read_settings(cache, environ={}), cache=cache)
    assert {foreign, template} <= set(await ask("postgres", DATABASES))
    await ask("postgres", f"drop database {foreign}")


async def test_foreign_database_with_the_templates_name_is_refused(project, open_run, ask) -> None:
    project.write("schema.sql", "create table users (id int);")
    flags = {"schema": "command", "migrate_command": "psql --quiet --file schema.sql --echo-all"}
    run = open_run(**flags)
    name = run.template.name
    run.close()
    await ask("postgres", f"alter database {name} is_template false")
    await ask("postgres", f"drop database {name}")
    await ask("postgres", f"create database {name}")
    with pytest.raises(GuardError, match=f"{name} belongs to a database that is not ours"):
        open_run(**flags)
    await ask("postgres", f"drop database {name}")


async def test_database_of_a_run_that_died_before_it_could_comment_is_dropped(open_tables, ask) -> None:
    orphan = "savepoint_0000bbbb_gw0"
    await ask("postgres", f"create database {orphan} connection limit {BIRTH_MARK}")
    open_tables()
    assert orphan not in await ask("postgres", DATABASES)


@pytest.fixture
def run_elsewhere(project, environ) -> Callable[..., subprocess.Popen[str]]:
    """A run in another process, which says so on its standard output when its databases are there, and then waits."""
    code = """
import json, os, sys
from pathlib import Path
from pytest_savepoint.databases.run import DatabaseRun
from pytest_savepoint.settings import read_settings
settings = read_settings(Path("."), flags=json.loads(sys.argv[1]), environ={})
run = DatabaseRun.open(settings, Path("."), python=sys.executable, environ=json.loads(sys.argv[2]))
run.create_databases(["gw0", "gw1"])
print(run.id, flush=True)
sys.stdin.read()
"""

    def start(**flags: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(flags), json.dumps(environ)],
            cwd=project.folder, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


@pytest.mark.e2e
async def test_databases_of_a_killed_run_are_dropped_by_the_next(open_tables, run_elsewhere, ask) -> None:
    with run_elsewhere(schema="command", migrate_command=TABLES) as process:
        run_id = process.stdout.readline().strip()
        open_tables()
        assert f"savepoint_{run_id}_gw1" in await ask("postgres", DATABASES)
        process.kill()
    open_tables()
    assert run_id not in " ".join(await ask("postgres", DATABASES))


@pytest.mark.e2e
async def test_template_of_a_killed_builder_is_built_by_the_next(project, open_run, run_elsewhere, ask) -> None:
    command = "test -e second || { touch first; sleep 60; }; psql --quiet --command 'create table users (id int)'"
    with run_elsewhere(schema="command", migrate_command=command) as process:
        wait_for(project.folder / "first")
        process.kill()
    (project.folder / "second").touch()
    run = open_run(schema="command", migrate_command=command)
    run.create_databases(["main"])
    assert await ask(run.database("main"), "select count(*) from users") == 0
    assert [name for name in await ask("postgres", DATABASES) if name.endswith("_template")] == []


@pytest.mark.e2e
async def test_interrupted_build_ends_its_migration_and_leaves_nothing(
    project, open_tables, run_elsewhere, ask
) -> None:
    open_tables()
    command = "touch begun; psql --quiet --command 'select pg_sleep(60)'"
    with run_elsewhere(schema="command", migrate_command=command) as process:
        wait_for(project.folder / "begun")
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait()
    assert time.monotonic() - started < 20
    assert [name for name in await ask("postgres", DATABASES) if name.endswith("_template")] == []


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def own_server(tmp_path: Path, environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "SAVEPOINT_CACHE": str(tmp_path / "cache")}


@pytest.mark.e2e
def test_killed_server_is_said_at_the_end_and_the_next_run_works(project, tmp_path, environ) -> None:
    environ = own_server(tmp_path, environ)
    cache, settings = Path(environ["SAVEPOINT_CACHE"]), read_settings(project.folder, environ={})
    run = DatabaseRun.open(settings, project.folder, python=sys.executable, environ=environ)
    run.create_databases(["main"])
    data = Path(run.server.address.socket_directory or "").parent / "data"
    os.kill(int((data / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
    with pytest.raises(ServerError, match="`savepoint clean` drops them"):
        run.close()
    again = DatabaseRun.open(settings, project.folder, python=sys.executable, environ=environ)
    again.create_databases(["main"])
    again.close()
    assert clean(settings, cache=cache) == [f"server {data.parent}"]
    assert not data.parent.parent.exists()


@pytest.mark.e2e
async def test_clean_leaves_a_given_server_as_it_was_found_and_living_runs_alone(
    project, tmp_path, environ, ask
) -> None:
    host = start_server(read_settings(tmp_path, environ={}), cache=tmp_path / "host")
    await ask("postgres", "create database app", host.address)
    url = host.address.url("app", "postgresql")
    settings = read_settings(project.folder, flags={"server_url": url}, environ={})
    living, dead = (
        DatabaseRun.open(settings, project.folder, python=sys.executable, environ=environ) for _ in range(2)
    )
    for run in (living, dead):
        run.create_databases(["main"])
    await ask(
        "postgres",
        "select pg_terminate_backend(l.pid) from pg_locks l where l.locktype = 'advisory'"
        f" and objid = {int(dead.id, 16)}::oid",
        host.address,
    )
    gone = clean(settings, cache=tmp_path / "elsewhere")
    assert gone == [f"database {dead.database('main')} at {host.address.shown()}"]
    assert await ask(living.database("main"), "select 1", host.address) == 1
    living.close()
    assert clean(settings, cache=tmp_path / "elsewhere") == [
        f"database {living.template.name} at {host.address.shown()}"
    ]
    assert await ask("postgres", DATABASES, host.address) is None
    assert await ask("app", "select 1", host.address) == 1
    dead.close()
    host.stop()
    clean(read_settings(tmp_path, environ={}), cache=tmp_path / "host")


@every_version
async def test_role_without_superuser_rights_is_enough(project, tmp_path, environ, server, ask) -> None:
    await ask("postgres", "drop role if exists creator")
    await ask("postgres", "create role creator login createdb password 'x'")
    url = f"postgresql://creator:x@127.0.0.1:{server.address.port}/postgres"
    settings = read_settings(
        project.folder, flags={"server_url": url, "schema": "command", "migrate_command": TABLES}, environ={}
    )
    run = DatabaseRun.open(settings, project.folder, python=sys.executable, environ=environ)
    run.create_databases(["main"])
    assert await ask(run.database("main"), "select tableowner from pg_tables where tablename = 'users'") == "creator"
    run.close()
    clean(settings, cache=tmp_path / "elsewhere")
