"""The history that the default branch's runs left as artifacts; read only, and from trusted runs only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from savepoint_ci.history.model import HISTORY_BYTES, HistoryError, parse_history

if TYPE_CHECKING:
    from savepoint_ci.github.client import Client

__all__ = ["HISTORY_FILE", "Fetched", "artifact_name", "fetch_history"]

HISTORY_FILE = "history.json.gz"
_TRIES = 3
_PER_PAGE = 100


@dataclass(frozen=True)
class Fetched:
    """A history as it was stored, and the commit whose run wrote it."""

    data: bytes
    commit: str


def artifact_name(key: str) -> str:
    """The name of a job's history among the artifacts of a repository.

    :param key: what tells the job from others, as for its comment.
    """
    readable = re.sub("[^A-Za-z0-9.-]+", "-", key)[:40].strip("-")
    return f"savepoint-history-{readable}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def fetch_history(client: Client, repository: str, *, name: str, default_branch: str, base: str) -> Fetched | None:
    """The history that the run of the merge base left, else the newest; None when there is none.

    A run of a fork may have a branch of the same name and an artifact of the same name; it is neither a push nor of
    this repository's own branch, and GitHub tells both, not the artifact.

    :param base: the merge base; empty takes the newest.
    :raises GitHubError: when GitHub refuses or cannot be reached.
    """
    from savepoint_ci.github.artifact import ArtifactError, download_file  # noqa: PLC0415 - other steps need names only

    for artifact in _candidates(client, repository, name, default_branch, base):
        run = artifact["workflow_run"]
        if not _is_trusted(client.get(f"/repos/{repository}/actions/runs/{run['id']}"), repository, default_branch):
            continue
        with suppress(ArtifactError, HistoryError):  # a broken one; an older one serves as well
            data = download_file(client, repository, artifact["id"], HISTORY_FILE, limit=HISTORY_BYTES)
            parse_history(data)
            return Fetched(data, run["head_sha"])
    return None


def _candidates(client: Client, repository: str, name: str, default_branch: str, base: str) -> Iterator[dict[str, Any]]:
    listed = client.get(f"/repos/{repository}/actions/artifacts", name=name, per_page=_PER_PAGE)["artifacts"]
    usable = [each for each in listed if _is_usable(each, default_branch)]
    usable.sort(key=lambda each: (each["workflow_run"]["head_sha"] == base, each["id"]), reverse=True)
    yield from usable[:_TRIES]


def _is_usable(artifact: dict[str, Any], default_branch: str) -> bool:
    run = artifact.get("workflow_run") or {}
    return (
        not artifact["expired"]
        and artifact["size_in_bytes"] <= HISTORY_BYTES
        and run.get("head_branch") == default_branch
        and run.get("repository_id") is not None
        and run.get("repository_id") == run.get("head_repository_id")
    )


def _is_trusted(run: dict[str, Any], repository: str, default_branch: str) -> bool:
    return (
        run["event"] == "push"
        and run["head_branch"] == default_branch
        and (run.get("head_repository") or {}).get("full_name") == repository
    )
