"""--savepoint-memory names the lines whose objects stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytest_savepoint
from programs import LEAN

# Whole runs of pytest, or of migrations, which take seconds.
pytestmark = pytest.mark.e2e


def test_lines_whose_objects_stay_are_named_when_asked_for(pytester, monkeypatch, tmp_path):
    monkeypatch.setenv("SAVEPOINT_EVIDENCE", str(tmp_path / "evidence.jsonl"))
    monkeypatch.setenv("PYTHONPATH", str(Path(pytest_savepoint.__file__).parents[1]))
    pytester.makepyfile(
        test_leak="""
        KEPT = []

        def test_first():
            pass

        def test_leaks():
            KEPT.append(
                bytearray(3_000_000)
            )
        """
    )
    pytester.runpytest_subprocess(
        "-p",
        "no:savepoint",
        *LEAN,
        "-p",
        "pytest_savepoint.plugin",
        "--savepoint-memory",
        "--savepoint-isolation=none",
        "-p",
        "no:randomly",
    )
    lines = map(json.loads, (tmp_path / "evidence.jsonl").read_text().splitlines())
    (growth,) = [line for line in lines if line["kind"] == "growth"]
    assert growth["allocated"][0] | {"blocks": 0} == {
        "path": "test_leak.py", "line": 8, "bytes": growth["allocated"][0]["bytes"], "blocks": 0
    }  # fmt: skip
    assert growth["allocated"][0]["bytes"] > 2_900_000
