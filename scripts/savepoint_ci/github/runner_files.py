"""The files by which a step speaks to the runner: outputs, variables for later steps, and the job summary."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["append_summary", "set_output", "set_variable"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def set_output(environ: Mapping[str, str], name: str, value: str) -> None:
    """Give this step an output; where there is no runner, nothing happens."""
    _append_value(environ.get("GITHUB_OUTPUT"), name, value)


def set_variable(environ: Mapping[str, str], name: str, value: str) -> None:
    """Give later steps of the job an environment variable; where there is no runner, nothing happens."""
    _append_value(environ.get("GITHUB_ENV"), name, value)


def append_summary(environ: Mapping[str, str], markdown: str) -> None:
    """Add Markdown to this step's part of the job summary; where there is no runner, nothing happens."""
    if file := environ.get("GITHUB_STEP_SUMMARY"):
        _append(file, markdown)


def _append_value(file: str | None, name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for an output or a variable")
    if file:
        # A value that contained the delimiter could end itself and set names of its own choice.
        delimiter = f"savepoint_{os.urandom(16).hex()}"
        _append(file, f"{name}<<{delimiter}\n{value}\n{delimiter}\n")


def _append(file: str, text: str) -> None:
    with Path(file).open("a", encoding="utf-8", errors="replace", newline="\n") as stream:
        stream.write(text)
