import pytest
from sqlalchemy import text

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_two_tomatoes_fails(greenhouse):
    async with greenhouse.connect() as connection:
        assert await connection.scalar(text("select 1")) == 2
