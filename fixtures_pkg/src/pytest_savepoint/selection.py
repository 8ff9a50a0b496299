"""Which of the collected tests a pytest process runs and which files come first, as the tool has decided.

The tool says it by two variables. `SAVEPOINT_COLLECTED` names the file that gets the collected tests, from which the
tool cuts shards. `SAVEPOINT_SELECTION` names the file with the cut and the order. Without them nothing is changed.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

__all__ = ["select_tests"]


def select_tests(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> None:
    """Put on a pytest process what the two variables ask for."""
    if collected := environ.get("SAVEPOINT_COLLECTED"):
        config.pluginmanager.register(_Collected(Path(collected)), "savepoint-collected")
    if selection := environ.get("SAVEPOINT_SELECTION"):
        asked = json.loads(Path(selection).read_text("utf-8"))
        # A pytest that a test starts inherits the variable, and has other tests.
        if Path(asked.pop("project")) == config.rootpath:
            config.pluginmanager.register(_Selection(**asked), "savepoint-selection")


class _Collected:
    """Writes down every test with its xdist group, and how xdist would hand them out."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        tests = [[item.nodeid, _group(item)] for item in session.items]
        found = {"distribution": session.config.getoption("dist", "no"), "tests": tests}
        self._file.write_text(json.dumps(found), "utf-8")


def _group(item: pytest.Item) -> str:
    """The name that xdist makes of the markers `xdist_group`; empty when there is none."""
    marks = item.iter_markers("xdist_group")
    names = {str(mark.args[0] if mark.args else mark.kwargs.get("name", "default")) for mark in marks}
    return "_".join(sorted(names))


class _Selection:
    """Keeps the tests of one shard, and lets the files with the longest tests come first.

    :param shard: counted from 1; None runs everything.
    :param shards: the tests of every shard. One that is in none, because a shard's machine collects what the plan's did
        not, goes to the shard that a hash of its name says, so that exactly one runs it.
    :param first: the place of each file; the others come after them, as collected.
    """

    def __init__(self, shard: int | None, shards: list[list[str]], first: list[str]) -> None:
        self._shard = shard
        self._count = len(shards)
        self._assigned = {nodeid: number for number, tests in enumerate(shards, 1) for nodeid in tests}
        self._place = {file: place for place, file in enumerate(first)}

    @pytest.hookimpl(tryfirst=True)  # before xdist puts groups into the names, and before a plugin that shuffles
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if self._shard is not None:
            others = [item for item in items if self._shard_of(item.nodeid) != self._shard]
            config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if self._shard_of(item.nodeid) == self._shard]
        items.sort(key=self._place_of)

    def _shard_of(self, nodeid: str) -> int:
        return self._assigned.get(nodeid) or zlib.crc32(nodeid.encode("utf-8", "surrogatepass")) % self._count + 1

    def _place_of(self, item: Any) -> int:
        return self._place.get(item.nodeid.partition("::")[0], len(self._place))
