from shop import count, engine
from sqlalchemy import text

async def test_neighbour_finds_the_database_of_the_template():
    assert await count() == 0
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT to_regclass('barrel')"))).scalar_one() is None
