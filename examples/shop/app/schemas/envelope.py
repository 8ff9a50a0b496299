from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel

Data = TypeVar("Data")


class Success(BaseModel, Generic[Data]):
    """What every successful answer of the API is wrapped in."""

    success: Literal[True] = True
    data: Data
