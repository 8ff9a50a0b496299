"""Foreign text inside Markdown: as code, fenced, or as prose, and never as markup, mention, link or HTML.

GitHub looks for @mentions, #numbers, addresses and commit names everywhere but in code, so whatever is not a plain
word becomes code.
"""

from __future__ import annotations

import html
import re

from savepoint_ci.report.text import clean_block, clean_line, cut

__all__ = ["code", "fence", "prose", "summary_code"]

_TICKED = re.compile(r"`+([^`]+)`+")
_WORD = re.compile(r"""(["'(]*)(.*?)([.,;:!?)"']*)""")
_PLAIN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d{1,6}(?:\.\d{1,3}){0,2}%?|[·–—-]|")
_PUNCTUATION = re.compile(r"[.,;:!?)]+(?=\s|$)")
_LINKED = re.compile(r"[0-9a-f]{7,}|^www$", re.IGNORECASE)
"""Plain letters that become a link all the same: the name of a commit, and the beginning of an address."""
_MOST_TICKS = 79
"""A code span may begin with 80 on GitHub, and must with one more than it has."""
_LONG_TICKS = re.compile(f"`{{{_MOST_TICKS},}}")


def code(text: str, limit: int = 200) -> str:
    """Return one line of text as a code span that it cannot leave."""
    text = _LONG_TICKS.sub("`" * _MOST_TICKS, cut(clean_line(text), limit) or " ")
    ticks = "`" * (_longest_run_of_ticks(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def fence(text: str, limit: int = 20_000, *, language: str = "text") -> str:
    """Return text as a fenced block, to stand at the beginning of a line, that it cannot close.

    :param language: a word of ours, never foreign text.
    """
    text = cut(clean_block(text).strip("\n"), limit)
    ticks = "`" * max(3, _longest_run_of_ticks(text) + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def prose(text: str, limit: int = 600) -> str:
    """Return text as a sentence: plain words stay words, everything else becomes code; not for a line's beginning."""
    rendered: list[str] = []
    for index, part in enumerate(_TICKED.split(cut(clean_line(text), limit))):
        if index % 2:
            rendered.append(code(part))
            continue
        # The full stop after `code` stays with it.
        if rendered and (closing := _PUNCTUATION.match(part)):
            rendered[-1] += closing[0]
            part = part[closing.end() :]  # noqa: PLW2901
        rendered += [_word(word) for word in part.split()]
    return " ".join(rendered)


def summary_code(text: str, limit: int = 200) -> str:
    """Return one line of text as code for an HTML block, where Markdown is not read."""
    return f"<code>{html.escape(cut(clean_line(text), limit))}</code>"


def _word(text: str) -> str:
    match = _WORD.fullmatch(text)
    before, core, after = match.groups() if match else ("", text, "")
    if "(" in core and after.startswith(")"):
        core, after = core + ")", after[1:]
    is_plain = _PLAIN.fullmatch(core) and not _LINKED.search(core)
    return f"{before}{core if is_plain else code(core)}{after}"


def _longest_run_of_ticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
