"""What people see, kept as files so that every change of it is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_samples import SAMPLES
from savepoint_ci.report.markdown import COMMENT_BYTES, comment_body
from savepoint_ci.report.terminal import terminal_summary

GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.parametrize("name", SAMPLES)
def test_comment_looks_as_committed(name, same_as_committed):
    run_url = "https://github.com/example/shop/actions/runs/1234567890"
    limit = 6_000 if name == "huge" else COMMENT_BYTES
    body = comment_body(SAMPLES[name], key="ci/test", run_url=run_url, limit=limit)
    same_as_committed(GOLDEN / f"{name}.md", body)


@pytest.mark.parametrize("name", ["green", "findings", "setup_error", "database"])
def test_terminal_summary_looks_as_committed(name, same_as_committed):
    same_as_committed(GOLDEN / f"{name}.txt", terminal_summary(SAMPLES[name]))


@pytest.mark.parametrize("name", ["green", "green_with_skipped"])
def test_green_comment_is_three_lines(name):
    lines = [line for line in comment_body(SAMPLES[name]).splitlines()[1:] if line]

    assert len(lines) == 3
