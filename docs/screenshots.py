# /// script
# requires-python = ">=3.10"
# dependencies = ["msgspec", "playwright", "tomli; python_version < '3.11'"]
# ///
"""Take the pictures of docs/report.md with Chromium, which must be on PATH: `uv run docs/screenshots.py`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("scripts", "fixtures_pkg/src", "tests/fakes")]

from browser import opener  # noqa: E402 - after the path is set
from rich_report import RICH, SOURCES  # noqa: E402
from savepoint_ci.report.page.render import report_page  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"


def main() -> None:
    """Write one picture in light colours and one in dark ones."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, opener() as open_page:
        file = Path(folder, "report.html")
        file.write_text(report_page(RICH, sources=SOURCES), encoding="utf-8")
        light = open_page(file.as_uri(), width=1000).page
        light.evaluate("document.getElementById('tests').scrollIntoView({ behavior: 'instant' })")
        light.screenshot(path=str(PICTURES / "report-tests.png"))
        dark = open_page(file.as_uri(), width=1000, colours="dark").page
        dark.locator("#files summary").first.click()
        dark.get_by_role("button", name="40 tests").click()
        dark.evaluate("document.getElementById('coverage').scrollIntoView({ behavior: 'instant' })")
        dark.locator(".source").evaluate("(source) => { source.scrollTop = 640 }")
        dark.screenshot(path=str(PICTURES / "report-coverage.png"))


if __name__ == "__main__":
    main()
