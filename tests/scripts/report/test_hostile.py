"""Whatever tests say, it stays text: in Markdown, in workflow commands, in XML and on a terminal."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hostile_text import TRICKS, filled_with, hostile, hostile_reports
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from report_samples import SAMPLES
from safe_renderings import (
    as_github_renders,
    assert_harmless_in_a_log,
    assert_only_commands,
    assert_only_ours,
    assert_page_is_ours,
    assert_safe,
)
from savepoint_ci.report.annotations import annotation_commands
from savepoint_ci.report.junit import junit_xml
from savepoint_ci.report.markdown import COMMENT_BYTES, SUMMARY_BYTES, comment_body, comment_marker, job_summary
from savepoint_ci.report.markup import code, fence, prose, summary_code
from savepoint_ci.report.page.render import report_page
from savepoint_ci.report.terminal import terminal_summary
from savepoint_ci.report.text import clean_block

patient = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@patient
@given(hostile_reports())
def test_no_text_of_a_test_becomes_markup_in_a_comment(report):
    page = as_github_renders(comment_body(report, key="k"))

    assert_only_ours(page)
    assert page.comments == ["savepoint:k"]


@patient
@given(hostile_reports())
def test_no_text_of_a_test_becomes_markup_in_the_job_summary(report):
    page = as_github_renders(job_summary(report))

    assert_only_ours(page)
    assert page.comments == []


@patient
@given(hostile_reports(repeat=2_000), st.sampled_from([4_000, 20_000, COMMENT_BYTES]))
def test_comment_is_always_below_its_limit_and_begins_with_marker_and_verdict(report, limit):
    body = comment_body(report, key="k", limit=limit)

    assert len(body.encode()) < limit
    assert body.startswith("<!-- savepoint:k -->\n### ")


def test_everything_of_a_long_report_is_left_out_before_the_verdict_is():
    report = replace(SAMPLES["huge"], findings=SAMPLES["huge"].findings * 100, tests=SAMPLES["huge"].tests * 50)
    comment, summary = comment_body(report), job_summary(report)

    assert len(comment.encode()) < COMMENT_BYTES
    assert len(summary.encode()) < SUMMARY_BYTES
    for text in (comment, summary):
        assert "### ❌ 80 failed of 84 tests" in text
        assert "SP104" in text
        assert "Left out for length" in text


@patient
@given(hostile, st.sampled_from([code, prose, summary_code]))
def test_text_inside_a_line_stays_inside_it(text, markup):
    html = markup(text)
    around = f"<details><summary>a {html} z</summary></details>" if markup is summary_code else f"a {html} z"
    page = as_github_renders(around)

    assert_only_ours(page)
    assert "\n" not in html
    assert page.plain.strip().startswith("a")
    assert page.plain.strip().endswith("z")


@pytest.mark.parametrize("ticks", [78, 79, 80, 81, 150])
def test_code_with_more_ticks_than_a_span_may_begin_with_stays_code(ticks):
    page = as_github_renders(f"a {code('`' * ticks + ' @octocat')} z")

    assert_only_ours(page)
    assert page.plain.split() == ["a", "z"]


@patient
@given(hostile)
def test_fenced_text_cannot_end_its_fence(text):
    page = as_github_renders(f"{fence(text)}\n\nafter")

    assert page.elements == ["pre", "code", "p"]
    assert page.plain.strip() == "after"
    shown = clean_block(text).strip("\n")
    assert page.code.rstrip("\n") == shown.rstrip("\n")


@pytest.mark.parametrize("text", ["plain words stay.", "It's 3.5% of 84 tests, isn't it?", "(in brackets) too"])
def test_plain_words_stay_words(text):
    assert prose(text) == text


def test_names_in_a_sentence_become_code():
    assert prose("Fixture `engine` of tests/conftest.py:12.") == "Fixture `engine` of `tests/conftest.py:12`."


@given(hostile, hostile)
def test_markers_of_different_keys_differ_and_no_key_leaves_the_marker(one, other):
    assert (comment_marker(one) == comment_marker(other)) == (one == other)
    assert re.fullmatch(r"<!-- savepoint:[A-Za-z0-9._/-]+ -->", comment_marker(one))
    assert "--" not in comment_marker(one)[4:-3]


@patient
@given(hostile_reports())
def test_annotations_are_one_command_each_and_nothing_else(report):
    assert_only_commands(annotation_commands(report, project="examples/shop"))


@pytest.mark.parametrize("trick", TRICKS)
def test_runner_reads_an_annotation_as_it_was_said(trick):
    command = annotation_commands(filled_with(f"so, {trick}"))[-1]
    data = command.split("::", 2)[2].replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")

    assert data == clean_block(f"so, {trick}")


@patient
@given(hostile_reports())
def test_junit_is_always_well_formed_and_counts_every_test(report):
    suite = ET.fromstring(junit_xml(report)).find("testsuite")

    assert len(suite.findall("testcase")) == len(report.tests) == int(suite.get("tests"))
    broken = sum(test.outcome in ("failed", "error", "not_run") for test in report.tests)
    assert len(suite.findall("testcase/failure") + suite.findall("testcase/error")) == broken


@patient
@given(hostile_reports())
def test_terminal_gets_no_control_character_and_no_command(report):
    assert_harmless_in_a_log(terminal_summary(report))


@patient
@given(hostile_reports())
def test_data_of_the_page_cannot_leave_its_element(report):
    assert_page_is_ours(report_page(report, sources={"a.py": report.warnings[0]}))


@pytest.mark.parametrize("trick", TRICKS)
def test_every_known_trick_stays_text_in_every_place_of_every_rendering(trick):
    assert_safe(filled_with(f"so, {trick} it said"))
    assert_harmless_in_a_log(terminal_summary(filled_with(trick)))


def test_sample_comment_has_a_link_only_to_its_own_run():
    page = as_github_renders(
        comment_body(SAMPLES["findings"], run_url="https://github.com/example/shop/actions/runs/1")
    )

    assert [value for name, value in page.attributes if name == "href"] == [
        "https://github.com/example/shop/actions/runs/1"
    ]
