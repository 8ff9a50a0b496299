"""Transactions that meet, on a database of the test's own."""

from shop import Crate, count, engine, store
from sqlalchemy import select, text, update


async def test_commits_in_a_fresh_database_are_real(fresh_database, database, seen_from_outside):
    assert database is fresh_database
    await store("a")
    assert seen_from_outside() == 1
    async with engine.connect() as c:
        assert (await c.execute(text("select current_database()"))).scalar_one() == fresh_database.name


async def test_other_tests_do_not_see_them():
    assert await count() == 0


async def test_conflict_at_repeatable_read_comes_in_the_order_of_turns(sessions):
    await store("stock")
    turns = sessions.turns("a reads", "b reads", "a writes", "b writes")

    def sell(who):
        async def transaction(session):
            async with turns(f"{who} reads"):
                (await session.scalars(select(Crate))).one()
            async with turns(f"{who} writes"):
                await session.execute(update(Crate).values(contents={"by": who}))
                await session.commit()
            return who

        return transaction

    a, b = await sessions.run(sell("a"), sell("b"), isolation_level="REPEATABLE READ")
    assert a == "a"
    assert "could not serialize" in str(b)


async def test_turn_goes_on_when_the_one_before_waits_for_its_lock(sessions):
    await store("stock")
    turns = sessions.turns("a writes", "b writes", "a commits")
    order = []

    async def a(session):
        async with turns("a writes"):
            await session.execute(update(Crate).values(contents={"by": "a"}))
        async with turns("a commits"):
            order.append("a")
            await session.commit()

    async def b(session):
        async with turns("b writes"):
            await session.execute(update(Crate).values(contents={"by": "b"}))
        order.append("b")

    assert await sessions.run(a, b) == [None, None]
    assert order == ["a", "b"]
