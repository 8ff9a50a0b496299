import asyncio

import pytest
from turnstile import enter

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("crowd", [2, 3])
async def test_everybody_enters(crowd):
    log = []
    await asyncio.gather(*(enter(n, log) for n in range(crowd)))
    assert len(log) == crowd
