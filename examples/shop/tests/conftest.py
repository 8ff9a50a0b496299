"""What this suite's tests share. Databases, sessions and the client come from Savepoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
import pytest_asyncio
from app.core.config import settings
from app.models import Item, User
from app.services.shipping import ShippingService
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

MakeItem = Callable[..., Awaitable[Item]]
MakeUser = Callable[..., Awaitable[User]]
LogIn = Callable[..., Awaitable[dict[str, str]]]

PASSWORD = "TestPass123!"


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords with little work: the tests are about the shop, not about scrypt."""
    monkeypatch.setattr(settings, "password_cost", 2)


@pytest.fixture
def log_in(client: AsyncClient) -> LogIn:
    """Register a new customer, log in through the form, and give the headers that say so."""

    async def log_in(email: str | None = None, name: str = "Test User") -> dict[str, str]:
        email = email or f"{uuid4().hex}@example.com"
        await client.post("/api/v1/auth/register", json={"email": email, "password": PASSWORD, "name": name})
        response = await client.post("/api/v1/auth/login", data={"username": email, "password": PASSWORD})
        return {"Authorization": f"Bearer {response.json()['access_token']}"}

    return log_in


@pytest_asyncio.fixture
async def auth_headers(log_in: LogIn) -> dict[str, str]:
    return await log_in("test@example.com")


@pytest.fixture
def make_item(db_session: AsyncSession) -> MakeItem:
    """Store an item that differs from the usual one as the test says."""

    async def make_item(**different: Any) -> Item:
        item = Item(**{"name": "Teapot", "price": Decimal("10.00"), "stock": 5, **different})
        db_session.add(item)
        await db_session.commit()
        return item

    return make_item


@pytest.fixture
def make_user(db_session: AsyncSession) -> MakeUser:
    async def make_user(**different: Any) -> User:
        user = User(**{"email": f"{uuid4().hex}@example.com", "name": "Test User", **different})
        db_session.add(user)
        await db_session.commit()
        return user

    return make_user


@pytest.fixture
def shipping_rate(monkeypatch: pytest.MonkeyPatch) -> AsyncMock:
    """The outgoing call for a parcel's price, answered here; tests set its return_value or side_effect."""
    rate = AsyncMock(return_value=Decimal("4.90"))
    monkeypatch.setattr("app.services.shipping.fetch_rate", rate)
    return rate


@pytest.fixture
def shipping() -> AsyncMock:
    """A shipping service for services that are tested without one."""
    service = AsyncMock(spec=ShippingService)
    service.quote.return_value = Decimal("4.90")
    return service
