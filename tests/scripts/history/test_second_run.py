"""From the second run on a project knows its tests."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.e2e  # two whole runs of pytest


def test_second_run_knows_what_was_broken_what_is_new_and_what_takes_long(observer):
    observer.write(
        test_quick="def test_quick(): pass\ndef test_broken(): assert False\n",
        test_slow="import time\ndef test_slow(): time.sleep(0.3)\n",
    )
    observer.call("run")
    assert observer.report.get("history") is None
    assert list(observer.outcomes) == ["test_quick", "test_broken", "test_slow"]

    observer.write(test_added="def test_added(): pass\n")
    observer.call("run")
    assert list(observer.outcomes) == ["test_slow", "test_quick", "test_broken", "test_added"]
    told = {each["nodeid"].rpartition("::")[2]: each["standing"] for each in observer.report["history"]["tests"]}
    assert told == {"test_broken": "broken-on-base", "test_added": "new"}
