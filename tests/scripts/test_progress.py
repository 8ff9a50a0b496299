"""A person watching a terminal knows the phase, tests done of all, failures and the time left."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

# Each of them is a whole run of the tool, which takes seconds.
pytestmark = pytest.mark.e2e

SLOW = """
import threading, pytest

@pytest.mark.parametrize("number", range(8))
def test_it(number):
    threading.Event().wait(0.3)
    assert number != 1, "[bold]one[/bold]"
"""
TERMINAL_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_terminal_shows_phase_progress_failures_and_time_left(observer):
    observer.write(test_it=SLOW)
    observer.environ |= {"TERM": "xterm-256color", "COLUMNS": "150"}
    ours, theirs = pty.openpty()
    launcher = [sys.executable, observer.launcher, "run"]
    process = subprocess.Popen(launcher, cwd=observer.project, env=observer.environ, stdout=theirs)
    os.close(theirs)
    shown = TERMINAL_SEQUENCE.sub("", read_all(ours))
    assert process.wait() == 1, shown
    assert re.search(r"test .*[1-7]/8 1 failed, about \d+ s left 0:00:0\d", shown)
    assert "failed: test_it.py::test_it[1] - AssertionError: [bold]one[/bold]" in shown, shown
    assert "✓ install" in shown, shown


def read_all(terminal: int) -> str:
    text = b""
    try:
        while part := os.read(terminal, 65_536):
            text += part
    except OSError:  # how Linux says that the other end is closed
        pass
    return text.decode()


def test_log_has_a_line_for_a_tenth_of_the_suite_not_for_each_test(observer):
    observer.write(test_it='import pytest\n@pytest.mark.parametrize("n", range(300))\ndef test_it(n): pass\n')
    lines = observer.call("run").stdout.splitlines()
    progress = [line for line in lines if "of 300 tests done" in line]
    assert 1 <= len(progress) <= 11
    assert "300 of 300 tests done, 0 failed" in progress[-1]
    assert not any("\x1b" in line for line in lines)
