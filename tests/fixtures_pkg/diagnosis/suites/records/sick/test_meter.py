import asyncio


async def test_column_is_added_under_a_plan(pool):
    async with pool.acquire() as reader, pool.acquire() as writer:
        assert dict(await reader.fetchrow("select * from meter"))["reading"] == 100
        await writer.execute("alter table meter add column unit text default 'kWh'")  # SP207
        async with reader.transaction():
            assert (await reader.fetchrow("select * from meter"))["unit"] == "kWh"


async def test_table_is_emptied_while_somebody_reads(pool):
    reader = await pool.acquire()
    transaction = reader.transaction()
    await transaction.start()  # SP514
    await reader.fetch("select * from meter")
    try:
        async with pool.acquire() as cleaner:
            await asyncio.wait_for(cleaner.execute("truncate meter"), 1)
    finally:
        await transaction.rollback()
        await pool.release(reader)
