"""Password hashes and bearer tokens."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta, timezone
from uuid import UUID

import jwt

from app.core.config import settings
from app.core.exceptions import InvalidTokenError

_ALGORITHM = "HS256"


async def hash_password(password: str) -> str:
    """A salted scrypt hash that carries its own cost, so the cost can be raised later."""
    salt = secrets.token_bytes(16)
    return f"scrypt${settings.password_cost}${salt.hex()}${await _digest(password, salt, settings.password_cost)}"


async def verify_password(password: str, stored: str) -> bool:
    _, cost, salt, digest = stored.split("$")
    return hmac.compare_digest(digest, await _digest(password, bytes.fromhex(salt), int(cost)))


async def _digest(password: str, salt: bytes, cost: int) -> str:
    # In a thread, because scrypt is slow by design and would hold up every other request.
    digest = await asyncio.to_thread(
        hashlib.scrypt, password.encode(), salt=salt, n=2**cost, r=8, p=1, maxmem=2 ** (cost + 11)
    )
    return digest.hex()


def create_access_token(user_id: UUID, *, lifetime: timedelta | None = None) -> str:
    expires = datetime.now(timezone.utc) + (lifetime or timedelta(minutes=settings.token_minutes))
    return jwt.encode({"sub": str(user_id), "exp": expires}, settings.secret_key.get_secret_value(), _ALGORITHM)


def read_access_token(token: str) -> UUID:
    """The user's id.

    :raises InvalidTokenError: when the token is not ours, was changed, or has expired.
    """
    try:
        claims = jwt.decode(
            token,
            settings.secret_key.get_secret_value(),
            algorithms=[_ALGORITHM],
            options={"require": ["sub", "exp"]},
        )
        return UUID(claims["sub"])
    except (jwt.InvalidTokenError, ValueError):
        raise InvalidTokenError("The token is not valid or has expired; log in again.") from None
