"""What started this run: which commits, which pull request, and whether a comment may be posted at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec
from pytest_savepoint.errors import SavepointError

__all__ = ["Event", "EventError", "read_event"]

_PULL_REQUEST_EVENTS = ("pull_request", "pull_request_target")
_BRANCH_EVENTS = ("push", "workflow_dispatch")
_NO_COMMIT = "0" * 40

_Commit = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{40}([0-9a-f]{24})?$|^$")]
_FullName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")]


class EventError(SavepointError):
    """The runner's event file cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """The event of a run; outside GitHub Actions every field is empty."""

    name: str = ""
    repository: str = ""
    head_sha: str = ""
    base_sha: str = ""
    """The commit that changed lines are counted from; empty when the event names none."""
    pull_request: int | None = None
    head: str = ""
    """`owner:branch`, by which an open pull request is found when the event names none."""
    head_repository: str = ""
    """The repository of that branch."""
    run_id: int = 0
    """The run that this one was started by; 0 when a workflow_run event did not start it."""
    is_fork: bool = False
    is_act: bool = False
    default_branch: str = ""
    """The branch whose runs write the history; empty when the event does not name it."""


class _Repository(msgspec.Struct):
    full_name: _FullName


class _OwnRepository(_Repository):
    default_branch: str = ""


class _Side(msgspec.Struct):
    sha: _Commit = ""
    repo: _Repository | None = None


class _PullRequest(msgspec.Struct):
    number: Annotated[int, msgspec.Meta(ge=1)]
    head: _Side = msgspec.field(default_factory=_Side)
    base: _Side = msgspec.field(default_factory=_Side)


class _MergeGroup(msgspec.Struct):
    head_sha: _Commit
    base_sha: _Commit


class _WorkflowRun(msgspec.Struct):
    id: Annotated[int, msgspec.Meta(ge=1)]
    event: str
    head_sha: _Commit
    head_branch: str | None = None
    head_repository: _Repository | None = None


class _Payload(msgspec.Struct):
    pull_request: _PullRequest | None = None
    merge_group: _MergeGroup | None = None
    workflow_run: _WorkflowRun | None = None
    repository: _OwnRepository | None = None
    before: _Commit | None = None
    act: bool = False


def read_event(environ: Mapping[str, str]) -> Event:
    """Read the event that started this run from the runner's variables and event file.

    :raises EventError: when the file is there and is not what GitHub documents.
    """
    if environ.get("GITHUB_ACTIONS") != "true":
        return Event()
    name = environ.get("GITHUB_EVENT_NAME", "")
    payload = _read_payload(environ.get("GITHUB_EVENT_PATH", ""))
    repository = environ.get("GITHUB_REPOSITORY", "")
    event = Event(
        name=name,
        repository=repository,
        head_sha=environ.get("GITHUB_SHA", ""),
        is_act=payload.act or environ.get("ACT") == "true",
        default_branch=payload.repository.default_branch if payload.repository else "",
    )
    if payload.pull_request and name in _PULL_REQUEST_EVENTS:
        return _of_pull_request(event, payload.pull_request)
    if payload.merge_group and name == "merge_group":
        return replace(event, head_sha=payload.merge_group.head_sha, base_sha=payload.merge_group.base_sha)
    if payload.workflow_run and name == "workflow_run":
        return _of_workflow_run(event, payload.workflow_run)
    if name in _BRANCH_EVENTS and environ.get("GITHUB_REF_TYPE") == "branch":
        base = "" if payload.before in (None, _NO_COMMIT) else payload.before
        owner = repository.partition("/")[0]
        head = f"{owner}:{environ.get('GITHUB_REF_NAME', '')}"
        return replace(event, base_sha=base or "", head=head, head_repository=repository)
    return event


def _of_pull_request(event: Event, pull_request: _PullRequest) -> Event:
    head, base = pull_request.head, pull_request.base
    return replace(
        event,
        pull_request=pull_request.number,
        head_sha=head.sha or event.head_sha,
        base_sha=base.sha,
        # The repository of a fork that was deleted is null.
        is_fork=base.repo is not None and head.repo != base.repo,
    )


def _of_workflow_run(event: Event, run: _WorkflowRun) -> Event:
    name = run.head_repository.full_name if run.head_repository else ""
    head = f"{name.partition('/')[0]}:{run.head_branch}" if name and run.head_branch else ""
    if run.event not in _PULL_REQUEST_EVENTS:
        return event  # of a push nobody knows which pull request it belongs to, and it comments itself
    return replace(
        event,
        head_sha=run.head_sha,
        head=head,
        head_repository=name,
        run_id=run.id,
        is_fork=name != event.repository,
    )


def _read_payload(file: str) -> _Payload:
    if not file:
        return _Payload()
    try:
        return msgspec.json.decode(Path(file).read_bytes(), type=_Payload)
    except FileNotFoundError:
        return _Payload()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise EventError(
            f"GITHUB_EVENT_PATH names {file}, which is not an event as GitHub documents it: {fault}. "
            "Under act, check the file given with --eventpath."
        ) from None
