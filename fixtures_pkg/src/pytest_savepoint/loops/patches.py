"""Observing wrappers around other libraries' methods, put on and taken off again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Patches"]


class Patches:
    """Replaced attributes of classes and modules, to be restored in one call."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace `owner.name` by `make(owner.name)`; a library that has no such attribute is left as it is."""
        original = vars(owner).get(name)
        if not callable(original):
            return
        wrapper = make(original)
        # Attributes that introspection reads; functools.wraps would also copy state that must stay with the original.
        for attribute in ("__name__", "__qualname__", "__doc__", "__module__", "__signature__"):
            if hasattr(original, attribute):
                setattr(wrapper, attribute, getattr(original, attribute))
        wrapper.__wrapped__ = original  # type: ignore[attr-defined] # what inspect.signature follows
        try:
            setattr(owner, name, wrapper)
        except TypeError:
            return  # an immutable type, such as one written in C
        self._replaced.append((owner, name, original, wrapper))

    def restore(self) -> None:
        """Put every original back, except where somebody has wrapped ours since."""
        while self._replaced:
            owner, name, original, wrapper = self._replaced.pop()
            if vars(owner).get(name) is wrapper:
                setattr(owner, name, original)
