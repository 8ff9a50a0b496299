from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest
from app.models import User
from httpx import AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.asyncio


async def test_get_user_success(client: AsyncClient, db_session: AsyncSession):
    user = User(email="grace@example.com", name="Grace")
    db_session.add(user)
    await db_session.commit()

    response = await client.get(f"/api/v1/users/{user.id}")

    assert response.status_code == 200
    assert response.json()["data"] == {"id": str(user.id), "name": "Grace"}


@pytest.mark.parametrize("user_id", ["nonexistent", "7b0c3a2e-6a0e-4c41-9a3b-0a3f6c9f5c11"])
async def test_get_user_not_found(client: AsyncClient, user_id: str):
    response = await client.get(f"/api/v1/users/{user_id}")

    assert response.status_code == 404
    assert "not found" in response.json()["error"]["message"].lower()


async def test_rename_validation_error(client: AsyncClient, auth_headers: dict[str, str]):
    response = await client.patch("/api/v1/users/me", json={"name": ""}, headers=auth_headers)

    assert response.status_code == 422


async def test_rename_is_seen_by_the_next_request(client: AsyncClient, auth_headers: dict[str, str]):
    await client.patch("/api/v1/users/me", json={"name": "New Name"}, headers=auth_headers)

    response = await client.get("/api/v1/users/me", headers=auth_headers)

    assert response.json()["data"]["name"] == "New Name"


async def test_rename_is_seen_by_a_session_that_read_the_old_name(
    client: AsyncClient, auth_headers: dict[str, str], db_session: AsyncSession
):
    me = (await client.get("/api/v1/users/me", headers=auth_headers)).json()["data"]
    user = await db_session.get_one(User, me["id"])
    assert user.name == "Test User"
    await db_session.commit()

    await client.patch("/api/v1/users/me", json={"name": "New Name"}, headers=auth_headers)

    await db_session.refresh(user)
    assert user.name == "New Name"


async def test_concurrent_requests(client: AsyncClient, make_user: Callable):
    known = [(await make_user(name=f"User {number}")).id for number in range(5)]
    unknown = [uuid4() for _ in range(5)]

    responses = await asyncio.gather(*(client.get(f"/api/v1/users/{user_id}") for user_id in known + unknown))

    assert [response.status_code for response in responses] == [200] * 5 + [404] * 5
    assert [response.json()["data"]["name"] for response in responses[:5]] == [f"User {n}" for n in range(5)]
