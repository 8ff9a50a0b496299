"""Waits for libraries that the caller may import, at any time and in any thread, and may never import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["when_imported"]

_waiting: dict[str, list[Callable[[], None]]] = {}


def when_imported(name: str, call: Callable[[], None]) -> Callable[[], None]:
    """Call a function at once if a module is there already, else at the end of its import; give the way to call it off.

    :param name: such as `sqlalchemy.orm`.
    """
    if sys.modules.get(name) is not None:
        call()
        return lambda: None
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
    _waiting.setdefault(name, []).append(call)
    return lambda: _forget(name, call)


def _forget(name: str, call: Callable[[], None]) -> None:
    if call in _waiting.get(name, ()):
        _waiting[name].remove(call)
        if not _waiting[name]:
            _stop_waiting_for(name)


def _stop_waiting_for(name: str) -> list[Callable[[], None]]:
    calls = _waiting.pop(name, [])
    if not _waiting and _Finder in sys.meta_path:
        sys.meta_path.remove(_Finder)
    return calls


class _Finder:
    """Finds what is waited for where the others find it, and has its loader tell."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _waiting:
            return None
        others = (finder for finder in list(sys.meta_path) if finder is not _Finder and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _TellingLoader(spec.loader)
        return spec


class _TellingLoader(Loader):
    """Another loader, until the module is there; the module itself knows only the other."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for call in _stop_waiting_for(module.__name__):
            call()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
