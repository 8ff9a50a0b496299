"""What holds for asyncpg's own ways."""

import pytest
import shop
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine


@pytest.mark.parametrize("turn", [1, 2])
async def test_server_settings_of_an_engine_hold_in_every_test(turn):
    engine = create_async_engine(shop.engine.url, connect_args={"server_settings": {"work_mem": "3MB"}})
    async with engine.connect() as connection:
        assert (await connection.execute(text("SHOW work_mem"))).scalar_one() == "3MB"
    await engine.dispose()
