import pytest
from fastapi.testclient import TestClient
from theatre import Stage, app

pytest_plugins = ["house"]


@pytest.fixture
def browser():
    with TestClient(app) as browser:
        yield browser


@pytest.fixture
def stage():
    return Stage()
