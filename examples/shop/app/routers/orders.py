from __future__ import annotations

from fastapi import APIRouter, BackgroundTasks

from app.dependencies import CurrentUser, Orders, ShopRules
from app.notifications import announce_order
from app.schemas.envelope import Success
from app.schemas.order import NotificationRead, OrderCreate, OrderRead

router = APIRouter(prefix="/orders", tags=["orders"])


@router.post("/", status_code=201)
async def place_order(
    data: OrderCreate, user: CurrentUser, orders: Orders, rules: ShopRules, background: BackgroundTasks
) -> Success[OrderRead]:
    order = await orders.place(user, data)
    background.add_task(announce_order, order.id, rules)
    return Success(data=OrderRead.model_validate(order))


@router.get("/")
async def list_orders(user: CurrentUser, orders: Orders) -> Success[list[OrderRead]]:
    return Success(data=[OrderRead.model_validate(order) for order in await orders.list_of(user)])


@router.get("/{id}")
async def read_order(id: int, user: CurrentUser, orders: Orders) -> Success[OrderRead]:
    return Success(data=OrderRead.model_validate(await orders.get(user, id)))


@router.get("/{id}/notifications")
async def read_notifications(id: int, user: CurrentUser, orders: Orders) -> Success[list[NotificationRead]]:
    return Success(data=[NotificationRead.model_validate(note) for note in await orders.notifications(user, id)])


@router.post("/{id}/pay")
async def pay_order(id: int, user: CurrentUser, orders: Orders) -> Success[OrderRead]:
    return Success(data=OrderRead.model_validate(await orders.pay(user, id)))


@router.post("/{id}/cancel")
async def cancel_order(id: int, user: CurrentUser, orders: Orders) -> Success[OrderRead]:
    return Success(data=OrderRead.model_validate(await orders.cancel(user, id)))


@router.post("/{id}/refund")
async def refund_order(id: int, user: CurrentUser, orders: Orders) -> Success[OrderRead]:
    return Success(data=OrderRead.model_validate(await orders.refund(user, id)))
