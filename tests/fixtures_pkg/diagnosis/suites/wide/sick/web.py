import contextlib
import contextvars
import time

from bank import engine
from fastapi import Depends, FastAPI, Request
from sqlalchemy import text

language = contextvars.ContextVar("language", default="en")


@contextlib.asynccontextmanager
async def start_up(app):
    app.state.prices = {"tea": 3}
    yield


app = FastAPI(lifespan=start_up)


async def visitor():
    return "nobody"


@app.get("/price")
async def price(request: Request):
    return request.app.state.prices["tea"]


@app.get("/hello")
async def hello(name=Depends(visitor)):
    return name


@app.get("/report")
async def report():
    return paint()


@app.get("/ping")
async def ping():
    return "pong"


@app.get("/customers")
async def customers():
    async with engine.connect() as connection:
        return await connection.scalar(text("select count(*) from customer"))


def paint():
    time.sleep(0.6)  # SP401
    return "done"


def greeting():
    return {"en": "hello", "fr": "bonjour"}[language.get()]
