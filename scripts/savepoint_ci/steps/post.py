"""Put the report of a run that had no right to comment on its pull request, from a workflow that has it."""

from __future__ import annotations

from savepoint_ci.github.publish import publish_tested_run
from savepoint_ci.invocation import Invocation
from savepoint_ci.steps.comment import tell

__all__ = ["post"]


def post(invocation: Invocation) -> None:
    """Post or update the comment of the run that workflow_run tells of, or say why not; a bad artifact is no failure."""
    publication = publish_tested_run(invocation.artifact, settings=invocation.settings, environ=invocation.environ)
    tell(invocation, publication)
