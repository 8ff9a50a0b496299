"""Suites that mark their own faults: a line that is to be found ends with the code of its finding."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from savepoint_ci.doctor import Problem, examine
from savepoint_ci.doctor.folder import read_folder

SUITES = Path(__file__).parent / "suites"


@pytest.fixture
def marked():
    """The marks of a folder, as (file, line, code)."""

    def marked(folder: Path) -> set[tuple[str, int, str]]:
        found = set()
        for path in folder.rglob("*.py"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if mark := re.search(r"# (SP\d{3})$", line):
                    found.add((path.relative_to(folder).as_posix(), number, mark[1]))
        return found

    return marked


@pytest.fixture
def problems():
    """What the doctor finds in a folder, with no rule broken."""

    def problems(folder: Path) -> list[Problem]:
        read = read_folder(folder)
        assert read.unread == ()
        return examine(read.project, on_fault=pytest.fail)

    return problems
