import asyncio

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
    await session.refresh(plant)
    return Shown.model_validate(plant)


async def praise(number):
    async with new_session() as session:
        plant = await session.get(Plant, number, with_for_update=True)
        await asyncio.sleep(0.05)
        if "!" * 9 in plant.name:
            return
        plant.name = f"{plant.name}!"
        await session.commit()
