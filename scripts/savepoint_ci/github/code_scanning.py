"""Findings in GitHub's code scanning: alerts on the lines of a pull request, kept until they are gone."""

from __future__ import annotations

import base64
import gzip
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from savepoint_ci.github.client import Client

__all__ = ["send_findings"]


def send_findings(client: Client, repository: str, log: bytes, *, commit: str, ref: str) -> None:
    """Hand over a SARIF log of one commit; GitHub reads it later, and one of the same category replaces it.

    :param ref: where the commit was found, such as refs/heads/main or refs/pull/7/merge.
    :raises GitHubError: when GitHub refuses or cannot be reached.
    """
    packed = base64.b64encode(gzip.compress(log, mtime=0)).decode()
    body = {"commit_sha": commit, "ref": ref, "sarif": packed}
    client.post(f"/repos/{repository}/code-scanning/sarifs", body, repeatable=True)
