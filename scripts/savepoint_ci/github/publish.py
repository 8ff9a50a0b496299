"""Puts a report on its pull request, or says why it stays in the summary; it never fails a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pytest_savepoint.errors import SavepointError
from pytest_savepoint.settings import Settings

from savepoint_ci.github.check_run import put_check_run
from savepoint_ci.github.code_scanning import send_findings
from savepoint_ci.github.comment import upsert_comment
from savepoint_ci.github.errors import GitHubError
from savepoint_ci.github.event import Event, read_event
from savepoint_ci.github.names import api_url, comment_key, repository_url, run_url
from savepoint_ci.report.markdown import COMMENT_BYTES, comment_body, comment_marker
from savepoint_ci.report.model import Report

if TYPE_CHECKING:
    from savepoint_ci.github.client import Client

__all__ = ["Publication", "publish", "publish_check_run", "publish_findings", "publish_tested_run"]

_BODY_BYTES = (COMMENT_BYTES, COMMENT_BYTES // 2, 4_000)
_REFUSALS = (401, 403, 404)
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Publication:
    """Where the report can be read, and why only there; `unexpected` deserves a warning."""

    outcome: Literal["comment", "check run", "code scanning", "summary only"]
    url: str = ""
    reason: str = ""
    unexpected: bool = False


def publish(
    report: Report,
    *,
    settings: Settings,
    environ: Mapping[str, str],
    make_client: Callable[..., Client] | None = None,
) -> Publication:
    """Post or update the comment on the pull request that this run belongs to.

    :param environ: the runner's variables.
    :param make_client: called with the API's address and the token; by default `Client`.
    """
    return _publish(lambda _client, _event: report, settings, environ, make_client)


def publish_tested_run(
    artifact: str,
    *,
    settings: Settings,
    environ: Mapping[str, str],
    make_client: Callable[..., Client] | None = None,
) -> Publication:
    """Post or update the comment for the run that started this one by a workflow_run event.

    :param artifact: the name under which that run kept its report folder.
    """
    if environ.get("GITHUB_EVENT_NAME") != "workflow_run":
        return Publication("summary only", reason="savepoint post runs in a workflow that workflow_run starts")
    from savepoint_ci.github.tested_run import fetch_report  # noqa: PLC0415 - the comment of a job opens no archive

    return _publish(lambda client, event: fetch_report(client, event, artifact), settings, environ, make_client)


def publish_check_run(
    report: Report,
    *,
    settings: Settings,
    environ: Mapping[str, str],
    make_client: Callable[..., Client] | None = None,
) -> Publication:
    """Put a check run with the report on the commit that this run tested, when the setting check-run asks for it."""

    def put(event: Event) -> Publication:
        if not settings.check_run or not _speaks_for_a_commit(event, settings):
            return Publication("summary only")
        url = put_check_run(
            _client(make_client, settings, environ),
            event.repository,
            report,
            commit=event.head_sha,
            key=comment_key(settings, environ),
            run=environ.get("GITHUB_RUN_ID", ""),
            run_url=run_url(environ),
        )
        return Publication("check run", url=url)

    return _without_failing(put, environ, needed="checks: write", asked=True)


def publish_findings(
    log: bytes,
    *,
    settings: Settings,
    environ: Mapping[str, str],
    make_client: Callable[..., Client] | None = None,
) -> Publication:
    """Hand the findings to code scanning, when the setting code-scanning asks for it.

    :param log: a SARIF log.
    """

    def send(event: Event) -> Publication:
        # The commit of workflow_run is the default branch's, and what was tested may be anybody's.
        of_another_run = event.name == "workflow_run"
        if not settings.code_scanning or of_another_run or not _speaks_for_a_commit(event, settings):
            return Publication("summary only")
        commit, ref = environ.get("GITHUB_SHA", ""), environ.get("GITHUB_REF", "")
        if event.name == "pull_request_target":  # for it these are the base branch's
            commit, ref = event.head_sha, f"refs/pull/{event.pull_request}/head"
        client = _client(make_client, settings, environ)
        send_findings(client, event.repository, log, commit=commit, ref=ref)
        return Publication("code scanning", url=f"{repository_url(environ)}/security/code-scanning")

    return _without_failing(send, environ, needed="security-events: write", asked=True)


def _speaks_for_a_commit(event: Event, settings: Settings) -> bool:
    """Whether this run is a whole one on GitHub, and has a token."""
    return bool(event.name and not event.is_act and not settings.shard and settings.github_token)


def _publish(
    find_report: Callable[[Client, Event], Report],
    settings: Settings,
    environ: Mapping[str, str],
    make_client: Callable[..., Client] | None,
) -> Publication:
    def post(event: Event) -> Publication:
        if reason := _reason_for_none(event, settings, environ):
            return Publication("summary only", reason=reason)
        client = _client(make_client, settings, environ)
        number = event.pull_request or _find_pull_request(client, event)
        if number is None:
            return Publication("summary only", reason="no open pull request belongs to this commit")
        report = find_report(client, event)
        key = comment_key(settings, environ)
        address = run_url(environ, event.run_id)
        bodies = [comment_body(report, key=key, run_url=address, limit=limit) for limit in _BODY_BYTES]
        url = upsert_comment(client, event.repository, number, marker=comment_marker(key), bodies=bodies)
        return Publication("comment", url=url)

    return _without_failing(post, environ, needed="pull-requests: write")


def _client(make_client: Callable[..., Client] | None, settings: Settings, environ: Mapping[str, str]) -> Client:
    from savepoint_ci.github.client import Client  # noqa: PLC0415 - most runs that ask nothing end sooner without it

    return (make_client or Client)(api_url(environ), settings.github_token)


def _without_failing(
    ask: Callable[[Event], Publication], environ: Mapping[str, str], *, needed: str, asked: bool = False
) -> Publication:
    """Whatever GitHub does, a reason comes of it and the run keeps its verdict.

    :param needed: the permission without which GitHub refuses.
    :param asked: somebody switched this on, and will wonder where it is.
    """
    event = Event()
    try:
        event = read_event(environ)
        return ask(event)
    except GitHubError as error:
        return _refusal(error, event, needed, asked=asked)
    except SavepointError as error:
        return Publication("summary only", reason=str(error), unexpected=True)
    except Exception as error:  # noqa: BLE001 - an answer may lack anything
        reason = f"GitHub's answer could not be used ({type(error).__name__})"
        return Publication("summary only", reason=reason, unexpected=True)


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
    """Return the open pull request whose head is this commit of this repository."""
    if not event.head:
        return None
    for pull_request in client.pages(f"/repos/{event.repository}/pulls", state="open", head=event.head):
        head = pull_request["head"]
        if head["sha"] == event.head_sha and (head["repo"] or {}).get("full_name") == event.head_repository:
            return int(pull_request["number"])
    return None


def _refusal(error: GitHubError, event: Event, needed: str, *, asked: bool) -> Publication:
    if error.status not in _REFUSALS:
        return Publication("summary only", reason=str(error), unexpected=True)
    if event.is_fork and not event.run_id:
        reason = "the token of a fork's pull request may only read"
        return Publication("summary only", reason=f"{reason} ({error.status})")
    return Publication("summary only", reason=f"the token may not do it; grant {needed} ({error})", unexpected=asked)
