"""What happens after an order was answered: work of its own, in a session of its own."""

from __future__ import annotations

from sqlalchemy import select

from app.database import session_factory
from app.models import Item, Notification, Order, OrderLine
from app.services.rules import Rules


async def announce_order(order_id: int, rules: Rules) -> None:
    """Confirm the order to its customer, and tell the shop which of its items run low."""
    async with session_factory.begin() as session:
        order = await session.get_one(Order, order_id)
        session.add(Notification(order_id=order.id, kind="order_confirmed", message=f"We received {order.total}."))
        running_low = (
            select(Item)
            .join(OrderLine, OrderLine.item_id == Item.id)
            .where(OrderLine.order_id == order.id, Item.stock <= rules.low_stock)
            .order_by(Item.name)
        )
        for item in await session.scalars(running_low):
            session.add(Notification(order_id=order.id, kind="low_stock", message=f"{item.name}: {item.stock} left."))
