from contextlib import asynccontextmanager

from fastapi import FastAPI, Request


@asynccontextmanager
async def lifespan(app):
    app.state.prices = {}
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def prices(request: Request):
    return request.app.state.prices
