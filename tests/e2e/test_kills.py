"""Whoever is killed in the middle of a run: what ran is told, the next run works, and nothing of ours stays."""

from __future__ import annotations

import json
import signal

import pytest

pytestmark = pytest.mark.e2e

TESTS = "tests/repositories"
EXITS = {  # of plain pytest, and of the tool
    "controller": (-signal.SIGKILL, 1),
    "worker": (1, 1),
    "server": (1, 3),
}


@pytest.mark.parametrize("victim", EXITS)
def test_killed_in_the_middle(victim, example, make_environment):
    python = make_environment("newest", *example.requirements)
    order = example.project.parent / "order"
    example.environ |= {
        "KILL_ONCE": str(order), "PYTEST_ADDOPTS": "-p pytest_savepoint.plugin -p kill_once",
        "SAVEPOINT_PYTHON": str(python), "SAVEPOINT_INSTALL": "none", "SAVEPOINT_WORKERS": "2",
        "SAVEPOINT_COVERAGE": "false", "SAVEPOINT_RERUN_BUDGET": "0",
    }  # fmt: skip
    exit_of_pytest, exit_of_tool = EXITS[victim]

    order.write_text(victim)
    run = example.start_pytest(python, "-n", "2", TESTS)
    printed, _ = run.communicate()
    assert run.returncode == exit_of_pytest, printed
    assert not order.exists()
    if victim == "server":
        assert "savepoint: warning: The databases of run" in printed

    order.write_text(victim)
    code, log = example.tool("run", "--", TESTS)
    assert code == exit_of_tool, log
    assert not order.exists()
    report = json.loads((example.project / ".savepoint" / "report.json").read_text())
    assert report["counts"]["passed"] >= 5

    code, log = example.tool("run", "--", TESTS)
    assert code == 0, log
    code, log = example.tool("clean")
    assert code == 0, log
    assert example.servers() == []
