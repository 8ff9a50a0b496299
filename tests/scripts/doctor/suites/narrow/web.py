import contextlib

from fastapi import FastAPI, Request


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.prices = {}
    yield


app = FastAPI(lifespan=lifespan)


def current_user():
    return "guest"


@app.get("/price")
async def price(request: Request):
    return request.app.state.prices
