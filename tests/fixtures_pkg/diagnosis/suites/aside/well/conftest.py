import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from theatre import Stage, app, engine

pytest_plugins = ["house"]


@pytest.fixture
def browser():
    with TestClient(app) as browser:
        yield browser


@pytest.fixture
def stage():
    return Stage()


@pytest.fixture
async def sold_out():
    async with engine.connect() as connection:
        yield
        await connection.scalar(text("select sum(seat) from night"))
