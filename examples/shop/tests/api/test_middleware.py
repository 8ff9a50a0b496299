"""The middleware writes in a session of its own, which the request's transaction does not touch."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import AsyncMock

import pytest
from app.dependencies import get_item_service
from app.main import app
from app.models import AuditEntry
from app.services.item import ItemService
from httpx import AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.asyncio


async def audit(session: AsyncSession) -> list[tuple[str, str, int]]:
    query = select(AuditEntry.method, AuditEntry.path, AuditEntry.status).order_by(AuditEntry.id)
    return [tuple(row) for row in await session.execute(query)]


async def test_every_request_is_written_down(client: AsyncClient, db_session: AsyncSession):
    await client.get("/api/v1/items/")
    await client.post("/api/v1/items/", json={"name": "Teapot", "price": 1})

    assert await audit(db_session) == [("GET", "/api/v1/items/", 200), ("POST", "/api/v1/items/", 201)]


async def test_requests_outside_the_api_are_not_written_down(client: AsyncClient, db_session: AsyncSession):
    await client.get("/")
    await client.get("/health")

    assert await audit(db_session) == []


async def test_entry_outlives_the_rollback_of_its_request(
    client: AsyncClient,
    auth_headers: dict[str, str],
    make_item: Callable,
    db_session: AsyncSession,
    shipping_rate: AsyncMock,
):
    item = await make_item(stock=0)

    await client.post(
        "/api/v1/orders/",
        json={"country": "DE", "lines": [{"item_id": str(item.id), "quantity": 1}]},
        headers=auth_headers,
    )

    assert (await audit(db_session))[-1] == ("POST", "/api/v1/orders/", 409)


async def test_request_that_breaks_is_written_down_as_500(client: AsyncClient, db_session: AsyncSession):
    broken = AsyncMock(spec=ItemService)
    broken.search.side_effect = ZeroDivisionError("a bug")
    app.dependency_overrides[get_item_service] = lambda: broken

    with pytest.raises(ZeroDivisionError):
        await client.get("/api/v1/items/")

    assert await audit(db_session) == [("GET", "/api/v1/items/", 500)]
