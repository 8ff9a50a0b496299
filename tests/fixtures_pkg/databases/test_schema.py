"""Where the schema comes from, built in the caller's environment without a change in the caller's files."""

from __future__ import annotations

import uuid

import pytest
from programs import every_version
from pytest_savepoint.databases.schema import chosen_schema
from pytest_savepoint.errors import MigrationError, SettingsError
from pytest_savepoint.settings import read_settings

# Whole runs of pytest, or of migrations, which take seconds.
pytestmark = pytest.mark.e2e


async def users_of(run, ask) -> int:
    run.create_databases(["main"])
    return await ask(run.database("main"), "select count(*) from users")


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ("async", 'os.environ["DATABASE_URL"]'),
        ("sync", 'os.environ["DATABASE_URL"]'),
        ("sync", 'context.config.get_main_option("sqlalchemy.url")'),
        ("async", "'postgresql+asyncpg://nobody:wrong@127.0.0.1:1/production?ssl=require'"),
        ("sync", "'postgresql+psycopg://nobody:wrong@127.0.0.1:1/production?sslmode=verify-full'"),
    ],
    ids=["variable", "variable-sync", "ini-sync", "hard-coded", "hard-coded-sync"],
)
async def test_migrations_arrive_however_env_py_gets_its_url(project, open_run, ask, env, url) -> None:
    project.alembic(env, url=url)
    run = open_run()
    assert run.template.source == "alembic"
    assert await users_of(run, ask) == 2


@pytest.mark.e2e
@pytest.mark.parametrize("driver", ["psycopg2", "pg8000"])
async def test_driver_of_the_callers_url_is_kept(project, open_run, environ, ask, driver) -> None:
    project.alembic("sync")
    environ["DATABASE_URL"] = f"postgresql+{driver}://app:pass@db/app"
    assert await users_of(open_run(), ask) == 2


async def test_driver_of_the_dotenv_file_is_kept(project, open_run, ask) -> None:
    project.alembic("sync", url='os.environ["APP_DB"]')
    project.write(".env", "export APP_DB='postgresql+psycopg2://app:pass@db/app'\n")
    project.revision("0003", down="0002", body="assert op.get_bind().dialect.driver == 'psycopg2'")
    assert await users_of(open_run(database_url_env="APP_DB"), ask) == 2


async def test_alembic_in_a_subfolder_runs_as_from_there(project, open_run, ask) -> None:
    project.alembic("async")
    backend = project.folder / "backend"
    backend.mkdir()
    for name in ("alembic.ini", "migrations"):
        (project.folder / name).rename(backend / name)
    run = open_run()
    assert run.template.note == "alembic upgrade heads with backend/alembic.ini"
    assert await users_of(run, ask) == 2


def test_several_alembic_configurations_need_a_choice(project, open_run) -> None:
    for name in ("one/alembic.ini", "two/alembic.ini"):
        project.write(name, "[alembic]\nscript_location = migrations\n")
    with pytest.raises(SettingsError, match=r"one/alembic\.ini, two/alembic\.ini\.\nSet alembic-config"):
        open_run()


def test_missing_alembic_configuration_is_named(project, open_run) -> None:
    with pytest.raises(SettingsError, match=r"deploy/alembic\.ini does not exist"):
        open_run(schema="alembic", alembic_config="deploy/alembic.ini")


async def test_metadata_is_created_when_there_is_no_alembic(project, open_run, ask) -> None:
    project.write(
        "models.py", "import sqlalchemy as sa\nm = sa.MetaData()\nsa.Table('users', m, sa.Column('id', sa.Integer))"
    )
    run = open_run(metadata="models:m")
    assert run.template.source == "metadata"
    assert await users_of(run, ask) == 0


async def test_command_finds_the_database_in_its_environment(project, open_run, ask) -> None:
    project.write("schema.sql", "create table users (id int); insert into users values (7);")
    run = open_run(schema="command", migrate_command="psql --quiet --file schema.sql")
    assert await users_of(run, ask) == 1


def test_failed_command_shows_its_output_and_not_the_password(project, open_run, server) -> None:
    with pytest.raises(MigrationError) as failed:
        open_run(schema="command", migrate_command='echo "at $DATABASE_URL"; exit 7')
    assert "ended with exit code 7" in str(failed.value)
    assert "at postgresql+asyncpg://postgres:***@127.0.0.1" in str(failed.value)
    assert server.address.password.reveal() not in str(failed.value)


async def test_without_a_source_the_databases_are_empty_and_the_note_says_so(project, open_run, ask) -> None:
    run = open_run()
    run.create_databases(["main"])
    assert "has no alembic.ini and metadata is not set, so the databases are empty" in run.template.note
    assert (
        await ask(run.database("main"), "select count(*) from pg_class where relnamespace = 'public'::regnamespace")
        == 0
    )


@pytest.mark.parametrize("env", ["async", "sync"])
def test_failed_migration_shows_its_revision_and_its_own_traceback(project, open_run, environ, server, env) -> None:
    project.alembic(env)
    environ["DATABASE_URL"] = f"postgresql+{'asyncpg' if env == 'async' else 'psycopg'}://app:hush@db/app"
    project.revision("0003", down="0002", body="print(op.get_bind().engine.url); op.execute('select * from nowhere')")
    with pytest.raises(MigrationError) as failed:
        open_run()
    message = str(failed.value)
    assert failed.value.exit_code == 3
    assert "revision 0003 (migrations/versions/0003_step.py) failed" in message
    assert 'relation "nowhere" does not exist' in message
    assert "Traceback (most recent call last)" in message
    assert '0003_step.py", line' in message
    assert "pytest_savepoint" not in message
    assert server.address.password.reveal() not in message
    assert "hush" not in message


def test_broken_env_py_is_shown_although_no_revision_ran(project, open_run) -> None:
    project.alembic("sync", url="settings.url")
    with pytest.raises(MigrationError, match=r"NameError: name 'settings' is not defined"):
        open_run()


def test_migrations_that_go_elsewhere_are_noticed(project, open_run) -> None:
    project.alembic("sync", url="'sqlite://'")
    with pytest.raises(MigrationError, match="no table arrived in the template"):
        open_run()


def test_sessions_that_migrations_leave_behind_are_ended(project, open_run, ask) -> None:
    project.write(
        "stay.py",
        "import asyncio, asyncpg, os, subprocess, sys\n"
        "async def main():\n"
        "    await (await asyncpg.connect()).execute('create table users (id int)')\n"
        "    print('connected', flush=True)\n"
        "    await asyncio.sleep(30)\n"
        "if len(sys.argv) > 1:\n"
        "    asyncio.run(main())\n"
        "else:\n"
        "    child = subprocess.Popen([sys.executable, __file__, 'stay'], stdout=subprocess.PIPE)\n"
        "    child.stdout.readline()\n",
    )
    run = open_run(schema="command", migrate_command="python stay.py")
    run.create_databases(["main"])


@every_version
async def test_database_settings_and_grants_reach_the_clones(project, open_run, ask) -> None:
    project.write(
        "schema.sql",
        r"""
        select current_database() as db \gset
        create role savepoint_reader;
        alter database :"db" set search_path to "My Schema", public;
        alter database :"db" set app.tenant to E'it''s \\me';
        alter database :"db" set statement_timeout to '7s';
        alter role savepoint_reader in database :"db" set work_mem to '9MB';
        revoke connect on database :"db" from public;
        grant connect on database :"db" to savepoint_reader with grant option;
        """,
    )
    run = open_run(schema="command", migrate_command="psql --quiet --set ON_ERROR_STOP=1 --file schema.sql")
    run.create_databases(["main"])
    shown = await ask(
        run.database("main"),
        "select concat_ws('|', current_setting('search_path'), current_setting('app.tenant'),"
        " current_setting('statement_timeout'), (select setconfig[1] from pg_db_role_setting s join pg_database d"
        " on d.oid = setdatabase where setrole = 'savepoint_reader'::regrole and datname = current_database()),"
        " (select datacl from pg_database where datname = current_database()))",
    )
    assert shown == (
        '"My Schema", public|it\'s \\me|7s|work_mem=9MB'
        "|{=T/postgres,postgres=CTc/postgres,savepoint_reader=c*/postgres}"
    )


def fingerprint(project, **flags) -> str:
    settings = read_settings(project.folder, flags=flags, environ={})
    return chosen_schema(settings, project.folder).fingerprint("15.1", "postgres")


def test_template_is_built_once_and_found_by_the_next_run(project, open_run) -> None:
    project.alembic("async")
    # Other tests of this process have the same migrations, and their template would be found.
    project.revision("0003", down="0002", body=f"pass  # {uuid.uuid4()}")
    first, second = open_run(), open_run()
    assert (first.template.hit, second.template.hit) == (False, True)
    assert first.template.name == second.template.name


def test_changed_revision_has_another_fingerprint(project) -> None:
    project.alembic("async")
    before = fingerprint(project)
    assert fingerprint(project) == before
    project.revision("0003", down="0002", body="pass")
    assert fingerprint(project) != before


def test_application_code_counts_only_when_a_revision_imports_it(project) -> None:
    project.alembic("async")
    project.write("app/models.py", "SIZE = 1")
    before = fingerprint(project)
    project.write("app/models.py", "SIZE = 2")
    assert fingerprint(project) == before
    project.revision("0003", down="0002", head="from app.models import SIZE", body="pass")
    with_import = fingerprint(project)
    project.write("app/models.py", "SIZE = 3")
    assert fingerprint(project) != with_import


def test_models_count_and_tests_do_not_for_metadata(project) -> None:
    project.write("models.py", "m = 1")
    before = fingerprint(project, metadata="models:m")
    project.write("tests/test_models.py", "import models")
    assert fingerprint(project, metadata="models:m") == before
    project.write("models.py", "m = 2")
    assert fingerprint(project, metadata="models:m") != before
