"""What must hold for every rendering of every report: foreign text is text, whoever reads it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import html5lib
from github_page import github_html
from savepoint_ci.report.annotations import annotation_commands
from savepoint_ci.report.badge import coverage_badge, outcome_badge
from savepoint_ci.report.gitlab import code_quality
from savepoint_ci.report.junit import junit_xml
from savepoint_ci.report.markdown import COMMENT_BYTES, comment_body, job_summary
from savepoint_ci.report.model import Report
from savepoint_ci.report.page.render import report_page
from savepoint_ci.report.sarif import sarif
from savepoint_ci.report.terminal import terminal_summary

OURS = {"p", "h3", "h4", "ul", "li", "em", "strong", "code", "pre", "details", "summary", "br"}
# What GitHub makes links of, outside code: mentions, issues, commits and addresses.
BECOMES_A_LINK = re.compile(r"@\w|#\d|\bGH-\d|://|\bwww\.|\b[0-9a-f]{7,40}\b|\w@\w", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


class Elements(HTMLParser):
    """The elements of rendered HTML, and its text in and outside code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.comments: list[str] = []
        self.plain = ""
        self.code = ""
        self._depth = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        self._depth += tag == "code"

    def handle_endtag(self, tag):
        self._depth -= tag == "code"

    def handle_comment(self, data):
        self.comments.append(data.strip())

    def handle_data(self, data):
        if self._depth:
            self.code += data
        else:
            self.plain += data


def as_github_renders(markdown: str) -> Elements:
    return Elements(github_html(markdown))


def assert_only_ours(page: Elements) -> None:
    assert set(page.elements) <= OURS
    assert {name for name, _ in page.attributes} <= {"lang", "class"}
    assert not BECOMES_A_LINK.search(page.plain), page.plain


def assert_only_commands(commands: list[str]) -> None:
    for command in commands:
        assert len(command.splitlines()) == 1
        assert re.fullmatch(r"::(error|warning|notice) (file=[^:,]+,(line=\d+,)?)?title=[^:,]*::.*", command)
        assert not CONTROL.search(command)
        assert len(command) < 16_000
    for level in ("error", "warning"):
        assert sum(command.startswith(f"::{level} ") for command in commands) <= 10


def assert_harmless_in_a_log(text: str) -> None:
    assert not CONTROL.search(text)
    assert "##[" not in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
    text.encode()


def assert_page_is_ours(page: str, *, parse: bool = True) -> None:
    """The data block is one text without markup; a browser's parser finds our elements and no others."""
    data = _DATA.findall(page)
    assert len(data) == 1
    assert not re.search("[<>&]", data[0])
    assert not CONTROL.search(page)
    assert json.loads(data[0])["report"]["version"] == 1
    if not parse:
        return
    found = [element.tag for element in html5lib.parse(page, namespaceHTMLElements=False).iter()]
    assert found.count("script") == 2
    assert not {"img", "iframe", "object", "embed", "link"}.intersection(map(str, found))


def assert_only_lines_of_the_repository(report: Report) -> None:
    """What code scanning and GitLab read: JSON of plain text, each entry at a path that leads nowhere else."""
    log, issues = json.loads(sarif(report.findings, category="k")), json.loads(code_quality(report))
    found = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in log["runs"][0]["results"]]
    paths = [unquote(each["uri"]) for each in found] + [each["location"]["path"] for each in issues]
    assert not any(path.startswith("/") or ".." in path.split("/") for path in paths)
    texts = [result["message"]["text"] for result in log["runs"][0]["results"]]
    assert not any(CONTROL.search(text) for text in (*paths, *texts, *(each["description"] for each in issues)))


def assert_safe(report: Report, *, thorough: bool = True) -> None:
    """All renderings of a report.

    :param thorough: also read report.html as a browser does, which takes longer than all the rest.
    """
    comment = comment_body(report, key="k")
    assert len(comment.encode()) < COMMENT_BYTES
    rendered = as_github_renders(comment)
    assert_only_ours(rendered)
    assert rendered.comments == ["savepoint:k"]
    assert_only_ours(as_github_renders(job_summary(report)))
    assert_only_commands(annotation_commands(report))
    assert_harmless_in_a_log(terminal_summary(report))
    assert_only_lines_of_the_repository(report)
    for xml in (junit_xml(report), coverage_badge(report), outcome_badge(report)):
        ET.fromstring(xml)
    assert_page_is_ours(report_page(report), parse=thorough)
