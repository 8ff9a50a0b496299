from __future__ import annotations

import asyncio

import measured
import pytest
from sqlalchemy import event


async def test_created_shelf_is_read(client):
    created = await client.post("/shelves", params={"name": "oak x"})
    assert created.status_code == 201, created.text
    assert created.json()["size"] == 14
    read = await client.get(f"/shelves/{created.json()['id']}")
    assert read.json() == {"name": "oak x", "kind": "empty"}
    assert "log committed" in measured.seen


async def test_duplicate_is_refused(client):
    await client.post("/shelves", params={"name": "oak"})
    assert (await client.post("/shelves", params={"name": "oak"})).status_code == 409
    assert "duplicate" in measured.seen


async def test_unknown_shelf_is_not_found(client):
    assert (await client.get("/shelves/77")).status_code == 404


async def test_weights_are_summed(client):
    shelf = (await client.post("/shelves", params={"name": "oak"})).json()["id"]
    assert (await client.post(f"/shelves/{shelf}/boxes", json=[3, -1, 9])).json() == 12
    assert (await client.get(f"/shelves/{shelf}")).json()["kind"] == "heavy"


async def test_report_gathers(client):
    await client.post("/shelves", params={"name": "oak"})
    assert (await client.get("/report")).json() == {"counts": [2, 2, 2], "answer": "same", "size": 12}


async def test_sync_route(client):
    assert (await client.get("/sync", params={"name": "abc"})).json() == 3


async def test_stream(client):
    await client.post("/shelves", params={"name": "oak"})
    assert (await client.get("/stream")).text == "oak\n"


async def test_broken(client):
    assert (await client.get("/broken")).status_code == 400
    assert "broken done" in measured.seen


async def test_cancelled():
    asleep = asyncio.Event()
    event.listen(measured.engine.sync_engine, "before_cursor_execute", lambda *_: asleep.set(), once=True)
    task = asyncio.create_task(measured.cancelled())
    await asleep.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "let go" in measured.seen


async def test_thread_in_a_sync_callback():
    async with measured.new_session() as session:
        assert await session.run_sync(measured.in_sync_callback) == 13


async def test_loop_in_a_thread():
    assert await asyncio.to_thread(measured.loop_in_a_thread) == [0]


async def test_retry():
    assert await measured.retry(1) == -1
    assert await measured.retry(5) == 2
