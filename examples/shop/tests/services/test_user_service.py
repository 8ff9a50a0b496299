from __future__ import annotations

from unittest.mock import AsyncMock, MagicMock
from uuid import uuid4

import pytest
from app.core.exceptions import ConflictError, InvalidCredentialsError, InvalidTokenError, NotFoundError
from app.core.security import create_access_token, hash_password, read_access_token
from app.models import User
from app.repositories.user import UserRepository
from app.schemas.user import UserCreate, UserUpdate
from app.services.user import UserService

pytestmark = pytest.mark.asyncio

DATA = UserCreate(email="test@example.com", password="TestPass123!", name="Test User")


@pytest.fixture
def mock_user_repo() -> AsyncMock:
    return AsyncMock(spec=UserRepository)


@pytest.fixture
def user_service(mock_user_repo: AsyncMock) -> UserService:
    return UserService(mock_user_repo)


async def test_create_user_success(user_service: UserService, mock_user_repo: AsyncMock):
    mock_user = MagicMock()
    mock_user.id = "user-id"
    mock_user_repo.get_by_email.return_value = None
    mock_user_repo.create.return_value = mock_user

    result = await user_service.create(DATA)

    assert result.id == "user-id"
    mock_user_repo.create.assert_called_once_with(DATA)
    mock_user_repo.commit.assert_awaited_once()


async def test_create_user_duplicate_email(user_service: UserService, mock_user_repo: AsyncMock):
    mock_user_repo.get_by_email.return_value = MagicMock()

    with pytest.raises(ConflictError):
        await user_service.create(DATA)

    mock_user_repo.create.assert_not_called()
    mock_user_repo.commit.assert_not_awaited()


async def test_unknown_user_is_not_found(user_service: UserService, mock_user_repo: AsyncMock):
    mock_user_repo.get.return_value = None

    with pytest.raises(NotFoundError):
        await user_service.get(uuid4())


async def test_rename_is_committed(user_service: UserService, mock_user_repo: AsyncMock):
    user = User(name="Old")

    await user_service.rename(user, UserUpdate(name="New"))

    assert user.name == "New"
    mock_user_repo.commit.assert_awaited_once()


async def test_log_in_gives_a_token_of_the_user(user_service: UserService, mock_user_repo: AsyncMock):
    user = User(id=uuid4(), password_hash=await hash_password("TestPass123!"))
    mock_user_repo.get_by_email.return_value = user

    token = await user_service.log_in("test@example.com", "TestPass123!")

    assert read_access_token(token) == user.id


async def test_log_in_with_a_wrong_password_is_refused(user_service: UserService, mock_user_repo: AsyncMock):
    mock_user_repo.get_by_email.return_value = User(password_hash=await hash_password("TestPass123!"))

    with pytest.raises(InvalidCredentialsError):
        await user_service.log_in("test@example.com", "OtherPass123!")


async def test_token_without_a_user_is_refused(user_service: UserService, mock_user_repo: AsyncMock):
    mock_user_repo.get.return_value = None

    with pytest.raises(InvalidTokenError):
        await user_service.from_token(create_access_token(uuid4()))
