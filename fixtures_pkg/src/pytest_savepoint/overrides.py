"""Stand-ins for services and repositories that are gone when the test ends, however it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

__all__ = ["Override"]


class Override:
    """Puts stand-ins into the application or into any object, until the test ends."""

    def __init__(self, app: Callable[[], Any], patch: pytest.MonkeyPatch) -> None:
        """
        :param app: gives the application under test; asked only when a dependency is overridden.
        :param patch: what undoes it.
        """
        self._app = app
        self._patch = patch

    def __call__(self, dependency: Callable[..., Any], replacement: Callable[..., Any]) -> None:
        """Let the application call `replacement` where a route depends on `dependency`.

        :param replacement: a dependency like any other: what it returns or yields is what the route gets.
        """
        overrides = getattr(self._app(), "dependency_overrides", None)
        if overrides is None:
            pytest.fail(
                "override(...) needs an application with dependency_overrides, as FastAPI's have.\n"
                "For others use override.attribute(target, name, value).",
                pytrace=False,
            )
        self._patch.setitem(overrides, dependency, replacement)

    def attribute(self, target: Any, name: str, value: Any) -> None:
        """Set an attribute of a module, class or object.

        :raises AttributeError: when it has no such attribute.
        """
        self._patch.setattr(target, name, value)
