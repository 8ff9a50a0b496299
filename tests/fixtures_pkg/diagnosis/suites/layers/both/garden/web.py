from contextvars import ContextVar

from fastapi import Depends, FastAPI, HTTPException

from garden.db import Plant, new_session

app = FastAPI()
language = ContextVar("language", default="en")


def visitor():
    return "nobody"


@app.get("/me")
async def me(name=Depends(visitor)):
    return name


@app.post("/plants")
async def plant(name: str):
    async with new_session() as session:
        made = Plant(name=name)
        session.add(made)
        await session.flush()
        number = made.id
        await session.commit()
    return {"id": number}


@app.get("/plants/{number}")
async def find(number: int):
    async with new_session() as session:
        found = await session.get(Plant, number)
        if found is None:
            raise HTTPException(404)
        return {"id": found.id, "name": found.name}
