from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine("postgresql+asyncpg://db/web")
app = FastAPI()


def current_user():
    return "guest"


async def now():
    async with engine.connect() as connection:
        return await connection.scalar(text("select now()"))
