# /// script
# requires-python = ">=3.10"
# dependencies = ["pyyaml", "tomli; python_version < '3.11'"]
# ///
"""Write the generated parts of the documentation: `uv run docs/generate.py`.

Generated are docs/settings.md and what stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->` in README.md.
A contract test compares the committed files with what this gives.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "fixtures_pkg" / "src"))

from pytest_savepoint.settings import SETTINGS, Setting  # noqa: E402 - after the path is set

SETTINGS_PAGE = """\
# Settings

Every setting has one name, spelled as each place wants it. For `postgres-version`:

| Where | Spelling |
|---|---|
| `pyproject.toml`, under `[tool.savepoint]` | `postgres-version = "16"` |
| environment | `SAVEPOINT_POSTGRES_VERSION=16` |
| input of the action | `postgres-version: 16` |
| option of `scripts/savepoint` | `--postgres-version 16` |
| option of plain pytest, where the table says so | `--savepoint-postgres-version 16` |

The option wins over the environment (into which the action puts its inputs), that over `pyproject.toml`, that over the
default. An empty variable counts as not set. `scripts/savepoint run --show-settings PATH` shows each value and where it
comes from. A wrong value, or a name that does not exist, ends the run with exit code 2; all faults are listed at once.

`github-token` is not read from `pyproject.toml`.

{table}

This page is made from `fixtures_pkg/src/pytest_savepoint/settings.py` by `uv run docs/generate.py`.
"""


def main() -> None:
    """Write every generated file."""
    for path, text in generated_files().items():
        path.write_text(text, encoding="utf-8")


def generated_files() -> dict[Path, str]:
    """The files with generated parts, as they should be."""
    readme = ROOT / "README.md"
    return {
        ROOT / "docs" / "settings.md": SETTINGS_PAGE.format(table=_settings_table()),
        readme: _with_parts(readme.read_text(encoding="utf-8")),
    }


def _with_parts(text: str) -> str:
    for name, part in PARTS.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"README.md needs one {begin} and one {end}.")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{part()}\n\n{end}{rest.split(end)[1]}"
    return text


def _workflow() -> str:
    return f"```yaml\n{(ROOT / 'workflows' / 'minimal.yml').read_text(encoding='utf-8').rstrip()}\n```"


def _comment() -> str:
    """The comment of a failing run, as a test of the renderings keeps it, set off as a quotation."""
    golden = ROOT / "tests" / "scripts" / "report" / "golden" / "findings.md"
    lines = golden.read_text(encoding="utf-8").rstrip().splitlines()[1:]  # the first is the hidden marker
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _settings_table() -> str:
    rows = (
        (f"`{each.kebab}`", _values(each), _default(each), "yes" if each.plugin else "", each.help) for each in SETTINGS
    )
    return _table(("Setting", "Values", "Default", "Plain pytest", "Meaning"), rows)


def _values(setting: Setting) -> str:
    choices = ("true", "false") if isinstance(setting.default, bool) else setting.choices
    return ", ".join(f"`{choice}`" for choice in choices)


def _default(setting: Setting) -> str:
    default = setting.default
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    if isinstance(default, tuple):
        default = ", ".join(default)
    return "" if default in ("", None, {}) else f"`{default}`"


def _action_inputs() -> str:
    return _table(("Input", "Meaning"), _described(_read("action.yml")["inputs"]))


def _action_outputs() -> str:
    return _table(("Output", "Meaning"), _described(_read("action.yml")["outputs"]))


def _workflow_inputs() -> str:
    # YAML 1.1 reads the key `on` as true.
    inputs = _read(".github/workflows/savepoint.yml")[True]["workflow_call"]["inputs"]
    rows = ((f"`{name}`", f"`{_plain(given['default'])}`" if given["default"] != "" else "", given["description"])
            for name, given in inputs.items())  # fmt: skip
    return _table(("Input", "Default", "Meaning"), rows)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _described(given: Mapping[str, Mapping[str, str]]) -> Iterable[tuple[str, str]]:
    return ((f"`{name}`", each["description"]) for name, each in given.items())


def _read(name: str) -> dict[Any, Any]:
    read: dict[Any, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return read


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    # Outside of code, <postgres-version> would be an HTML tag that nobody sees.
    return "\n".join(f"| {' | '.join(cell.replace('<', '&lt;') for cell in line)} |" for line in lines)


PARTS: dict[str, Callable[[], str]] = {
    "workflow": _workflow,
    "comment": _comment,
    "action inputs": _action_inputs,
    "action outputs": _action_outputs,
    "workflow inputs": _workflow_inputs,
}

if __name__ == "__main__":
    main()
