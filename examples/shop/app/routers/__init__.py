from fastapi import APIRouter

from app.routers import auth, items, orders, shipping, users

api = APIRouter(prefix="/api/v1")
for router in (auth.router, users.router, items.router, orders.router, shipping.router):
    api.include_router(router)

__all__ = ["api"]
