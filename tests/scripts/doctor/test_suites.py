"""Findings at the line to change and nowhere else, in suites that mark their own faults."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from pytest_savepoint.diagnosis import CODES

ROOT = Path(__file__).parents[3]
SUITES = Path(__file__).parent / "suites"
CASES = os.environ.get("SAVEPOINT_CASES")
CALM = ("fixed", "healthy", "control")


@pytest.mark.parametrize("name", sorted(each.name for each in SUITES.iterdir()))
def test_every_marked_line_is_found_and_no_other(name, marked, problems):
    found = {
        (each.finding.culprit.path, each.finding.culprit.line, each.finding.code) for each in problems(SUITES / name)
    }
    assert found == marked(SUITES / name)


def test_every_rule_has_a_line_that_it_finds(marked):
    rules = (ROOT / "scripts" / "savepoint_ci" / "doctor" / "rules").glob("*.py")
    named = {
        name for path in rules for name in re.findall(r'^\s+"([a-z_]+\.[a-z_]+)",$', path.read_text(), re.MULTILINE)
    }
    found = {code for suite in SUITES.iterdir() for _, _, code in marked(suite)}
    assert {code for cause, code in CODES.items() if cause in named} == found


def test_example_of_this_repository_is_healthy(problems):
    assert [each.finding for each in problems(ROOT / "examples" / "shop")] == []


if CASES:

    def test_cases_of_a_folder_are_named_at_their_culprit(problems):
        """The folder in SAVEPOINT_CASES holds cases with case.json, broken/ and fixed/ or healthy/."""
        counts: Counter[str] = Counter()
        for file in sorted(Path(CASES).glob("*/case.json")):
            case = json.loads(file.read_text())
            causes = {case["root_cause"], *case.get("accept", [])}
            for variant in ("broken", *CALM):
                if not (file.parent / variant).is_dir():
                    continue
                found = [each.finding for each in problems(file.parent / variant)]
                verdict = _verdict(case, causes, found) if variant == "broken" else "false alarm" if found else "calm"
                counts[verdict] += 1
                print(
                    f"{file.parent.name:44} {variant:8} {verdict:12}", *(f"{each.code} {each.cause}" for each in found)
                )
        print(dict(counts))
        assert counts["false alarm"] == counts["elsewhere"] == 0


def _verdict(case, causes, found):
    place = re.match(r"broken/([^:]+):(\d+)", case["culprit"])
    assert place
    for each in found:
        right = each.cause in causes and each.culprit.path == place[1]
        if right and abs(each.culprit.line - int(place[2])) <= 2:
            return "named"
    return "elsewhere" if found else "not visible"
