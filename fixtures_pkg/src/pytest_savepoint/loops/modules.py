"""What the caller's modules keep, compared before and after a test; too slow for every run, and meant for reruns."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.patches import harmless

__all__ = ["Kept", "Modules"]

_DEEPEST = 2
_LARGEST = 1000


@dataclass(eq=False)
class Kept:
    """An attribute of a module, class or object, with what is in it; equal while all of it is the same, not only alike."""

    owner: Any
    attribute: str
    value: Any
    content: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kept) and self.value is other.value and _are_same(self.content, other.content)

    __hash__ = None  # type: ignore[assignment] # it holds what cannot be hashed

    @property
    def is_cache(self) -> bool:
        """Whether it is a function that remembers what it returned."""
        return hasattr(self.value, "cache_clear")

    def put_back(self) -> None:
        """Give the attribute the value that it had, with what was in it."""
        if isinstance(self.owner, ModuleType | type):
            setattr(self.owner, self.attribute, self.value)
        else:
            vars(self.owner)[self.attribute] = self.value
        if isinstance(self.value, list) and self.content is not None:
            self.value[:] = self.content
        elif isinstance(self.value, dict | set) and self.content is not None:
            self.value.clear()
            self.value.update(self.content)
        elif self.is_cache:
            self.value.cache_clear()


class Modules:
    """Attributes by name, such as `shop.mail.sent` or `shop.settings.settings.debug`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._picture: dict[str, Kept] = {}

    def begin(self) -> None:
        """A test starts."""
        self._picture = self._take() or {}

    def changed(self) -> dict[str, Kept]:
        """What was there before the test and is not the same any more, as it was."""
        now = self._take() or {}
        return {name: kept for name, kept in self._picture.items() if name not in now or now[name] != kept}

    def now(self, name: str) -> Kept | None:
        """An attribute as it is."""
        return (self._take() or {}).get(name)

    @harmless
    def _take(self) -> dict[str, Kept]:
        modules = {
            name: module
            for name, module in list(sys.modules.items())
            if isinstance(module, ModuleType) and self._caller.owns(getattr(module, "__file__", None) or "")
        }
        seen: set[int] = set()
        return {name: kept for each in modules.values() for name, kept in _kept_by(each, each.__name__, modules, seen)}


def _kept_by(
    owner: Any, prefix: str, modules: dict[str, ModuleType], seen: set[int], depth: int = 0
) -> Iterator[tuple[str, Kept]]:
    for attribute, value in list(vars(owner).items()):
        if attribute.startswith("__"):
            continue
        name = f"{prefix}.{attribute}"
        yield name, Kept(owner, attribute, value, _content(value))
        kind = value if isinstance(value, type) else type(value)
        inside = kind.__module__ in modules and hasattr(value, "__dict__")
        if inside and depth < _DEEPEST and id(value) not in seen:
            seen.add(id(value))
            yield from _kept_by(value, name, modules, seen, depth + 1)


def _content(value: Any) -> Any:
    if isinstance(value, dict | list | set):
        return value.copy() if len(value) <= _LARGEST else None
    return value.cache_info().currsize if hasattr(value, "cache_info") and hasattr(value, "cache_clear") else None


def _are_same(one: Any, other: Any) -> bool:
    """Whether two copies hold the very same objects; the caller's own comparisons may do anything."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(value is other[key] for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is, one, other))
    return bool(one == other)


def _is(one: object, other: object) -> bool:
    return one is other
