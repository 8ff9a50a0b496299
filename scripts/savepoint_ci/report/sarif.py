"""Findings as SARIF 2.1.0, for code scanning: one result a finding, at the line to change."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Protocol
from urllib.parse import quote

from savepoint_ci.report.text import clean_block, clean_line

__all__ = ["sarif"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_SURE = 0.9


class _Culprit(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def line(self) -> int | None: ...
    @property
    def name(self) -> str: ...


class _Finding(Protocol):
    @property
    def code(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def culprit(self) -> _Culprit | None: ...
    @property
    def explanation(self) -> str: ...
    @property
    def fix(self) -> str: ...
    @property
    def confidence(self) -> float: ...


def sarif(findings: Iterable[_Finding], *, folder: str = "") -> bytes:
    """Return a SARIF log; what stands in findings is text in it, never markup.

    :param folder: the project's folder from the repository's root, in front of every path.
    """
    found = list(findings)
    rules = {each.code: each.cause for each in found}
    codes = sorted(rules)
    run = {
        "tool": {"driver": {"name": "Savepoint", "rules": [_rule(code, rules[code]) for code in codes]}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, codes.index(each.code), folder) for each in found],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1).encode()


def _rule(code: str, cause: str) -> dict[str, Any]:
    return {"id": code, "name": cause, "shortDescription": {"text": f"{code} {cause}"}}


def _result(finding: _Finding, index: int, folder: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": "error" if finding.confidence >= _SURE else "warning",
        "message": {"text": clean_block(f"{finding.explanation}\nFix: {finding.fix}")},
        "properties": {"confidence": finding.confidence},
    }
    location = _location(finding.culprit, folder)
    if location:
        result["locations"] = [location]
    return result


def _location(culprit: _Culprit | None, folder: str) -> dict[str, Any] | None:
    if culprit is None:
        return None
    path = PurePosixPath(folder) / clean_line(culprit.path)
    if path.is_absolute() or ".." in path.parts:
        return None
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(str(path))}}
    if culprit.line:
        physical["region"] = {"startLine": culprit.line}
    return {"physicalLocation": physical}
