from pydantic import BaseModel, ConfigDict

from garden.db import Plant


class Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    name: str


async def sow(session, name):
    plant = Plant(name=name)
    session.add(plant)
    await session.commit()
    return Shown.model_validate(plant)  # SP305
