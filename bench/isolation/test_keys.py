"""The measured test with Redis; each peer of `peers/` gives its own `store`."""

from __future__ import annotations

import os

import pytest
from redis.asyncio import Redis


@pytest.mark.parametrize("number", range(int(os.environ["BENCH_TESTS"])))
async def test_three_keys(store: Redis, number: int) -> None:  # noqa: ARG001 # it makes many of one test
    await store.mset({"a": "1", "b": "2", "c": "3"})
    assert await store.mget("a", "b", "c") == [b"1", b"2", b"3"]
