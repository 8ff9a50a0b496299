"""pytest as a child process: its output goes to a file, an interrupt is handed on once."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

__all__ = ["Ended", "Wish", "run_suite"]

TICK = 0.15
GRACE = 20.0
Wish = Literal["go-on", "interrupt", "kill"]


@dataclass(frozen=True)
class Ended:
    """How pytest ended: its exit code, or minus the number of the signal that killed it."""

    exit: int
    interrupted: bool
    given_up: bool = False


def run_suite(
    command: list[str], *, project: Path, environment: Mapping[str, str], log: Path, tick: Callable[[], Wish]
) -> Ended:
    """Run pytest to its end.

    The first interrupt is given to pytest, so that it can tear down and report; the second, or `GRACE` seconds
    without an end, kills it.

    :param tick: called several times a second; it may wish that pytest is interrupted, or killed with all its processes.
    """
    with log.open("wb") as output, _interrupts() as interrupts:
        # In its own process group a Ctrl-C of the terminal reaches it through us only, once.
        process = subprocess.Popen(
            command, cwd=project, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        forwarded = 0.0
        wish: Wish = "go-on"
        while True:
            if _ends_within(process, TICK):
                code = process.wait()
                break
            wish = tick()
            if wish == "kill":
                _kill(process)
                code = process.wait()
                break
            if (interrupts or wish == "interrupt") and not forwarded:
                forwarded = time.monotonic()
                process.send_signal(signal.SIGINT)
            elif len(interrupts) > 1 or (forwarded and time.monotonic() - forwarded > GRACE):
                _kill(process)
        tick()
    return Ended(code, interrupted=bool(interrupts), given_up=wish == "kill")


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end of a process, at most so long."""
    if sys.platform == "linux" and process.poll() is None:
        # `wait` with a time-out looks twenty times a second, for as long as the suite runs.
        with suppress(OSError):  # an old kernel
            handle = os.pidfd_open(process.pid)
            try:
                end = select.poll()
                end.register(handle, select.POLLIN)
                return bool(end.poll(1000 * seconds))
            finally:
                os.close(handle)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The interrupts that came in while pytest ran; a cancelled job sends SIGINT, then SIGTERM."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's interface
        seen.append(number)

    former = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
