import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def hymns(anyio_backend):
    return ["one", "two"]


async def test_hymns_fails(hymns):
    assert len(hymns) == 3
