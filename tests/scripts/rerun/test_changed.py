"""The tests of a change are those in whose function a line was changed."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest
from savepoint_ci.rerun.changed import changed_tests

BEFORE = """\
import pytest

def helper():
    return 1

def test_same():
    assert helper()

class TestGroup:
    @pytest.mark.parametrize("n", [1, 2])
    def test_grouped(self, n):
        assert n
"""
TESTS = ["test_it.py::test_same", "test_it.py::TestGroup::test_grouped[1]", "test_it.py::TestGroup::test_grouped[2]"]


@pytest.fixture
def project(tmp_path):
    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.example", *words], check=True, capture_output=True)

    git("init", "--initial-branch", "main")
    (tmp_path / "test_it.py").write_text(BEFORE)
    git("add", ".")
    git("commit", "-m", "before")
    return tmp_path


def changed(project, text, **environ):
    (project / "test_it.py").write_text(text)
    invocation = SimpleNamespace(project=project, settings=SimpleNamespace(compare_to="HEAD"), environ=environ)
    return changed_tests(invocation, [*TESTS, "test_it.py::test_new"])


def test_a_changed_decorator_changes_all_parameters_of_its_test(project):
    assert changed(project, BEFORE.replace("[1, 2]", "[1, 2, 3]")) == TESTS[1:]


def test_a_new_test_is_changed(project):
    assert changed(project, BEFORE + "\n\ndef test_new(): pass\n") == ["test_it.py::test_new"]


def test_a_changed_helper_changes_no_test(project):
    assert changed(project, BEFORE.replace("return 1", "return 2")) == []
