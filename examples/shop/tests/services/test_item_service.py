from __future__ import annotations

from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
from app.core.exceptions import NotFoundError, StaleVersionError
from app.models import Item
from app.repositories.item import ItemRepository
from app.schemas.item import ItemUpdate
from app.services.item import ItemService

pytestmark = pytest.mark.asyncio


@pytest.fixture
def item() -> Item:
    return Item(id=uuid4(), name="Teapot", stock=5, version=3)


@pytest.fixture
def items(item: Item) -> AsyncMock:
    repository = AsyncMock(spec=ItemRepository)
    repository.lock.return_value = {item.id: item}
    return repository


async def test_update_needs_the_version_that_is_stored(items: AsyncMock, item: Item):
    with pytest.raises(StaleVersionError, match="at version 3, not 2"):
        await ItemService(items).update(item.id, ItemUpdate(version=2, name="Pot"))

    assert item.name == "Teapot"
    items.commit.assert_not_awaited()


async def test_update_of_the_stored_version_is_committed(items: AsyncMock, item: Item):
    await ItemService(items).update(item.id, ItemUpdate(version=3, name="Pot"))

    assert item.name == "Pot"
    items.commit.assert_awaited_once()


async def test_restock_counts_from_the_locked_row(items: AsyncMock, item: Item):
    await ItemService(items).restock(item.id, 4)

    items.lock.assert_awaited_once_with([item.id])
    assert item.stock == 9


async def test_unknown_item_is_not_deleted(items: AsyncMock):
    items.lock.return_value = {}

    with pytest.raises(NotFoundError):
        await ItemService(items).delete(uuid4())

    items.delete.assert_not_awaited()
