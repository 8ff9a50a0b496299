"""A pytest plugin that writes down when the first test began, and what one test in the middle of the run costs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from measure.processor import server_seconds

_FILE = "BENCH_CLOCK"
_SERVERS = "BENCH_SERVERS"
# Caches of statements, types and bytecode are filled by then.
_WARM_UP = 30


class _Clock:
    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self._begun = 0
        self._before: tuple[float, float] | None = None

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, nextitem: pytest.Item | None) -> Iterator[None]:
        self._begun += 1
        if self._begun == _WARM_UP:
            self._before = _now()
        # The last one also tears down the session's fixtures, so it is not counted.
        elif nextitem is None and self._before is not None:
            tests = self._begun - _WARM_UP
            self.facts["cpu"], self.facts["wall"] = ((b - a) / tests for a, b in zip(self._before, _now(), strict=True))
        yield

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        self.facts.setdefault("first_test", time.time())

    def pytest_unconfigure(self) -> None:
        Path(os.environ[_FILE]).write_text(json.dumps(self.facts))


def _now() -> tuple[float, float]:
    """Processor time of this process and the servers, and the time of day, in seconds."""
    return time.process_time() + server_seconds(map(int, os.environ[_SERVERS].split())), time.perf_counter()


def pytest_configure(config: pytest.Config) -> None:
    # Under xdist only the workers run tests; the example's suite is timed from outside.
    if _FILE in os.environ and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Clock(), "bench-clock")
