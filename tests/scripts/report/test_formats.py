"""The other places where people look: badges, GitLab's merge requests, and a format for whoever reads it next."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from hostile_text import TRICKS, filled_with
from msgspec.structs import replace
from report_samples import SAMPLES
from safe_renderings import CONTROL
from savepoint_ci.report.annotations import annotation_commands
from savepoint_ci.report.badge import coverage_badge, outcome_badge
from savepoint_ci.report.formats import FORMATS, printed
from savepoint_ci.report.gitlab import code_quality
from savepoint_ci.report.model import parse_report

SVG = "{http://www.w3.org/2000/svg}"


def words(badge):
    root = ET.fromstring(badge)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg",
        "title",
        "clipPath",
        "rect",
        "g",
        "text",
    }
    return " ".join(text.text for text in root.iter(f"{SVG}text"))


@pytest.mark.parametrize(
    ("name", "coverage", "tests"),
    [
        ("green", "coverage 100 %", "tests 84 passed"),
        ("findings", "coverage 92.4 %", "tests 6 broken"),
        ("crash", "coverage 92.4 %", "tests 24 broken"),
        ("database", "coverage unknown", "tests database"),
        ("gate", "coverage 92.4 %", "tests 84 passed"),
    ],
)
def test_badge_says_in_words_what_the_report_says(name, coverage, tests):
    assert words(coverage_badge(SAMPLES[name])) == coverage
    assert words(outcome_badge(SAMPLES[name])) == tests


def test_annotations_keep_to_github_s_ten_of_a_kind_begin_with_causes_and_count_the_rest():
    kinds = [command.split()[0] for command in annotation_commands(SAMPLES["huge"])]
    assert kinds == [*["::error"] * 10, "::notice", *["::warning"] * 10, "::notice"]
    causes = [command for command in annotation_commands(SAMPLES["findings"]) if "title=SP" in command]
    assert annotation_commands(SAMPLES["findings"])[: len(causes)] == causes


def test_gitlab_gets_the_line_to_change_and_each_failing_line():
    issues = json.loads(code_quality(SAMPLES["findings"], project="services/shop"))

    assert issues[0]["location"] == {"path": "services/shop/tests/conftest.py", "lines": {"begin": 12}}
    assert issues[0]["check_name"] == "SP104 loop.resource_outlived_loop"
    assert {each["severity"] for each in issues} == {"major"}
    assert len(issues) == 1 + 6
    assert len({each["fingerprint"] for each in issues}) == len(issues)


def test_issue_is_the_same_after_its_line_has_moved():
    report = SAMPLES["findings"]
    finding = report.findings[0]
    moved = replace(report, findings=(replace(finding, culprit=replace(finding.culprit, line=99)),))

    before, after = (json.loads(code_quality(each))[0]["fingerprint"] for each in (report, moved))
    assert before == after


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/file.py", "a/../../b.py"])
def test_line_outside_of_the_repository_is_left_out(path):
    report = SAMPLES["findings"]
    finding = report.findings[0]
    outside = replace(report, findings=(replace(finding, culprit=replace(finding.culprit, path=path)),), tests=())

    assert json.loads(code_quality(outside)) == []


def test_test_in_quarantine_marks_no_line_as_broken():
    report = SAMPLES["green_with_quarantine"]

    assert json.loads(code_quality(report)) == []
    assert printed(report, "github") == ""
    assert printed(report, "text").startswith("in quarantine until 2026-12-01: ")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["green", "findings", "database"])
def test_every_situation_has_every_form(form, name):
    text = printed(SAMPLES[name], form, project="shop")

    assert text.endswith("\n") or (form, name) == ("github", "green")  # nothing to mark


def test_printed_json_is_the_report():
    assert parse_report(printed(SAMPLES["findings"], "json").encode()) == SAMPLES["findings"]


@pytest.mark.parametrize("trick", TRICKS)
def test_gitlab_gets_no_control_character(trick):
    for issue in json.loads(code_quality(filled_with(trick))):
        assert not CONTROL.search(issue["description"] + issue["location"]["path"])
