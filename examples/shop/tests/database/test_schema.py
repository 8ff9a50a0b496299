"""What the migrations built, seen through the fixtures below the session."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from app.core.config import settings
from app.database import engine
from app.models import Base, OrderStatus, Rule
from sqlalchemy import Connection, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

pytestmark = pytest.mark.asyncio


async def test_models_and_migrations_agree(db_connection: AsyncConnection):
    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, parents: name != "ix_items_search"}
        return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)

    assert await db_connection.run_sync(differences) == []


async def test_status_labels_are_those_of_the_application(db_connection: AsyncConnection):
    labels = await db_connection.scalar(text("SELECT enum_range(NULL::order_status)::text[]"))

    assert labels == [status.value for status in OrderStatus]


async def test_rules_were_filled_by_a_migration(db_connection: AsyncConnection):
    assert set(await db_connection.scalars(select(Rule.name))) == {"low_stock", "free_shipping_from"}


async def test_trigrams_are_used_where_the_server_has_them(db_connection: AsyncConnection):
    available = await db_connection.scalar(text("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'"))
    definition = await db_connection.scalar(text("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_items_search'"))

    assert ("gin_trgm_ops" if available else "text_pattern_ops") in definition


async def test_every_door_leads_to_one_database(database, db_engine: AsyncEngine, db_connection: AsyncConnection):
    name = text("SELECT current_database()")

    async with db_engine.connect() as by_fixture, engine.connect() as by_application:
        names = {await connection.scalar(name) for connection in (by_fixture, by_application, db_connection)}

    assert names == {database.name}


async def test_settings_saw_the_database_before_the_application_was_imported(database):
    assert make_url(settings.database_url).database == database.name
