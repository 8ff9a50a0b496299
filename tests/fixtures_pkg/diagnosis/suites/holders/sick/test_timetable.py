import asyncio

import pytest
from station import Telegraph
from timetable import Timetable

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("day", ["monday", "tuesday"])
@pytest.mark.parametrize("way", sorted(Timetable.ways))
async def test_two_travellers(way, day):
    await asyncio.gather(*(Timetable.ways[way]() for _ in range(2)))


async def answer(reader, writer):
    writer.write(b"heard\n")


@pytest.mark.parametrize("text", [b"late", b"later"])
async def test_telegram(text):
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        assert await Telegraph.send(server.sockets[0].getsockname()[1], text) == b"heard\n"
    finally:
        server.close()
