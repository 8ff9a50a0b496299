from __future__ import annotations

from pathlib import Path

import pytest
from savepoint_ci.suite.addopts import always_given
from savepoint_ci.suite.coverage_settings import CallerCoverage, OwnArguments, default_sources, merge, own_arguments


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize(
    ("files", "sources"),
    [
        (["app/__init__.py", "tests/__init__.py", "docs/conf.py", "tools/x.py"], ["app"]),
        (["app/main.py", "tests/test_a.py"], ["app"]),
        (["src/shop/__init__.py", "src/lib/__init__.py", "noxfile.py"], ["src/lib", "src/shop"]),
        (["app/__init__.py", "migrations/__init__.py", "migrations/env.py", "migrations/versions/1.py"], ["app"]),
        (["main.py", "models.py", "test_main.py", "conftest.py", "setup.py"], ["main", "models"]),
        ([".venv/lib/__init__.py", "build/app/__init__.py", "app/__init__.py"], ["app"]),
        (["README.md"], ["."]),
    ],
)
def test_packages_and_modules_without_tests_are_the_default_source(tmp_path, files, sources):
    assert default_sources(touch(tmp_path, *files)) == sources


def test_options_of_pytest_cov_are_read_in_both_forms():
    words = ["-q", "--cov", "--cov-config", "a.ini", "--cov=app", "--cov", "lib", "--cov-fail-under=80", "tests"]
    assert own_arguments(words) == OwnArguments(sources=("app", "lib"), config_file="a.ini", fail_under=80)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", "[pytest]\naddopts = -q --cov=app\n"),
        ("pytest.toml", '[pytest]\naddopts = ["-q", "--cov=app"]\n'),
        ("pyproject.toml", '[tool.pytest.ini_options]\naddopts = "-q --cov=app"\n'),
        ("pyproject.toml", '[tool.pytest]\naddopts = ["-q", "--cov=app"]\n'),
        ("tox.ini", "[pytest]\naddopts = -q --cov=app\n"),
        ("setup.cfg", "[tool:pytest]\naddopts = -q --cov=app\n"),
    ],
)
def test_addopts_are_found_where_pytest_finds_them(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    (tmp_path / "service").mkdir()
    assert always_given(tmp_path / "service", {"PYTEST_ADDOPTS": "-x"}) == ["-q", "--cov=app", "-x"]


def test_addopts_that_cannot_be_read_are_left_to_pytest(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = 'unclosed\n")
    (tmp_path / "pyproject.toml").write_text("not toml")
    assert always_given(tmp_path, {"PYTEST_ADDOPTS": '"'}) == []


def caller(**changes):
    options = {"run:core", "run:concurrency", "run:source", "run:branch", "run:timid", "run:omit"}
    facts = {
        "version": "7.17.3", "has_greenlet": True, "has_sqlalchemy": True, "has_c_tracer": True,
        "known": frozenset(options), "options": {}, "paths": {}, "plugins": {}, "config_file": None,
    }  # fmt: skip
    return CallerCoverage(**{**facts, **changes})


def merged(tmp_path, **changes):
    return merge(caller(**changes), OwnArguments(), project=tmp_path, data_file=Path("data"))


def test_right_configuration_is_not_warned_about(tmp_path):
    _, warnings = merged(tmp_path, options={"run:concurrency": ["thread", "greenlet", "multiprocessing"]})
    assert warnings == []


def test_no_configuration_is_not_warned_about(tmp_path):
    text, warnings = merged(tmp_path)
    assert '"concurrency" = ["greenlet", "thread"]' in text
    assert warnings == []


def test_gevent_is_left_in_charge_of_greenlets(tmp_path):
    text, _ = merged(tmp_path, options={"run:concurrency": ["gevent"]})
    assert '"concurrency" = ["gevent", "thread"]' in text


def test_without_the_c_tracer_greenlet_is_not_asked_for(tmp_path):
    text, warnings = merged(tmp_path, has_c_tracer=False, options={"run:concurrency": ["greenlet"]})
    assert "greenlet" not in text
    assert "no C extension" in warnings[0]


def test_timid_is_overruled(tmp_path):
    text, warnings = merged(tmp_path, options={"run:timid": True, "run:concurrency": ["greenlet", "thread"]})
    assert '"timid"' not in text
    assert "the core pytrace" in warnings[0]


def test_options_that_an_old_coverage_does_not_know_are_left_out(tmp_path):
    text, _ = merged(tmp_path, known=frozenset({"run:branch"}))
    assert text == '[tool.coverage.run]\n"branch" = true\n[tool.coverage.paths]\n'
