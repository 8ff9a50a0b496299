"""Findings as SARIF 2.1.0, for code scanning: one result a finding, at the line to change."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol
from urllib.parse import quote

from savepoint_ci.report.paths import workspace_path
from savepoint_ci.report.text import clean_block

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
    def tests(self) -> tuple[str, ...]: ...
    @property
    def culprit(self) -> _Culprit | None: ...
    @property
    def explanation(self) -> str: ...
    @property
    def fix(self) -> str: ...
    @property
    def confidence(self) -> float: ...


def sarif(findings: Iterable[_Finding], *, category: str, folder: str = "") -> bytes:
    """Return a SARIF log; what stands in findings is text in it, never markup.

    A finding without a place in the repository is left out, because code scanning would refuse the whole log for it.

    :param category: what tells this log from others of the same commit; a later one of a category replaces the earlier.
    :param folder: the project's folder from the repository's root, in front of every path.
    """
    placed = [(each, place) for each in findings if (place := _place(each, folder))]
    rules = {each.code: each.cause for each, _ in placed}
    codes = sorted(rules)
    seen: Counter[str] = Counter()
    run = {
        "tool": {"driver": {"name": "Savepoint", "rules": [_rule(code, rules[code]) for code in codes]}},
        "automationDetails": {"id": f"{category}/"},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, codes.index(each.code), *place, seen) for each, place in placed],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1).encode()


def _rule(code: str, cause: str) -> dict[str, Any]:
    return {"id": code, "name": cause, "shortDescription": {"text": f"{code} {cause}"}}


def _place(finding: _Finding, folder: str) -> tuple[str, int] | None:
    """The line to change, else the file of the first test; None when both are outside of the repository."""
    culprit = finding.culprit
    if culprit and (path := workspace_path(culprit.path, folder)):
        return path, culprit.line or 1
    files = (workspace_path(nodeid.partition("::")[0], folder) for nodeid in finding.tests)
    return next(((path, 1) for path in files if path), None)


def _result(finding: _Finding, index: int, path: str, line: int, seen: Counter[str]) -> dict[str, Any]:
    """One result; its fingerprint is the same wherever the line has moved, and counts those that are alike."""
    name = finding.culprit.name if finding.culprit else ""
    same = hashlib.sha256(f"{finding.code}\0{path}\0{name}".encode("utf-8", "replace")).hexdigest()[:16]
    seen[same] += 1
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": "error" if finding.confidence >= _SURE else "warning",
        "message": {"text": clean_block(f"{finding.explanation}\nFix: {finding.fix}")},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": quote(path)}, "region": {"startLine": line}}}],
        "partialFingerprints": {"primaryLocationLineHash": f"{same}:{seen[same]}"},
        "properties": {"confidence": finding.confidence},
    }
