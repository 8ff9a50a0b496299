from __future__ import annotations

from uuid import UUID

from app.core.exceptions import ConflictError, InvalidCredentialsError, InvalidTokenError, NotFoundError
from app.core.security import create_access_token, read_access_token, verify_password
from app.models import User
from app.repositories.user import UserRepository
from app.schemas.user import UserCreate, UserUpdate


class UserService:
    def __init__(self, users: UserRepository) -> None:
        self.users = users

    async def create(self, data: UserCreate) -> User:
        if await self.users.get_by_email(data.email):
            raise ConflictError(f"{data.email} is already registered.")
        user = await self.users.create(data)
        await self.users.commit()
        return user

    async def get(self, user_id: UUID) -> User:
        user = await self.users.get(user_id)
        if user is None:
            raise NotFoundError("The user was not found.")
        return user

    async def rename(self, user: User, data: UserUpdate) -> User:
        user.name = data.name
        await self.users.commit()
        return user

    async def log_in(self, email: str, password: str) -> str:
        user = await self.users.get_by_email(email)
        if user is None or not await verify_password(password, user.password_hash):
            raise InvalidCredentialsError("The email or the password is wrong.")
        return create_access_token(user.id)

    async def from_token(self, token: str) -> User:
        user = await self.users.get(read_access_token(token))
        if user is None:
            raise InvalidTokenError("The token's user is gone; register again.")
        return user
