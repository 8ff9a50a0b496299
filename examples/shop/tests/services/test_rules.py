from __future__ import annotations

from decimal import Decimal

import pytest
from app.main import app
from app.models import Rule
from app.services.rules import Rules
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.asyncio


async def test_rules_of_the_migrations_are_loaded(db_session: AsyncSession):
    assert await Rules.load(db_session) == Rules(low_stock=2, free_shipping_from=Decimal("100.00"))


async def test_application_starts_with_the_owners_change(db_session: AsyncSession):
    await db_session.execute(update(Rule).where(Rule.name == "low_stock").values(value="7"))
    await db_session.commit()

    async with app.router.lifespan_context(app):
        assert app.state.rules.low_stock == 7


async def test_application_does_not_start_without_a_rule(db_session: AsyncSession):
    await db_session.execute(delete(Rule).where(Rule.name == "free_shipping_from"))
    await db_session.commit()

    with pytest.raises(RuntimeError, match="'free_shipping_from'; run the migrations"):
        async with app.router.lifespan_context(app):
            pass
