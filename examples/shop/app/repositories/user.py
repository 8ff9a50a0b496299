from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from app.core.exceptions import ConflictError
from app.core.security import hash_password
from app.models import User
from app.repositories.repository import Repository
from app.schemas.user import UserCreate


class UserRepository(Repository):
    async def create(self, data: UserCreate) -> User:
        """Store a new user with a hashed password.

        :raises ConflictError: when the email is taken, also when another request took it a moment ago.
        """
        user = User(email=data.email, name=data.name, password_hash=await hash_password(data.password))
        try:
            async with self.session.begin_nested():
                self.session.add(user)
        except IntegrityError as error:
            raise ConflictError(f"{data.email} is already registered.") from error
        return user

    async def get(self, user_id: UUID) -> User | None:
        return await self.session.get(User, user_id)

    async def get_by_email(self, email: str) -> User | None:
        return await self.session.scalar(select(User).where(func.lower(User.email) == email.lower()))
