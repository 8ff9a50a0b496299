from __future__ import annotations

from fastapi import APIRouter

from app.dependencies import CurrentUser, Id, Users
from app.schemas.envelope import Success
from app.schemas.user import UserProfile, UserRead, UserUpdate

router = APIRouter(prefix="/users", tags=["users"])


@router.get("/me")
async def read_me(user: CurrentUser) -> Success[UserRead]:
    return Success(data=UserRead.model_validate(user))


@router.patch("/me")
async def rename_me(data: UserUpdate, user: CurrentUser, users: Users) -> Success[UserRead]:
    return Success(data=UserRead.model_validate(await users.rename(user, data)))


@router.get("/{id}")
async def read_user(id: Id, users: Users) -> Success[UserProfile]:
    return Success(data=UserProfile.model_validate(await users.get(id)))
