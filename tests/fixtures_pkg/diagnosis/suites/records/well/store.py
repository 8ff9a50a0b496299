import asyncio
import contextvars
import functools
import os
import random

from sqlalchemy import String
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

URL = os.environ["DATABASE_URL"]
engine = create_async_engine(URL)
psycopg_engine = create_async_engine(URL.replace("+asyncpg", "+psycopg"))
new_session = async_sessionmaker(engine, expire_on_commit=False)
tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


class Base(DeclarativeBase):
    pass


class Parcel(Base):
    __tablename__ = "parcel"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(40), unique=True)
    status: Mapped[str] = mapped_column(String(20), default="new")
    pieces: Mapped[int] = mapped_column(default=2)


@functools.cache
def currency() -> str:
    return os.environ.get("CURRENCY", "EUR")


def pause() -> float:
    return random.random() / 1000


async def ready(state: dict[str, bool]) -> None:
    while not state.get("ready"):
        await asyncio.sleep(0.005)


class Press:
    """Each job brings its own context."""

    def __init__(self) -> None:
        self.jobs: asyncio.Queue[tuple[contextvars.Context, asyncio.Future[str]]] = asyncio.Queue()

    async def print(self) -> str:
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await self.jobs.put((contextvars.copy_context(), done))
        return await done

    async def work(self) -> None:
        while True:
            context, done = await self.jobs.get()
            done.set_result(context.run(tenant.get))


class NameTenant(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        tenant.set(request.headers.get("x-tenant", "-"))
        response = await call_next(request)
        response.headers["x-tenant"] = tenant.get()
        return response


async def who(request):
    return PlainTextResponse(tenant.get())


app = Starlette(routes=[Route("/who", who)], middleware=[Middleware(NameTenant)])
