"""pytest-sqla."""

from __future__ import annotations

import os
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tables import Base


@pytest.fixture(scope="session")
def sqla_async_url() -> str:
    return os.environ["BENCH_DATABASE_URL"]


@pytest.fixture(scope="session")
def sqla_metadata() -> Any:
    return Base


@pytest.fixture(scope="session")
def sqla_session_options() -> dict[str, Any]:
    return {"expire_on_commit": False}


@pytest.fixture
def session(sqla_async_session: AsyncSession) -> AsyncSession:
    return sqla_async_session
