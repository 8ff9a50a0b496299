"""Data of a module: seen by its tests only, each test undone on its own."""

import pytest
from shop import Crate, labels, store

pytestmark = pytest.mark.savepoint(isolation="savepoint")


@pytest.fixture(scope="module", autouse=True)
async def of_the_module(db_module_session):
    db_module_session.add(Crate(label="of the module"))
    await db_module_session.commit()


@pytest.mark.parametrize("time", range(2))
async def test_each_test_finds_the_modules_data_only(time):
    assert await labels() == {"of the module"}
    await store("of a test")
    assert await labels() == {"of the module", "of a test"}
