"""Migrations as tests: a fault of each kind is found and named, and a project without faults passes."""

from __future__ import annotations

import pytest

# Whole runs of pytest, or of migrations, which take seconds.
pytestmark = pytest.mark.e2e

COLUMN = 'sa.Column("id", sa.Integer, primary_key=True)'
ALL_PASS = {"one_head": "passed", "down_and_up_again": "passed", "models_match": "passed", "test_one": "passed"}


def test_migrations_without_fault_pass_also_with_merged_branches_and_beside_the_schema_of_the_audit(migrated) -> None:
    migrated.begin("async", metadata="metadata, include_schemas=True")
    migrated.revision("0003", "0002", up="op.execute('create type a as enum ()')", back="op.execute('drop type a')")
    migrated.revision("0004", "0002", up="op.execute('create type b as enum ()')", back="op.execute('drop type b')")
    migrated.revision("0005", ("0003", "0004"), up="op.execute('create type c as enum ()')", back="op.execute('drop type c')")
    tested = migrated.test()
    assert tested.outcomes() == ALL_PASS, tested.said


def test_workers_run_each_check_once(migrated) -> None:
    migrated.begin("sync")
    tested = migrated.test("-n", "2", "tests")
    assert tested.outcomes() == ALL_PASS, tested.said
    assert "4 passed" in tested.said


def test_nothing_is_added_where_tests_were_chosen(migrated) -> None:
    migrated.begin()
    assert migrated.test("tests/test_one.py").outcomes() == {"test_one": "passed"}


def test_two_heads_are_named_with_their_files(migrated) -> None:
    migrated.begin()
    migrated.revision("0003", "0002", up="pass")
    migrated.revision("0004", "0002", up="pass")
    tested = migrated.test("alembic.ini::one_head")
    assert tested.exit == 1
    assert "Alembic has 2 heads" in tested.said
    assert "0004 (migrations/versions/0004_step.py)" in tested.said


def test_downgrade_that_leaves_something_behind_and_a_model_without_migration_fail_with_what_is_wrong(migrated) -> None:
    migrated.begin()
    migrated.models(f'{COLUMN}, sa.Column("mail", sa.String)')
    migrated.revision("0003", "0002", up="sa.Enum('a', name='kind').create(op.get_bind())")
    tested = migrated.test()
    assert tested.outcomes() == {**ALL_PASS, "down_and_up_again": "failed", "models_match": "failed"}, tested.said
    assert 'type "kind" already exists' in tested.said
    assert "revision 0003 (migrations/versions/0003_step.py) failed" in tested.said
    assert "Traceback (most recent call last)" in tested.said
    assert "op.add_column('users', sa.Column('mail', sa.String(), nullable=True))" in tested.said


def test_revisions_that_cannot_be_taken_back_are_named_and_pass(migrated) -> None:
    migrated.begin()
    migrated.revision("0003", "0002", up="op.execute('delete from users where id = 1')", back="raise NotImplementedError")
    migrated.revision("0004", "0003", up="op.execute('delete from users where id = 2')", head="irreversible = True")
    tested = migrated.test("alembic.ini::down_and_up_again")
    assert tested.exit == 0, tested.said
    for revision in ("0003", "0004"):
        assert f"{revision}_step.py: cannot be taken back, and says so" in tested.said


def test_drift_is_skipped_with_its_reason_where_env_py_has_no_models(migrated) -> None:
    migrated.begin(metadata="None")
    tested = migrated.test("alembic.ini::models_match")
    assert tested.outcomes()["models_match"] == "skipped"
    assert "env.py gives no target_metadata" in tested.said


def test_new_revisions_meet_the_rows_of_the_base_and_their_locks_are_told(migrated) -> None:
    migrated.begin("async")
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


def test_without_alembic_the_setting_is_refused(migrated) -> None:
    migrated.begin()
    tested = migrated.test(SAVEPOINT_SCHEMA="none")
    assert tested.exit == 2
    assert "migration-tests is true, but the schema comes from" in tested.said


def test_seed_is_there_before_the_new_revision(migrated) -> None:
    migrated.begin("sync")
    new = migrated.revision("0003", "0002", up="op.execute('alter table users add check (id < 50)')")
    seed = "psql --quiet --command 'insert into users values (99)'"
    tested = migrated.test("alembic.ini::new_revisions", SAVEPOINT_NEW_REVISIONS=new, SAVEPOINT_MIGRATION_SEED=seed)
    assert tested.exit == 1
    assert "is violated by some row" in tested.said
    assert "revision 0003 (migrations/versions/0003_step.py) failed" in tested.said
