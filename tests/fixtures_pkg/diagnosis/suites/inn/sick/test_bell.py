import pytest


@pytest.mark.asyncio(loop_scope="function")
async def test_bell(bell):
    assert (await bell.get("/")).status_code == 204
