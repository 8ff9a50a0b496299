"""Values that the caller's code makes once and keeps for the process, with the environment in which each was made."""

from __future__ import annotations

import os
import re
import sys
from types import ModuleType
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller, code_of

__all__ = ["Caches"]

_SHORTEST = 3
_ENDS = re.compile(r"\}(_\w+)[\"']")  # of a name that is put together: f"{partner}_URL"


class Caches:
    """Follows functions under lru_cache and globals that were None or {} at import; looks at sizes and names, not at values."""

    def __init__(self, recorder: Recorder, caller: Caller) -> None:
        self._recorder = recorder
        self._caller = caller
        self._modules: set[str] = set()
        self._functions: dict[str, Any] = {}
        self._empty: dict[str, tuple[ModuleType, str]] = {}
        self._sizes: dict[str, int] = {}
        self._filled: dict[str, tuple[str, dict[str, str]]] = {}  # by name: the test, and the environment it had then

    def look(self) -> None:
        """See what the test that runs now has filled or emptied."""
        if len(sys.modules) != len(self._modules):
            self._find()
        for name, function in self._functions.items():
            self._count(name, function.cache_info().currsize)
        for name, (module, attribute) in self._empty.items():
            value = vars(module).get(attribute)
            self._count(name, len(value) if isinstance(value, dict) else int(value is not None))

    def _count(self, name: str, size: int) -> None:
        """Compare with the look before, and remember who filled it last."""
        before = self._sizes.get(name, 0)
        if size == before:
            return
        self._sizes[name] = size
        if not size:
            self._filled.pop(name, None)
        elif size > before:
            self._filled[name] = self._recorder.test, _environment()

    def _find(self) -> None:
        for name in sys.modules.keys() - self._modules:
            self._modules.add(name)
            module = sys.modules.get(name)
            filename = getattr(module, "__file__", None)
            if not isinstance(module, ModuleType) or not isinstance(filename, str) or not self._caller.owns(filename):
                continue
            for attribute, value in list(vars(module).items()):
                if (value is None or (type(value) is dict and not value)) and not attribute.startswith("__"):
                    self._empty[f"{name}.{attribute}"] = module, attribute
                elif hasattr(value, "cache_info") and hasattr(value, "__wrapped__"):
                    self._functions[f"{value.__module__}.{value.__qualname__}"] = value
        self._modules &= sys.modules.keys()

    def outdated(self, test: str, functions: list[Any]) -> list[Fact]:
        """The values from earlier tests, made under another environment than now, that functions use.

        :param functions: what the failing test can get at.
        """
        now = _environment()
        found = []
        for name, (filler, then) in self._filled.items():
            changed = sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))
            user = self._user(name, functions)
            changed = [key for key in changed if user is not None and _is_read(key, user["function"], self._caller)]
            if filler != test and changed and user is not None:
                found.append({"name": name, "test": filler, "changed": changed[:10], **user})
        return found

    def _user(self, name: str, functions: list[Any]) -> Fact | None:
        """The cached function, or the one that fills the global, when it is among those used."""
        cached = self._functions.get(name)
        module, attribute = self._empty.get(name, (None, ""))
        for function in functions:
            code = code_of(function)
            if code is None:
                continue
            if cached is not None and code is code_of(cached):
                return {"function": self._caller.function(code), "attribute": None}
            if module is not None and function.__globals__ is vars(module) and attribute in code.co_names:
                return {"function": self._caller.function(code), "attribute": attribute}
        return None


def _is_read(variable: str, function: Fact, caller: Caller) -> bool:
    """Whether the module of a function names an environment variable, or a settings class's field for it."""
    text = caller.text(function["path"]).lower()
    name = variable.lower()
    if "environ" in text and any(name.endswith(end) for end in _ENDS.findall(text)):
        return True
    tails = [name, *(name[at + 1 :] for at, letter in enumerate(name) if letter == "_")]
    return any(re.search(rf"\b{re.escape(tail)}\b", text) for tail in tails if len(tail) > _SHORTEST)


def _environment() -> dict[str, str]:
    # pytest's own change with every test and phase.
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
