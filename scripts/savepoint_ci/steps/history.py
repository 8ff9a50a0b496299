"""Fetch what earlier runs of the default branch left, for the order of tests and for the report."""

from __future__ import annotations

from pytest_savepoint.errors import SavepointError

from savepoint_ci.github.errors import GitHubError
from savepoint_ci.github.event import Event, read_event
from savepoint_ci.github.names import api_url, comment_key
from savepoint_ci.history.fetch import Fetched, artifact_name, fetch_history
from savepoint_ci.history.keep import fetched_file
from savepoint_ci.invocation import Invocation
from savepoint_ci.suite.merge_base import Git, NoBaseError, find_base

__all__ = ["history", "merge_base"]

_REFUSALS = (401, 403, 404)


def history(invocation: Invocation) -> None:
    """Fetch the history; that there is none never changes the verdict.

    A shard asks nothing: its plan was made with the history, and the merged report is compared with it.
    """
    settings, environ = invocation.settings, invocation.environ
    if not settings.history or settings.shard or environ.get("GITHUB_ACTIONS") != "true":
        return
    fetched_file(invocation).unlink(missing_ok=True)
    try:
        found = _fetch(invocation, read_event(environ))
    except GitHubError as error:
        hint = "; grant actions: read" if error.status in _REFUSALS else ""
        invocation.display.say(f"savepoint: no history: {error}{hint}")
    except SavepointError as error:
        invocation.display.say(f"savepoint: no history: {error}")
    except Exception as error:  # noqa: BLE001 - whatever GitHub sends, the tests run
        invocation.display.say(f"savepoint: no history: GitHub's answer could not be used ({type(error).__name__})")
    else:
        if found:
            fetched_file(invocation).write_bytes(found.data)
        said = f"of {found.commit[:9]}, {len(found.data):,} bytes" if found else "none yet"
        invocation.display.say(f"savepoint: history: {said}")


def merge_base(invocation: Invocation) -> str:
    """The commit with which this run is compared, empty when there is none."""
    git = Git(invocation.project, invocation.environ)
    try:
        return find_base(git, compare_to=invocation.settings.compare_to, environ=invocation.environ)
    except NoBaseError:
        return ""


def _fetch(invocation: Invocation, event: Event) -> Fetched | None:
    token = invocation.settings.github_token
    if not token or not event.default_branch:
        return None
    from savepoint_ci.github.client import Client  # noqa: PLC0415 - the report step needs the rest only

    return fetch_history(
        Client(api_url(invocation.environ), token),
        event.repository,
        name=artifact_name(comment_key(invocation.settings, invocation.environ)),
        default_branch=event.default_branch,
        # A push goes on from the newest, so that running an older commit again forgets nothing.
        base="" if event.name == "push" else merge_base(invocation),
    )
