"""The measured test; each peer of `peers/` gives its own `session`."""

from __future__ import annotations

import os

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tables import three_rows


@pytest.mark.parametrize("number", range(int(os.environ["BENCH_TESTS"])))
async def test_three_rows(session: AsyncSession, number: int) -> None:  # noqa: ARG001 # it makes many of one test
    await three_rows(session)
