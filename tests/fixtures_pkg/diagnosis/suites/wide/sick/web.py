import contextlib
import contextvars
import time

from fastapi import Depends, FastAPI, Request

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


def paint():
    time.sleep(0.6)  # SP401
    return "done"


def greeting():
    return {"en": "hello", "fr": "bonjour"}[language.get()]
