"""Data of a module and of a class: seen by its tests only, each test undone on its own."""

import pytest
from shop import Crate, Session, count, store
from sqlalchemy import select

pytestmark = pytest.mark.savepoint(isolation="savepoint")


@pytest.fixture(scope="module", autouse=True)
async def of_the_module(db_module_session):
    db_module_session.add(Crate(label="of the module"))
    await db_module_session.commit()
    db_module_session.add(Crate(label="not committed"))
    await db_module_session.flush()
    await db_module_session.rollback()
    yield
    assert await count() == 1


async def labels():
    async with Session() as session:
        return set((await session.scalars(select(Crate.label))).all())


async def test_first_test_sees_the_modules_data_and_adds_to_it():
    assert await labels() == {"of the module"}
    await store("of a test")
    assert await count() == 2


async def test_second_test_finds_the_modules_data_only():
    assert await labels() == {"of the module"}
    async with Session() as session:
        session.add(Crate(label="dropped"))
        await session.flush()
        await session.rollback()
    assert await labels() == {"of the module"}


class TestGroup:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    async def of_the_class(cls, db_class_session):
        db_class_session.add(Crate(label="of the class"))
        await db_class_session.commit()

    async def test_first_of_a_class_sees_both_and_none_is_committed(self, seen_from_outside):
        assert await labels() == {"of the module", "of the class"}
        await store("of a test")
        assert seen_from_outside() == 0

    async def test_second_of_a_class_finds_what_the_first_found(self):
        assert await labels() == {"of the module", "of the class"}


async def test_data_of_the_class_are_gone_after_it():
    assert await labels() == {"of the module"}
