"""The outgoing call, replaced in each of the ways that suites replace one."""

from __future__ import annotations

from decimal import Decimal
from unittest.mock import AsyncMock, patch

import httpx
import pytest
from app.core.config import settings
from app.dependencies import get_shipping_service
from app.main import app
from httpx import AsyncClient
from respx import MockRouter

pytestmark = pytest.mark.asyncio

QUOTE = "/api/v1/shipping/quote?country=FR&weight_grams=1500"


async def test_quote_with_the_function_patched(client: AsyncClient):
    with patch("app.services.shipping.fetch_rate", new=AsyncMock(return_value=Decimal("7.20"))):
        response = await client.get(QUOTE)

    assert response.status_code == 200
    assert response.json() == {"success": True, "data": {"price": "7.20"}}


async def test_quote_with_the_service_overridden(client: AsyncClient, shipping: AsyncMock):
    shipping.quote.return_value = Decimal("3.10")
    app.dependency_overrides[get_shipping_service] = lambda: shipping

    response = await client.get(QUOTE)

    assert response.json()["data"]["price"] == "3.10"
    shipping.quote.assert_awaited_once_with("FR", 1500)


async def test_quote_with_the_server_answered(client: AsyncClient, respx_mock: MockRouter):
    route = respx_mock.get(f"{settings.shipping_url}/rates", params={"country": "FR", "grams": 1500}).respond(
        json={"price": "5.55"}
    )

    response = await client.get(QUOTE)

    assert response.json()["data"]["price"] == "5.55"
    assert route.call_count == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"return_value": httpx.Response(500)},
        {"return_value": httpx.Response(200, json={})},
        {"return_value": httpx.Response(200, text="<html>")},
        {"return_value": httpx.Response(200, json={"price": "much"})},
        {"side_effect": httpx.ConnectError("refused")},
        {"side_effect": httpx.ReadTimeout("slow")},
    ],
    ids=["server-error", "no-price", "no-json", "no-number", "refused", "timeout"],
)
async def test_bad_answer_is_reported_as_unavailable(client: AsyncClient, respx_mock: MockRouter, answer: dict):
    respx_mock.get(path="/rates").mock(**answer)

    response = await client.get(QUOTE)

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "SHIPPING_UNAVAILABLE"


@pytest.mark.parametrize("query", ["country=fr", "country=FRA", "country=FR&weight_grams=0", "weight_grams=5"])
async def test_invalid_question_is_refused(client: AsyncClient, query: str):
    response = await client.get(f"/api/v1/shipping/quote?{query}")

    assert response.status_code == 422
