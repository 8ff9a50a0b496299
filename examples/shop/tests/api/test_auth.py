from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
from app.core.security import create_access_token
from app.models import User
from httpx import AsyncClient
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.asyncio

ADA = {"email": "ada@example.com", "password": "TestPass123!", "name": "Ada"}


async def test_register_answers_with_the_user(client: AsyncClient):
    response = await client.post("/api/v1/auth/register", json=ADA)

    assert response.status_code == 201
    assert response.json()["success"] is True
    assert response.json()["data"]["email"] == "ada@example.com"


async def test_register_never_shows_a_password(client: AsyncClient):
    response = await client.post("/api/v1/auth/register", json=ADA)

    assert set(response.json()["data"]) == {"id", "name", "email"}


async def test_stored_password_is_hashed(client: AsyncClient, db_session: AsyncSession):
    created = await client.post("/api/v1/auth/register", json=ADA)

    user = await db_session.get_one(User, created.json()["data"]["id"])
    assert user.password_hash.startswith("scrypt$")
    assert ADA["password"] not in user.password_hash


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@Example.com"])
async def test_email_is_registered_once_in_any_case(client: AsyncClient, email: str):
    await client.post("/api/v1/auth/register", json=ADA)

    response = await client.post("/api/v1/auth/register", json={**ADA, "email": email})

    assert response.status_code == 409
    assert response.json()["error"]["code"] == "CONFLICT"


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "no-email"), ("email", ""), ("password", "short1A!"), ("password", "nouppercase1!"), ("name", "")],
)
async def test_invalid_registration_names_the_field(client: AsyncClient, field: str, value: str):
    response = await client.post("/api/v1/auth/register", json={**ADA, field: value})

    assert response.status_code == 422
    error = response.json()["error"]
    assert error["code"] == "VALIDATION_ERROR"
    assert [fault["field"] for fault in error["details"]] == [field]


async def test_login_gives_a_bearer_token(client: AsyncClient):
    await client.post("/api/v1/auth/register", json=ADA)

    response = await client.post("/api/v1/auth/login", data={"username": ADA["email"], "password": ADA["password"]})

    assert response.status_code == 200
    assert response.json()["token_type"] == "bearer"
    assert response.json()["access_token"].count(".") == 2


@pytest.mark.parametrize(
    ("username", "password"), [("wrong@example.com", "TestPass123!"), ("ada@example.com", "WrongPass123!")]
)
async def test_login_with_invalid_credentials_is_refused(client: AsyncClient, username: str, password: str):
    await client.post("/api/v1/auth/register", json=ADA)

    response = await client.post("/api/v1/auth/login", data={"username": username, "password": password})

    assert response.status_code == 401
    assert response.json()["error"]["code"] == "AUTH_INVALID_CREDENTIALS"


async def test_protected_endpoint_knows_its_user(client: AsyncClient, auth_headers: dict[str, str]):
    response = await client.get("/api/v1/users/me", headers=auth_headers)

    assert response.status_code == 200
    assert response.json()["data"]["email"] == "test@example.com"


async def test_protected_endpoint_without_token_is_refused(client: AsyncClient):
    response = await client.get("/api/v1/users/me")

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def _code_for(client: AsyncClient, token: str) -> str:
    response = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 401
    return response.json()["error"]["code"]


async def test_expired_token_is_refused(client: AsyncClient):
    token = create_access_token(uuid4(), lifetime=timedelta(seconds=-1))

    assert await _code_for(client, token) == "AUTH_INVALID_TOKEN"


async def test_token_of_another_key_is_refused(client: AsyncClient):
    token = jwt.encode({"sub": str(uuid4()), "exp": 4_102_444_800}, "another key, long enough for HS256", "HS256")

    assert await _code_for(client, token) == "AUTH_INVALID_TOKEN"


async def test_token_of_a_deleted_user_is_refused(
    client: AsyncClient, auth_headers: dict[str, str], db_session: AsyncSession
):
    await db_session.execute(delete(User).where(User.email == "test@example.com"))
    await db_session.commit()

    response = await client.get("/api/v1/users/me", headers=auth_headers)

    assert response.status_code == 401
