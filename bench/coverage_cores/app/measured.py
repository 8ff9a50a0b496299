"""A small application with every way in which async SQLAlchemy code changes its greenlet or its thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection, ForeignKey, String, event, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import NullPool

SCHEMA = f"measured_{os.getpid()}"
engine = create_async_engine(
    os.environ["DATABASE_URL"],
    poolclass=NullPool,
    connect_args={"server_settings": {"search_path": SCHEMA}},
)
new_session = async_sessionmaker(engine, expire_on_commit=False)
seen: list[str] = []


class Base(DeclarativeBase):
    pass


class Shelf(Base):
    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20), unique=True)
    boxes: Mapped[list[Box]] = relationship(back_populates="shelf")

    def heaviest(self) -> int:
        weights = [box.weight for box in self.boxes]
        if not weights:
            return 0
        return max(weights)


class Box(Base):
    __tablename__ = "box"
    id: Mapped[int] = mapped_column(primary_key=True)
    weight: Mapped[int]
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelf.id"))
    shelf: Mapped[Shelf] = relationship(back_populates="boxes")


@event.listens_for(engine.sync_engine, "connect")
def on_connect(raw: Any, record: Any) -> None:
    cursor = raw.cursor()
    cursor.execute("SELECT 1")
    if cursor.fetchone() is None:
        raise RuntimeError("no answer")
    cursor.close()


@event.listens_for(Session, "before_flush")
def on_flush(session: Session, context: Any, instances: Any) -> None:
    for thing in session.new:
        if isinstance(thing, Box) and thing.weight < 0:
            thing.weight = 0
        elif isinstance(thing, Shelf):
            seen.append(thing.name)


@event.listens_for(Shelf, "after_insert")
def on_insert(mapper: Any, connection: Connection, shelf: Shelf) -> None:
    count = connection.execute(select(func.count()).select_from(Shelf)).scalar_one()
    if count > 1_000:
        raise RuntimeError("too many shelves")
    seen.append(f"insert {count > 0}")


def make_tables(connection: Connection) -> None:
    connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
    connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    Base.metadata.create_all(connection)
    seen.clear()


async def get_session() -> AsyncIterator[AsyncSession]:
    session = new_session()
    try:
        yield session
        await session.commit()
    except IntegrityError:
        await session.rollback()
        seen.append("rolled back")
        raise
    finally:
        await session.close()
        seen.append("closed")


async def count_shelves() -> int:
    async with new_session() as session:
        result = await session.execute(select(func.count()).select_from(Shelf))
        count = result.scalar_one()
        if count > 1:
            return count
        return -count


async def write_log(name: str) -> None:
    async with new_session() as session, session.begin():
        shelf = Shelf(name=f"log {name}"[:20])
        session.add(shelf)
        await session.flush()
        seen.append(f"logged {shelf.id > 0}")
    seen.append("log committed")


def write_file(name: str) -> int:
    total = 0
    for letter in name:
        if letter == "x":
            total += 10
        else:
            total += 1
    return total


app = FastAPI()


@app.middleware("http")
async def audit(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    async with new_session() as session:
        await session.execute(text("SELECT 1"))
        before = len(seen)
    response = await call_next(request)
    if response.status_code >= 500:
        seen.append("failed")
    elif response.status_code >= 400:
        seen.append("refused")
    response.headers["x-seen"] = str(len(seen) - before)
    return response


@app.post("/shelves", status_code=201)
async def create_shelf(name: str, tasks: BackgroundTasks, session: AsyncSession = Depends(get_session)) -> dict[str, Any]:
    shelf = Shelf(name=name)
    session.add(shelf)
    try:
        await session.flush()
    except IntegrityError as error:
        await session.rollback()
        seen.append("duplicate")
        raise HTTPException(409, "duplicate") from error
    else:
        seen.append("flushed")
    await session.refresh(shelf)
    tasks.add_task(write_log, name)
    tasks.add_task(write_file, name)
    size = await run_in_threadpool(write_file, name)
    if size > 100:
        seen.append("long name")
    return {"id": shelf.id, "size": size}


@app.get("/shelves/{shelf_id}")
async def read_shelf(shelf_id: int, session: AsyncSession = Depends(get_session)) -> dict[str, Any]:
    shelf = await session.get(Shelf, shelf_id)
    if shelf is None:
        seen.append("unknown")
        raise HTTPException(404)
    heaviest = await session.run_sync(lambda sync: shelf.heaviest())
    if heaviest > 5:
        kind = "heavy"
    elif heaviest:
        kind = "light"
    else:
        kind = "empty"
    return {"name": shelf.name, "kind": kind}


@app.post("/shelves/{shelf_id}/boxes")
async def fill_shelf(shelf_id: int, weights: list[int], session: AsyncSession = Depends(get_session)) -> int:
    for weight in weights:
        session.add(Box(shelf_id=shelf_id, weight=weight))
        await session.flush()
        if weight < 0:
            seen.append("negative")
            continue
        seen.append("weighed")
    else:
        seen.append("all weighed")
    total = await session.scalar(select(func.sum(Box.weight)).where(Box.shelf_id == shelf_id))
    return total or 0


@app.get("/report")
async def report() -> dict[str, Any]:
    counts = await asyncio.gather(*(count_shelves() for _ in range(3)))
    if len(set(counts)) == 1:
        answer = "same"
    else:
        answer = "different"
    size = await asyncio.to_thread(write_file, "xyz")
    return {"counts": counts, "answer": answer, "size": size}


@app.get("/sync")
def sync_route(name: str = "") -> int:
    if name:
        size = write_file(name)
    else:
        size = 0
    return size


@app.get("/stream")
async def stream(session: AsyncSession = Depends(get_session)) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        async with new_session() as own:
            rows = await own.stream(select(Shelf.name).order_by(Shelf.id))
            async for (name,) in rows:
                if name.startswith("log"):
                    continue
                yield f"{name}\n"
        seen.append("streamed")

    return StreamingResponse(lines())


@app.get("/broken")
async def broken(session: AsyncSession = Depends(get_session)) -> None:
    try:
        await session.execute(text("SELECT 1 / 0"))
        seen.append("impossible")
    except Exception as error:
        await session.rollback()
        seen.append(type(error).__name__)
        raise HTTPException(400) from error
    finally:
        seen.append("broken done")


async def cancelled() -> str:
    async with engine.connect() as connection:
        try:
            await connection.execute(text("SELECT pg_sleep(30)"))
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            seen.append("let go")
    return "slept"


def in_sync_callback(session: Session) -> int:
    with ThreadPoolExecutor(1) as pool:
        size = pool.submit(write_file, "from a thread").result()
    names = session.scalars(select(Shelf.name)).all()
    if len(names) > size:
        seen.append("many")
    return len(names) + size


def own_loop(answers: list[int]) -> None:
    count = asyncio.run(count_shelves())
    if count:
        answers.append(count)
    else:
        answers.append(0)


def loop_in_a_thread() -> list[int]:
    answers: list[int] = []
    thread = threading.Thread(target=own_loop, args=(answers,))
    thread.start()
    thread.join()
    return answers


async def retry(times: int) -> int:
    tries = 0
    while tries < times:
        tries += 1
        async with engine.begin() as connection:
            await connection.execute(text("SELECT 1"))
            if tries == 2:
                break
    else:
        return -tries
    return tries


async def never_called() -> int:
    await asyncio.sleep(0)
    return 1
