"""Shards by hand, as on any machine: planned, run one by one, merged by the tool."""

from __future__ import annotations

import json
import shutil

import pytest

# Each of them is several whole runs of pytest.
pytestmark = pytest.mark.e2e

SHOP = """
def price(count):
    if count > 10:
        return 1
    return 2
"""
TESTS = """
import pytest
import shop

@pytest.mark.parametrize("count", range(7))
def test_price(count):
    assert shop.price(count) == 2

def test_many():
    assert shop.price(11) == 1
"""


@pytest.fixture
def parts(observer, tmp_path):
    """Run a shard and give the folder that it leaves, as an artifact would be kept."""
    observer.write(shop=SHOP, test_shop=TESTS)
    observer.environ["SAVEPOINT_COVERAGE"] = "true"
    observer.environ["SAVEPOINT_PYTEST_ARGS"] += " -p pytest_cov"

    def run(shard: str, *arguments: str):
        done = observer.call("run", "--shard", shard, *arguments)
        kept = tmp_path / shard.replace("/", "of")
        shutil.copytree(observer.project / ".savepoint", kept, dirs_exist_ok=True)
        return done.returncode, kept

    return run


def test_shards_of_one_plan_run_every_test_once_and_their_coverage_is_that_of_all(observer, parts):
    planned = observer.call("plan", "--shards", "2")
    assert json.loads(planned.stdout) == ["1/2", "2/2"]
    plan = shutil.move(observer.project / ".savepoint" / "plan.json", observer.project / "plan.json")
    folders = []
    for shard in json.loads(planned.stdout):
        code, folder = parts(shard, "--plan", "plan.json", "--coverage-fail-under", "100")
        assert code == 0  # a shard is held to no limit
        folders.append(folder)
    totals = [json.loads((folder / "report.json").read_text())["counts"]["total"] for folder in folders]
    assert sum(totals) == 8
    given = observer.project / "given"
    given.mkdir()
    shutil.move(plan, given / "plan.json")
    done = observer.call("merge", given, *folders, "--coverage-fail-under", "100")
    assert done.returncode == 0, done.stdout
    assert observer.report["counts"]["passed"] == 8
    assert observer.report["coverage"]["total"] == 100
    assert [shard["result"] for shard in observer.report["shards"]] == ["green"] * 2
    assert (observer.project / ".savepoint" / "comment.md").read_text().count("8 tests passed") == 1


def test_shards_without_a_plan_agree_and_a_missing_one_fails_the_merge(observer, parts):
    # By the history that the first merge keeps, these would be cut in another way.
    observer.write(test_shop=TESTS.replace("    assert", "    import time; time.sleep(0.2)\n    assert", 1))
    code, first = parts("1/2")
    assert code == 0
    merged = observer.call("merge", first)
    assert merged.returncode == 1
    assert "Shard 2/2 left no report" in merged.stdout
    assert observer.report["counts"]["not_run"] == 4
    _, second = parts("2/2")
    assert observer.call("merge", first, second).returncode == 0
    assert observer.report["counts"]["passed"] == 8


def test_more_shards_than_tests_leave_some_with_nothing_to_do(observer, parts):
    code, _ = parts("9/9")
    assert code == 0
    assert observer.report["counts"]["total"] == 0


def test_plan_of_another_number_of_shards_is_refused(observer, parts):
    observer.call("plan", "--shards", "2")
    code, _ = parts("1/3", "--plan", ".savepoint/plan.json")
    assert code == 2
    assert "has 2 shards" in observer.report["failure"]["message"]
