"""Requests at the same time: each has its own session, so they may be gathered; one session never may."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from app.models import AuditEntry, Item, Order, User
from httpx import AsyncClient
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("shipping_rate")]


async def test_last_pieces_are_sold_once(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable, db_session: AsyncSession
):
    item = await make_item(stock=3)
    wanted = {"country": "DE", "lines": [{"item_id": str(item.id), "quantity": 1}]}

    responses = await asyncio.gather(
        *(client.post("/api/v1/orders/", json=wanted, headers=auth_headers) for _ in range(5))
    )

    assert Counter(response.status_code for response in responses) == {201: 3, 409: 2}
    await db_session.refresh(item)
    assert item.stock == 0
    assert await db_session.scalar(select(func.count()).select_from(Order)) == 3


async def test_no_restock_is_lost(client: AsyncClient, make_item: Callable, db_session: AsyncSession):
    item = await make_item(stock=0)

    await asyncio.gather(
        *(client.post(f"/api/v1/items/{item.id}/restock", json={"quantity": number}) for number in range(1, 9))
    )

    await db_session.refresh(item)
    assert item.stock == sum(range(1, 9))


async def test_one_of_two_updates_of_the_same_version_wins(client: AsyncClient, make_item: Callable):
    item = await make_item(name="Before")

    responses = await asyncio.gather(
        *(client.patch(f"/api/v1/items/{item.id}", json={"version": 1, "name": name}) for name in ("One", "Two"))
    )

    assert sorted(response.status_code for response in responses) == [200, 409]
    [winner] = [response.json()["data"]["name"] for response in responses if response.status_code == 200]
    assert (await client.get(f"/api/v1/items/{item.id}")).json()["data"]["name"] == winner


async def test_email_is_registered_once_by_concurrent_requests(client: AsyncClient, db_session: AsyncSession):
    account = {"email": "race@example.com", "password": "TestPass123!", "name": "Race"}

    responses = await asyncio.gather(*(client.post("/api/v1/auth/register", json=account) for _ in range(4)))

    assert Counter(response.status_code for response in responses) == {201: 1, 409: 3}
    count = select(func.count()).select_from(User).where(User.email == account["email"])
    assert await db_session.scalar(count) == 1


async def test_orders_of_the_same_items_in_both_directions_do_not_deadlock(
    client: AsyncClient, auth_headers: dict[str, str], make_item: Callable, db_session: AsyncSession
):
    items = [await make_item(name=name, stock=10) for name in ("One", "Two")]
    lines = [{"item_id": str(item.id), "quantity": 1} for item in items]

    responses = await asyncio.gather(
        *(
            client.post("/api/v1/orders/", json={"country": "DE", "lines": direction}, headers=auth_headers)
            for direction in (lines, lines[::-1]) * 2
        )
    )

    assert [response.status_code for response in responses] == [201] * 4
    assert set(await db_session.scalars(select(Item.stock))) == {6}


async def test_reads_and_writes_together_leave_one_audit_entry_each(client: AsyncClient, db_session: AsyncSession):
    await asyncio.gather(
        *(client.post("/api/v1/items/", json={"name": f"Item {number}", "price": 1}) for number in range(5)),
        *(client.get("/api/v1/items/") for _ in range(5)),
    )

    methods = Counter(await db_session.scalars(select(AuditEntry.method)))
    assert methods == {"POST": 5, "GET": 5}
