"""A plan gives every test to exactly one shard, shards of equal time, and keeps together what xdist keeps together."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from savepoint_ci.shards.plan import CollectedTest, PlanError, cut, how_many, parse_plan, plan_json

NAMES = st.lists(st.text(max_size=20), unique=True, min_size=1, max_size=60)


def suite(*nodeids: str) -> list[CollectedTest]:
    return [CollectedTest(nodeid) for nodeid in nodeids]


@given(NAMES, st.integers(1, 300), st.dictionaries(st.text(max_size=20), st.floats(0, 1e6)))
def test_every_test_is_in_exactly_one_shard_and_no_shard_is_empty(nodeids, shards, durations):
    plan = cut(suite(*nodeids), durations, shards)
    assert sorted(nodeid for shard in plan.shards for nodeid in shard) == sorted(nodeids)
    assert all(plan.shards)
    assert len(plan.shards) == min(shards, len(nodeids), 256)


@given(NAMES, st.integers(1, 20), st.randoms(use_true_random=False))
def test_order_of_collection_decides_nothing_but_the_order_within_a_shard(nodeids, shards, chance):
    durations = {nodeid: float(len(nodeid)) for nodeid in nodeids}
    shuffled = chance.sample(nodeids, len(nodeids))
    one, other = cut(suite(*nodeids), durations, shards), cut(suite(*shuffled), durations, shards)
    assert list(map(set, one.shards)) == list(map(set, other.shards))
    assert one.shards[0] == tuple(nodeid for nodeid in nodeids if nodeid in one.shards[0])


def test_longest_shard_takes_at_most_a_twentieth_more_than_the_mean():
    chance = random.Random(7)
    durations = {f"test_{number}": chance.lognormvariate(-2, 1.5) for number in range(10_000)}
    plan = cut(suite(*durations), durations, 50)
    assert max(plan.seconds) <= 1.05 * sum(plan.seconds) / 50
    real = [sum(durations[nodeid] for nodeid in shard) for shard in plan.shards]
    assert plan.seconds == pytest.approx(real, abs=0.6)


@pytest.mark.parametrize(
    ("new", "expected"),
    [("a.py::A::one[3]", 15.0), ("a.py::A::new", 17.0), ("a.py::new[1]", 13.0), ("new.py::new", 10.0), ("new", 10.0)],
)
def test_unknown_test_is_expected_to_take_what_those_nearest_to_it_take(new, expected):
    durations = {"a.py::A::one[1]": 10.0, "a.py::A::one[2]": 20.0, "a.py::A::two": 21.0, "a.py::three": 1.0, "b.py::four": 0.0}
    durations["b.py::five"] = 8.0
    plan = cut(suite(new), durations, 1)
    assert plan.seconds == (expected,)


def test_shards_stay_equal_when_a_fifth_of_the_tests_is_new():
    chance = random.Random(7)
    speeds = [chance.lognormvariate(-2, 1.5) for _ in range(200)]
    real = {f"test_{n % 200}.py::test_{n}": speeds[n % 200] * chance.uniform(0.75, 1.25) for n in range(20_000)}
    known = {nodeid: seconds for nodeid, seconds in real.items() if chance.random() < 0.8}
    taken = [sum(real[nodeid] for nodeid in shard) for shard in cut(suite(*real), known, 50).shards]
    assert max(taken) <= 1.05 * sum(taken) / 50


@pytest.mark.parametrize(
    ("distribution", "together"),
    [
        ("loadfile", [{"a.py::A::one", "a.py::A::two[x::y]", "a.py::B::three"}, {"b.py::four", "b.py::five"}]),
        ("loadscope", [{"a.py::A::one", "a.py::A::two[x::y]"}, {"a.py::B::three"}, {"b.py::four", "b.py::five"}]),
        ("loadgroup", [{"a.py::A::one", "b.py::four"}, {"a.py::A::two[x::y]"}, {"a.py::B::three"}, {"b.py::five"}]),
        ("single", [{"a.py::A::one"}, {"a.py::A::two[x::y]"}, {"a.py::B::three"}, {"b.py::four"}, {"b.py::five"}]),
    ],
)
def test_what_xdist_gives_to_one_worker_goes_to_one_shard(distribution, together):
    tests = suite("a.py::A::two[x::y]", "a.py::B::three", "b.py::five")
    tests += [CollectedTest("a.py::A::one", "g"), CollectedTest("b.py::four", "g")]
    plan = cut(tests, {}, 99, distribution=distribution)
    assert sorted(map(sorted, map(set, plan.shards))) == sorted(map(sorted, together))


def test_duration_is_found_under_the_name_that_xdist_gives_to_a_test_of_a_group():
    plan = cut([CollectedTest("test_a", "g"), CollectedTest("test_b")], {"test_a@g": 9.0, "test_b": 1.0}, 2)
    assert plan.seconds == (9.0, 1.0)


@pytest.mark.parametrize(("seconds", "workers", "shards"), [(0, 4, 1), (100, 1, 2), (100, 4, 1), (1e9, 1, 256)])
def test_number_of_shards_follows_from_the_time_that_one_may_take(seconds, workers, shards):
    assert how_many({"test": seconds}, workers=workers, target=60) == shards


def test_plan_survives_being_written_and_read():
    plan = cut(suite("a", "b"), {}, 2, first=["a.py"], attempt=3)
    assert parse_plan(plan_json(plan)) == plan


@given(st.binary() | st.sampled_from([b"[" * 100_000, b'{"version":2,"shards":[["a"]]}', b'{"shards":[]}']))
def test_bytes_that_are_no_plan_are_refused(data):
    with pytest.raises(PlanError, match="savepoint plan"):
        parse_plan(data)
