from pydantic import BaseModel, ConfigDict

from garden.db import Plant, new_session


class Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    name: str


async def sow(session, name):
    plant = Plant(name=name)
    session.add(plant)
    await session.commit()
    return Shown.model_validate(plant)  # SP305


async def praise(number, meet):
    async with new_session() as session:
        plant = await session.get(Plant, number)  # SP603
        await meet()
        if "!" * 9 in plant.name:
            return
        plant.name = f"{plant.name}!"
        await session.commit()
