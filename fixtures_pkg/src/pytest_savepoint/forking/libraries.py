"""Which modules of this process are libraries, the same in every process of a run."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import sysconfig
from collections.abc import Container, Iterable
from pathlib import Path
from types import ModuleType

__all__ = ["holds_only_libraries", "libraries", "local_packages", "marked_for_rewriting"]

_FOLDERS = (
    *{sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    # Wherever it lies, it is no part of the project.
    str(Path(__file__).resolve().parents[1]) + os.sep,
)
_PARTS_OF_PYTHON = ("built-in", "frozen")


def libraries(apart_from: Container[str]) -> list[str]:
    """The modules of this process that are the standard library's or installed, but not these."""
    return [name for name, module in list(sys.modules.items()) if name not in apart_from and _is_library(name, module)]


def local_packages() -> set[str]:
    """What was installed from a file or folder of this machine may be the project under test, whose import is measured."""
    local = {
        file.parts[0].removesuffix(".py")
        for distribution in importlib.metadata.distributions()
        if '"file:' in (distribution.read_text("direct_url.json") or "").replace('": "', '":"')
        for file in distribution.files or ()
    }
    return local - {"pytest_savepoint"}


def marked_for_rewriting() -> set[str]:
    """The modules and packages whose assertions pytest rewrites when they are imported."""
    return {name for finder in sys.meta_path for name in getattr(finder, "_must_rewrite", ())}


def holds_only_libraries(apart_from: Iterable[str]) -> bool:
    """Whether nothing was imported here but pytest's own door and libraries, and of them none of these packages."""
    modules = {name: module for name, module in list(sys.modules.items()) if name != "__main__"}
    if not modules.keys().isdisjoint(apart_from):
        return False
    origins = [_origin(module) for module in modules.values()]
    return all(origin is None or origin.startswith(_FOLDERS) for origin in origins)


def _is_library(name: str, module: ModuleType) -> bool:
    origin = _origin(module)
    return origin is not None and origin.startswith(_FOLDERS) and getattr(module, "__name__", None) == name


def _origin(module: ModuleType) -> str | None:
    """The file of a module that has one."""
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return origin if isinstance(origin, str) and origin not in _PARTS_OF_PYTHON else None
