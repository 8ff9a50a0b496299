"""Services and repositories replaced for one test; the next test has the real ones again."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
from app.core.exceptions import ConflictError
from app.dependencies import get_current_user, get_item_service, get_user_service
from app.main import app
from app.models import Item, User
from app.repositories.item import ItemRepository
from app.services.item import ItemService
from app.services.user import UserService
from httpx import AsyncClient

pytestmark = pytest.mark.asyncio


async def test_service_is_overridden(client: AsyncClient):
    service = AsyncMock(spec=UserService)
    service.create.side_effect = ConflictError("Taken, says the mock.")
    app.dependency_overrides[get_user_service] = lambda: service

    response = await client.post(
        "/api/v1/auth/register", json={"email": "ada@example.com", "password": "TestPass123!", "name": "Ada"}
    )

    assert response.status_code == 409
    assert response.json()["error"]["message"] == "Taken, says the mock."


async def test_repository_is_overridden(client: AsyncClient):
    repository = AsyncMock(spec=ItemRepository)
    repository.get.return_value = Item(id=uuid4(), name="Mock", price=1, stock=0, weight_grams=1, version=1)
    app.dependency_overrides[get_item_service] = lambda: ItemService(repository)

    response = await client.get(f"/api/v1/items/{uuid4()}")

    assert response.json()["data"]["name"] == "Mock"


async def test_login_is_overridden(client: AsyncClient):
    app.dependency_overrides[get_current_user] = lambda: User(id=uuid4(), name="Anybody", email="any@example.com")

    response = await client.get("/api/v1/users/me")

    assert response.json()["data"]["name"] == "Anybody"


@pytest.mark.parametrize("time", ["first", "second"])
async def test_override_of_another_test_is_gone(client: AsyncClient, make_item: Callable, time: str):
    item = await make_item(name="Real")

    response = await client.get(f"/api/v1/items/{item.id}")

    assert response.json()["data"]["name"] == "Real"
    app.dependency_overrides[get_item_service] = lambda: AsyncMock(spec=ItemService)
