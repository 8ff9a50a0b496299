"""The one comment of ours on a pull request: found by marker and author, updated in place, never twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from savepoint_ci.github.errors import GitHubError, UnsureError

if TYPE_CHECKING:
    from savepoint_ci.github.client import Client

__all__ = ["upsert_comment"]

_ROUNDS = 4
_NOT_FOUND = 404
_UNPROCESSABLE = 422


def upsert_comment(client: Client, repository: str, number: int, *, marker: str, bodies: Sequence[str]) -> str:
    """Make or update our comment on a pull request and return its address.

    Every round looks first, so two posters at once, or a lost answer, end with one comment: all keep the oldest,
    write their body into it and remove the newer ones.

    :param marker: the first line by which the comment is found; every body begins with it.
    :param bodies: the same comment in falling length; a shorter one is tried when GitHub says that one is too long.
    :raises GitHubError: when GitHub refuses or cannot be reached.
    """
    issues = f"/repos/{repository}/issues"
    login = client.login()
    created: dict[str, Any] | None = None
    for _ in range(_ROUNDS):
        comments = client.pages(f"{issues}/{number}/comments")
        ours = sorted((each for each in comments if _is_ours(each, login, marker)), key=lambda each: int(each["id"]))
        if ours:
            try:
                _update(client, issues, ours, bodies)
            except GitHubError as error:
                if error.status != _NOT_FOUND:
                    raise
                continue  # somebody removed it meanwhile
            return str(ours[0]["html_url"])
        if created:
            # The list lags behind; a second comment would be worse than one that nobody has looked at again.
            return str(created["html_url"])
        with suppress(UnsureError):
            created = _first_that_fits(lambda body: client.post(f"{issues}/{number}/comments", {"body": body}), bodies)
    raise GitHubError("The comment was asked for several times, and GitHub shows none.")


def _is_ours(comment: dict[str, Any], login: str, marker: str) -> bool:
    author = comment.get("user") or {}
    return author.get("login") == login and (comment.get("body") or "").startswith(marker)


def _update(client: Client, issues: str, ours: Sequence[dict[str, Any]], bodies: Sequence[str]) -> None:
    kept, *newer = ours
    if kept["body"] not in bodies:
        _first_that_fits(lambda body: client.patch(f"{issues}/comments/{kept['id']}", {"body": body}), bodies)
    for comment in newer:
        with suppress(GitHubError):  # the comment is right already; the next run removes what is left
            client.delete(f"{issues}/comments/{comment['id']}")


def _first_that_fits(write: Callable[[str], Any], bodies: Sequence[str]) -> Any:
    for body in bodies[:-1]:
        try:
            return write(body)
        except GitHubError as error:  # noqa: PERF203 - three bodies at most
            if error.status != _UNPROCESSABLE or "too long" not in str(error):
                raise
    return write(bodies[-1])
