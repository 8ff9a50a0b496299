from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from app.models import Notification, Order
from app.repositories.repository import Repository


class OrderRepository(Repository):
    async def add(self, order: Order) -> Order:
        self.session.add(order)
        await self.session.flush()
        return order

    async def list_of(self, user_id: UUID) -> Sequence[Order]:
        return (await self.session.scalars(select(Order).where(Order.user_id == user_id).order_by(Order.id))).all()

    async def get_of(self, user_id: UUID, order_id: int) -> Order | None:
        return await self.session.scalar(select(Order).where(Order.id == order_id, Order.user_id == user_id))

    async def lock_of(self, user_id: UUID, order_id: int) -> Order | None:
        query = select(Order).where(Order.id == order_id, Order.user_id == user_id).with_for_update()
        return await self.session.scalar(query, execution_options={"populate_existing": True})

    async def notifications(self, order: Order) -> Sequence[Notification]:
        query = select(Notification).where(Notification.order_id == order.id).order_by(Notification.id)
        return (await self.session.scalars(query)).all()
