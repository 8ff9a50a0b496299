"""Says at once which test a process begins, and, when it is asked by a signal, where the process stands."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from pathlib import Path
from typing import IO, Any

import pytest

from pytest_savepoint.evidence import EVIDENCE_VARIABLE, EvidenceFile
from pytest_savepoint.loops.patches import harmless
from pytest_savepoint.loops.watch import Watch

__all__ = ["Progress"]

_ASK = getattr(signal, "SIGUSR1", None)


class Progress:
    """Writes to the evidence file from the process that runs the test, since a stuck one sends no reports any more."""

    def __init__(self, config: pytest.Config, watch: Watch, file: EvidenceFile) -> None:
        self._config = config
        self._watch = watch
        self._file = file
        self._stacks: IO[str] | None = None

    def pytest_sessionstart(self) -> None:
        # Who has a use for the signal keeps it; such a process is named without its stacks.
        is_main = threading.current_thread() is threading.main_thread()
        if _ASK is not None and is_main and signal.getsignal(_ASK) is signal.SIG_DFL:
            self._stacks = Path(f"{os.environ[EVIDENCE_VARIABLE]}.stacks").open("a", encoding="utf-8")  # noqa: SIM115 - faulthandler needs it open
            # Python runs its handlers between two steps of a program, faulthandler also in the middle of a call into C.
            signal.signal(_ASK, lambda *_: self._tell())
            faulthandler.register(_ASK, file=self._stacks, all_threads=True, chain=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if not self._config.pluginmanager.has_plugin("dsession"):
            self._file.append("started", nodeid=nodeid, worker=self._watch.recorder.worker, pid=os.getpid())

    @harmless
    def _tell(self) -> None:
        tasks = [
            f"{task['name']} waits at {' <- '.join(_place(site) for site in reversed(task['waiting_at']))}"
            for task in self._watch.tasks.pending()
            if task["waiting_at"]
        ]
        self._file.append("stuck", worker=self._watch.recorder.worker, tasks=tasks[:20])

    def pytest_unconfigure(self) -> None:
        if self._stacks is not None and _ASK is not None:
            faulthandler.unregister(_ASK)
            signal.signal(_ASK, signal.SIG_DFL)
            self._stacks.close()
            self._stacks = None
        self._file.close()


def _place(site: dict[str, Any]) -> str:
    return f"{site['path']}:{site['line']} ({site['name']})"
