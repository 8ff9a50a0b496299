"""The report as one HTML page; the parts of the page lie beside this file.

Everything foreign is data: one JSON block that cannot end its element, read by a script that makes text nodes only.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

import msgspec

from savepoint_ci.report.headline import database_text, headline
from savepoint_ci.report.model import Report
from savepoint_ci.report.reproduce import reproduction
from savepoint_ci.report.sections.unsteady import trend, unsteady_tests
from savepoint_ci.report.text import clean_block, clean_line

__all__ = ["report_page"]

_SCRIPTS = (
    "elements.js",
    "findings.js",
    "details.js",
    "tests.js",
    "timeline.js",
    "flaky.js",
    "coverage.js",
    "start.js",
)


def report_page(report: Report, *, sources: Mapping[str, str] | None = None, run_url: str = "") -> str:
    """Return report.html.

    :param sources: the text of measured files by their path in the report; a file that is missing shows line numbers only.
    :param run_url: the page of the run that made the report, from our own environment.
    """
    style, script = _part("page.css"), "\n".join(_part(f"js/{name}") for name in _SCRIPTS)
    said = {
        "headline": headline(report),
        "database": database_text(report.database) if report.database else "",
        "run_url": run_url if run_url.startswith(("https://", "http://")) else "",
        "commands": [reproduction(report, finding.tests) for finding in report.findings],
        "unsteady": [_unsteady(report, nodeid) for nodeid in unsteady_tests(report)],
    }
    data = msgspec.to_builtins({"report": report, "said": said, "sources": sources or {}})
    parts = {
        "policy": f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        "title": escape(clean_line(headline(report))),
        "style": style,
        "data": _harmless(clean_block(json.dumps(data, ensure_ascii=False))),
        "script": script,
    }
    page = _part("page.html")
    # One pass, because data may contain what looks like another place to fill.
    pieces = page.split("%%")
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _unsteady(report: Report, nodeid: str) -> dict[str, str]:
    known = next((test for test in (report.history.tests if report.history else ()) if test.nodeid == nodeid), None)
    return {"nodeid": nodeid, "trend": trend(known) if known else "", "command": reproduction(report, [nodeid])}


def _harmless(data: str) -> str:
    """Inside a JSON string these mean the same, and no HTML parser sees an element or a comment."""
    # str.translate takes thirty times longer, for a large report longer than everything else here.
    return data.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
