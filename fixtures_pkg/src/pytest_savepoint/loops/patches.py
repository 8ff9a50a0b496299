"""Observing wrappers around other libraries' methods, put on and taken off again."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

__all__ = ["Patches", "harmless", "harmlessly"]

Function = TypeVar("Function", bound=Callable[..., Any])


def harmless(observe: Function) -> Function:
    """Let an observation that fails come back with None: our mistake must not become the suite's."""

    @functools.wraps(observe)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return observe(*args, **kwargs)
        except Exception:  # noqa: BLE001 # whatever it is, the caller's code goes on
            return None

    return guarded  # type: ignore[return-value] # the same parameters


def harmlessly(observations: Iterable[Callable[[], None]]) -> None:
    """Make observations one after the other; one that fails keeps nothing from the others, nor from the suite."""
    for observe in observations:
        try:  # noqa: SIM105 # a context manager around each costs more than most of them
            observe()
        except Exception:  # noqa: BLE001, PERF203, S110 # as above
            pass


class Patches:
    """Replaced attributes of classes and modules, and listeners of SQLAlchemy's, to be taken off in one call."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any, Any]] = []
        self._listeners: list[tuple[Any, str, Callable[..., Any]]] = []

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

    def listen(self, target: Any, name: str, listener: Callable[..., Any], *, first: bool = False) -> None:
        """Listen to one of SQLAlchemy's events.

        :param first: before all others; one of them may answer and end the round.
        """
        from sqlalchemy import event

        event.listen(target, name, listener, insert=first)
        self._listeners.append((target, name, listener))

    def restore(self) -> None:
        """Take off what listens and put every original back, except where somebody has wrapped ours since."""
        while self._listeners:
            target, name, listener = self._listeners.pop()
            sys.modules["sqlalchemy.event"].remove(target, name, listener)
        while self._replaced:
            owner, name, original, wrapper = self._replaced.pop()
            if vars(owner).get(name) is wrapper:
                setattr(owner, name, original)
