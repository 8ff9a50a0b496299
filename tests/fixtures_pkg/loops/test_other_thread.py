"""Where another thread is, is told by names and lines."""

from __future__ import annotations

import threading
from pathlib import Path

from pytest_savepoint.loops.other_thread import OtherThread, Place, site_at


def test_places_are_those_that_the_thread_is_in_from_the_innermost_out():
    entered, leave = threading.Event(), threading.Event()

    def größer() -> None:  # noqa: PLC2401 # file and function names need not be ASCII
        inner()

    def inner() -> None:
        entered.set()
        leave.wait()

    thread = threading.Thread(target=größer)
    thread.start()
    assert entered.wait(30)
    other = OtherThread(thread.ident or 0)
    places = [place for place in other.places() if place.filename == __file__]
    leave.set()
    thread.join()
    assert [place.function for place in places] == ["inner", "größer"]
    assert places[0].line == inner.__code__.co_firstlineno + 2
    assert other.places() == []
    other.close()


def test_place_in_a_coroutine_is_told_from_one_in_a_function(tmp_path: Path):
    file = tmp_path / "app.py"
    file.write_text("async def outer():\n    def inner():\n        wait()\n    inner()\n")
    places = [Place(str(file), 3, "inner"), Place(str(file), 4, "outer")]
    assert [site_at(place, "app.py")["async"] for place in places] == [False, True]
