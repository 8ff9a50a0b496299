from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.database import session_factory
from app.models import AuditEntry


class AuditMiddleware:
    """Writes down every request to the API and its answer, in a transaction of its own.

    What the request's transaction did, and whether it was rolled back, does not matter to the entry.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            return await self.app(scope, receive, send)
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note_status)
        finally:
            async with session_factory.begin() as session:
                session.add(AuditEntry(method=scope["method"], path=scope["path"][:500], status=status))
