import pytest
import pytest_asyncio

pytestmark = pytest.mark.anyio  # SP105


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hymns():
    return ["one", "two"]


async def test_hymns(hymns):
    assert len(hymns) == 2
