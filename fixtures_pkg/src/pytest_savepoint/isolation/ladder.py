"""Which isolation a test gets: a savepoint, unless it is known or found to need more.

A test that a savepoint cannot serve is run again one rung higher at once, and when it passes there, its nodeid goes into
a small file in the project, which is meant to be committed: the next run takes the test there directly. Where several
in a row had to climb for the same reason, it is their fixtures that need it, so the tests after them in the same file begin there.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Collection, Mapping
from pathlib import Path

__all__ = ["IN_A_LAYER", "LEARNED_FILE", "RUNGS", "Ladder", "load_learned", "save_learned"]

LEARNED_FILE = "savepoint-isolation.json"
RUNGS = ("savepoint", "rows", "clone")
_OWN_DATABASE = frozenset({"fresh_database", "sessions"})
"""Fixtures that hand out a database of the test's own."""
IN_A_LAYER = frozenset({"db_class_session", "db_module_session"})
"""Fixtures that keep data of a module or class in a transaction, which only a savepoint sees."""
_IN_A_ROW = 3
# Of lines and tasks, in which the same need may be told of two tests.
_NUMBER = re.compile(r"\d+")


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
        self._file = ""
        self._ends: deque[tuple[str, str]] = deque(maxlen=_IN_A_ROW)

    def rung(self, nodeid: str, marked: str | None, fixtures: Collection[str]) -> str:
        """The isolation of a test.

        :param marked: what its marker asks for.
        """
        named = self._climbed.get(nodeid) or self._named(nodeid, marked, fixtures)
        return named or self._beginning(nodeid)

    def _named(self, nodeid: str, marked: str | None, fixtures: Collection[str]) -> str | None:
        if marked is not None:
            return marked
        if not _OWN_DATABASE.isdisjoint(fixtures):
            return "clone"
        if self._setting != "auto":
            return self._setting
        return self._rungs[0] if not IN_A_LAYER.isdisjoint(fixtures) else self._learned.get(nodeid)

    def _beginning(self, nodeid: str) -> str:
        """The lowest rung; that of the tests before it in its file, when the last of them all had the same need."""
        needs = {need for _, need in self._ends}
        if _file_of(nodeid) != self._file or len(self._ends) < _IN_A_ROW or len(needs) > 1 or "" in needs:
            return self._rungs[0]
        return min((rung for rung, _ in self._ends), key=self._rungs.index)

    def passed(self, nodeid: str, marked: str | None, fixtures: Collection[str], reason: str) -> bool:
        """Note where a test passed; tell whether it began there because the tests before it had to climb there.

        :param reason: why it climbed, or ''.
        """
        if self._named(nodeid, marked, fixtures) is not None:
            return False
        rung = self.rung(nodeid, marked, fixtures)
        followed = nodeid not in self._climbed and rung != self._rungs[0]
        need = self._ends[-1][1] if followed else _NUMBER.sub("", reason.replace(nodeid, ""))
        # The first of another file tries the lowest again.
        self._file = _file_of(nodeid)
        self._ends.append((rung, need))
        return followed

    def climb(self, nodeid: str, rung: str, *, marked: bool) -> bool:
        """Take a test one rung higher than `rung`; False where somebody has chosen, or there is none."""
        if self._setting != "auto" or marked or rung not in self._rungs[:-1]:
            return False
        self._climbed[nodeid] = self._rungs[self._rungs.index(rung) + 1]
        return True

    def stay(self, nodeid: str, rung: str) -> None:
        """Take a test back to a rung that serves it."""
        self._climbed[nodeid] = rung

    def is_learned(self, nodeid: str) -> bool:
        """An earlier run found where the test can be served."""
        return nodeid in self._learned


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


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
