from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from app.core.exceptions import NotFoundError, StaleVersionError
from app.models import Item
from app.repositories.item import ItemRepository
from app.schemas.item import ItemCreate, ItemUpdate


class ItemService:
    def __init__(self, items: ItemRepository) -> None:
        self.items = items

    async def create(self, data: ItemCreate) -> Item:
        item = await self.items.create(data)
        await self.items.commit()
        return item

    async def get(self, item_id: UUID) -> Item:
        item = await self.items.get(item_id)
        if item is None:
            raise NotFoundError("The item was not found.")
        return item

    async def search(self, text: str, *, max_price: Decimal | None, limit: int, offset: int) -> Sequence[Item]:
        return await self.items.search(text, max_price=max_price, limit=limit, offset=offset)

    async def update(self, item_id: UUID, data: ItemUpdate) -> Item:
        """:raises StaleVersionError: when somebody changed the item after the client read it."""
        item = await self._locked(item_id)
        if item.version != data.version:
            raise StaleVersionError(f"The item is at version {item.version}, not {data.version}; read it again.")
        for name, value in data.model_dump(exclude={"version"}, exclude_none=True).items():
            setattr(item, name, value)
        await self.items.commit()
        return item

    async def restock(self, item_id: UUID, quantity: int) -> Item:
        item = await self._locked(item_id)
        item.stock += quantity
        await self.items.commit()
        return item

    async def delete(self, item_id: UUID) -> None:
        await self.items.delete(await self._locked(item_id))
        await self.items.commit()

    async def _locked(self, item_id: UUID) -> Item:
        item = (await self.items.lock([item_id])).get(item_id)
        if item is None:
            raise NotFoundError("The item was not found.")
        return item
