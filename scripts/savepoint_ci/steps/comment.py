"""Put the report on the pull request, or say why it stays in the summary."""

from __future__ import annotations

from savepoint_ci.github.publish import publish
from savepoint_ci.github.runner_files import set_output
from savepoint_ci.invocation import Invocation
from savepoint_ci.report.annotations import warning_command
from savepoint_ci.steps.verdict import read_report

__all__ = ["comment"]


def comment(invocation: Invocation) -> None:
    """Post or update the one comment; that it cannot be posted never changes the verdict.

    :raises ReportError: when report.json is not there or is broken.
    """
    publication = publish(read_report(invocation), settings=invocation.settings, environ=invocation.environ)
    if publication.outcome == "comment":
        set_output(invocation.environ, "comment-url", publication.url)
        invocation.display.say(f"savepoint: comment: {publication.url}")
    elif invocation.environ.get("GITHUB_ACTIONS") == "true":
        text = f"savepoint: no comment was posted, because {publication.reason}"
        invocation.display.say(warning_command(text) if publication.unexpected else text)
