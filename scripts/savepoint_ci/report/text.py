"""Text from tests, made safe to carry: no terminal sequences, no control, bidirectional or unpaired characters."""

from __future__ import annotations

import re

__all__ = ["clean_block", "clean_line", "cut"]

_TERMINAL_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_BREAK = re.compile(r"[ \t]*(?:\n[ \t]*)+")


def clean_block(text: str) -> str:
    """Return text whose only control characters are tab and line feed; what was unsafe shows as U+FFFD."""
    text = _TERMINAL_SEQUENCE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _UNSAFE.sub("\ufffd", text)


def clean_line(text: str) -> str:
    """Return text as one line: cleaned, with each line break and its indentation as one space."""
    if text.isprintable():  # most are, and there are many
        return text.strip()
    return _BREAK.sub(" ", clean_block(text)).replace("\t", " ").strip()


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters; a longer text keeps its beginning and its end, where errors say most."""
    if len(text) <= limit:
        return text
    mark = " … "
    if limit <= len(mark):
        return text[:limit]
    tail = (limit - len(mark)) // 2
    return text[: limit - len(mark) - tail] + mark + text[len(text) - tail :]
