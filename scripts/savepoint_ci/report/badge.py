"""Badges: small SVG files of our own drawing, for a README or a wiki."""

from __future__ import annotations

from html import escape

from savepoint_ci.report.headline import percent
from savepoint_ci.report.model import Report
from savepoint_ci.report.text import clean_line, cut

__all__ = ["coverage_badge", "outcome_badge"]

_GREEN, _YELLOW, _RED, _GREY = "#1a7f37", "#9a6700", "#b62324", "#57606a"
_LETTER = 6.6
"""The average width of a letter in pixels at the size that is drawn; `textLength` makes it exact."""


def coverage_badge(report: Report) -> str:
    """Return coverage.svg: the total coverage in green, yellow or red."""
    if not report.coverage:
        return _badge("coverage", "unknown", _GREY)
    total = report.coverage.total
    return _badge("coverage", percent(total), _GREEN if total >= 90 else _YELLOW if total >= 70 else _RED)


def outcome_badge(report: Report) -> str:
    """Return tests.svg: how many passed, or how many did not."""
    counts = report.counts
    broken = sum(counts.get(name, 0) for name in ("failed", "error", "not_run"))
    if report.result in ("green", "gate"):
        return _badge("tests", f"{counts.get('passed', 0):,} passed", _GREEN)
    return _badge("tests", f"{broken:,} broken" if broken else report.result.replace("-", " "), _RED)


def _badge(label: str, value: str, colour: str) -> str:
    label, value = (escape(cut(clean_line(text), 40)) for text in (label, value))
    left, right = (round(len(text) * _LETTER) for text in (label, value))
    first, width = left + 12, left + right + 24
    text = '<text x="{}" y="14" textLength="{}" lengthAdjust="spacingAndGlyphs">{}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {value}">'
        f"<title>{label}: {value}</title>"
        f'<clipPath id="round"><rect width="{width}" height="20" rx="4"/></clipPath>'
        f'<g clip-path="url(#round)"><rect width="{first}" height="20" fill="#3d444d"/>'
        f'<rect x="{first}" width="{width - first}" height="20" fill="{colour}"/></g>'
        '<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">'
        f"{text.format(6, left, label)}{text.format(first + 6, right, value)}</g></svg>\n"
    )
