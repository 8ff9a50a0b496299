from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from uuid import uuid4

import pytest
from app.models import Item
from httpx import AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.asyncio


async def test_create_item(client: AsyncClient):
    response = await client.post("/api/v1/items/", json={"name": "Test Item", "price": 9.99})

    assert response.status_code == 201
    data = response.json()
    assert data["success"] is True
    assert data["data"]["name"] == "Test Item"
    assert data["data"]["price"] == "9.99"


async def test_get_item(client: AsyncClient):
    create_response = await client.post("/api/v1/items/", json={"name": "Test Item", "price": 9.99})
    item_id = create_response.json()["data"]["id"]

    response = await client.get(f"/api/v1/items/{item_id}")

    assert response.status_code == 200
    assert response.json()["data"]["id"] == item_id


async def test_item_not_found(client: AsyncClient):
    response = await client.get("/api/v1/items/nonexistent-id")

    assert response.status_code == 404
    assert response.json()["success"] is False
    assert response.json()["error"]["code"] == "NOT_FOUND"


async def test_item_is_created_beside_rows_that_the_test_began_with(client: AsyncClient, db_session: AsyncSession):
    async with db_session.begin():
        db_session.add(Item(name="Already here", price=Decimal("1.00")))

    response = await client.post("/api/v1/items/", json={"name": "Test", "price": 2})

    assert response.status_code == 201
    assert set(await db_session.scalars(select(Item.name))) == {"Already here", "Test"}


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"price": -1}, {"price": "9.999"}, {"stock": -1}, {"weight_grams": 0}, {"price": "cheap"}],
    ids=lambda wrong: "-".join(f"{name}={value}" for name, value in wrong.items()),
)
async def test_invalid_item_is_refused_and_not_stored(client: AsyncClient, db_session: AsyncSession, wrong: dict):
    response = await client.post("/api/v1/items/", json={"name": "Test Item", "price": 9.99, **wrong})

    assert response.status_code == 422
    assert (await db_session.scalars(select(Item))).all() == []


async def test_no_item_is_there_before_the_test_makes_one(client: AsyncClient):
    response = await client.get("/api/v1/items/")

    assert response.json()["data"] == []


async def test_search_finds_names_in_any_case(client: AsyncClient, make_item: Callable):
    await make_item(name="Red Teapot")
    await make_item(name="Green teapot")
    await make_item(name="Kettle")

    response = await client.get("/api/v1/items/", params={"q": "TEAPOT"})

    assert [item["name"] for item in response.json()["data"]] == ["Green teapot", "Red Teapot"]


async def test_search_takes_a_percent_sign_as_itself(client: AsyncClient, make_item: Callable):
    await make_item(name="100% wool")
    await make_item(name="1000 pins")

    response = await client.get("/api/v1/items/", params={"q": "0%"})

    assert [item["name"] for item in response.json()["data"]] == ["100% wool"]


async def test_search_by_price_and_page(client: AsyncClient, make_item: Callable):
    for number in range(6):
        await make_item(name=f"Item {number}", price=Decimal(number))

    response = await client.get("/api/v1/items/", params={"max_price": 4, "limit": 2, "offset": 3})

    assert [item["name"] for item in response.json()["data"]] == ["Item 3", "Item 4"]


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"max_price": -1}])
async def test_search_refuses_impossible_pages(client: AsyncClient, params: dict[str, int]):
    response = await client.get("/api/v1/items/", params=params)

    assert response.status_code == 422


async def test_update_changes_only_what_is_named(client: AsyncClient, make_item: Callable):
    item = await make_item(name="Teapot", price=Decimal("10.00"))

    response = await client.patch(f"/api/v1/items/{item.id}", json={"version": 1, "price": "12.50"})

    data = response.json()["data"]
    assert (data["name"], data["price"], data["version"]) == ("Teapot", "12.50", 2)


async def test_update_of_an_old_version_is_refused(client: AsyncClient, make_item: Callable):
    item = await make_item()
    await client.patch(f"/api/v1/items/{item.id}", json={"version": 1, "name": "First"})

    response = await client.patch(f"/api/v1/items/{item.id}", json={"version": 1, "name": "Second"})

    assert response.status_code == 409
    assert response.json()["error"]["code"] == "STALE_VERSION"


async def test_restock_adds_to_the_stock(client: AsyncClient, make_item: Callable, db_session: AsyncSession):
    item = await make_item(stock=5)

    response = await client.post(f"/api/v1/items/{item.id}/restock", json={"quantity": 7})

    assert response.json()["data"]["stock"] == 12
    await db_session.refresh(item)
    assert item.stock == 12


async def test_deleted_item_is_gone(client: AsyncClient, make_item: Callable):
    item = await make_item()

    response = await client.delete(f"/api/v1/items/{item.id}")

    assert response.status_code == 204
    assert (await client.get(f"/api/v1/items/{item.id}")).status_code == 404


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_change_of_an_unknown_item_is_not_found(client: AsyncClient, method: str):
    response = await client.request(method, f"/api/v1/items/{uuid4()}", json={"version": 1})

    assert response.status_code == 404
