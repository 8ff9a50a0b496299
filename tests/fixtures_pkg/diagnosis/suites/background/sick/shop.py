import contextvars

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

customer: contextvars.ContextVar[str] = contextvars.ContextVar("customer", default="-")


class NameCustomer(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-customer"] = customer.get()  # SP707
        return response


async def cart(request):
    customer.set(request.query_params["name"])
    return PlainTextResponse("empty")


app = Starlette(routes=[Route("/cart", cart)], middleware=[Middleware(NameCustomer)])
