import asyncio

import pytest
from pytest_savepoint.errors import SandboxError
from shop import Apple, Crate, Session, engine, labels, store
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError


@pytest.fixture(scope="session", autouse=True)
async def table_for_all():
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS kept (name TEXT)"))
        await connection.execute(text("INSERT INTO kept VALUES ('for the session')"))


@pytest.mark.parametrize("time", range(3))
async def test_committed_row_is_gone_in_the_next_test_and_ids_begin_anew(time, db_session):
    crate = Crate(label="a")
    db_session.add(crate)
    await db_session.commit()
    assert crate.id == 1
    assert await labels() == {"a"}


@pytest.mark.parametrize("time", range(2))
async def test_what_a_wider_fixture_committed_stays(time, db_session):
    assert (await db_session.scalars(text("SELECT name FROM kept"))).all() == ["for the session"]
    await db_session.execute(text("DELETE FROM kept"))
    await db_session.commit()


async def test_rollback_of_one_session_leaves_what_another_committed(db_session):
    db_session.add(Crate(label="stays"))
    await db_session.commit()
    async with Session() as other:
        other.add(Crate(label="goes"))
        await other.flush()
        await other.rollback()
    assert await labels() == {"stays"}


async def test_rolled_back_begin_nested_leaves_the_rest(db_session):
    db_session.add(Crate(label="stays"))
    await db_session.flush()
    with pytest.raises(IntegrityError):
        async with db_session.begin_nested():
            db_session.add(Crate(label="stays"))
            await db_session.flush()
    db_session.add(Crate(label="stays, too"))
    await db_session.commit()
    assert await labels() == {"stays", "stays, too"}


async def test_rollback_takes_back_a_begin_nested_that_was_the_first_to_write():
    async with Session() as session:
        async with session.begin_nested():
            session.add(Crate(label="goes"))
        await session.rollback()
    assert await labels() == set()


async def test_session_is_of_use_after_an_integrity_error(db_session):
    db_session.add(Apple(crate=12))
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        await db_session.flush()
    await db_session.rollback()
    await store("a")


async def test_fifty_sessions_under_gather_all_commit():
    await asyncio.gather(*(store(str(number)) for number in range(50)))
    assert len(await labels()) == 50


async def test_cancelled_task_leaves_nothing():
    reached = asyncio.Event()

    async def endless():
        async with Session() as session:
            session.add(Crate(label="goes"))
            await session.flush()
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(endless())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await labels() == set()


async def test_table_of_a_test_is_gone_after_it(db_connection):
    await db_connection.execute(text("CREATE TABLE own (id INTEGER)"))
    await db_connection.commit()


async def test_engine_in_autocommit_commits_each_statement(db_engine):
    async with db_engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("INSERT INTO crate (label) VALUES ('a')"))
        await connection.rollback()
    assert await labels() == {"a"}


async def test_script_of_the_driver_is_undone_like_anything_else(db_connection):
    driver = (await db_connection.get_raw_connection()).driver_connection
    await driver.executescript("INSERT INTO crate (label) VALUES ('a;b'); CREATE TABLE own (id); -- the end;\n")
    await driver.commit()
    assert await labels() == {"a;b"}


async def test_application_and_test_see_each_others_rows(client, db_session):
    db_session.add(Crate(label="of the test"))
    await db_session.commit()
    await client.post("/crates", params={"label": "of the application"})
    assert (await client.get("/crates")).json() == 2
    assert await db_session.scalar(select(func.count()).select_from(Crate)) == 2


@pytest.mark.savepoint(isolation="savepoint")
async def test_raw_commit_is_refused_in_a_savepoint(db_session):
    with pytest.raises(SandboxError, match="raw transaction control"):
        await db_session.execute(text("COMMIT"))


@pytest.mark.savepoint(isolation="rows")
async def test_sessions_of_a_test_with_real_commits_are_connections_of_their_own():
    async with Session() as first, Session() as second:
        assert await first.connection() is not await second.connection()
        first.add(Crate(label="a"))
        await first.commit()
        assert await second.scalar(select(Crate.label)) == "a"


@pytest.mark.savepoint(isolation="rows")
async def test_transaction_that_is_left_open_does_not_reach_the_next_test():
    session = Session()
    session.add(Crate(label="open"))
    await session.flush()
