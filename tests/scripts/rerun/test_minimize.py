"""Delta debugging finds what makes the difference, whatever else ran."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from savepoint_ci.rerun.minimize import smallest

TESTS = tuple(f"test_{number}" for number in range(40))


@given(guilty=st.sets(st.sampled_from(TESTS), min_size=1, max_size=4))
def test_exactly_the_tests_that_are_needed_together_are_left_in_their_order(guilty):
    found = smallest(TESTS, lambda part: guilty <= set(part))
    assert found == tuple(test for test in TESTS if test in guilty)


@given(guilty=st.sampled_from(TESTS))
def test_one_polluter_among_many_takes_no_more_than_two_questions_per_halving(guilty):
    asked = []

    def fails(part):
        asked.append(part)
        return guilty in part

    assert smallest(TESTS, fails) == (guilty,)
    assert len(asked) <= 2 * math.ceil(math.log2(len(TESTS)))


def test_a_suspect_that_is_guilty_is_asked_once_and_nobody_else():
    asked = []

    def fails(part):
        asked.append(part)
        return "test_7" in part

    assert smallest(TESTS, fails, suspects=["test_7"]) == ("test_7",)
    assert asked == [("test_7",)]
