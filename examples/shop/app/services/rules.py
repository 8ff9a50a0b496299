from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Rule


@dataclass(frozen=True)
class Rules:
    """The shop owner's numbers, as they were when the application started."""

    low_stock: int
    free_shipping_from: Decimal

    @classmethod
    async def load(cls, session: AsyncSession) -> Rules:
        """:raises RuntimeError: when a rule is missing, because a shop that guesses its prices must not start."""
        values = {rule.name: rule.value for rule in await session.scalars(select(Rule))}
        try:
            return cls(int(values["low_stock"]), Decimal(values["free_shipping_from"]))
        except KeyError as name:
            raise RuntimeError(f"The table rules has no row {name}; run the migrations.") from None
