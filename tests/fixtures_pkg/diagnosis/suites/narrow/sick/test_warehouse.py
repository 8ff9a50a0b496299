import pytest
from warehouse import count

pytestmark = pytest.mark.asyncio


async def test_first_count():
    assert await count(3) == 3


async def test_second_count():
    assert await count(4) == 4


@pytest.mark.parametrize("limit", [5, 6, 7])
async def test_more_counts(limit):
    assert await count(limit) == limit
