"""What is silenced is listed with its reason and not shown, under plain pytest as in the tool."""

from __future__ import annotations

import pytest

PYPROJECT = """
[[tool.savepoint.silence]]
file = "test_old.py"
reason = "the old module goes in May"
"""
FORGOTTEN = """
import pytest

async def _save(): pass

{marker}
@pytest.mark.asyncio
async def test_{name}():
    _save()  # never awaited
    assert {name!r} == ""
"""


def suite(**markers: str) -> dict[str, str]:
    tests = {f"test_{name}.py": FORGOTTEN.format(name=name, marker=marker) for name, marker in markers.items()}
    return {"pyproject.toml": PYPROJECT, **tests}


@pytest.mark.e2e
def test_silenced_findings_are_listed_with_their_reasons_and_the_others_shown(diagnose_suite):
    asked = '@pytest.mark.savepoint_silence("SP101", "SP403", reason="fire and forget")'
    found = diagnose_suite(suite(known=asked, old="", new=""), "-n", "1")
    section = found.output.partition("savepoint: findings")[2]
    assert section.count("Fix:") == 1, found.output
    assert "Tests: test_new.py::test_new" in section
    assert "silenced: SP403 task.coroutine_never_awaited (fire and forget)" in section
    assert "silenced: SP403 task.coroutine_never_awaited (the old module goes in May)" in section
    assert [line for line in found.evidence if line["kind"] == "silence"] == [
        {"kind": "silence", "test": "test_known.py::test_known", "code": code, "reason": "fire and forget"}
        for code in ("SP101", "SP403")
    ]


@pytest.mark.e2e
def test_marker_without_a_reason_fails_its_test_and_silences_nothing(diagnose_suite):
    found = diagnose_suite(suite(known='@pytest.mark.savepoint_silence("SP403")', new=""))
    assert 'takes a reason, as in @pytest.mark.savepoint_silence("SP507", reason="...")' in found.output
    assert "silenced:" not in found.output
    assert "1 error" in found.output
