"""The variations of a search cover what orders can show."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import islice, permutations

import pytest
from savepoint_ci.rerun.plan import far_zone, search

TESTS = tuple(f"test_{number}" for number in range(7))


def first(count):
    return list(islice(search(TESTS, seed=3, load=4, zone="Etc/GMT-14"), count))


def test_files_order_and_its_reverse_have_each_pair_both_ways_round():
    orders = [TESTS, first(1)[0].tests]
    for one, other in permutations(TESTS, 2):
        assert any(order.index(one) < order.index(other) for order in orders)


def test_each_test_comes_first_once_before_any_comes_first_again():
    heads = [variation.tests[0] for variation in first(3 + len(TESTS))[3:]]
    assert sorted(heads) == sorted(TESTS)


def test_every_variation_has_every_test_once():
    assert all(sorted(variation.tests) == sorted(TESTS) for variation in first(50))


def test_load_and_another_zone_are_tried_at_the_head():
    assert {"under-load", "other-zone"} <= {variation.name for variation in first(3)}


def test_no_two_seeds_are_alike():
    seeds = [variation.seed for variation in first(50)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("hour", range(24))
def test_it_is_another_day_in_the_far_zone(hour):
    now = datetime(2030, 6, 15, hour, 30, tzinfo=timezone.utc)
    # POSIX counts westwards.
    offset = -int(far_zone(now).removeprefix("Etc/GMT"))
    assert not 0 <= hour + 0.5 + offset < 24
