"""Settings of the process, read from the environment once."""

from __future__ import annotations

import secrets

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    database_url: str = "postgresql+asyncpg://localhost/shop"
    # Without a configured key every process has its own, and tokens end with it: never a known default.
    secret_key: SecretStr = Field(default_factory=lambda: SecretStr(secrets.token_urlsafe(32)))
    token_minutes: int = 60
    password_cost: int = Field(default=14, ge=1, le=20, description="log2 of the work that scrypt does per password")
    shipping_url: str = "https://rates.example.com"
    shipping_timeout: float = Field(default=3.0, gt=0, description="seconds")

    @field_validator("database_url")
    @classmethod
    def _name_the_async_driver(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        return f"postgresql+asyncpg{separator}{rest}" if scheme in ("postgres", "postgresql") else url


settings = Settings()
