"""A check run on the commit: the verdict beside the jobs, with the report behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from savepoint_ci.report.headline import headline
from savepoint_ci.report.markdown import comment_body
from savepoint_ci.report.model import Report

if TYPE_CHECKING:
    from savepoint_ci.github.client import Client

__all__ = ["put_check_run"]

_SUMMARY_BYTES = 60_000  # GitHub takes 65,535 characters


def put_check_run(
    client: Client, repository: str, report: Report, *, commit: str, key: str, run: str, run_url: str
) -> str:
    """Make the check run of this workflow run, or bring it up to date when a job runs again; return its address.

    :param key: what tells this job's check run from those of others.
    :param run: the id of the workflow run.
    :raises GitHubError: when GitHub refuses or cannot be reached.
    """
    name = f"Savepoint ({key})"
    known = client.get(f"/repos/{repository}/commits/{commit}/check-runs", check_name=name)["check_runs"]
    conclusion = {"green": "success", "interrupted": "cancelled"}.get(report.result, "failure")
    body = {
        "name": name,
        "external_id": run,
        "status": "completed",
        "conclusion": conclusion,
        "output": {
            "title": headline(report)[:255],
            "summary": comment_body(report, key=key, run_url=run_url, limit=_SUMMARY_BYTES),
        },
        **({"details_url": run_url} if run_url else {}),
    }
    ours = [each["id"] for each in known if each["name"] == name and each["external_id"] == run]
    if ours:
        answer = client.patch(f"/repos/{repository}/check-runs/{max(ours)}", body)
    else:
        answer = client.post(f"/repos/{repository}/check-runs", {**body, "head_sha": commit})
    return str(answer["html_url"])
