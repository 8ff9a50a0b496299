"""What can go wrong when GitHub is asked."""

from __future__ import annotations

from pytest_savepoint.errors import SavepointError

__all__ = ["GitHubError", "UnsureError"]


class GitHubError(SavepointError):
    """GitHub did not do what was asked; `status` is 0 when there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class UnsureError(GitHubError):
    """A request that creates something went out and its answer did not come back: it may have been done."""
