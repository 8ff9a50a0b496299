from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from app.core.exceptions import ConflictError
from app.core.security import verify_password
from app.database import session_factory
from app.models import User
from app.repositories.user import UserRepository
from app.schemas.user import UserCreate
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.asyncio


def data(email: str) -> UserCreate:
    return UserCreate(email=email, password="TestPass123!", name="Test User")


@pytest.fixture
def user_repo(db_session: AsyncSession) -> UserRepository:
    return UserRepository(db_session)


async def test_create_user(user_repo: UserRepository):
    user = await user_repo.create(data("test@example.com"))

    assert user.id is not None
    assert user.email == "test@example.com"
    assert user.name == "Test User"


async def test_created_user_has_the_password_as_a_hash(user_repo: UserRepository):
    user = await user_repo.create(data("test@example.com"))

    assert await verify_password("TestPass123!", user.password_hash)
    assert not await verify_password("TestPass123?", user.password_hash)


@pytest.mark.parametrize("email", ["find@example.com", "FIND@EXAMPLE.COM"])
async def test_get_user_by_email(user_repo: UserRepository, email: str):
    created = await user_repo.create(data("find@example.com"))

    found = await user_repo.get_by_email(email)

    assert found is not None
    assert found.id == created.id


async def test_get_user_not_found(user_repo: UserRepository):
    assert await user_repo.get_by_email("notfound@example.com") is None
    assert await user_repo.get(uuid4()) is None


async def test_email_taken_is_a_conflict_and_the_session_goes_on(user_repo: UserRepository, db_session: AsyncSession):
    await user_repo.create(data("taken@example.com"))

    with pytest.raises(ConflictError):
        await user_repo.create(data("taken@example.com"))

    await user_repo.create(data("free@example.com"))
    assert await db_session.scalar(select(func.count()).select_from(User)) == 2


async def test_rollback_undoes_what_was_not_committed(user_repo: UserRepository):
    await user_repo.create(data("kept@example.com"))
    await user_repo.commit()
    await user_repo.create(data("undone@example.com"))

    await user_repo.rollback()

    assert await user_repo.get_by_email("kept@example.com") is not None
    assert await user_repo.get_by_email("undone@example.com") is None


async def test_concurrent_operations(db_session: AsyncSession):
    async def create(number: int) -> User:
        # A session serves one task at a time, so each task has its own.
        async with session_factory() as session:
            repo = UserRepository(session)
            user = await repo.create(data(f"user{number}@example.com"))
            await repo.commit()
            return user

    users = await asyncio.gather(*(create(number) for number in range(5)))

    assert len({user.id for user in users}) == 5
    assert await db_session.scalar(select(func.count()).select_from(User)) == 5
