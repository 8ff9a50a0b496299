from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.security import OAuth2PasswordRequestForm

from app.dependencies import Users
from app.schemas.envelope import Success
from app.schemas.user import Token, UserCreate, UserRead

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post("/register", status_code=201)
async def register(data: UserCreate, users: Users) -> Success[UserRead]:
    return Success(data=UserRead.model_validate(await users.create(data)))


@router.post("/login")
async def log_in(form: Annotated[OAuth2PasswordRequestForm, Depends()], users: Users) -> Token:
    return Token(access_token=await users.log_in(form.username, form.password))
