import asyncio

import pytest

pytestmark = pytest.mark.asyncio


async def _read():
    return {"retries": 3}


def read_settings():
    coroutine = _read()
    try:
        return asyncio.run(coroutine)
    finally:
        coroutine.close()


async def test_settings():
    assert read_settings()["retries"] == 3  # SP110
