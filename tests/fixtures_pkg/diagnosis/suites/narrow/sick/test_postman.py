import pytest
from postman import postman

pytestmark = pytest.mark.asyncio


async def test_first_letter():
    assert await postman.deliver("a") == "A"


async def test_second_letter():
    assert await postman.deliver("b") == "B"
