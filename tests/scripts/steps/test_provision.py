"""The server of a job is given back at once, wherever the job runs."""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Iterator

import pytest

PR_SET_CHILD_SUBREAPER = 36
AT_ONCE = 30.0
"""Seconds; a clean-up that waits for a dead process gives up after sixty."""


@pytest.fixture
def nobody_reaps() -> Iterator[None]:
    """Processes without parents come to this one, as they come to the first process of a container."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    assert prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


@pytest.mark.e2e
def test_clean_up_does_not_wait_for_a_dead_process_that_nobody_reaps(tool, nobody_reaps, tmp_path):
    tool.environ["SAVEPOINT_STATE"] = str(tmp_path / "state")
    done = tool.call("provision")
    assert done.returncode == 0, done.stderr
    holder = json.loads((tmp_path / "state" / "started.json").read_text())["pid"]
    began = time.monotonic()
    assert tool.call("clean").returncode == 0
    assert time.monotonic() - began < AT_ONCE
    assert os.waitpid(holder, os.WNOHANG)[0] == holder
