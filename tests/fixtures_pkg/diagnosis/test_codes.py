"""The codes of findings are a contract with docs and reports."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_savepoint.diagnosis import CODES

DOCS = Path(__file__).parents[3] / "docs" / "findings.md"


def test_every_code_has_a_heading_with_why_before_and_after():
    sections = re.split(r"^### ", DOCS.read_text(), flags=re.MULTILINE)[1:]
    assert {section.splitlines()[0] for section in sections} == {f"{code} {cause}" for cause, code in CODES.items()}
    for section in sections:
        assert "Before:" in section, section
        assert "After:" in section, section


def test_no_two_causes_share_a_code():
    assert len(set(CODES.values())) == len(CODES)
