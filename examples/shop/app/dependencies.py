"""What routes ask for."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.exceptions import NotAuthenticatedError, NotFoundError
from app.database import get_db
from app.models import User
from app.repositories.item import ItemRepository
from app.repositories.order import OrderRepository
from app.repositories.user import UserRepository
from app.services.item import ItemService
from app.services.order import OrderService
from app.services.rules import Rules
from app.services.shipping import ShippingService
from app.services.user import UserService

Database = Annotated[AsyncSession, Depends(get_db)]
_bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/login", auto_error=False)


def get_rules(request: Request) -> Rules:
    return request.app.state.rules


def get_user_service(db: Database) -> UserService:
    return UserService(UserRepository(db))


def get_item_service(db: Database) -> ItemService:
    return ItemService(ItemRepository(db))


def get_shipping_service(request: Request) -> ShippingService:
    return ShippingService(request.app.state.http)


def get_order_service(
    db: Database,
    shipping: Annotated[ShippingService, Depends(get_shipping_service)],
    rules: Annotated[Rules, Depends(get_rules)],
) -> OrderService:
    return OrderService(OrderRepository(db), ItemRepository(db), shipping, rules)


async def get_current_user(
    token: Annotated[str | None, Depends(_bearer)], users: Annotated[UserService, Depends(get_user_service)]
) -> User:
    if token is None:
        raise NotAuthenticatedError("Log in first and send the token as a bearer token.")
    return await users.from_token(token)


def read_uuid(id: Annotated[str, Path()]) -> UUID:
    """An id that cannot be one names nothing: that is "not found", like any other unknown id."""
    try:
        return UUID(id)
    except ValueError:
        raise NotFoundError(f"{id} was not found.") from None


Id = Annotated[UUID, Depends(read_uuid)]
CurrentUser = Annotated[User, Depends(get_current_user)]
Users = Annotated[UserService, Depends(get_user_service)]
Items = Annotated[ItemService, Depends(get_item_service)]
Orders = Annotated[OrderService, Depends(get_order_service)]
Shipping = Annotated[ShippingService, Depends(get_shipping_service)]
ShopRules = Annotated[Rules, Depends(get_rules)]
