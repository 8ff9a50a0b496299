"""An application on SQLite: its engine is made at import, with a file that no test must ever touch."""

from fastapi import FastAPI
from sqlalchemy import ForeignKey, event, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine("sqlite+aiosqlite:////nowhere/shop.db")
Session = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def tune(connection, _):
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


class Base(DeclarativeBase):
    pass


class Crate(Base):
    __tablename__ = "crate"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(unique=True)


class Apple(Base):
    __tablename__ = "apple"

    id: Mapped[int] = mapped_column(primary_key=True)
    crate: Mapped[int] = mapped_column(ForeignKey("crate.id"))


async def store(label):
    async with Session() as session:
        session.add(Crate(label=label))
        await session.commit()


async def labels():
    async with Session() as session:
        return set((await session.scalars(select(Crate.label))).all())


app = FastAPI()


@app.post("/crates")
async def create(label: str):
    await store(label)


@app.get("/crates")
async def number():
    async with Session() as session:
        return await session.scalar(select(func.count()).select_from(Crate))
