"""What a failure depends on, found out by running real suites again and again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pytest_savepoint.diagnosis.comparison import Compared, explain
from savepoint_ci.rerun.judge import Judged, judge, judge_at_moment
from savepoint_ci.rerun.laboratory import Laboratory
from savepoint_ci.rerun.ran import Ran
from savepoint_ci.rerun.variation import FILE_ORDER, Variation, shell_command

pytestmark = pytest.mark.e2e

SUITE = """
import datetime, os, random
import pytest

seen = []

@pytest.fixture(scope="session", autouse=True)
def open_town():
    os.environ["TOWN"] = "open"
    yield
    del os.environ["TOWN"]

def test_empty(): assert not seen
def test_other(): pass
def test_fills(): os.environ["FULL"] = str(seen.append(1))
def test_another(): pass

def test_needs(): assert seen
def test_zone():
    assert abs(datetime.datetime.now() - datetime.datetime.utcnow()) < datetime.timedelta(hours=6)
def test_chance(): assert random.random() < 0.6
def test_broken(): assert 1 == 2
"""
NAMES = ("empty", "other", "fills", "another", "needs", "zone", "chance", "broken")


def nodeid(name: str) -> str:
    return f"test_it.py::test_{name}"


@pytest.fixture
def laboratory(make_laboratory) -> Laboratory:
    return make_laboratory(SUITE)


@pytest.fixture(scope="module")
def plain(make_laboratory) -> Ran:
    """The run in file order, with which all others are compared."""
    return make_laboratory(SUITE).run(FILE_ORDER.of([nodeid(each) for each in NAMES]))


def judged(laboratory: Laboratory, plain: Ran, name: str, variation: Variation) -> Judged:
    return judge(laboratory, nodeid(name), laboratory.run(variation), plain)


def test_the_polluter_among_others_is_found_and_its_command_fails(laboratory, plain):
    found = judged(laboratory, plain, "empty", Variation("mixed", tuple(map(nodeid, ("other", "fills", "another", "empty"))), seed=5))
    assert (found.kind, found.polluters) == ("order-dependent", (nodeid("fills"),))
    command = shell_command(found.worst, arguments=laboratory.command[3:])
    assert command.endswith("pytest_savepoint.plugin test_it.py::test_fills test_it.py::test_empty")
    assert laboratory.reproduces(command, nodeid("empty"))
    (finding,) = explain(Compared(found.nodeid, found.polluters, (), found.failing.facts, found.passing.facts, found.left))
    assert (finding.cause, finding.culprit.line) == ("state.process_state_leaked", 15)
    assert "test_it.seen, which" in finding.explanation, "not the variable, which nobody reads"


def test_the_test_without_which_another_fails_is_found_and_the_finding_is_at_the_victims_definition(laboratory, plain):
    found = judged(laboratory, plain, "needs", Variation("alone", (nodeid("needs"),)))
    assert (found.kind, found.setters) == ("order-dependent", (nodeid("fills"),))
    (finding,) = explain(Compared(found.nodeid, (), found.setters, found.failing.facts, found.passing.facts, found.left))
    assert (finding.cause, finding.culprit.line) == ("state.depends_on_earlier_test", 18)
    assert "it needs test_it.seen, which test_it.py::test_fills changed at test_it.py:15" in finding.explanation


@pytest.mark.parametrize(
    ("name", "kind", "variation"),
    [
        ("zone", "time", Variation("zone", zone="Etc/GMT-14")),
        ("broken", "broken", Variation("alone", (nodeid("broken"),))),
    ],
)
def test_circumstances_are_told_from_breakage(laboratory, plain, name, kind, variation):
    found = judged(laboratory, plain, name, variation)
    assert found.kind == kind
    assert found.worst.zone == variation.zone


CALENDAR = """
import datetime
from datetime import date

def test_renewal():
    today = date.today()
    assert today.replace(month=today.month % 12 + 1) > date(2000, 1, 1)

def test_overnight(): assert date.today() == datetime.datetime.now().date()
def test_deadline(): assert date.today() < date(2027, 1, 1)
"""


def test_failure_of_a_night_is_found_again_by_day(laboratory):
    (laboratory.project / "test_it.py").write_text(CALENDAR)
    night = laboratory.run(Variation("night", (nodeid("overnight"),), clock="2027-05-05T00:00:00"))
    seen = replace(night, variation=FILE_ORDER)
    found = judge(laboratory, nodeid("overnight"), seen, seen)
    assert (found.kind, found.worst.name) == ("time", "midnight")
    command = shell_command(found.worst, arguments=laboratory.command[3:])
    assert command.startswith("SAVEPOINT_CLOCK=")
    assert laboratory.reproduces(command, nodeid("overnight"))


def test_date_that_is_written_down_is_no_matter_of_the_calendar(laboratory):
    (laboratory.project / "test_it.py").write_text(CALENDAR)
    seen = laboratory.run(Variation("month-end", clock="2027-02-01T00:00:00"))
    assert set(seen.failures) == {nodeid("renewal"), nodeid("overnight"), nodeid("deadline")}
    assert judge_at_moment(laboratory, nodeid("deadline"), seen.variation) is None


LOOPS = {
    "session": """
import asyncio
import pytest_asyncio

@pytest_asyncio.fixture
async def loop(): return asyncio.get_running_loop()

async def test_loops(loop): assert loop is asyncio.get_running_loop()
""",
    "function": """
import asyncio
import pytest_asyncio

@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ticks(): return asyncio.create_task(asyncio.sleep(60))

async def test_loops(ticks): assert len(asyncio.all_tasks()) == 1
""",
}


@pytest.mark.parametrize(("scopes", "better"), [(("function", "session"), "session"), (("session", "session"), "function")])
def test_loops_on_which_it_passes_are_found(laboratory, scopes, better):
    (laboratory.project / "test_it.py").write_text(LOOPS[better])
    settings = [f"asyncio_default_{kind}_loop_scope = {scope}" for kind, scope in zip(("fixture", "test"), scopes, strict=True)]
    (laboratory.project / "pytest.ini").write_text("\n".join(["[pytest]", "asyncio_mode = auto", *settings]))
    seen = laboratory.run(FILE_ORDER.of([nodeid("loops")]))
    found = judge(laboratory, nodeid("loops"), seen, seen)
    assert (found.kind, found.passing.variation.loops) == ("loop-dependent", better)


def test_chance_is_flaky_and_its_rate_is_measured(laboratory, plain):
    seeds = (Variation("alone", (nodeid("chance"),), seed=seed) for seed in range(100))
    seen = next(ran for seed in seeds if (ran := laboratory.run(seed)).failures)
    found = judge(laboratory, nodeid("chance"), seen, plain)
    assert found.kind == "flaky"
