"""Savepoint."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncSession


@pytest.fixture
def session(db_session: AsyncSession) -> AsyncSession:
    return db_session
