from __future__ import annotations

from decimal import Decimal

import httpx
import pytest
from app.core.exceptions import ShippingUnavailableError
from app.services.shipping import ShippingService

pytestmark = pytest.mark.asyncio


async def test_quote_asks_the_rates_server():
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/rates"
        assert dict(request.url.params) == {"country": "IT", "grams": "250"}
        return httpx.Response(200, json={"price": 6.5})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://rates.test") as http:
        assert await ShippingService(http).quote("IT", 250) == Decimal("6.5")


@pytest.mark.parametrize("status", [400, 404, 429, 503])
async def test_error_of_the_rates_server_is_unavailable(status: int):
    transport = httpx.MockTransport(lambda request: httpx.Response(status))

    async with httpx.AsyncClient(transport=transport, base_url="https://rates.test") as http:
        with pytest.raises(ShippingUnavailableError):
            await ShippingService(http).quote("IT", 250)
