import asyncio

import httpx
import pytest_asyncio
from shop import app
from workshop import Mailbox, Press, count_later, tenant, tidy


@pytest_asyncio.fixture(scope="module")
async def press():
    press = Press()
    yield press
    if press._worker:
        press._worker.cancel()


async def test_print_for_blue(press):
    tenant.set("blue")
    assert await press.print("card") == "card for blue"


async def test_print_for_green(press):
    tenant.set("green")
    assert await press.print("card") == "card for green"


async def test_letters_arrive():
    mailbox = Mailbox()
    mailbox.send(7)
    await asyncio.sleep(0.05)
    assert len(mailbox.letters) == 1


async def test_count_ends():
    seen = []
    count_later(seen)
    await tidy()
    assert not seen


async def test_customer_is_named():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as client:
        response = await client.get("/cart", params={"name": "Ida"})
    assert response.headers["x-customer"] == "Ida"
