from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from unittest.mock import AsyncMock, MagicMock
from uuid import uuid4

import pytest
from app.core.exceptions import ConflictError
from app.models import Item, Order, OrderLine
from app.repositories.item import ItemRepository
from app.schemas.item import ItemCreate
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.asyncio


@pytest.fixture
def items(db_session: AsyncSession) -> ItemRepository:
    return ItemRepository(db_session)


async def test_get_item_from_a_mocked_session():
    mock_db = AsyncMock()
    mock_db.execute.return_value = MagicMock()
    mock_db.execute.return_value.scalar_one_or_none.return_value = {"name": "Test"}

    assert await ItemRepository(mock_db).get(uuid4()) == {"name": "Test"}


async def test_created_item_has_what_the_database_adds(items: ItemRepository):
    item = await items.create(ItemCreate(name="Teapot", price=Decimal("9.99")))

    assert (item.version, item.created_at) == (1, item.updated_at)


async def test_change_is_dated_by_the_trigger(items: ItemRepository, make_item: Callable, db_session: AsyncSession):
    item = await make_item()

    item.name = "Changed"
    await db_session.commit()

    assert item.updated_at > item.created_at
    assert item.version == 2


async def test_get_many_leaves_out_what_is_not_there(items: ItemRepository, make_item: Callable):
    item = await make_item()

    assert set(await items.get_many([item.id, uuid4()])) == {item.id}


async def test_lock_reads_the_row_anew(items: ItemRepository, make_item: Callable, db_session: AsyncSession):
    item = await make_item(stock=5)
    await db_session.execute(Item.__table__.update().where(Item.id == item.id).values(stock=1))
    assert item.stock == 5

    locked = await items.lock([item.id])

    assert locked[item.id].stock == 1


async def test_negative_stock_is_refused_by_the_database(make_item: Callable, db_session: AsyncSession):
    item = await make_item(stock=1)
    item_id = item.id

    item.stock = -1
    with pytest.raises(IntegrityError, match="ck_items_stock"):
        await db_session.commit()
    await db_session.rollback()

    assert (await db_session.get_one(Item, item_id, populate_existing=True)).stock == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [("tea", ["Teapot", "Teaspoon"]), ("SPOON", ["Teaspoon"]), ("", ["Kettle", "Teapot", "Teaspoon"]), ("_", [])],
)
async def test_search(items: ItemRepository, make_item: Callable, text: str, found: list[str]):
    for name in ("Teapot", "Kettle", "Teaspoon"):
        await make_item(name=name)

    assert [item.name for item in await items.search(text)] == found


async def test_ordered_item_is_kept_and_the_session_goes_on(
    items: ItemRepository, make_item: Callable, make_user: Callable, db_session: AsyncSession
):
    user, ordered, free = await make_user(), await make_item(name="Ordered"), await make_item(name="Free")
    line = OrderLine(item_id=ordered.id, quantity=1, unit_price=ordered.price)
    db_session.add(Order(user_id=user.id, total=ordered.price, lines=[line]))
    await db_session.flush()

    with pytest.raises(ConflictError, match="Ordered was ordered"):
        await items.delete(ordered)

    await items.delete(free)
    assert [item.name for item in await items.search()] == ["Ordered"]
