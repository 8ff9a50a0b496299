"""The report of another run, whose code nobody has reviewed: everything in it is checked, nothing of it is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from savepoint_ci.github.artifact import ArtifactError, download_file
from savepoint_ci.github.event import Event
from savepoint_ci.report.model import REPORT_BYTES, Report, parse_report

if TYPE_CHECKING:
    from savepoint_ci.github.client import Client

__all__ = ["fetch_report"]


def fetch_report(client: Client, event: Event, artifact: str) -> Report:
    """Return the report that the run which this workflow_run event names kept as an artifact.

    :param artifact: the name of the artifact that has report.json.
    :raises ArtifactError: when there is none, or it is of another run.
    :raises ReportError: when report.json breaks its schema.
    :raises GitHubError: when GitHub refuses or cannot be reached.
    """
    listed = client.get(
        f"/repos/{event.repository}/actions/runs/{event.run_id}/artifacts", name=artifact, per_page=100
    )["artifacts"]
    named = [
        each
        for each in listed
        if each["name"] == artifact and (each.get("workflow_run") or {}).get("id") == event.run_id
    ]
    if not named:
        raise ArtifactError(
            f"The run {event.run_id} kept no artifact called {artifact!r}; upload the report folder under that name."
        )
    newest = max(named, key=lambda each: int(each["id"]))
    if newest["expired"] or newest["size_in_bytes"] > REPORT_BYTES:
        raise ArtifactError(f"The artifact is expired, or has more than {REPORT_BYTES:,} bytes.")
    report = parse_report(download_file(client, event.repository, newest["id"], "report.json", limit=REPORT_BYTES))
    said = (report.run.repository, report.run.id, report.run.commit)
    if said != (event.repository, str(event.run_id), event.head_sha):
        raise ArtifactError("The report says that it is of another run, so it is not posted here.")
    return report
