"""The same test with no database."""

from __future__ import annotations

import os

import pytest


@pytest.mark.parametrize("number", range(int(os.environ["BENCH_TESTS"])))
async def test_nothing(number: int) -> None:
    pass
