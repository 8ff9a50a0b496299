"""The measured test's body and its savepoint on one held connection, without pytest: what everything is measured by."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from measure.processor import server_seconds
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from tables import three_rows


async def one(connection: AsyncConnection) -> None:
    transaction = await connection.begin()
    async with AsyncSession(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as session:
        await three_rows(session)
    await transaction.rollback()


def now() -> float:
    return time.process_time() + server_seconds(map(int, os.environ["BENCH_SERVERS"].split()))


async def main() -> dict[str, float]:
    tests = int(os.environ["BENCH_TESTS"])
    engine = create_async_engine(os.environ["BENCH_DATABASE_URL"])
    async with engine.connect() as connection:
        for _ in range(30):
            await one(connection)
        before, began = now(), time.perf_counter()
        for _ in range(tests):
            await one(connection)
        facts = {"cpu": (now() - before) / tests, "wall": (time.perf_counter() - began) / tests}
    await engine.dispose()
    return facts


Path(os.environ["BENCH_CLOCK"]).write_text(json.dumps(asyncio.run(main())))
