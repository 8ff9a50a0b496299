import httpx
import pytest
from backstage import visit
from fastapi.testclient import TestClient
from theatre import Stage, app, opened

pytest_plugins = ["house"]


@pytest.fixture
async def visitor():
    async with visit() as visitor:
        yield visitor


@pytest.fixture
def browser():
    return TestClient(app)  # SP701


@pytest.fixture
async def open_house():
    async with opened(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://theatre") as client:
            yield client
    del app.state.office


@pytest.fixture
async def stage():
    async with Stage() as stage:  # SP502
        yield stage
