"""What the tool has decided is what pytest runs: one shard's tests, files in order, and every test in one shard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from programs import LEAN

# Whole runs of pytest, or of migrations, which take seconds.
pytestmark = pytest.mark.e2e

SOURCE = Path(__file__).parents[2] / "fixtures_pkg" / "src"
MODULE = "import pytest\n\n@pytest.mark.parametrize('n', range(3))\ndef test_it(n): pass\n"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run two files of three tests each with a selection, and give the names in the order in which they ran."""
    for name in ("test_a", "test_b"):
        pytester.makepyfile(**{name: MODULE})
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))

    def run(*arguments: str, project: Path | None = None, **selection: object) -> list[str]:
        file = pytester.path / "selection.json"
        asked = {"project": str(project or pytester.path), "shard": None, "shards": [], "first": [], **selection}
        file.write_text(json.dumps(asked))
        monkeypatch.setenv("SAVEPOINT_SELECTION", str(file))
        plugins = ("-p", "no:savepoint", "-p", "pytest_savepoint.plugin", "-p", "no:cacheprovider", *LEAN, "--savepoint-isolation=none")
        done = pytester.runpytest_subprocess("-v", "--rootdir", str(pytester.path), *plugins, *arguments)
        return [line.split()[0] for line in done.outlines if " PASSED" in line]

    return run


def names(*chosen: str) -> list[str]:
    return [f"test_{each[0]}.py::test_it[{each[1]}]" for each in chosen]


def test_only_the_tests_of_the_shard_run_and_one_that_no_plan_knows_in_exactly_one_shard(run):
    shards = [names("a0", "b2"), names("a1", "b0")]
    first, second = run(shard=1, shards=shards), run(shard=2, shards=shards)
    unknown = set(names("a2", "b1"))
    assert [name for name in first if name not in unknown] == names("a0", "b2")
    assert [name for name in second if name not in unknown] == names("a1", "b0")
    assert sorted([*first, *second]) == names("a0", "a1", "a2", "b0", "b1", "b2")


def test_files_come_in_the_order_that_was_asked_for_and_tests_within_one_as_they_are(run):
    assert run(first=["test_b.py"]) == names("b0", "b1", "b2", "a0", "a1", "a2")


def test_pytest_of_another_project_inherits_the_variable_and_heeds_it_not(run, tmp_path):
    assert len(run(project=tmp_path / "other", shard=1, shards=[[], names("a0")])) == 6
