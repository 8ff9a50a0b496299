"""A search through the variations of a suite ends in time."""

from __future__ import annotations

import time

import pytest
from savepoint_ci.rerun.search import Search
from savepoint_ci.rerun.variation import FILE_ORDER

pytestmark = pytest.mark.e2e

HANGS = """
import threading

done = []

def test_sets(): done.append(1)
def test_waits():
    while not done: threading.Event().wait(1)
"""


def test_deadline_is_kept_also_by_a_test_that_hangs_in_another_order(make_laboratory):
    laboratory = make_laboratory(HANGS)
    began = time.monotonic()
    laboratory.run(FILE_ORDER)
    took = time.monotonic() - began  # a loaded machine may need seconds to start pytest
    laboratory.limit = 3 * took
    laboratory.deadline = time.monotonic() + 9 * took
    search = Search(laboratory, [])
    search.suite(seed=1, load=2, first=lambda tests: (), started=lambda: None)
    assert time.monotonic() < laboratory.deadline + 3 * took
    assert "test_it.py::test_waits" in [each.nodeid for each in search.judged]
