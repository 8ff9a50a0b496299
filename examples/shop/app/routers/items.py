"""The back office: it stands behind the company's gateway, so its routes ask for no token."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query

from app.dependencies import Id, Items
from app.schemas.envelope import Success
from app.schemas.item import ItemCreate, ItemRead, ItemUpdate, Restock

router = APIRouter(prefix="/items", tags=["items"])


@router.post("/", status_code=201)
async def create_item(data: ItemCreate, items: Items) -> Success[ItemRead]:
    return Success(data=ItemRead.model_validate(await items.create(data)))


@router.get("/")
async def search_items(
    items: Items,
    q: Annotated[str, Query(max_length=100)] = "",
    max_price: Annotated[Decimal | None, Query(ge=0)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Success[list[ItemRead]]:
    found = await items.search(q, max_price=max_price, limit=limit, offset=offset)
    return Success(data=[ItemRead.model_validate(item) for item in found])


@router.get("/{id}")
async def read_item(id: Id, items: Items) -> Success[ItemRead]:
    return Success(data=ItemRead.model_validate(await items.get(id)))


@router.patch("/{id}")
async def update_item(id: Id, data: ItemUpdate, items: Items) -> Success[ItemRead]:
    return Success(data=ItemRead.model_validate(await items.update(id, data)))


@router.post("/{id}/restock")
async def restock_item(id: Id, data: Restock, items: Items) -> Success[ItemRead]:
    return Success(data=ItemRead.model_validate(await items.restock(id, data.quantity)))


@router.delete("/{id}", status_code=204, response_model=None)
async def delete_item(id: Id, items: Items) -> None:
    await items.delete(id)
