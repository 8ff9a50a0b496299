"""One watch over loops, connections and tasks of this process, put on at start and taken off at the end."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.connections import Connections
from pytest_savepoint.loops.failures import Failures
from pytest_savepoint.loops.frames import Caller, code_of
from pytest_savepoint.loops.holders import Holders
from pytest_savepoint.loops.makers import Loops
from pytest_savepoint.loops.patches import Patches
from pytest_savepoint.loops.tasks import Tasks

__all__ = ["Watch"]


class Watch:
    """Records who makes and uses what the loops of this process carry.

    :param root: pytest's root folder; paths in facts are relative to it.
    """

    def __init__(self, recorder: Recorder, root: Path) -> None:
        self.recorder = recorder
        self.caller = Caller(root)
        self.loops = Loops(self.caller)
        self.connections = Connections(recorder, self.caller, self.loops)
        self.tasks = Tasks(recorder, self.caller, self.loops)
        self.failures = Failures(self.caller, self.loops, self.connections, self.tasks, Holders(self.caller))
        self._patches = Patches()

    def start(self) -> None:
        self.loops.install(self._patches)
        self.connections.install(self._patches)
        self.tasks.install(self._patches)

    def stop(self) -> None:
        self.connections.uninstall()
        self._patches.restore()

    def fixture(self, name: str, scope: str, function: Any) -> Fact | None:
        """Remember a fixture's function, so that what happens inside it carries its name."""
        code = code_of(function)
        if code is None or not self.caller.owns(code.co_filename):
            return None
        fact: Fact = {
            "name": name,
            "scope": scope,
            "loop_scope": getattr(function, "_loop_scope", None),
            "path": self.caller.path(code.co_filename),
            "line": code.co_firstlineno,
            "async": inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        }
        self.caller.register_fixture(code, fact)
        return fact

    def adopt_runner(self, value: Any, scope: str) -> None:
        """Remember the loop of a plugin's runner; older plugins hand out the loop itself."""
        loop = value.get_loop() if hasattr(value, "get_loop") else value
        if isinstance(loop, asyncio.AbstractEventLoop):
            self.loops.adopt(loop, "pytest-asyncio", scope)
