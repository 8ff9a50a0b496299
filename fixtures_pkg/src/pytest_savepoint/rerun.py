"""What a rerun varies inside pytest: which tests in which order, the seed, the load on the machine, the clock, and what earlier tests left."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_savepoint.evidence import EvidenceFile
from pytest_savepoint.loops.modules import Modules
from pytest_savepoint.loops.watch import Watch
from pytest_savepoint.told import Told

if TYPE_CHECKING:
    from pytest_savepoint.clock import Clock

__all__ = ["ClockOfTests", "Rerun"]

# Ends by itself when pytest is killed; it says that it has started, since a test may be over sooner than that takes.
_BURN = """
import os, sys
parent = os.getppid()
print(flush=True)
while os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


class Rerun:
    """Puts the tests into the order that was told, in each process that collects.

    :param watch: what was committed is asked of it, since a rerun compares tests that pass, too.
    """

    def __init__(self, config: pytest.Config, watch: Watch, told: Told) -> None:
        self._config = config
        self._watch = watch
        self._told = told
        self._burners: list[subprocess.Popen[bytes]] = []
        if told.put_back is not None:
            watch.left.modules = Modules(watch.caller)

    def pytest_configure(self) -> None:
        """Leave the order to us, and let no other plugin hide a failure by its own repetition."""
        option = self._config.option
        if hasattr(option, "randomly_reorganize"):
            option.randomly_reorganize = False
        if self._told.seed is not None and hasattr(option, "randomly_seed"):
            option.randomly_seed = int(self._told.seed)
        if hasattr(option, "reruns"):
            option.reruns = 0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, object, object]:
        others = yield
        if self._told.seed is not None:
            random.seed(int(self._told.seed))
        if self._told.order is None:
            return others
        wanted = Path(self._told.order).read_text(encoding="utf-8").splitlines()
        by_id: dict[str, list[pytest.Item]] = {}
        for item in items:
            by_id.setdefault(item.nodeid, []).append(item)
        chosen = [item for nodeid in wanted for item in by_id.pop(nodeid, ())]
        config.hook.pytest_deselected(items=[item for rest in by_id.values() for item in rest])
        items[:] = chosen
        return others

    def pytest_collection_finish(self) -> None:
        if self._told.load and not hasattr(self._config, "workerinput"):
            self._burners = [
                subprocess.Popen([sys.executable, "-S", "-E", "-c", _BURN], stdout=subprocess.PIPE)
                for _ in range(int(self._told.load))
            ]
            for burner in self._burners:
                assert burner.stdout is not None
                burner.stdout.readline()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self._told.put_back and item is item.session.items[-1]:
            self._watch.left.put_back(self._told.put_back)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        for burner in self._burners:
            burner.kill()
            burner.communicate()
        self._watch.recorder.note("committed", writes=self._watch.history.all_committed())

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self) -> None:
        """Add the facts to the evidence, for what can be told of several runs only."""
        scribe = self._config.pluginmanager.get_plugin("savepoint-scribe")
        file = EvidenceFile.from_environment()
        if scribe is not None and file is not None:
            file.append("facts", facts=scribe.facts)
            file.close()


class ClockOfTests:
    """Lets each test meet the moment that was told; from before the first conftest on, which may look at the clock, too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        clock.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._clock.begin()

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self._clock.stop()
