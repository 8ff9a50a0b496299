"""Runs the migrations over the application's own asynchronous driver."""

from __future__ import annotations

import asyncio

from alembic import context
from app.core.config import settings
from app.models import Base
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine


def include_name(name: str | None, type_: str, parents: object) -> bool:
    # The search index differs between servers with and without pg_trgm, so no model describes it.
    return name != "ix_items_search"


def run_migrations(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, include_name=include_name)
    with context.begin_transaction():
        context.run_migrations()


async def run_online() -> None:
    engine = create_async_engine(settings.database_url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run_migrations)
    await engine.dispose()


def run_offline() -> None:
    context.configure(url=settings.database_url, target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    asyncio.run(run_online())
