"""Repeats a test that failed in a clone of its own, which stays, and says on the test's report where that is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict

import pytest
from _pytest.runner import runtestprotocol

from pytest_savepoint.cache import cache_directory
from pytest_savepoint.databases.kept import KeptDatabase
from pytest_savepoint.failed_report import KEPT, add_words, timed_out
from pytest_savepoint.worker import Worker

__all__ = ["repeat_and_keep"]


def repeat_and_keep(
    item: pytest.Item, nextitem: pytest.Item | None, reports: Sequence[pytest.TestReport], worker: Worker
) -> None:
    """Repeat a test that failed, and add to its first failed report which database that left, and whether it passed there.

    A run keeps ten; further tests are not repeated.
    """
    failed = next((report for report in reports if report.failed), None)
    if failed is None or not hasattr(item, "fixturenames") or timed_out(reports):
        return
    if not worker.has_room_to_keep():
        return
    with worker.keeping_clone():
        again = runtestprotocol(item, nextitem=nextitem, log=False)
    if worker.kept is None:  # it failed before it had a database
        return
    kept = KeptDatabase.at(worker.address, worker.kept.name, cache_directory(os.environ))
    passed = not any(report.failed for report in again)
    vars(failed)[KEPT] = {**asdict(kept), "passed": passed}
    _show(failed, kept, passed=passed)


def _show(failed: pytest.TestReport, kept: KeptDatabase, *, passed: bool) -> None:
    became = "It passed there: the isolation, or chance, has a part in its failure." if passed else "It failed there, too."
    text = f"The test was repeated in {kept.url}. {became}\n{kept.command}"
    add_words(failed, "savepoint: kept database", text)
