from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from app.dependencies import Shipping
from app.schemas.envelope import Success

router = APIRouter(prefix="/shipping", tags=["shipping"])


class Quote(BaseModel):
    price: Decimal


@router.get("/quote")
async def quote(
    shipping: Shipping,
    country: Annotated[str, Query(pattern="^[A-Z]{2}$")],
    weight_grams: Annotated[int, Query(gt=0, le=30_000)] = 500,
) -> Success[Quote]:
    return Success(data=Quote(price=await shipping.quote(country, weight_grams)))
