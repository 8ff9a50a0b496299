"""The transactions of modules and classes around their tests, and the SQL with which a test begins and ends in them."""

from __future__ import annotations

__all__ = ["Layers"]

_BEGIN = "SAVEPOINT sp_0"
_UNDO = "ROLLBACK TO SAVEPOINT sp_0; ROLLBACK"
_UNDO_IN_LAYER = "ROLLBACK TO SAVEPOINT test; RELEASE SAVEPOINT test"
_KEEP_IN_LAYER = "ROLLBACK TO SAVEPOINT sp_0; RELEASE SAVEPOINT test"


class Layers:
    """Which layers are open, each within the one before; a layer is on the server from the first statement in it on."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._begun = 0
        self.lost: str | None = None
        """The layer whose rows are gone with the connection, until the outermost closes."""

    @property
    def innermost(self) -> str | None:
        """The module or class whose layer was opened last and is open."""
        return self._names[-1] if self._names else None

    @property
    def are_begun(self) -> bool:
        """The server has a transaction for at least one of them."""
        return self._begun > 0

    def open(self, name: str) -> None:
        self._names.append(name)

    def close(self) -> str:
        """Leave the innermost layer; gives the SQL that undoes what its fixtures did, or ''."""
        self._names.pop()
        left = len(self._names)
        if not left:
            self.lost = None
        if self._begun <= left:
            return ""
        self._begun = left
        return f"ROLLBACK TO SAVEPOINT layer_{left}; RELEASE SAVEPOINT layer_{left}" if left else "ROLLBACK"

    def lose(self) -> None:
        """The connection is gone."""
        if self._begun:
            self.lost = self.lost or self.innermost
        self._begun = 0

    def begin_test(self) -> str:
        """The SQL that isolates a test, with the layers that have begun nothing yet."""
        if not self._names:
            return f"BEGIN; {_BEGIN}"
        outer = [f"SAVEPOINT layer_{number}" if number else "BEGIN" for number in range(self._begun, len(self._names))]
        self._begun = len(self._names)
        return "; ".join([*outer, "SAVEPOINT test", _BEGIN])

    def end_test(self, *, keep: bool) -> str:
        """The SQL that undoes a test; it fails exactly when somebody ended the transaction around its savepoint.

        :param keep: undo only what was not committed, and give what was to the layer.
        """
        if not self._names:
            return _UNDO
        return _KEEP_IN_LAYER if keep else _UNDO_IN_LAYER
