"""The report step writes every rendering, and prints the last report in the form that is asked for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from savepoint_ci.command_line import FORMATS
from savepoint_ci.report import formats
from savepoint_ci.report.model import parse_report

pytestmark = pytest.mark.e2e

HALF_BROKEN = """
import pytest

@pytest.mark.parametrize("text", ["a b", "$(touch never)", "'; touch never; '"])
def test_it(text):
    assert text == ""

def test_good():
    pass
"""


@pytest.fixture
def ran(observer):
    """The tool after the run of a project with three failing tests."""
    observer.write(test_shop=HALF_BROKEN)
    assert observer.call("run").returncode == 1
    return observer


def test_every_rendering_lies_beside_the_report_and_each_form_is_printed_alone(ran):
    folder = ran.project / ".savepoint"
    page = (folder / "report.html").read_text()
    assert json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["report"] == ran.report
    assert "3 broken" in (folder / "tests.svg").read_text()
    assert "unknown" in (folder / "coverage.svg").read_text()

    done = {form: ran.call("report", "--format", form) for form in FORMATS}
    assert {form: each.returncode for form, each in done.items()} == dict.fromkeys(FORMATS, 0)
    assert parse_report(done["json"].stdout.encode()) == parse_report((folder / "report.json").read_bytes())
    assert done["markdown"].stdout.startswith("### ❌ 3 failed of 4 tests")
    assert done["github"].stdout.startswith("::error file=test_shop.py,line=6,title=")
    assert [issue["location"]["path"] for issue in json.loads(done["gitlab"].stdout)] == ["test_shop.py"] * 3
    assert done["text"].stdout.endswith("✗ 3 failed of 4 tests\n")


def test_command_of_the_comment_shows_the_failures_again(ran):
    comment = (ran.project / ".savepoint" / "comment.md").read_text()
    (command,) = re.findall(r"```sh\n(.*?)\n```", comment)
    path = os.pathsep.join((str(Path(sys.executable).parent), ran.environ["PATH"]))
    again = subprocess.run(
        ["sh", "-c", command],
        cwd=ran.project,
        env={**ran.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "3 failed" in again.stdout, again.stdout + again.stderr
    assert not (ran.project / "never").exists()


def test_forms_of_the_command_line_are_those_of_the_report():
    assert tuple(formats.FORMATS) == FORMATS


def test_form_without_a_report_says_what_to_do(observer):
    done = observer.call("report", "--format", "json")

    assert done.returncode == 2
    assert "savepoint report" in done.stderr + done.stdout
