"""Paths in a report, which are relative to the project and may say anything, as paths in the repository."""

from __future__ import annotations

from pathlib import PurePosixPath

from savepoint_ci.report.text import clean_line

__all__ = ["workspace_path"]


def workspace_path(path: str | None, project: str) -> str | None:
    """Return the path from the workspace, None when it would lead out of it.

    :param project: the project's folder, relative to the workspace.
    """
    if not path:
        return None
    whole = PurePosixPath(project) / clean_line(path)
    return None if whole.is_absolute() or ".." in whole.parts else str(whole)
