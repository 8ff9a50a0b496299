"""Whoever is killed in the middle of a run: what ran is told, the next run works, and nothing of ours stays."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path

import pytest
from programs import LEAN

pytestmark = pytest.mark.e2e

PROJECT = {
    "pyproject.toml": """
[tool.savepoint]
metadata = "models:Base"
[tool.pytest.ini_options]
asyncio_mode = "auto"
pythonpath = ["."]
""",
    "models.py": """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase): pass

class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
""",
    "test_things.py": """
import pytest
from models import Thing
from sqlalchemy import func, select

@pytest.mark.parametrize("number", range(20))
async def test_committed_row_is_gone_afterwards(db_session, number):
    assert await db_session.scalar(select(func.count(Thing.id))) == 0
    db_session.add(Thing(id=1))
    await db_session.commit()
""",
}
EXITS = {  # of plain pytest, and of the tool
    "controller": (-signal.SIGKILL, 1),
    "worker": (1, 1),
    "server": (1, 3),
}


@pytest.mark.parametrize("victim", EXITS)
def test_killed_in_the_middle(victim, project):
    for name, text in PROJECT.items():
        (project.project / name).write_text(text)
    order = project.project.parent / "order"
    plugins = shlex.join([*LEAN, "-p", "pytest_savepoint.plugin", "-p", "kill_once"])
    project.environ |= {
        "KILL_ONCE": str(order), "PYTEST_ADDOPTS": plugins, "SAVEPOINT_PYTHON": sys.executable,
        "SAVEPOINT_INSTALL": "none", "SAVEPOINT_WORKERS": "2", "SAVEPOINT_COVERAGE": "false", "SAVEPOINT_RERUN_BUDGET": "0",
    }  # fmt: skip
    exit_of_pytest, exit_of_tool = EXITS[victim]

    order.write_text(victim)
    run = project.start_pytest(Path(sys.executable), "-n", "2")
    printed, _ = run.communicate()
    assert run.returncode == exit_of_pytest, printed
    assert not order.exists()
    if victim == "server":
        assert "savepoint: warning: The databases of run" in printed

    order.write_text(victim)
    code, log = project.tool("run")
    assert code == exit_of_tool, log
    assert not order.exists()
    report = json.loads((project.project / ".savepoint" / "report.json").read_text())
    assert report["counts"]["passed"] >= 5

    code, log = project.tool("run", "--workers", "0")
    assert code == 0, log
    code, log = project.tool("clean")
    assert code == 0, log
    assert project.servers() == []
