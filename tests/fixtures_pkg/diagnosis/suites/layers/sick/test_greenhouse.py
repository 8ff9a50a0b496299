import pytest
from sqlalchemy import text

pytestmark = pytest.mark.asyncio(loop_scope="module")  # SP102


async def test_tomatoes(greenhouse):
    async with greenhouse.connect() as connection:
        assert await connection.scalar(text("select 1")) == 1
