import pytest
from test_past import commit
from shop import count

@pytest.fixture(scope="module")
def standing():
    commit("INSERT INTO crate (label) VALUES ('standing')")
    yield
    commit("DELETE FROM crate")

async def test_fixture_of_wider_scope_is_no_escape(standing):
    assert await count() == 1
