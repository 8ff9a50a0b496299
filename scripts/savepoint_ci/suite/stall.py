"""A suite that makes no progress: who is stuck, where, and the end of it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from savepoint_ci.suite.process import Wish
from savepoint_ci.suite.tally import Tally

__all__ = ["Stall"]

_ASKING = 2.0
_LEAVING = 60.0
"""Seconds for a process to end after its last word; a task that ignores its cancellation can hold it for ever."""
_LONGEST = 20_000


class Stall:
    """Watches a tally for a time without any news.

    :param limit: seconds; 0 waits for ever.
    :param clock: seconds.
    """

    def __init__(self, tally: Tally, evidence: Path, *, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._tally = tally
        self._evidence = evidence
        self._limit = limit
        self._clock = clock
        self._asked: float | None = None
        self._ended = False
        self.running: dict[str, str] = {}
        """The tests that were stuck, by worker, once pytest had to be ended."""
        self._finished: int | None = None

    @property
    def happened(self) -> bool:
        return self._asked is not None

    @property
    def code(self) -> int:
        """What pytest's exit code would be, had it not been interrupted by us."""
        return 1 if self._finished is None else self._finished

    def wish(self) -> Wish:
        """What is to be done with pytest now."""
        now = self._clock()
        if self._asked is None:
            if self._limit and now - self._tally.last_news > self._patience:
                self._asked = now
                self.running, self._finished = dict(self._tally.running), self._tally.finished
                self._ask()
            return "go-on"
        if not self._ended and self._tally.last_news > self._asked:
            self._asked = None  # it was slow, not stuck
            return "go-on"
        # What comes after the interrupt is the end of pytest, not progress.
        self._ended = self._ended or now - self._asked > _ASKING
        return "interrupt" if self._ended else "go-on"

    @property
    def _patience(self) -> float:
        return self._limit if self._tally.finished is None else min(self._limit, _LEAVING)

    def _ask(self) -> None:
        """Let every process that runs a test write down where it stands."""
        for pid in self._tally.pids.values() if hasattr(signal, "SIGUSR1") else ():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGUSR1)

    def evidence(self) -> Iterator[str]:
        """Lines that make the stuck tests fail in the report, each with what is known of where it was."""
        what = (
            f"no test made progress for {self._limit:g} s (stall-timeout)"
            if self._finished is None
            else f"pytest's process did not end within {self._patience:g} s after all tests were done"
        )
        stacks = self._stacks()
        for worker, nodeid in self.running.items():
            tasks = self._tally.waiting.get(worker, [])
            message = f"stuck: {what}; pytest was ended" + (f"; {tasks[0]}" if tasks else "")
            yield _line(
                "phase", nodeid=nodeid, worker=worker, when="call", outcome="failed", message=message,
                text="\n".join([*tasks, stacks]),
            )  # fmt: skip
        where = ", ".join(f"{nodeid} on {worker}" for worker, nodeid in self.running.items()) or self._phase()
        yield _line("warning", text=f"The run was ended because {what}. Stuck: {where}.")

    def _phase(self) -> str:
        return "after the last test" if self._tally.done else "before the first test, while tests were collected"

    def _stacks(self) -> str:
        try:
            return Path(f"{self._evidence}.stacks").read_text("utf-8", "replace")[-_LONGEST:]
        except FileNotFoundError:
            return ""


def _line(kind: str, **values: object) -> str:
    return json.dumps({"kind": kind, **values}) + "\n"
