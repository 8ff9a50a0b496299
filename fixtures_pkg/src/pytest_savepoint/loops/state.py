"""Process-wide state that a test or fixture changed and did not put back."""

from __future__ import annotations

import contextvars
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.patches import harmless

__all__ = ["State"]

_MISSING: Any = object()

Picture = tuple[contextvars.Context, dict[str, dict[Any, Any]]]


class State:
    """Compares context variables and dependency overrides before and after each test and each fixture."""

    def __init__(self, recorder: Recorder, caller: Caller, describe: Callable[[], Fact | None]) -> None:
        """:param describe: gives the function of the test that runs, with its source."""
        self._recorder = recorder
        self._describe = describe
        self._caller = caller
        self._modules = 0
        self.leaks: deque[Fact] = deque(maxlen=20)
        """The context variables that the tests of this process left behind, latest last."""
        self._applications: dict[str, Any] = {}
        self._before: Picture | None = None
        self._set_by: dict[str, Callable[[], Fact | None]] = {}

    def picture(self) -> Picture:
        """The state as it is now; cheap enough for every fixture."""
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            self._applications = dict(self._find_applications())
        overrides = {}
        for name, app in self._applications.items():
            overrides[name] = dict(app.dependency_overrides)
        return contextvars.copy_context(), overrides

    def application(self, app: Any) -> str | None:
        """The name of an application of the caller, as it stands in facts."""
        return next((name for name, known in self._applications.items() if known is app and app is not None), None)

    def begin(self) -> None:
        """A test starts."""
        self._before = self.picture()
        self._set_by.clear()

    @harmless
    def fixture_done(self, before: Picture, describe: Callable[[], Fact | None]) -> None:
        """A fixture was set up; what changed since `before` is its doing.

        :param describe: gives the fixture with its source, which takes longer than most fixtures.
        """
        for name, _ in _changes(before, self.picture()):
            self._set_by[name] = describe

    def end(self) -> None:
        """A test is over, with its teardown; what is still changed has leaked."""
        before, self._before = self._before, None
        if before is None:
            return
        for name, value in _changes(before, self.picture()):
            kind, _, variable = name.partition(" ")
            setter = self._set_by.get(name)
            fact = self._recorder.note(
                f"{kind}_leaked",
                name=variable,
                value=value,
                fixture=setter() if setter is not None else None,
                function=self._describe(),
            )
            if kind == "context":
                self.leaks.append(fact)

    def _find_applications(self) -> list[tuple[str, Any]]:
        found: dict[int, tuple[str, Any]] = {}
        for module in list(sys.modules.values()):
            filename = getattr(module, "__file__", None)
            if not isinstance(filename, str) or not self._caller.owns(filename):
                continue
            for name, value in list(vars(module).items()):
                if isinstance(getattr(value, "__dict__", {}).get("dependency_overrides"), dict):
                    found.setdefault(id(value), (f"{module.__name__}.{name}", value))
        return list(found.values())


def _shown(value: Any) -> str:
    """A plain value as people write it; of anything else the type, since its repr may take long."""
    return repr(value)[:80] if value is None or isinstance(value, str | int | float) else f"a {type(value).__name__}"


def _changes(before: Picture, after: Picture) -> list[tuple[str, str]]:
    if _is_equal(before, after):
        return []
    changed = [
        (f"context {variable.name}", _shown(value))
        for variable, value in after[0].items()
        if before[0].get(variable, _MISSING) is not value
    ]
    for name, overrides in after[1].items():
        earlier = before[1].get(name, {})
        changed += [
            (f"override {name}[{getattr(key, '__qualname__', key)}]", "")
            for key, value in overrides.items()
            if earlier.get(key, _MISSING) is not value
        ]
    return changed


def _is_equal(before: Picture, after: Picture) -> bool:
    try:
        return before == after
    except Exception:  # noqa: BLE001 # a value of the caller's may refuse to be compared
        return False
