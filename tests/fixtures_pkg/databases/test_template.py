"""A template that was not built by this run: proved where that is asked for, restored from a file where it was stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from programs import every_version
from pytest_savepoint.databases.run import DatabaseRun
from pytest_savepoint.errors import ExitCode, MigrationError

SCHEMA = """
create table users (id serial primary key, name text, born timestamptz default clock_timestamp(), key uuid default gen_random_uuid());
create index on users (name);
alter table users add column kind varchar(9) default 'user' check (kind in ('user', 'owner'));
insert into users (name) values ('ann'), ('bob');
"""
COMMAND = "psql --quiet --set ON_ERROR_STOP=1 --file schema.sql && echo built >> built.log"


@pytest.fixture
def open_schema(project, open_run) -> Callable[..., DatabaseRun]:
    """Open a run whose schema is that of this test alone."""
    project.write("schema.sql", f"{SCHEMA} -- {project.folder}")
    return lambda **flags: open_run(schema="command", migrate_command=COMMAND, **flags)


@pytest.fixture
def times_built(project) -> Callable[[], int]:
    return lambda: len((project.folder / "built.log").read_text().splitlines())


@pytest.fixture
def forget(ask) -> Callable[..., object]:
    """Drop the template of a run, as if the server were a new one."""

    async def drop(run: DatabaseRun) -> None:
        run.close()
        await ask("postgres", f"alter database {run.template.name} is_template false")
        await ask("postgres", f"drop database {run.template.name}")

    return drop


@pytest.fixture
def write_into(ask) -> Callable[..., object]:
    """Change a template, as nobody should."""

    async def write(template: str, sql: str) -> None:
        await ask("postgres", f"alter database {template} allow_connections true")
        await ask(template, sql)
        await ask("postgres", f"alter database {template} allow_connections false")

    return write


@every_version
async def test_template_that_is_what_the_migrations_build_is_used_also_with_times_and_random_keys(open_schema, times_built) -> None:
    open_schema().close()
    run = open_schema(verify_template=True)
    assert run.template.hit
    assert times_built() > 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("alter table users add column age int", "-    age integer"),
        pytest.param("update users set name = 'eve' where id = 1", r"values of public\.users\.name: checksum", marks=pytest.mark.e2e),
        ("delete from users where id = 1", r"rows of public\.users: 1 in the template, 2 anew"),
        pytest.param("select setval('users_id_seq', 99)", r"sequence public\.users_id_seq: 99 in the template, 2 anew", marks=pytest.mark.e2e),
        pytest.param("grant select on users to public", "-GRANT SELECT ON TABLE public.users TO PUBLIC", marks=pytest.mark.e2e),
    ],
    ids=["definitions", "values", "rows", "sequences", "grants"],
)
async def test_template_that_somebody_wrote_into_is_refused_with_the_difference(open_schema, write_into, change, told) -> None:
    run = open_schema()
    await write_into(run.template.name, change)
    with pytest.raises(MigrationError, match=told) as refused:
        open_schema(verify_template=True)
    assert refused.value.exit_code == ExitCode.DATABASE
    assert open_schema().template.hit, "it is looked at only when asked for"


@pytest.mark.e2e
async def test_proof_leaves_no_database_behind(open_schema, ask) -> None:
    open_schema().close()
    run = open_schema(verify_template=True)
    names = await ask("postgres", "select array_agg(datname::text) from pg_database")
    assert [name for name in names if run.id in name] == []


@pytest.mark.e2e
@every_version
async def test_stored_template_is_restored_on_a_server_that_has_none_and_proved_when_asked(
    open_schema, times_built, forget, ask
) -> None:
    await forget(open_schema(template_cache=True))
    run = open_schema(template_cache=True)
    assert (run.template.restored, run.template.hit, times_built()) == (True, False, 1)
    run.create_databases(["gw0"])
    assert await ask(run.database("gw0"), "select array_agg(name order by id) from users") == ["ann", "bob"]
    assert await ask(run.database("gw0"), "insert into users (name) values ('eve') returning id") == 3
    assert await ask(run.database("gw0"), "select count(*) from pg_trigger where tgname like 'savepoint%'") > 0
    await forget(run)
    assert open_schema(template_cache=True, verify_template=True).template.restored
    assert times_built() > 1


@pytest.mark.e2e
async def test_file_of_another_schema_is_never_restored(project, open_schema, times_built, forget) -> None:
    await forget(open_schema(template_cache=True))
    project.write("schema.sql", f"{SCHEMA} create table more (id int); -- {project.folder}")
    assert not open_schema(template_cache=True).template.restored
    assert times_built() == 2


def dump_of(run: DatabaseRun, cache: Path) -> Path:
    return cache / "templates" / f"{run.template.fingerprint}.dump"


@pytest.mark.e2e
async def test_file_that_somebody_exchanged_is_refused_and_no_template_is_made_of_it(
    project, open_schema, forget, cache, ask
) -> None:
    honest = open_schema(template_cache=True)
    await forget(honest)
    project.write("schema.sql", f"{SCHEMA} insert into users (name) values ('mallory'); -- {project.folder}")
    other = open_schema(template_cache=True)
    dump_of(honest, cache).write_bytes(dump_of(other, cache).read_bytes())
    project.write("schema.sql", f"{SCHEMA} -- {project.folder}")
    with pytest.raises(MigrationError, match=r"rows of public\.users: 3 in the template, 2 anew"):
        open_schema(template_cache=True, verify_template=True)
    assert not await ask("postgres", f"select count(*) from pg_database where datname = '{honest.template.name}'")


async def test_file_that_cannot_be_restored_is_told_and_written_anew(open_schema, forget, cache) -> None:
    run = open_schema(template_cache=True)
    dump_of(run, cache).write_bytes(b"PGDMP and nothing that follows")
    await forget(run)
    run = open_schema(template_cache=True)
    assert not run.template.restored
    assert "The template was built, because its file could not be restored." in run.template.warning
    await forget(run)
    assert open_schema(template_cache=True).template.restored


@pytest.mark.e2e
async def test_template_whose_database_has_settings_is_not_stored(project, open_schema, cache) -> None:
    project.write("schema.sql", f"{SCHEMA} select format('alter database %I set work_mem to 4096', current_database()) \\gexec")
    run = open_schema(template_cache=True)
    assert run.template.warning.startswith("The template is not stored: its migrations change the database itself")
    assert not dump_of(run, cache).exists()


@pytest.mark.e2e
async def test_nothing_is_stored_unless_asked(open_schema, cache) -> None:
    assert not dump_of(open_schema(), cache).exists()
