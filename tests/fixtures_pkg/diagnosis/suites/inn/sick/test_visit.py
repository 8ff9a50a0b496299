from fastapi.testclient import TestClient
from inn import app

visitor = TestClient(app)  # SP106


async def test_beds(guest):
    assert (await guest.get("/beds")).json() == 7


def test_beds_of_visitor():
    assert visitor.get("/beds").json() == 7
