"""The comment of a fork's run: written by a workflow with the right to, from data that anybody may have made up."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from fake_actions import zipped
from fake_github import REPOSITORY, TOKEN, FakeGitHub, Fault
from hostile_text import TRICKS, filled_with
from msgspec.structs import replace
from pytest_savepoint.settings import read_settings
from savepoint_ci.github.publish import Publication, publish_tested_run
from savepoint_ci.report.markdown import comment_body
from savepoint_ci.report.model import REPORT_BYTES, Report, Run, report_json

FORK = "stranger/Hello-World"
COMMIT = "f" * 40
REPORT = Report(result="green", counts={"total": 3, "passed": 3}, run=Run(commit=COMMIT, repository=REPOSITORY))


@pytest.fixture
def tested(github: FakeGitHub) -> dict[str, Any]:
    """The run of a fork's open pull request."""
    github.add_pull_request(7, branch="topic", sha=COMMIT, owner="stranger")
    return github.actions.add_run(event="pull_request", branch="topic", sha=COMMIT, repository=FORK)


@pytest.fixture
def keep(github: FakeGitHub, tested: dict[str, Any]) -> Callable[..., None]:
    """Keep a report as the tested run's artifact."""

    def keep(report: Report = REPORT, *, archive: bytes | None = None, name: str = "savepoint") -> None:
        report = replace(report, run=replace(report.run, id=report.run.id or str(tested["id"])))
        github.actions.add_artifact(tested, name, archive or zipped(report_json=report_json(report)))

    return keep


@pytest.fixture
def post_for(environ, event_file, make_client, tmp_path) -> Callable[..., Publication]:
    """Run `savepoint post` in a workflow that this run has started."""

    def post_for(run: dict[str, Any], **variables: str) -> Publication:
        kept = ("id", "event", "head_branch", "head_sha", "head_repository")
        file = event_file({"workflow_run": {name: run[name] for name in kept}})
        given = {**environ, "GITHUB_EVENT_NAME": "workflow_run", "GITHUB_EVENT_PATH": file, **variables}
        settings = read_settings(tmp_path, environ=given)
        return publish_tested_run("savepoint", settings=settings, environ=given, make_client=make_client)

    return post_for


def test_comment_of_a_fork_s_run_is_posted_and_updated_in_place(github, tested, keep, post_for):
    keep()
    assert post_for(tested).outcome == "comment"
    keep(replace(REPORT, result="tests-failed", counts={"total": 1, "failed": 1}))
    assert post_for(tested).outcome == "comment"
    (body,) = github.bodies()
    assert "1 failed of 1 test" in body
    assert f"actions/runs/{tested['id']}" in body


def test_storage_of_artifacts_never_sees_the_token(github, tested, keep, post_for):
    keep()
    post_for(tested)
    assert github.actions.seen_by_storage
    assert all(TOKEN not in str(headers) for headers in github.actions.seen_by_storage)


@pytest.mark.parametrize(
    "change",
    [
        {"head_sha": "9" * 40},
        {"head_branch": "other"},
        {"head_repository": {"full_name": "stranger/Another"}},
        {"head_repository": {"full_name": REPOSITORY}},
        {"head_repository": None},
        {"event": "push"},
    ],
    ids=str,
)
def test_run_whose_pull_request_is_closed_or_has_moved_on_gets_no_comment(github, tested, keep, post_for, change):
    keep()
    publication = post_for({**tested, **change})
    assert publication.outcome == "summary only"
    assert github.writes == []


@pytest.mark.parametrize(
    "run",
    [
        Run(id="1", commit=COMMIT, repository=REPOSITORY),
        Run(commit="9" * 40, repository=REPOSITORY),
        Run(commit=COMMIT, repository="other/place"),
    ],
    ids=["another run", "another commit", "another repository"],
)
def test_replayed_report_of_another_run_is_refused(github, tested, keep, post_for, run):
    keep(replace(REPORT, run=run))
    publication = post_for(tested)
    assert "of another run" in publication.reason
    assert github.writes == []


def test_artifact_of_another_run_is_never_looked_at(github, tested, post_for):
    other = github.actions.add_run(event="pull_request", branch="topic", sha=COMMIT, repository=FORK)
    report = replace(REPORT, run=replace(REPORT.run, id=str(tested["id"])))
    github.actions.add_artifact(other, "savepoint", zipped(report_json=report_json(report)))
    assert "no artifact" in post_for(tested).reason
    assert github.writes == []


def bomb() -> bytes:
    return zipped(report_json=b" " * (REPORT_BYTES + 1))


def lying_bomb() -> bytes:
    """The same, with a header that says one byte."""
    archive = bytearray(bomb())
    at = archive.rfind(b"PK\x01\x02")
    archive[at + 24 : at + 28] = struct.pack("<I", 1)
    return bytes(archive)


def many_entries() -> bytes:
    """A million names: the directory of a small archive, as long as it can be."""
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"x"
    directory = entry * 1_000_000
    return directory + b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 65_535, 65_535, len(directory), 0, 0)


def many_entries_by_zip64() -> bytes:
    archive = zipped(report_json=b"{}")
    at = archive.rfind(b"PK\x05\x06")
    return archive[:at] + b"PK\x06\x07" + bytes(16) + archive[at:]


def entry(name: str, content: bytes = b"{}", **attributes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo(name)
        for attribute, value in attributes.items():
            setattr(info, attribute, value)
        archive.writestr(info, content)
    return buffer.getvalue()


def twice() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("report.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("report.json", "{}")
    return buffer.getvalue()


ATTACKS: dict[str, Callable[[], bytes]] = {
    "no archive": lambda: b"GIF89a" * 100,
    "archive that ends early": lambda: zipped(report_json=report_json(REPORT))[:-40],
    "zip bomb": bomb,
    "zip bomb with a false length": lying_bomb,
    "a million entries": many_entries,
    "a directory beyond the directory": many_entries_by_zip64,
    "path that escapes": lambda: entry("../../report.json"),
    "absolute path": lambda: entry("/report.json"),
    "symlink": lambda: entry("report.json", b"/etc/passwd", external_attr=0o120777 << 16),
    "two files of one name": twice,
    "compression that needs memory": lambda: entry("report.json", compress_type=zipfile.ZIP_LZMA),
    "deep nesting": lambda: zipped(report_json=b'{"version":' * 100_000),
    "no JSON": lambda: zipped(report_json=b"\xff\xfe"),
    "more tests than a report has": lambda: zipped(
        report_json=b'{"version":1,"result":"green","counts":{},"run":{},"tests":['
        + b",".join([b'{"nodeid":"x","outcome":"passed"}'] * 210_000)
        + b"]}"
    ),
    "words that are no words": lambda: zipped(
        report_json=json.dumps({"version": 1, "result": "green", "counts": {}, "run": {}, "timing": {"::set-env": 1}})
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_archive_that_is_built_to_harm_is_refused_and_nothing_is_posted(github, tested, keep, post_for, attack):
    keep(archive=ATTACKS[attack]())
    publication = post_for(tested)
    assert publication.outcome == "summary only"
    assert publication.unexpected
    assert publication.reason
    assert github.writes == []


def test_expired_or_huge_artifact_is_not_downloaded(github, tested, keep, post_for):
    keep()
    for change in ({"expired": True}, {"expired": False, "size_in_bytes": REPORT_BYTES + 1}):
        github.actions.artifacts[0].update(change)
        assert "expired, or has more" in post_for(tested).reason
    assert github.actions.seen_by_storage == []


def test_hostile_report_is_rendered_by_us_and_nothing_else_of_the_artifact_is_used(github, tested, keep, post_for):
    commands = ("::set-env name=PATH::x", "::add-mask::a", "$GITHUB_STEP_SUMMARY")
    trick = " ".join((*TRICKS, *commands)).encode(errors="ignore").decode()
    report = filled_with(trick)
    report = replace(report, run=replace(REPORT.run, id=str(tested["id"])))
    keep(archive=zipped(report_json=report_json(report), comment_md=f"posted as it is: {trick}"))
    assert post_for(tested).outcome == "comment"
    (body,) = github.bodies()
    url = f"https://github.com/{REPOSITORY}/actions/runs/{tested['id']}"
    assert body == comment_body(report, key="default", run_url=url)


def test_outside_of_workflow_run_nothing_is_asked(github, tested, keep, post_for):
    keep()
    publication = post_for(tested, GITHUB_EVENT_NAME="pull_request")
    assert "workflow_run" in publication.reason
    assert github.requests == []


def test_missing_permission_is_named(tested, keep, post_for, github):
    keep()
    github.faults = [Fault("GET", 403, "Resource not accessible by integration", times=9)]
    assert "grant pull-requests: write" in post_for(tested).reason
