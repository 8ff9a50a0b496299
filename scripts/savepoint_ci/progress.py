"""What a person sees while a run goes on: a live view on a terminal, otherwise a short plain log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from savepoint_ci.suite.tally import Tally

__all__ = ["Display", "LiveDisplay", "PlainDisplay", "choose_display"]

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
    console = Console(file=stream, highlight=False)
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else PlainDisplay(stream)


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
            self.say(f"  {tally.done} of {tally.total} tests done, {_note(tally)}")


class LiveDisplay:
    """One line that moves: phase, tests done of all, failures, elapsed and time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._failures_shown = 0

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns)
        self._task = self._progress.add_task(name, total=None, note="")
        try:
            with Live(self._progress, console=self._console, transient=True, refresh_per_second=8):
                yield
        finally:
            self._progress = None
        self._console.print(f"[green]✓[/] {escape(name)} [dim]{time.monotonic() - start:.1f} s")

    def tests(self, tally: Tally) -> None:
        for failure in tally.failures[self._failures_shown :]:
            self.say(f"failed: {failure}")
        self._failures_shown = len(tally.failures)
        if self._progress is not None and self._task is not None and tally.total:
            self._progress.update(self._task, completed=tally.done, total=tally.total, note=_note(tally))


def _note(tally: Tally) -> str:
    left = tally.seconds_left
    return f"{len(tally.failures)} failed" + ("" if left is None else f", about {_duration(left)} left")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
