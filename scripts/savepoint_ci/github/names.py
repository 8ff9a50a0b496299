"""What this run is called on GitHub, and where its pages are."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_savepoint.settings import Settings

__all__ = ["api_url", "comment_key", "repository_url", "run_url"]


def api_url(environ: Mapping[str, str]) -> str:
    """Return the API's address as the runner gives it; GitHub Enterprise Server has its own."""
    return environ.get("GITHUB_API_URL") or "https://api.github.com"


def comment_key(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return what tells this job's comment apart from those of other jobs on the same pull request."""
    job = f"{environ.get('GITHUB_WORKFLOW', '')}/{environ.get('GITHUB_JOB', '')}".strip("/")
    return settings.comment_key or job or "default"


def run_url(environ: Mapping[str, str], run_id: int = 0) -> str:
    """Return the page of this workflow run or of another, empty outside GitHub Actions."""
    run = str(run_id or environ.get("GITHUB_RUN_ID", ""))
    if not run.isdigit():
        return ""
    return f"{repository_url(environ)}/actions/runs/{run}"


def repository_url(environ: Mapping[str, str]) -> str:
    """Return the page of the repository, on the server that the runner names."""
    return f"{environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{environ.get('GITHUB_REPOSITORY', '')}"
