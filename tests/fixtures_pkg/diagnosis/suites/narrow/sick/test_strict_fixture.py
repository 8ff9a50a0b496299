import pytest


@pytest.fixture  # SP501
async def basket():
    yield ["apple"]


@pytest.mark.asyncio
async def test_basket(basket):
    assert "apple" in basket
