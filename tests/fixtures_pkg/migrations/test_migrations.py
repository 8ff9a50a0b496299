"""Migrations as tests: a fault of each kind is found and named, and a project without faults passes."""

from __future__ import annotations

import pytest

# Whole runs of pytest, or of migrations, which take seconds.
pytestmark = pytest.mark.e2e

COLUMN = 'sa.Column("id", sa.Integer, primary_key=True)'
ALL_PASS = {"one_head": "passed", "down_and_up_again": "passed", "models_match": "passed", "test_one": "passed"}


@pytest.mark.parametrize("env", ["async", pytest.param("sync", marks=pytest.mark.e2e)])
def test_migrations_without_fault_pass(migrated, env) -> None:
    migrated.begin(env)
    tested = migrated.test()
    assert tested.outcomes() == ALL_PASS, tested.said


@pytest.mark.e2e
def test_workers_run_each_check_once(migrated) -> None:
    migrated.begin("sync")
    tested = migrated.test("-n", "2", "tests")
    assert tested.outcomes() == ALL_PASS, tested.said
    assert "4 passed" in tested.said


@pytest.mark.e2e
def test_nothing_is_added_unless_asked_or_where_tests_were_chosen(migrated) -> None:
    migrated.begin()
    assert migrated.test("tests/test_one.py").outcomes() == {"test_one": "passed"}
    assert set(migrated.test("alembic.ini::one_head").outcomes()) >= {"one_head"}


@pytest.mark.e2e
def test_two_heads_are_named_with_their_files(migrated) -> None:
    migrated.begin()
    migrated.revision("0003", "0002", up="pass")
    migrated.revision("0004", "0002", up="pass")
    tested = migrated.test("alembic.ini::one_head")
    assert tested.exit == 1
    assert "Alembic has 2 heads" in tested.said
    assert "0004 (migrations/versions/0004_step.py)" in tested.said


def test_downgrade_that_leaves_something_behind_fails_with_its_own_traceback(migrated) -> None:
    migrated.begin()
    migrated.revision("0003", "0002", up="sa.Enum('a', name='kind').create(op.get_bind())")
    tested = migrated.test("alembic.ini::down_and_up_again")
    assert tested.exit == 1
    assert 'type "kind" already exists' in tested.said
    assert "revision 0003 (migrations/versions/0003_step.py) failed" in tested.said
    assert "Traceback (most recent call last)" in tested.said


@pytest.mark.e2e
@pytest.mark.parametrize("how", [{"back": "raise NotImplementedError"}, {"head": "irreversible = True"}], ids=["raises", "marked"])
def test_revision_that_cannot_be_taken_back_is_named_and_passes(migrated, how) -> None:
    migrated.begin()
    migrated.revision("0003", "0002", up="op.execute('delete from users where id = 1')", **how)
    tested = migrated.test("alembic.ini::down_and_up_again")
    assert tested.exit == 0, tested.said
    assert "0003_step.py: cannot be taken back, and says so" in tested.said


@pytest.mark.e2e
def test_branches_that_were_merged_go_down_and_up(migrated) -> None:
    migrated.begin()
    migrated.revision("0003", "0002", up="op.execute('create table a ()')", back="op.execute('drop table a')")
    migrated.revision("0004", "0002", up="op.execute('create table b ()')", back="op.execute('drop table b')")
    migrated.revision("0005", ("0003", "0004"), up="op.execute('create table c ()')", back="op.execute('drop table c')")
    tested = migrated.test("alembic.ini::down_and_up_again", "alembic.ini::one_head")
    assert tested.exit == 0, tested.said


def test_model_without_migration_fails_with_what_is_missing(migrated) -> None:
    migrated.begin()
    migrated.models(f'{COLUMN}, sa.Column("mail", sa.String)')
    tested = migrated.test("alembic.ini::models_match")
    assert tested.exit == 1
    assert "op.add_column('users', sa.Column('mail', sa.String(), nullable=True))" in tested.said


@pytest.mark.e2e
def test_schema_of_the_audit_is_no_drift(migrated) -> None:
    migrated.begin(metadata="metadata, include_schemas=True")
    tested = migrated.test("alembic.ini::models_match")
    assert tested.exit == 0, tested.said


@pytest.mark.e2e
def test_drift_is_skipped_with_its_reason_where_env_py_has_no_models(migrated) -> None:
    migrated.begin(metadata="None")
    tested = migrated.test("alembic.ini::models_match")
    assert tested.outcomes()["models_match"] == "skipped"
    assert "env.py gives no target_metadata" in tested.said


@pytest.mark.parametrize("env", [pytest.param("async", marks=pytest.mark.e2e), "sync"])
def test_new_revisions_meet_the_rows_of_the_base_and_their_locks_are_told(migrated, env) -> None:
    migrated.begin(env)
    new = migrated.revision("0003", "0002", up="op.execute('alter table users add column name text'); op.execute('create table n ()')")
    newer = migrated.revision("0004", "0003", up="op.execute('create index on users (name)')")
    tested = migrated.test("alembic.ini::new_revisions", "--savepoint-new-revisions", f"{newer},{new}")
    assert tested.exit == 0, tested.said
    first, second = [line for line in tested.evidence if line["kind"] == "migration"]
    assert first["locks"] == {"public.users": "AccessExclusiveLock"}
    assert second["locks"] == {"public.users": "ShareLock"}
    assert (first["revision"], first["path"]) == ("0003", new)
    assert 0 < first["seconds"] < 60
    assert f"{new}: {first['seconds']:.2f} s, AccessExclusiveLock on public.users" in tested.said


@pytest.mark.e2e
def test_without_alembic_the_setting_is_refused(migrated) -> None:
    migrated.begin()
    tested = migrated.test(SAVEPOINT_SCHEMA="none")
    assert tested.exit == 2
    assert "migration-tests is true, but the schema comes from" in tested.said


@pytest.mark.e2e
def test_seed_is_there_before_the_new_revision(migrated) -> None:
    migrated.begin()
    new = migrated.revision("0003", "0002", up="op.execute('alter table users add check (id < 50)')")
    seed = "psql --quiet --command 'insert into users values (99)'"
    tested = migrated.test("alembic.ini::new_revisions", SAVEPOINT_NEW_REVISIONS=new, SAVEPOINT_MIGRATION_SEED=seed)
    assert tested.exit == 1
    assert "is violated by some row" in tested.said
    assert "revision 0003 (migrations/versions/0003_step.py) failed" in tested.said
