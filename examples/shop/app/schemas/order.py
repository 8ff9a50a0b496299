from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.models.order import OrderStatus


class LineCreate(BaseModel):
    item_id: UUID
    quantity: int = Field(gt=0, le=1000)


class OrderCreate(BaseModel):
    country: str = Field(pattern="^[A-Z]{2}$", description="ISO 3166 code")
    lines: list[LineCreate] = Field(min_length=1, max_length=50)

    @field_validator("lines")
    @classmethod
    def _names_each_item_once(cls, lines: list[LineCreate]) -> list[LineCreate]:
        if len({line.item_id for line in lines}) < len(lines):
            raise ValueError("an item is named in more than one line")
        return lines


class LineRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    item_id: UUID
    quantity: int
    unit_price: Decimal


class OrderRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    status: OrderStatus
    total: Decimal
    shipping_cost: Decimal
    lines: list[LineRead]


class NotificationRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    kind: str
    message: str
