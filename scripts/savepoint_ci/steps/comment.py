"""Put the report on the pull request, or say why it stays in the summary."""

from __future__ import annotations

from savepoint_ci.github.publish import Publication, publish, publish_check_run
from savepoint_ci.github.runner_files import set_output
from savepoint_ci.invocation import Invocation
from savepoint_ci.report.annotations import warning_command
from savepoint_ci.steps.verdict import read_report

__all__ = ["comment", "tell"]


def comment(invocation: Invocation) -> None:
    """Post or update the one comment, and the check run if there is to be one; neither changes the verdict.

    :raises ReportError: when report.json is not there or is broken.
    """
    report = read_report(invocation)
    settings, environ = invocation.settings, invocation.environ
    tell(invocation, publish(report, settings=settings, environ=environ))
    checked = publish_check_run(report, settings=settings, environ=environ)
    if checked.url:
        invocation.display.say(f"savepoint: check run: {checked.url}")
    elif checked.reason:
        invocation.display.say(warning_command(f"savepoint: no check run was made, because {checked.reason}"))


def tell(invocation: Invocation, publication: Publication) -> None:
    """Say where the comment is, or why there is none."""
    if publication.outcome == "comment":
        set_output(invocation.environ, "comment-url", publication.url)
        invocation.display.say(f"savepoint: comment: {publication.url}")
    elif invocation.environ.get("GITHUB_ACTIONS") == "true":
        text = f"savepoint: no comment was posted, because {publication.reason}"
        invocation.display.say(warning_command(text) if publication.unexpected else text)
