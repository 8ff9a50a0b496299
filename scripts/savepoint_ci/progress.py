"""What a person sees while a run goes on: a live view on a terminal, otherwise a short plain log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from savepoint_ci.suite.tally import Tally

__all__ = ["Display", "PlainDisplay", "choose_display", "note"]

SECONDS_BETWEEN_LINES = 10.0
PART_BETWEEN_LINES = 0.1


class Display(Protocol):
    """Where the steps say what they do; every text may come from tests and is shown as it is."""

    def say(self, text: str) -> None:
        """Show one line, or several."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show that a step goes on, and how long it took."""

    def tests(self, tally: Tally) -> None:
        """Show how far the suite is; called several times a second."""


def choose_display(stream: TextIO = sys.stdout) -> Display:
    """A live view when the stream is a terminal that can draw, a plain log otherwise."""
    if not stream.isatty():
        return PlainDisplay(stream)
    from savepoint_ci.live_display import live_display  # noqa: PLC0415 - drawing is a third of the start of a step

    return live_display(stream) or PlainDisplay(stream)


class PlainDisplay:
    """A line for each phase, for each failing test, and for every tenth of the suite or ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last_line = 0.0
        self._last_part = 0.0
        self._failures_shown = 0

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = self._last_line = time.monotonic()
        self.say(f"savepoint: {name} ...")
        yield
        self.say(f"savepoint: {name} took {time.monotonic() - start:.1f} s")

    def tests(self, tally: Tally) -> None:
        for failure in tally.failures[self._failures_shown :]:
            self.say(f"  failed: {failure}")
        self._failures_shown = len(tally.failures)
        now = time.monotonic()
        part = tally.done / tally.total if tally.total else 0.0
        is_due = now - self._last_line >= SECONDS_BETWEEN_LINES or part - self._last_part >= PART_BETWEEN_LINES
        is_last = part == 1 and self._last_part < 1
        if tally.done and (is_due or is_last):
            self._last_line, self._last_part = now, part
            self.say(f"  {tally.done} of {tally.total} tests done, {note(tally)}")


def note(tally: Tally) -> str:
    """How many failed, and how long the rest will take."""
    left = tally.seconds_left
    return f"{len(tally.failures)} failed" + ("" if left is None else f", about {_duration(left)} left")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
