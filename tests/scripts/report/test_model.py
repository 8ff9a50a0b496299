"""report.json keeps to its schema, and a foreign one that does not is refused with the place of its fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from report_samples import SAMPLES
from savepoint_ci.report.model import REPORT_BYTES, ReportError, json_schema, parse_report, report_json

SCHEMA = Path(__file__).parents[3] / "docs" / "report-v1.schema.json"
GOOD = {"version": 1, "result": "green", "counts": {}, "run": {}}


@pytest.mark.parametrize("name", SAMPLES)
def test_report_survives_being_written_and_read(name):
    assert parse_report(report_json(SAMPLES[name])) == SAMPLES[name]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", SAMPLES)
def test_report_follows_the_committed_schema(name, validator):
    validator.validate(json.loads(report_json(SAMPLES[name])))


def test_committed_schema_is_the_model_s(same_as_committed):
    same_as_committed(SCHEMA, json.dumps(json_schema(), indent=2) + "\n")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"version": 2}, r"\$\.version"),
        ({"result": "fine"}, r"\$\.result"),
        ({"counts": {"passed": -1}}, r"\$\.counts"),
        ({"counts": {"passed": "1"}}, r"\$\.counts"),
        ({"run": {"id": "x" * 5_000}}, r"\$\.run\.id"),
        ({"tests": [{"nodeid": "n", "outcome": "lost"}]}, r"\$\.tests\[0\]\.outcome"),
        ({"coverage": {"lines": 101, "branches": None, "total": 1}}, r"\$\.coverage\.lines"),
        ({"findings": [{"code": "x"}]}, r"\$\.findings\[0\]"),
        ({"failure": {"step": "<img>", "message": ""}}, r"\$\.failure\.step"),
    ],
)
def test_report_that_breaks_the_schema_is_refused_with_the_place(change, place):
    with pytest.raises(ReportError, match=place):
        parse_report(json.dumps({**GOOD, **change}).encode())


@given(st.binary() | st.text().map(str.encode) | st.sampled_from([b"[" * 200_000, b'{"version":' * 50_000]))
def test_bytes_that_are_no_report_are_refused_and_nothing_else_happens(data):
    with pytest.raises(ReportError):
        parse_report(data)


def test_report_that_is_too_large_is_not_read():
    with pytest.raises(ReportError, match="bytes"):
        parse_report(b" " * (REPORT_BYTES + 1))
