"""What a number of runs says about a rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from savepoint_ci.rerun.statistics import rate_interval, undetected_rate

# Wilson's interval as it stands in textbooks, to three places.
KNOWN = {(0, 10): (0.0, 0.278), (1, 10): (0.018, 0.404), (5, 10): (0.237, 0.763), (10, 10): (0.722, 1.0)}


@pytest.mark.parametrize(("counts", "interval"), KNOWN.items())
def test_interval_is_wilsons(counts, interval):
    assert rate_interval(*counts) == pytest.approx(interval, abs=5e-4)


@given(runs=st.integers(1, 500), data=st.data())
def test_interval_holds_the_observed_share_and_narrows_with_more_runs(runs, data):
    failures = data.draw(st.integers(0, runs))
    low, high = rate_interval(failures, runs)
    narrower_low, narrower_high = rate_interval(failures * 4, runs * 4)
    assert 0 <= low <= failures / runs <= high <= 1
    assert narrower_high - narrower_low < high - low


def test_without_a_run_nothing_is_known():
    assert rate_interval(0, 0) == (0.0, 1.0)
    assert undetected_rate(0) == 1.0


def test_undetected_rate_is_missed_by_all_runs_with_five_percent_probability():
    assert (1 - undetected_rate(40)) ** 40 == pytest.approx(0.05)
