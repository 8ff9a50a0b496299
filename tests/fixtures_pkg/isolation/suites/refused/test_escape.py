import asyncio
import os
import asyncpg
import psycopg
import pytest
from shop import Crate, Session, count, engine, store
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

async def test_escapes():
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        await driver.execute("INSERT INTO crate (label) VALUES ('escaped'); COMMIT")

async def test_neighbour_begins_with_an_empty_table():
    assert await count() == 0
