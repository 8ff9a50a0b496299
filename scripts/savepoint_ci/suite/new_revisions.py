"""The migrations that a change adds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_savepoint.settings import Settings

from savepoint_ci.suite.merge_base import Git, GitError, NoBaseError, find_base

__all__ = ["new_revisions"]


def new_revisions(settings: Settings, project: Path, *, environ: Mapping[str, str]) -> dict[str, str]:
    """The variable that names the revisions' files added since the base; none where nothing is asked or known.

    Files that git does not track yet count as added.

    :param environ: the job's environment.
    """
    if not settings.migration_tests or settings.new_revisions:
        return {}
    from pytest_savepoint.databases.schema import chosen_schema  # noqa: PLC0415 - slow to load, and rarely needed

    schema = chosen_schema(settings, project)
    folder = schema.migrations() if schema.source == "alembic" else None
    if folder is None:
        return {}
    git = Git(project, environ)
    where = str(folder.resolve().relative_to(project.resolve()))
    try:
        base = find_base(git, compare_to=settings.compare_to, environ=environ)
        added = git("diff", "--name-only", "--diff-filter=A", "--no-renames", "--relative", base, "--", where)
        untracked = git("ls-files", "--others", "--exclude-standard", "--", where)
    except (NoBaseError, GitError):
        return {}
    files = [name for name in (*added.splitlines(), *untracked.splitlines()) if name.endswith(".py")]
    return {"SAVEPOINT_NEW_REVISIONS": ",".join(files)} if files else {}
