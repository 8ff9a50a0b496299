from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from app.models import Notification, Order, OrderStatus, User
from app.repositories.order import OrderRepository
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.asyncio


@pytest.fixture
def orders(db_session: AsyncSession) -> OrderRepository:
    return OrderRepository(db_session)


async def test_new_order_is_pending(orders: OrderRepository, make_user: Callable):
    order = await orders.add(Order(user_id=(await make_user()).id, total=Decimal(1)))

    assert order.status is OrderStatus.pending


@pytest.mark.parametrize("status", OrderStatus)
async def test_every_status_is_a_label_of_the_database(
    orders: OrderRepository, make_user: Callable, status: OrderStatus
):
    customer = await make_user()
    order = await orders.add(Order(user_id=customer.id, total=Decimal(1), status=status))

    locked = await orders.lock_of(customer.id, order.id)

    assert locked is not None
    assert locked.status is status


async def test_order_belongs_to_its_customer(orders: OrderRepository, make_user: Callable):
    customer, somebody = await make_user(), await make_user()
    order = await orders.add(Order(user_id=customer.id, total=Decimal(1)))

    assert await orders.get_of(customer.id, order.id) is order
    assert await orders.get_of(somebody.id, order.id) is None
    assert await orders.lock_of(somebody.id, order.id) is None


async def test_orders_are_listed_in_the_order_they_came(orders: OrderRepository, make_user: Callable):
    customer = await make_user()
    totals = [Decimal(number) for number in (3, 1, 2)]
    for total in totals:
        await orders.add(Order(user_id=customer.id, total=total))

    assert [order.total for order in await orders.list_of(customer.id)] == totals


async def test_notifications_go_with_their_order(
    orders: OrderRepository, make_user: Callable, db_session: AsyncSession
):
    customer = await make_user()
    order = await orders.add(Order(user_id=customer.id, total=Decimal(1)))
    db_session.add(Notification(order_id=order.id, kind="order_confirmed", message="Thanks"))
    await db_session.flush()
    assert [note.message for note in await orders.notifications(order)] == ["Thanks"]

    await db_session.execute(delete(User).where(User.id == customer.id))

    assert await orders.notifications(order) == []
