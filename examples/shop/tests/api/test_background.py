"""The background task runs after the answer, in a session of its own."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from app.models import Notification
from httpx import AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("shipping_rate")]


async def test_order_is_confirmed(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable, db_session: AsyncSession
):
    item = await make_item(price=Decimal("10.00"), stock=50)

    order = (
        await client.post(
            "/api/v1/orders/",
            json={"country": "DE", "lines": [{"item_id": str(item.id), "quantity": 2}]},
            headers=auth_headers,
        )
    ).json()["data"]

    query = select(Notification.kind, Notification.message).where(Notification.order_id == order["id"])
    assert [tuple(row) for row in await db_session.execute(query)] == [("order_confirmed", "We received 20.00.")]


@pytest.mark.parametrize(("stock", "warned"), [(3, True), (4, True), (5, False)])
async def test_low_stock_is_told(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable, stock: int, warned: bool
):
    item = await make_item(name="Teapot", stock=stock)
    order = (
        await client.post(
            "/api/v1/orders/",
            json={"country": "DE", "lines": [{"item_id": str(item.id), "quantity": 2}]},
            headers=auth_headers,
        )
    ).json()["data"]

    response = await client.get(f"/api/v1/orders/{order['id']}/notifications", headers=auth_headers)

    kinds = [note["kind"] for note in response.json()["data"]]
    assert kinds == ["order_confirmed", "low_stock"] if warned else ["order_confirmed"]


async def test_failed_order_is_not_confirmed(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable, db_session: AsyncSession
):
    item = await make_item(stock=1)

    await client.post(
        "/api/v1/orders/",
        json={"country": "DE", "lines": [{"item_id": str(item.id), "quantity": 2}]},
        headers=auth_headers,
    )

    assert (await db_session.scalars(select(Notification))).all() == []
