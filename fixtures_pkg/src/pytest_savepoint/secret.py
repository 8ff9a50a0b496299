"""A text that must not be seen."""

from __future__ import annotations

__all__ = ["Secret"]


class Secret(str):
    """A text that never shows itself: `repr` and `format` give `***`; `reveal()` gives the text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"

    def __format__(self, spec: str) -> str:
        return "***" if self else ""

    def __str__(self) -> str:
        return "***" if self else ""

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return "".join(self)
