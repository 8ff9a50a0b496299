"""Values reach the runner whole, and none of them can set a name of its own choice."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from savepoint_ci.github.runner_files import append_summary, set_output, set_variable


def read_as_the_runner_does(text: str) -> dict[str, str]:
    """The runner's rule: NAME<<DELIMITER, lines up to one that is DELIMITER alone."""
    values, lines = {}, iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, _, delimiter = line.partition("<<")
        value = []
        for part in lines:
            if part == delimiter:
                break
            value.append(part)
        values[name] = "\n".join(value)
    return values


@given(st.text(alphabet=st.characters(exclude_characters="\r", exclude_categories=["Cs"])))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_value_arrives_whole_and_alone(tmp_path, value):
    file = tmp_path / "output"
    file.unlink(missing_ok=True)
    set_output({"GITHUB_OUTPUT": str(file)}, "first", value)
    set_output({"GITHUB_OUTPUT": str(file)}, "second", "2")

    assert read_as_the_runner_does(file.read_text(encoding="utf-8")) == {"first": value, "second": "2"}


def test_two_values_never_share_a_delimiter(tmp_path):
    file = tmp_path / "env"
    for _ in range(2):
        set_variable({"GITHUB_ENV": str(file)}, "NAME", "x")
    delimiters = [line.partition("<<")[2] for line in file.read_text().split("\n") if "<<" in line]

    assert len(set(delimiters)) == 2


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a\nb", "1a", "a<<b"])
def test_name_that_is_no_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="no name"):
        set_output({"GITHUB_OUTPUT": str(tmp_path / "output")}, name, "value")


def test_summary_is_added_to_what_is_there(tmp_path):
    file = tmp_path / "summary"
    append_summary({"GITHUB_STEP_SUMMARY": str(file)}, "# one\n")
    append_summary({"GITHUB_STEP_SUMMARY": str(file)}, "# two \ud800\n")

    assert file.read_text(encoding="utf-8") == "# one\n# two ?\n"


def test_without_a_runner_nothing_happens():
    set_output({}, "name", "value")
    set_variable({}, "NAME", "value")
    append_summary({}, "text")
