from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from sqlalchemy import text

from app.core.config import settings
from app.core.exceptions import register_error_handlers
from app.database import session_factory
from app.dependencies import Database
from app.middleware import AuditMiddleware
from app.routers import api
from app.services.rules import Rules

# Reading the certificates takes longer than starting everything else, so it happens once per process.
_tls = httpx.create_ssl_context()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with session_factory() as session:
        app.state.rules = await Rules.load(session)
    async with httpx.AsyncClient(
        base_url=settings.shipping_url, timeout=settings.shipping_timeout, verify=_tls
    ) as http:
        app.state.http = http
        yield


app = FastAPI(title="Shop", lifespan=lifespan)
app.add_middleware(AuditMiddleware)
register_error_handlers(app)
app.include_router(api)


@app.get("/")
async def read_root() -> dict[str, str]:
    return {"message": "Welcome to the shop"}


@app.get("/health")
async def read_health(db: Database) -> dict[str, str]:
    await db.execute(text("SELECT 1"))
    return {"status": "ok"}
