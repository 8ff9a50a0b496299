"""The order service on real repositories, with shipping as a mock: its transactions are what matters."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
from app.core.exceptions import InsufficientStockError, NotFoundError, ShippingUnavailableError
from app.models import Item, Order, OrderStatus
from app.repositories.item import ItemRepository
from app.repositories.order import OrderRepository
from app.schemas.order import LineCreate, OrderCreate
from app.services.order import OrderService
from app.services.rules import Rules
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.asyncio


@pytest.fixture
def service(db_session: AsyncSession, shipping: AsyncMock) -> OrderService:
    rules = Rules(low_stock=2, free_shipping_from=Decimal(100))
    return OrderService(OrderRepository(db_session), ItemRepository(db_session), shipping, rules)


def wanted(*lines: tuple[Item, int]) -> OrderCreate:
    return OrderCreate(country="DE", lines=[LineCreate(item_id=item.id, quantity=quantity) for item, quantity in lines])


async def test_order_is_stored_with_its_lines(
    service: OrderService, make_user: Callable, make_item: Callable, db_session: AsyncSession
):
    order = await service.place(await make_user(), wanted((await make_item(), 2), (await make_item(), 1)))

    stored = await db_session.get_one(Order, order.id, populate_existing=True)
    assert stored.status is OrderStatus.pending
    assert stored.total == Decimal("30.00")
    assert [line.quantity for line in stored.lines] == [2, 1]


async def test_rollback_of_a_failed_order_keeps_the_rows_of_the_test(
    service: OrderService, make_user: Callable, make_item: Callable, db_session: AsyncSession
):
    customer, plenty, scarce = await make_user(), await make_item(stock=9), await make_item(stock=0)

    with pytest.raises(InsufficientStockError):
        await service.place(customer, wanted((plenty, 1), (scarce, 1)))

    assert sorted(await db_session.scalars(select(Item.stock))) == [0, 9]


async def test_failed_order_can_be_tried_again(
    service: OrderService, make_user: Callable, make_item: Callable, db_session: AsyncSession
):
    customer, item = await make_user(), await make_item(stock=1)
    too_much, enough = wanted((item, 2)), wanted((item, 1))
    with pytest.raises(InsufficientStockError):
        await service.place(customer, too_much)
    await db_session.refresh(customer)

    order = await service.place(customer, enough)

    assert order.id is not None


async def test_unknown_item_stops_the_order_before_shipping_is_asked(
    service: OrderService, make_user: Callable, shipping: AsyncMock
):
    with pytest.raises(NotFoundError):
        await service.place(await make_user(), wanted((Item(id=uuid4()), 1)))

    shipping.quote.assert_not_awaited()


async def test_no_transaction_is_open_while_shipping_is_asked(
    service: OrderService, make_user: Callable, make_item: Callable, shipping: AsyncMock, db_session: AsyncSession
):
    seen = []
    shipping.quote.side_effect = lambda *_: seen.append(db_session.in_transaction()) or Decimal("1.00")

    await service.place(await make_user(), wanted((await make_item(), 1)))

    assert seen == [False]


async def test_unavailable_shipping_is_passed_on(
    service: OrderService, make_user: Callable, make_item: Callable, shipping: AsyncMock
):
    shipping.quote.side_effect = ShippingUnavailableError("no rates")

    with pytest.raises(ShippingUnavailableError):
        await service.place(await make_user(), wanted((await make_item(), 1)))


@pytest.mark.parametrize(("quantity", "cost"), [(9, "4.90"), (10, "0"), (11, "0")])
async def test_shipping_is_free_from_the_owners_value(
    service: OrderService, make_user: Callable, make_item: Callable, quantity: int, cost: str
):
    item = await make_item(price=Decimal("10.00"), stock=20)

    order = await service.place(await make_user(), wanted((item, quantity)))

    assert order.shipping_cost == Decimal(cost)
