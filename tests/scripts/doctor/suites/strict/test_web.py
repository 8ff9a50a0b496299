import httpx
import pytest
import pytest_asyncio

from web import app, lifespan


@pytest_asyncio.fixture
async def client():
    async with lifespan(app), httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        yield client


@pytest.mark.asyncio
async def test_prices(client):
    assert (await client.get("http://web/")).json() == {}
