from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from unittest.mock import AsyncMock
from uuid import uuid4

import httpx
import pytest
from app.models import Item, Order
from httpx import AsyncClient, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("shipping_rate")]


async def place(client: AsyncClient, headers: dict[str, str], *lines: tuple[Item, int]) -> Response:
    wanted = [{"item_id": str(item.id), "quantity": quantity} for item, quantity in lines]
    return await client.post("/api/v1/orders/", json={"country": "DE", "lines": wanted}, headers=headers)


async def stock_of(session: AsyncSession, *items: Item) -> list[int]:
    for item in items:
        await session.refresh(item)
    return [item.stock for item in items]


async def test_order_takes_its_stock(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable, db_session: AsyncSession
):
    teapot, cup = await make_item(name="Teapot", stock=5), await make_item(name="Cup", stock=8)

    response = await place(client, auth_headers, (teapot, 2), (cup, 3))

    assert response.status_code == 201
    assert response.json()["data"]["status"] == "pending"
    assert await stock_of(db_session, teapot, cup) == [3, 5]


async def test_order_keeps_the_price_of_its_day(client: AsyncClient, auth_headers: dict[str, str], make_item: Callable):
    item = await make_item(price=Decimal("10.00"))
    order = (await place(client, auth_headers, (item, 2))).json()["data"]
    await client.patch(f"/api/v1/items/{item.id}", json={"version": 2, "price": "99.00"})

    response = await client.get(f"/api/v1/orders/{order['id']}", headers=auth_headers)

    assert response.json()["data"]["total"] == "20.00"
    assert response.json()["data"]["lines"][0]["unit_price"] == "10.00"


async def test_insufficient_stock_rolls_back_every_line(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable, db_session: AsyncSession
):
    plenty, scarce = await make_item(name="Plenty", stock=50), await make_item(name="Scarce", stock=1)

    response = await place(client, auth_headers, (plenty, 5), (scarce, 2))

    assert response.status_code == 409
    assert response.json()["error"] == {
        "code": "INSUFFICIENT_STOCK",
        "message": "Scarce: 2 wanted, 1 in stock.",
    }
    assert await stock_of(db_session, plenty, scarce) == [50, 1]
    assert await db_session.scalar(select(func.count()).select_from(Order)) == 0


async def test_order_of_an_unknown_item_is_not_found(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable
):
    response = await place(client, auth_headers, (await make_item(), 1), (Item(id=uuid4()), 1))

    assert response.status_code == 404


async def test_order_without_login_is_refused(client: AsyncClient, make_item: Callable):
    response = await place(client, {}, (await make_item(), 1))

    assert response.status_code == 401
    assert response.json()["error"]["code"] == "AUTH_REQUIRED"


@pytest.mark.parametrize("quantity", [0, -1, 1001])
async def test_impossible_quantity_is_refused(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable, quantity: int
):
    response = await place(client, auth_headers, (await make_item(), quantity))

    assert response.status_code == 422


async def test_item_in_two_lines_is_refused(client: AsyncClient, auth_headers: dict[str, str], make_item: Callable):
    item = await make_item()

    response = await place(client, auth_headers, (item, 1), (item, 1))

    assert response.status_code == 422
    assert "more than one line" in response.json()["error"]["details"][0]["message"]


async def test_shipping_is_asked_for_the_whole_weight(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable, shipping_rate: AsyncMock
):
    response = await place(client, auth_headers, (await make_item(weight_grams=700), 3))

    assert response.json()["data"]["shipping_cost"] == "4.90"
    assert shipping_rate.await_args.args[1:] == ("DE", 2100)


async def test_large_order_is_shipped_free(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable, shipping_rate: AsyncMock
):
    response = await place(client, auth_headers, (await make_item(price=Decimal("50.00")), 2))

    assert Decimal(response.json()["data"]["shipping_cost"]) == 0
    shipping_rate.assert_not_awaited()


async def test_order_is_not_taken_while_shipping_is_unknown(
    client: AsyncClient,
    auth_headers: dict[str, str],
    make_item: Callable,
    shipping_rate: AsyncMock,
    db_session: AsyncSession,
):
    item = await make_item(stock=5)
    shipping_rate.side_effect = httpx.ConnectTimeout("too slow")

    response = await place(client, auth_headers, (item, 1))

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "SHIPPING_UNAVAILABLE"
    assert await stock_of(db_session, item) == [5]


async def test_orders_are_listed_for_their_customer_only(
    client: AsyncClient, auth_headers: dict[str, str], log_in: Callable, make_item: Callable
):
    item = await make_item()
    mine = (await place(client, auth_headers, (item, 1))).json()["data"]
    somebody = await log_in()

    assert [order["id"] for order in (await client.get("/api/v1/orders/", headers=auth_headers)).json()["data"]] == [
        mine["id"]
    ]
    assert (await client.get("/api/v1/orders/", headers=somebody)).json()["data"] == []
    assert (await client.get(f"/api/v1/orders/{mine['id']}", headers=somebody)).status_code == 404


@pytest.mark.parametrize(
    ("steps", "status", "stock"),
    [(["pay"], "paid", 3), (["cancel"], "cancelled", 5), (["pay", "refund"], "refunded", 5)],
)
async def test_order_moves_and_stock_follows(
    client: AsyncClient,
    auth_headers: dict[str, str],
    make_item: Callable,
    db_session: AsyncSession,
    steps: list[str],
    status: str,
    stock: int,
):
    item = await make_item(stock=5)
    order = (await place(client, auth_headers, (item, 2))).json()["data"]

    for step in steps:
        response = await client.post(f"/api/v1/orders/{order['id']}/{step}", headers=auth_headers)

    assert response.json()["data"]["status"] == status
    assert await stock_of(db_session, item) == [stock]


@pytest.mark.parametrize("steps", [["refund"], ["pay", "cancel"], ["cancel", "pay"], ["cancel", "cancel"]])
async def test_impossible_move_is_refused_and_changes_no_stock(
    client: AsyncClient,
    auth_headers: dict[str, str],
    make_item: Callable,
    db_session: AsyncSession,
    steps: list[str],
):
    item = await make_item(stock=5)
    order = (await place(client, auth_headers, (item, 2))).json()["data"]
    *before, last = steps
    for step in before:
        await client.post(f"/api/v1/orders/{order['id']}/{step}", headers=auth_headers)
    [stock] = await stock_of(db_session, item)
    await db_session.commit()

    response = await client.post(f"/api/v1/orders/{order['id']}/{last}", headers=auth_headers)

    assert response.status_code == 409
    assert response.json()["error"]["code"] == "ORDER_STATE"
    assert await stock_of(db_session, item) == [stock]


async def test_ordered_item_cannot_be_deleted(client: AsyncClient, auth_headers: dict[str, str], make_item: Callable):
    item = await make_item()
    await place(client, auth_headers, (item, 1))

    response = await client.delete(f"/api/v1/items/{item.id}")

    assert response.status_code == 409
    assert (await client.get(f"/api/v1/items/{item.id}")).status_code == 200
