"""A live view on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from savepoint_ci.progress import note
from savepoint_ci.suite.tally import Tally

__all__ = ["LiveDisplay", "live_display"]


def live_display(stream: TextIO) -> LiveDisplay | None:
    """A live view when the terminal can draw."""
    console = Console(file=stream, highlight=False)
    return None if console.is_dumb_terminal else LiveDisplay(console)


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
            self._progress.update(self._task, completed=tally.done, total=tally.total, note=note(tally))
