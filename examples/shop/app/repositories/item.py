from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.core.exceptions import ConflictError
from app.models import Item
from app.repositories.repository import Repository
from app.schemas.item import ItemCreate


class ItemRepository(Repository):
    async def create(self, data: ItemCreate) -> Item:
        item = Item(**data.model_dump())
        self.session.add(item)
        await self.session.flush()
        return item

    async def get(self, item_id: UUID) -> Item | None:
        found = await self.session.execute(select(Item).where(Item.id == item_id))
        return found.scalar_one_or_none()

    async def get_many(self, item_ids: Iterable[UUID]) -> dict[UUID, Item]:
        found = await self.session.scalars(select(Item).where(Item.id.in_(item_ids)))
        return {item.id: item for item in found}

    async def lock(self, item_ids: Iterable[UUID]) -> dict[UUID, Item]:
        """The items as they are now, held until the transaction ends; always in one order, so two never deadlock."""
        query = select(Item).where(Item.id.in_(item_ids)).order_by(Item.id).with_for_update()
        found = await self.session.scalars(query, execution_options={"populate_existing": True})
        return {item.id: item for item in found}

    async def search(
        self, text: str = "", *, max_price: Decimal | None = None, limit: int = 50, offset: int = 0
    ) -> Sequence[Item]:
        query = select(Item).order_by(Item.name, Item.id).limit(limit).offset(offset)
        if text:
            query = query.where(Item.name.icontains(text, autoescape=True))
        if max_price is not None:
            query = query.where(Item.price <= max_price)
        return (await self.session.scalars(query)).all()

    async def delete(self, item: Item) -> None:
        """:raises ConflictError: when an order names the item."""
        try:
            async with self.session.begin_nested():
                await self.session.delete(item)
        except IntegrityError as error:
            raise ConflictError(f"{item.name} was ordered and stays for the books.") from error
