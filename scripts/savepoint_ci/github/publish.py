"""Puts a report on its pull request, or says why it stays in the summary; it never fails a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from pytest_savepoint.errors import SavepointError
from pytest_savepoint.settings import Settings

from savepoint_ci.github.client import Client, GitHubError, api_url
from savepoint_ci.github.comment import upsert_comment
from savepoint_ci.github.event import Event, read_event
from savepoint_ci.report.markdown import COMMENT_BYTES, comment_body, comment_marker
from savepoint_ci.report.model import Report

__all__ = ["Publication", "comment_key", "publish", "run_url"]

_BODY_BYTES = (COMMENT_BYTES, COMMENT_BYTES // 2, 4_000)
_REFUSALS = (401, 403, 404)
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Publication:
    """Where the report can be read, and why only there; `unexpected` deserves a warning."""

    outcome: Literal["comment", "summary only"]
    url: str = ""
    reason: str = ""
    unexpected: bool = False


def publish(
    report: Report,
    *,
    settings: Settings,
    environ: Mapping[str, str],
    make_client: Callable[..., Client] = Client,
) -> Publication:
    """Post or update the comment on the pull request that this run belongs to.

    :param environ: the runner's variables.
    :param make_client: called with the API's address and the token.
    """
    try:
        event = read_event(environ)
        if reason := _reason_for_none(event, settings, environ):
            return Publication("summary only", reason=reason)
        client = make_client(api_url(environ), settings.github_token)
        number = event.pull_request or _find_pull_request(client, event)
        if number is None:
            return Publication("summary only", reason="no open pull request belongs to this commit")
        key = comment_key(settings, environ)
        bodies = [comment_body(report, key=key, run_url=run_url(environ), limit=limit) for limit in _BODY_BYTES]
        url = upsert_comment(client, event.repository, number, marker=comment_marker(key), bodies=bodies)
    except GitHubError as error:
        return _refusal(error, event)
    except SavepointError as error:
        return Publication("summary only", reason=str(error), unexpected=True)
    except Exception as error:  # noqa: BLE001 - whatever GitHub sends, the run's verdict is not lost for a comment
        reason = f"GitHub's answer could not be used ({type(error).__name__})"
        return Publication("summary only", reason=reason, unexpected=True)
    return Publication("comment", url=url)


def comment_key(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return what tells this job's comment apart from those of other jobs on the same pull request."""
    job = f"{environ.get('GITHUB_WORKFLOW', '')}/{environ.get('GITHUB_JOB', '')}".strip("/")
    return settings.comment_key or job or "default"


def run_url(environ: Mapping[str, str]) -> str:
    """Return the page of this workflow run, empty outside GitHub Actions."""
    run = environ.get("GITHUB_RUN_ID", "")
    if not run.isdigit():
        return ""
    server = environ.get("GITHUB_SERVER_URL", "https://github.com")
    return f"{server}/{environ.get('GITHUB_REPOSITORY', '')}/actions/runs/{run}"


def _reason_for_none(event: Event, settings: Settings, environ: Mapping[str, str]) -> str:
    # act takes the token of `gh`; a run on a laptop must not write to the real pull request.
    is_act_elsewhere = event.is_act and urlsplit(api_url(environ)).hostname not in _THIS_MACHINE
    reasons = (
        (not settings.comment, "comment is set to false"),
        (not event.name, "this run is not in GitHub Actions"),
        (settings.shard, f"this is shard {settings.shard}, and savepoint merge comments for all"),
        (is_act_elsewhere, "this is an act run"),
        (event.name == "merge_group", "a merge queue tests several pull requests together"),
        (not settings.github_token, "there is no token; give the action github-token"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def _find_pull_request(client: Client, event: Event) -> int | None:
    """Return the open pull request whose head is this commit."""
    if not event.head:
        return None
    for pull_request in client.pages(f"/repos/{event.repository}/pulls", state="open", head=event.head):
        if pull_request["head"]["sha"] == event.head_sha:
            return int(pull_request["number"])
    return None


def _refusal(error: GitHubError, event: Event) -> Publication:
    if error.status not in _REFUSALS:
        return Publication("summary only", reason=str(error), unexpected=True)
    if event.is_fork:
        reason = "the token of a fork's pull request may only read"
        return Publication("summary only", reason=f"{reason} ({error.status})")
    reason = f"the token may not comment; grant pull-requests: write ({error})"
    return Publication("summary only", reason=reason)
