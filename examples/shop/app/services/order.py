from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from app.core.exceptions import InsufficientStockError, NotFoundError, OrderStateError, ShopError
from app.models import Item, Notification, Order, OrderLine, OrderStatus, User
from app.repositories.item import ItemRepository
from app.repositories.order import OrderRepository
from app.schemas.order import LineCreate, OrderCreate
from app.services.rules import Rules
from app.services.shipping import ShippingService


class OrderService:
    def __init__(self, orders: OrderRepository, items: ItemRepository, shipping: ShippingService, rules: Rules) -> None:
        self.orders = orders
        self.items = items
        self.shipping = shipping
        self.rules = rules

    async def place(self, customer: User, wanted: OrderCreate) -> Order:
        """Take the stock of every line and store the order, all or nothing.

        :raises NotFoundError: when an item does not exist.
        :raises InsufficientStockError: when one line asks for more than there is.
        :raises ShippingUnavailableError: when the parcel's price cannot be found out.
        """
        shipping_cost = await self._shipping_cost(wanted)
        try:
            items = await self.items.lock(line.item_id for line in wanted.lines)
            lines = [await self._take(items, line) for line in wanted.lines]
            order = Order(user_id=customer.id, total=_total(lines), shipping_cost=shipping_cost, lines=lines)
            await self.orders.add(order)
        except ShopError:
            await self.orders.rollback()
            raise
        await self.orders.commit()
        return order

    async def _shipping_cost(self, wanted: OrderCreate) -> Decimal:
        items = await self.items.get_many(line.item_id for line in wanted.lines)
        # Nobody's rows stay locked, and no transaction open, while another company's server thinks.
        await self.items.commit()
        value = sum((_found(items, line).price * line.quantity for line in wanted.lines), Decimal())
        if value >= self.rules.free_shipping_from:
            return Decimal()
        weight = sum(_found(items, line).weight_grams * line.quantity for line in wanted.lines)
        return await self.shipping.quote(wanted.country, weight)

    async def _take(self, items: Mapping[UUID, Item], line: LineCreate) -> OrderLine:
        item = _found(items, line)
        if item.stock < line.quantity:
            raise InsufficientStockError(f"{item.name}: {line.quantity} wanted, {item.stock} in stock.")
        item.stock -= line.quantity
        await self.items.session.flush()
        return OrderLine(item_id=item.id, quantity=line.quantity, unit_price=item.price)

    async def list_of(self, customer: User) -> Sequence[Order]:
        return await self.orders.list_of(customer.id)

    async def get(self, customer: User, order_id: int) -> Order:
        return _existing(await self.orders.get_of(customer.id, order_id))

    async def notifications(self, customer: User, order_id: int) -> Sequence[Notification]:
        return await self.orders.notifications(await self.get(customer, order_id))

    async def pay(self, customer: User, order_id: int) -> Order:
        return await self._move(customer, order_id, OrderStatus.pending, OrderStatus.paid)

    async def cancel(self, customer: User, order_id: int) -> Order:
        """Cancel an order that is not paid yet, and put its stock back."""
        return await self._move(customer, order_id, OrderStatus.pending, OrderStatus.cancelled, put_back=True)

    async def refund(self, customer: User, order_id: int) -> Order:
        return await self._move(customer, order_id, OrderStatus.paid, OrderStatus.refunded, put_back=True)

    async def _move(
        self, customer: User, order_id: int, start: OrderStatus, end: OrderStatus, *, put_back: bool = False
    ) -> Order:
        order = _existing(await self.orders.lock_of(customer.id, order_id))
        if order.status is not start:
            raise OrderStateError(f"The order is {order.status.value}; only a {start.value} one can be {end.value}.")
        if put_back:
            items = await self.items.lock(line.item_id for line in order.lines)
            for line in order.lines:
                items[line.item_id].stock += line.quantity
        order.status = end
        await self.orders.commit()
        return order


def _found(items: Mapping[UUID, Item], line: LineCreate) -> Item:
    if line.item_id not in items:
        raise NotFoundError(f"The item {line.item_id} was not found.")
    return items[line.item_id]


def _existing(order: Order | None) -> Order:
    if order is None:
        raise NotFoundError("The order was not found.")
    return order


def _total(lines: Sequence[OrderLine]) -> Decimal:
    return sum((line.unit_price * line.quantity for line in lines), Decimal())
