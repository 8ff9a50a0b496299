"""Put the report on the pull request, or say why it stays in the summary."""

from __future__ import annotations

from savepoint_ci.github.publish import Publication, publish, publish_check_run, publish_findings
from savepoint_ci.github.runner_files import set_output
from savepoint_ci.invocation import Invocation
from savepoint_ci.report.annotations import warning_command
from savepoint_ci.steps.verdict import read_report

__all__ = ["comment", "tell"]


def comment(invocation: Invocation) -> None:
    """Post or update the one comment, and what else was asked for; none of it changes the verdict.

    :raises ReportError: when report.json is not there or is broken.
    """
    report, log = read_report(invocation), invocation.report_folder / "findings.sarif"
    settings, environ = invocation.settings, invocation.environ
    tell(invocation, publish(report, settings=settings, environ=environ))
    _tell_more(invocation, "check run", publish_check_run(report, settings=settings, environ=environ))
    if log.is_file():
        _tell_more(invocation, "code scanning", publish_findings(log.read_bytes(), settings=settings, environ=environ))


def tell(invocation: Invocation, publication: Publication) -> None:
    """Say where the comment is, or why there is none."""
    if publication.outcome == "comment":
        set_output(invocation.environ, "comment-url", publication.url)
        invocation.display.say(f"savepoint: comment: {publication.url}")
    elif invocation.environ.get("GITHUB_ACTIONS") == "true":
        text = f"savepoint: no comment was posted, because {publication.reason}"
        invocation.display.say(warning_command(text) if publication.unexpected else text)


def _tell_more(invocation: Invocation, what: str, publication: Publication) -> None:
    if publication.url:
        invocation.display.say(f"savepoint: {what}: {publication.url}")
    elif publication.reason:
        text = f"savepoint: {what}: left out, because {publication.reason}"
        invocation.display.say(warning_command(text) if publication.unexpected else text)
