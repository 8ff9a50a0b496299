"""Puts the two observers on a pytest process.

A `Witness` sits in each process that runs tests and attaches what it recorded to pytest's own reports, so the facts of
a test travel with its outcome. A `Scribe` sits in the process that talks to the user; it writes the evidence file, asks
for the diagnosis and shows the findings.
"""

from __future__ import annotations

from collections.abc import Container
from importlib.util import find_spec
from typing import Any

import pytest

from pytest_savepoint.evidence import EvidenceFile, Recorder
from pytest_savepoint.loops.watch import Watch
from pytest_savepoint.phases import Phases
from pytest_savepoint.progress import Progress
from pytest_savepoint.queries import Queries
from pytest_savepoint.rerun import ClockOfTests, Rerun
from pytest_savepoint.scribe import HANDED_OVER, Scribe
from pytest_savepoint.silence_marker import SilenceMarkers
from pytest_savepoint.told import Told
from pytest_savepoint.witness import Witness

__all__ = ["observe", "sent_past_engines", "start_watching"]

_WATCH = pytest.StashKey[Watch]()


def start_watching(config: pytest.Config) -> None:
    """Watch this process from now on; before the first conftest is imported, since it may make engines and locks."""
    if _WATCH not in config.stash:
        watch = config.stash[_WATCH] = Watch(Recorder(), config.rootpath)
        watch.start()
        # time-machine replaces the same functions, in C.
        if (moment := Told().clock) and find_spec("time_machine") is None:
            _shift_clock(config, watch, moment)


def _shift_clock(config: pytest.Config, watch: Watch, moment: str) -> None:
    from pytest_savepoint.clock import Clock  # noqa: PLC0415 # ctypes is for reruns only

    clock = Clock(moment, owns=watch.caller.owns, looked=lambda: watch.recorder.note("clock_looked"))
    config.pluginmanager.register(ClockOfTests(clock), "savepoint-clock")


def sent_past_engines(config: pytest.Config, nodeid: str, phases: Container[str]) -> bool:
    """Whether a test has sent statements on a connection that it made with the driver itself, as far as it was watched.

    :param phases: setup, call or teardown.
    """
    return _WATCH in config.stash and config.stash[_WATCH].history.sent_past_engines(nodeid, phases)


def observe(config: pytest.Config, isolation: str, queries: Queries, *, memory: bool = False) -> None:
    """Record what happens in this pytest process, and show what was found where the user can see it.

    :param isolation: how tests are undone, as it stands in the evidence.
    :param queries: counts what each test asks of the database.
    :param memory: whether allocations are traced, to name the lines whose objects stay.
    """
    start_watching(config)
    watch = config.stash[_WATCH]
    if memory:
        watch.growth.trace(watch.caller)
    file = EvidenceFile.from_environment()
    if hasattr(config, "workerinput"):
        output: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined] # xdist's
        watch.recorder.worker = config.workerinput["workerid"]
        witness = Witness(config, watch, isolation, queries, lambda facts: output.update({HANDED_OVER: facts}))
    else:
        scribe = Scribe(config, isolation, file)
        config.pluginmanager.register(scribe, "savepoint-scribe")
        read = file is not None or bool(config.getoption("tx", None))
        if read:
            config.pluginmanager.register(Phases(file, scribe.add), "savepoint-phases")
        witness = Witness(config, watch, isolation, queries, scribe.add, attaches=read)
    config.pluginmanager.register(witness, "savepoint-witness")
    config.pluginmanager.register(SilenceMarkers(watch.recorder), "savepoint-silence")
    if file is not None:
        config.pluginmanager.register(Progress(config, watch, file), "savepoint-progress")
    if told := Told():
        config.pluginmanager.register(Rerun(config, watch, told), "savepoint-rerun")
