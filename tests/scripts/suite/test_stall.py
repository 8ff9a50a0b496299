"""A suite that stands still is ended, and what was stuck is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from savepoint_ci.suite.stall import Stall
from savepoint_ci.suite.tally import Tally

STUCK = """
import asyncio, threading
import pytest

def test_passes(): pass

async def wait_for(event): await event.wait()

@pytest.mark.asyncio
async def test_is_stuck():
    waiting = asyncio.create_task(wait_for(asyncio.Event()))
    await asyncio.sleep(0)
    lock = threading.Lock()
    with lock: lock.acquire()
"""


@pytest.mark.e2e
def test_stuck_test_fails_with_the_places_where_its_task_and_its_thread_stand_and_the_others_are_reported(observer):
    observer.write(test_it=STUCK)
    done = observer.call("run", "--stall-timeout", "8s", "--rerun-budget", "0", "--", "-p", "no:randomly")
    assert (done.returncode, observer.report["result"]) == (1, "tests-failed"), done.stdout
    assert observer.outcomes == {"test_passes": "passed", "test_is_stuck": "failed"}
    (error,) = observer.report["tests"][1]["phase_errors"]
    assert "no test made progress for 8 s (stall-timeout)" in error["message"]
    assert "waits at test_it.py:7 (wait_for)" in error["text"]
    assert 'test_it.py", line 14 in test_is_stuck' in error["text"]


def test_last_words_of_a_pytest_that_was_ended_are_no_progress():
    tally, now = Tally(Path("evidence")), 100.0
    tally.last_news = 0.0
    stall = Stall(tally, Path("evidence"), limit=10, clock=lambda: now)
    assert stall.wish() == "go-on"
    now += 5
    assert stall.wish() == "interrupt"
    tally.last_news = now + 1
    assert stall.wish() == "interrupt"
    assert stall.happened
