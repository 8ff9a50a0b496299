from __future__ import annotations

import pytest
from app.main import app
from httpx import AsyncClient

pytestmark = pytest.mark.asyncio


async def test_root_welcomes(client: AsyncClient):
    response = await client.get("/")

    assert response.status_code == 200
    assert response.json() == {"message": "Welcome to the shop"}


async def test_health_asks_the_database(client: AsyncClient):
    response = await client.get("/health")

    assert response.json() == {"status": "ok"}


async def test_lifespan_has_loaded_the_rules(client: AsyncClient):
    await client.get("/")

    assert app.state.rules.low_stock == 2


async def test_unknown_route_is_answered_in_the_envelope(client: AsyncClient):
    response = await client.get("/api/v1/nothing-here")

    assert response.status_code == 404
    assert response.json()["success"] is False
    assert response.json()["error"]["code"] == "NOT_FOUND"


async def test_wrong_method_is_answered_in_the_envelope(client: AsyncClient):
    response = await client.delete("/api/v1/items/")

    assert response.status_code == 405
    assert response.json()["error"]["code"] == "HTTP_ERROR"
