"""A coroutine that nobody awaited is placed at the line that made it, or not at all."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_savepoint.evidence import Recorder
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.unawaited import Unawaited


async def save() -> None:
    pass


def at_once() -> None:
    save()  # made here


def kept() -> None:
    made = save()  # made here
    assert made
    del made


def either() -> None:
    for number in (1, 2):
        made = save() if number == 1 else None
        made = save() if number == 2 else made
        del made


@pytest.fixture
def places() -> Iterator[Callable[..., list[int]]]:
    """Call a function, and give the lines at which coroutines are said to be made."""
    recorder = Recorder()
    unawaited = Unawaited(recorder, Caller(Path(__file__).parent))

    def call(function: Callable[[], Any]) -> list[int]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            function()
            gc.collect()
        for warning in caught:
            unawaited.note(warning, "test", lambda: [function, save])
        return [fact["site"]["line"] for fact in recorder.take()]

    yield call
    unawaited.stop()
    assert sys.get_coroutine_origin_tracking_depth() == 0


def marked(function: Callable[[], Any]) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(at for at in range(function.__code__.co_firstlineno, len(lines)) if "made here" in lines[at - 1])


@pytest.mark.parametrize("function", [at_once, kept])
def test_first_one_of_a_process_is_placed_by_its_source(places, function):
    assert places(function) == [marked(function)]


def test_first_one_that_several_lines_may_have_made_is_not_placed(places):
    assert places(either) == []


def test_later_ones_are_placed_by_the_interpreter(places):
    places(at_once)
    first = either.__code__.co_firstlineno
    assert places(either) == [first + 2, first + 3]
