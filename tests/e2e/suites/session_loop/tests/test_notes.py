import asyncio

import pytest
from httpx import AsyncClient

from app.database import Note
from app.main import app

pytestmark = pytest.mark.asyncio(scope="session")


async def test_note_is_created(async_client: AsyncClient):
    response = await async_client.post("/notes", params={"body": "tea"})
    assert response.status_code == 201
    assert (await async_client.get("/notes")).json() == ["tea"]


async def test_starts_empty(async_client):
    assert (await async_client.get("/notes")).json() == []


async def test_first_note(async_client, first_note):
    assert (await async_client.get("/notes")).json() == ["first"]


async def test_session_sees_what_the_client_wrote(async_client, db_session, event_loop):
    await async_client.post("/notes", params={"body": "seen"})
    assert event_loop.is_running()
    assert await db_session.get(Note, -1) is None


async def test_docs_are_served():
    async with AsyncClient(app=app, base_url="http://test") as client:
        assert (await client.get("/openapi.json")).status_code == 200
