from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, Field, field_validator

Name = Annotated[str, Field(min_length=1, max_length=100)]
Email = Annotated[EmailStr, AfterValidator(str.lower)]

_NEEDED = {
    "an upper-case letter": str.isupper,
    "a lower-case letter": str.islower,
    "a digit": str.isdigit,
    "a special character": lambda character: not character.isalnum(),
}


class UserCreate(BaseModel):
    email: Email
    password: str = Field(min_length=10, max_length=200)
    name: Name

    @field_validator("password")
    @classmethod
    def _is_strong(cls, password: str) -> str:
        missing = [needed for needed, is_one in _NEEDED.items() if not any(map(is_one, password))]
        if missing:
            raise ValueError(f"the password needs {', '.join(missing)}")
        return password


class UserUpdate(BaseModel):
    name: Name


class UserProfile(BaseModel):
    """What everybody may see of a user."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str


class UserRead(UserProfile):
    email: str


class Token(BaseModel):
    access_token: str
    token_type: str = "bearer"
