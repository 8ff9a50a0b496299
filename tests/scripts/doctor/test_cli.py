"""The verb: exit codes, files as arguments, and the forms of output."""

from __future__ import annotations

import json

import pytest

OLD_CLIENT = "from httpx import AsyncClient\n\n\nasync def test_x(app):\n    AsyncClient(app=app)\n"


@pytest.fixture
def suite(tool):
    tool.write(test_old=OLD_CLIENT, test_new="def test_y():\n    assert True\n")
    return tool


def test_finding_is_shown_with_its_line_and_ends_with_one(suite):
    done = suite.call("doctor")
    assert done.returncode == 1, done.stderr
    assert "SP705 framework.client_app_removed  test_old.py:5 (test_x)" in done.stdout
    assert "1 finding; 1 can be mended: --diff shows how, --fix does it" in done.stdout


def test_nothing_found_ends_with_zero(suite):
    done = suite.call("doctor", "test_new.py")
    assert (done.returncode, done.stdout) == (0, "savepoint: nothing found\n")


def test_wrong_usage_ends_with_two(suite):
    for arguments, message in (
        (["elsewhere"], "elsewhere is not there."),
        (["--fix", "--diff"], "not allowed with argument"),
    ):
        done = suite.call("doctor", *arguments)
        assert done.returncode == 2
        assert message in done.stderr


def test_json_and_github_name_the_same_line(suite):
    found = json.loads(suite.call("doctor", "--format", "json").stdout)
    assert [(each["code"], each["culprit"]) for each in found] == [
        ("SP705", {"path": "test_old.py", "line": 5, "name": "test_x"})
    ]
    command = suite.call("doctor", "--format", "github").stdout
    assert command.startswith("::warning file=test_old.py,line=5,title=SP705 framework.client_app_removed::")


def test_no_setting_of_a_run_is_needed(suite):
    (suite.project / "pyproject.toml").write_text('[tool.savepoint]\nworkers = "many"\n')
    assert suite.call("doctor").returncode == 1
