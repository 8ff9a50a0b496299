from fastapi import Depends, FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Note, get_db

app = FastAPI()


@app.post("/notes", status_code=201)
async def create(body: str, db: AsyncSession = Depends(get_db)):
    note = Note(body=body)
    db.add(note)
    await db.commit()
    return {"id": note.id, "body": note.body}


@app.get("/notes")
async def read(db: AsyncSession = Depends(get_db)):
    return (await db.scalars(select(Note.body).order_by(Note.id))).all()
