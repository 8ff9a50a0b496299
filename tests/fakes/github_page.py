"""A comment as GitHub shows it: GitHub's own Markdown parser, and a style that comes close to theirs."""

from __future__ import annotations

import cmarkgfm
from cmarkgfm.cmark import Options

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fff; --line: #d1d9e0; --shade: #818b981f; --link: #0969da }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f0f6fc; --paper: #0d1117; --line: #3d444d; --shade: #656c7633; --link: #4493f8 }
}
body { margin: 0; padding: 16px; background: var(--paper); color: var(--ink);
  font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; overflow-wrap: break-word }
main { max-width: 780px; margin: auto; border: 1px solid var(--line); border-radius: 6px; padding: 16px }
h3 { font-size: 1.25em; line-height: 1.25; margin: 0 0 16px } h4 { font-size: 1em; margin: 24px 0 16px }
p, ul, pre, details { margin: 0 0 16px } ul { padding-left: 2em } a { color: var(--link) }
code { font: 85% "Liberation Mono", monospace; background: var(--shade); border-radius: 6px; padding: .2em .4em }
pre { background: var(--shade); border-radius: 6px; padding: 16px; overflow: auto; line-height: 1.45 }
pre code { background: none; padding: 0 } summary { cursor: pointer }
"""


def github_html(markdown: str) -> str:
    """The elements that GitHub makes of a comment, in which every line break counts."""
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_HARDBREAKS
    return cmarkgfm.github_flavored_markdown_to_html(markdown, options=options)


def github_page(markdown: str) -> str:
    """The same as a page of its own."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>A comment</title><style>{_STYLE}</style><main>{github_html(markdown)}</main></html>"
    )
