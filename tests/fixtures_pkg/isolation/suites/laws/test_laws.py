"""What holds in every test, on every loop: each begins with an empty table, whatever the others did."""

import asyncio

import pytest
import shop
from shop import Crate, Session, count, store
from sqlalchemy import delete, event, select, text, update
from sqlalchemy.exc import IntegrityError


@pytest.fixture
async def starts_empty():
    assert await count() == 0


pytestmark = pytest.mark.usefixtures("starts_empty")
# On connections of their own the two sessions would wait for each other, or be seen from outside.
in_savepoint = pytest.mark.savepoint(isolation="savepoint")


@in_savepoint
async def test_commit_is_seen_by_other_sessions_and_not_from_outside(seen_from_outside):
    await store("apples")
    assert await count() == 1
    assert seen_from_outside() == 0


async def test_rollback_undoes_only_its_own_transaction():
    await store("apples")
    async with Session() as session:
        session.add(Crate(label="pears"))
        await session.flush()
        assert await count(session) == 2
        await session.rollback()
        assert await count(session) == 1


async def test_seed_rows_survive_the_applications_rollback(db_session):
    db_session.add(Crate(label="seed"))
    await db_session.commit()
    async with Session() as session:
        session.add(Crate(label="doomed"))
        await session.flush()
        await session.rollback()
    assert (await db_session.scalars(select(Crate.label))).all() == ["seed"]


async def test_commit_survives_the_rollback_of_a_session_that_only_read(db_session):
    assert await count(db_session) == 0
    await store("apples")
    await db_session.rollback()
    assert await count(db_session) == 1


async def test_what_one_session_wrote_survives_when_a_later_one_is_rolled_back_first():
    async with Session() as first:
        first.add(Crate(label="first"))
        await first.flush()
        async with Session() as second:
            second.add(Crate(label="second"))
            await second.flush()
            await second.rollback()
        await first.commit()
    async with Session() as session:
        assert (await session.scalars(select(Crate.label))).all() == ["first"]


async def test_outer_session_may_commit_while_a_later_one_is_still_open():
    async with Session() as outer, Session() as inner:
        outer.add(Crate(label="outer"))
        await outer.flush()
        inner.add(Crate(label="inner"))
        await inner.flush()
        await outer.commit()
        await inner.rollback()
    async with Session() as session:
        assert (await session.scalars(select(Crate.label))).all() == ["outer"]


async def test_session_inside_another_may_read_before_it_writes():
    async with Session() as outer, Session() as inner:
        outer.add(Crate(label="outer"))
        await outer.flush()
        if (await inner.scalars(select(Crate).where(Crate.label == "inner"))).first() is None:
            inner.add(Crate(label="inner"))
        await inner.commit()
        await outer.commit()
    assert await count() == 2


@in_savepoint
async def test_session_inside_another_commits_after_the_outer_one_had_an_error():
    async with Session() as outer, Session() as inner:
        outer.add(Crate(label="outer"))
        await outer.flush()
        inner.add(Crate(label="inner"))
        await inner.flush()
        with pytest.raises(Exception, match="division by zero"):
            await outer.execute(text("SELECT 1 / 0"))
        assert await count(inner) == 2
        await inner.commit()


async def test_error_of_a_session_that_only_read_costs_no_other_its_changes():
    async with Session() as outer, Session() as inner:
        outer.add(Crate(label="outer"))
        await outer.flush()
        with pytest.raises(Exception, match="division by zero"):
            await inner.execute(text("SELECT 1 / 0"))
        await outer.commit()
    assert await count() == 1


async def test_session_with_an_error_that_is_rolled_back_late_costs_no_other_its_commit():
    async with Session() as failed:
        failed.add(Crate(label="apples"))
        await failed.flush()
        with pytest.raises(Exception, match="division by zero"):
            await failed.execute(text("SELECT 1 / 0"))
        await store("pears")
        await failed.rollback()
        assert (await failed.scalars(select(Crate.label))).all() == ["pears"]


async def test_integrity_error_leaves_the_session_usable_after_rollback(db_session):
    await store("apples")
    db_session.add(Crate(label="apples"))
    with pytest.raises(IntegrityError):
        await db_session.commit()
    await db_session.rollback()
    db_session.add(Crate(label="pears"))
    await db_session.commit()
    assert await count() == 2


@in_savepoint
async def test_error_of_one_session_does_not_disturb_another():
    async with Session() as outer:
        outer.add(Crate(label="apples"))
        await outer.flush()
        async with Session() as inner:
            inner.add(Crate(label="apples"))
            with pytest.raises(IntegrityError):
                await inner.flush()
        assert await count(outer) == 1
        await outer.commit()
    assert await count() == 1


async def test_swallowed_error_makes_commit_a_rollback_as_in_production():
    async with Session() as session:
        await session.execute(text("INSERT INTO crate (label) VALUES ('apples')"))
        with pytest.raises(IntegrityError):
            await session.execute(text("INSERT INTO crate (label) VALUES ('apples')"))
        await session.commit()
    assert await count() == 0


async def test_begin_nested_rolls_back_to_its_savepoint_only(db_session):
    db_session.add(Crate(label="kept"))
    await db_session.flush()
    with pytest.raises(ValueError, match="on purpose"):  # noqa: PT012 # the block is what is rolled back
        async with db_session.begin_nested():
            db_session.add(Crate(label="dropped"))
            await db_session.flush()
            raise ValueError("on purpose")
    await db_session.commit()
    assert (await db_session.scalars(select(Crate.label))).all() == ["kept"]


async def test_sessions_of_gathered_tasks_all_commit():
    await asyncio.gather(*(store(f"crate {number}") for number in range(50)))
    assert await count() == 50


async def test_gathered_tasks_that_fail_leave_the_others_alone():
    async def store_twice(label):
        async with Session() as session:
            session.add_all([Crate(label=label), Crate(label="same for all")])
            await session.commit()

    results = await asyncio.gather(*(store_twice(f"crate {number}") for number in range(5)), return_exceptions=True)
    assert sum(isinstance(result, IntegrityError) for result in results) == 4
    assert await count() == 2


async def test_tasks_of_an_open_transaction_are_nested_in_it(db_session):
    db_session.add(Crate(label="open"))
    await db_session.flush()
    await asyncio.gather(*(store(f"crate {number}") for number in range(5)))
    await db_session.commit()
    assert await count() == 6


async def test_background_task_that_outlives_the_request_is_undone_too():
    task = asyncio.create_task(store("late"))
    await task
    assert await count() == 1


async def test_session_may_be_left_inside_begin_nested(db_session):
    db_session.add(Crate(label="outer"))
    await db_session.begin_nested()
    db_session.add(Crate(label="inner"))
    await db_session.flush()


async def test_cancelled_statement_leaves_the_connection_usable():
    async def slow():
        async with Session() as session:
            session.add(Crate(label="never"))
            await session.flush()
            await session.execute(text("SELECT pg_sleep(30)"))

    task = asyncio.create_task(slow())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count() == 0
    await store("apples")
    assert await count() == 1


async def test_statement_cancelled_at_any_moment_leaves_what_was_committed_before():
    async def slow():
        async with Session() as session:
            await session.execute(text("SELECT pg_sleep(30)"))

    for number, pause in enumerate((0, 0, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02), 1):
        await store(f"apples {number}")
        task = asyncio.create_task(slow())
        await asyncio.sleep(pause)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await count() == number


async def test_open_transaction_at_the_end_of_a_test_is_undone():
    session = Session()
    session.add(Crate(label="left open"))
    await session.flush()


async def test_ddl_is_undone():
    async with shop.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE barrel (id int)"))
        await connection.execute(text("INSERT INTO barrel VALUES (1)"))


async def test_no_table_of_another_test_is_left():
    async with shop.engine.begin() as connection:
        assert (await connection.execute(text("SELECT to_regclass('barrel')"))).scalar_one() is None


async def test_core_statements_and_results_are_as_without_us(db_connection):
    await db_connection.execute(text("INSERT INTO crate (label, contents) VALUES ('a', '{\"n\": 1}'), ('b', NULL)"))
    await db_connection.commit()
    changed = await db_connection.execute(update(Crate).values(contents={"n": 2}))
    assert changed.rowcount == 2
    assert (await db_connection.execute(select(Crate.contents).distinct())).scalar_one() == {"n": 2}
    await db_connection.rollback()
    assert (await db_connection.execute(delete(Crate).where(Crate.label == "a"))).rowcount == 1
    await db_connection.commit()
    assert await count() == 1


async def test_server_side_cursor_streams(db_session):
    db_session.add_all([Crate(label=str(number)) for number in range(300)])
    await db_session.commit()
    rows = [row async for row in await db_session.stream_scalars(select(Crate.label).execution_options(yield_per=50))]
    assert len(rows) == 300


async def test_session_used_after_rollback_of_a_failed_read(db_session):
    await store("apples")
    with pytest.raises(Exception, match="division by zero"):
        await db_session.execute(text("SELECT 1 / 0"))
    assert await count() == 1
    await db_session.rollback()
    assert await count(db_session) == 1


async def test_read_only_transaction_refuses_writes_and_ends():
    async with shop.engine.connect() as connection:
        read_only = await connection.execution_options(postgresql_readonly=True)
        with pytest.raises(Exception, match="read-only"):
            await read_only.execute(text("INSERT INTO crate (label) VALUES ('x')"))
    await store("apples")
    assert await count() == 1


async def test_autocommit_engine_commits_each_statement():
    engine = shop.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("INSERT INTO crate (label) VALUES ('one')"))
        with pytest.raises(IntegrityError):
            await connection.execute(text("INSERT INTO crate (label) VALUES ('one')"))
        assert await count() == 1


async def test_deferred_constraint_is_checked_at_commit_as_in_production(db_session):
    async with Session() as session:
        await session.execute(text("INSERT INTO lid (crate_id) VALUES (0)"))
        with pytest.raises(IntegrityError):
            await session.commit()
    db_session.add(Crate(id=7, label="apples"))
    await db_session.execute(text("INSERT INTO lid (crate_id) VALUES (7)"))
    await db_session.commit()
    await db_session.execute(text("INSERT INTO lid (crate_id) VALUES (8)"))
    db_session.add(Crate(id=8, label="pears"))
    await db_session.commit()
    assert (await db_session.execute(text("SELECT count(*) FROM lid"))).scalar_one() == 2


async def test_deferred_constraint_of_an_open_session_does_not_fail_another_ones_commit(db_session):
    await db_session.execute(text("INSERT INTO lid (crate_id) VALUES (9)"))
    await store("apples")
    db_session.add(Crate(id=9, label="pears"))
    await db_session.commit()
    assert (await db_session.execute(text("SELECT count(*) FROM lid"))).scalar_one() == 1


async def test_hooks_after_commit_run(db_session):
    ran = []
    event.listen(db_session.sync_session, "after_commit", lambda _: ran.append("commit"))
    db_session.add(Crate(label="apples"))
    await db_session.commit()
    assert ran == ["commit"]
