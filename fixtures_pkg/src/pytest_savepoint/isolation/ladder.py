"""Which isolation a test gets: a savepoint, unless it is known or found to need more.

A test that a savepoint cannot serve is run again one rung higher at once, and when it passes there, its nodeid goes into
a small file in the project, which is meant to be committed: the next run takes the test there directly.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

__all__ = ["LEARNED_FILE", "RUNGS", "Ladder", "load_learned", "save_learned"]

LEARNED_FILE = "savepoint-isolation.json"
RUNGS = ("savepoint", "rows", "clone")
_OWN_DATABASE = frozenset({"fresh_database", "sessions"})
"""Fixtures that hand out a database of the test's own."""


class Ladder:
    """The rungs of one suite."""

    def __init__(self, setting: str, learned: Mapping[str, str], rungs: tuple[str, ...]) -> None:
        """
        :param setting: the isolation that the settings name; `auto` begins on the lowest rung.
        :param learned: rungs by nodeid, as an earlier run found them; one that is not there any more is the highest.
        :param rungs: those that the database has.
        """
        self._setting = setting
        self._rungs = rungs
        self._learned = {nodeid: rung if rung in rungs else rungs[-1] for nodeid, rung in learned.items()}
        self._climbed: dict[str, str] = {}

    def rung(self, nodeid: str, marked: str | None, fixtures: Collection[str]) -> str:
        """The isolation of a test.

        :param marked: what its marker asks for.
        """
        if nodeid in self._climbed:
            return self._climbed[nodeid]
        if marked is not None:
            return marked
        if not _OWN_DATABASE.isdisjoint(fixtures):
            return "clone"
        if self._setting != "auto":
            return self._setting
        return self._learned.get(nodeid, self._rungs[0])

    def climb(self, nodeid: str, rung: str, *, marked: bool) -> bool:
        """Take a test one rung higher than `rung`; False where somebody has chosen, or there is none."""
        if self._setting != "auto" or marked or rung not in self._rungs[:-1]:
            return False
        self._climbed[nodeid] = self._rungs[self._rungs.index(rung) + 1]
        return True


def load_learned(project: Path) -> dict[str, str]:
    """The rungs that the project's file names; one that is damaged or missing names none."""
    try:
        tests = json.loads((project / LEARNED_FILE).read_text(encoding="utf-8"))["tests"]
        return {str(nodeid): rung for nodeid, rung in tests.items() if rung in RUNGS}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def save_learned(project: Path, learned: Mapping[str, str]) -> None:
    """Write the project's file, in an order that makes small differences."""
    text = json.dumps({"version": 1, "tests": dict(sorted(learned.items()))}, indent=2, ensure_ascii=False)
    (project / LEARNED_FILE).write_text(text + "\n", encoding="utf-8")
