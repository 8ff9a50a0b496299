from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import OpenPage, opener
from pytest_savepoint.settings import read_settings
from savepoint_ci.report.build import build_report
from savepoint_ci.report.model import Report, Run


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Report]:
    """Build a report from evidence as records or as text."""

    def build(*evidence: dict[str, Any] | str, **given: Any) -> Report:
        lines = [line if isinstance(line, str) else json.dumps(line) for line in evidence]
        settings = read_settings(tmp_path, flags=given.pop("flags", {}), environ={})
        given.setdefault("run", Run(id="1"))
        return build_report(lines, settings=settings, **given)

    return build


@pytest.fixture
def same_as_committed() -> Callable[[Path, str], None]:
    """Compare with a committed file, or write it when SAVEPOINT_WRITE_GOLDEN is set; then look at what changed."""

    def compare(file: Path, text: str) -> None:
        if os.environ.get("SAVEPOINT_WRITE_GOLDEN"):
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8"), (
            f"{file.name} differs. If the change is meant: SAVEPOINT_WRITE_GOLDEN=1 pytest tests/scripts/report"
        )

    return compare


@pytest.fixture(scope="module")
def open_page() -> Iterator[OpenPage]:
    """Open an address in Chromium."""
    with opener() as open_page:
        yield open_page
