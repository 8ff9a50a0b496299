import pytest
from httpx import AsyncClient

from app.database import Note


@pytest.mark.asyncio
async def test_stored_note_is_listed(client: AsyncClient, session):
    session.add(Note(body="tea"))
    await session.commit()
    assert (await client.get("/notes")).json() == ["tea"]


@pytest.mark.asyncio
async def test_no_note_is_left(client: AsyncClient, session):
    assert (await client.get("/notes")).json() == []
