"""The source of measured files, for the page that shows which of their lines ran."""

from __future__ import annotations

from pathlib import Path

from savepoint_ci.report.model import Coverage

__all__ = ["read_sources"]

_FILE_BYTES = 400_000
_ALL_BYTES = 6_000_000


def read_sources(project: Path, coverage: Coverage) -> dict[str, str]:
    """Return the text of measured files by path, those with most to show first, within six megabytes.

    :param project: what lies outside of it is not read, whatever the coverage data names.
    """
    root, left, texts = project.resolve(), _ALL_BYTES, {}
    for file in sorted(coverage.files, key=lambda file: file.percent):
        try:
            path = (root / file.path).resolve()
            if not path.is_relative_to(root) or path.stat().st_size > min(left, _FILE_BYTES):
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
        except (OSError, ValueError):  # removed or renamed since, or no path at all
            continue
        left -= len(text.encode())
        texts[file.path] = text
    return texts
