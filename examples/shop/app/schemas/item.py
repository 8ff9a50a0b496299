from __future__ import annotations

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Price = Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)]
ItemName = Annotated[str, Field(min_length=1, max_length=200)]


class ItemCreate(BaseModel):
    name: ItemName
    price: Price
    stock: int = Field(default=0, ge=0)
    weight_grams: int = Field(default=500, gt=0)


class ItemUpdate(BaseModel):
    """A change to the version that the client has seen."""

    version: int
    name: ItemName | None = None
    price: Price | None = None


class Restock(BaseModel):
    quantity: int = Field(gt=0)


class ItemRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    price: Decimal
    stock: int
    weight_grams: int
    version: int
