"""report.json, version 1: its types, and strict reading and writing of them.

The limits are part of the types, so that a report made elsewhere (an artifact of somebody's fork) is refused with
the place of its fault, and the JSON Schema says the same as the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from pytest_savepoint.errors import ExitCode, SavepointError

__all__ = [
    "LARGEST_SEED",
    "LINE_LIMIT",
    "REPORT_BYTES",
    "TEXT_LIMIT",
    "Allocated",
    "Count",
    "Coverage",
    "Culprit",
    "Database",
    "Failure",
    "FileCoverage",
    "FileLines",
    "FilePatch",
    "Finding",
    "Gate",
    "Grown",
    "Growth",
    "Held",
    "History",
    "Kept",
    "LineTests",
    "Migration",
    "Outcome",
    "PatchCoverage",
    "Phase",
    "PhaseError",
    "Quarantined",
    "Report",
    "ReportError",
    "Result",
    "Run",
    "Shard",
    "ShardResult",
    "Silenced",
    "Standing",
    "Template",
    "TestHistory",
    "TestResult",
    "Verdict",
    "json_schema",
    "parse_report",
    "report_json",
]

LINE_LIMIT = 4_096
TEXT_LIMIT = 65_536
LARGEST_SEED = 2**32 - 1
REPORT_BYTES = 64 * 1024 * 1024

Line = Annotated[str, Meta(max_length=LINE_LIMIT)]
Text = Annotated[str, Meta(max_length=TEXT_LIMIT)]
Seconds = Annotated[float, Meta(ge=0, le=10_000_000)]
Percent = Annotated[float, Meta(ge=0, le=100)]
LineNumber = Annotated[int, Meta(ge=1, le=100_000_000)]
Bytes = Annotated[int, Meta(ge=0, le=2**53)]
Change = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Seed = Annotated[int, Meta(ge=0, le=LARGEST_SEED)]
Amount = Annotated[int, Meta(ge=0, le=100_000_000)]
# `$` alone lets Python take a line break after the last character.
Slug = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,79}$(?!\n)")]
# A word stands in the middle of sentences, so it can be no address and no commit's name.
Word = Annotated[str, Meta(pattern=r"^(?!.*[0-9a-f]{7})[a-z][a-z0-9_-]{0,39}$(?!\n)")]
Ranges = Annotated[tuple[tuple[LineNumber, LineNumber], ...], Meta(max_length=100_000)]
"""First and last line of each stretch, both included."""

Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed", "not_run"]
Phase = Literal["collect", "setup", "call", "teardown", "crash"]
TimedPhase = Literal["setup", "call", "teardown"]
Standing = Literal["new", "known-flaky", "broken-on-base"]
Result = Literal["green", "tests-failed", "gate", "database", "interrupted", "error"]
ShardOutcome = Literal[Result, "lost"]
ShardName = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,3}/[1-9][0-9]{0,3}$(?!\n)")]
Count = Literal["total", "passed", "failed", "error", "skipped", "xfailed", "xpassed", "not_run"]

_EXIT_CODES: Mapping[Result, ExitCode] = {
    "green": ExitCode.GREEN,
    "tests-failed": ExitCode.TESTS_FAILED,
    "gate": ExitCode.GATE,
    "database": ExitCode.DATABASE,
    "interrupted": ExitCode.INTERRUPTED,
    "error": ExitCode.USAGE,
}


class ReportError(SavepointError):
    """A report.json that does not follow its schema."""


class PhaseError(Struct, frozen=True, kw_only=True):
    """One error of one phase of a test; `path` is relative to the project, POSIX style."""

    phase: Phase
    message: Line
    text: Text = ""
    path: Line | None = None
    line: LineNumber | None = None


class Queries(Struct, frozen=True, kw_only=True):
    """What one test asked of the database; `repeated` is one SELECT that it sent `times` times, as in a loop."""

    count: Amount
    seconds: Seconds
    rows: Amount
    slowest: Line = ""
    slowest_seconds: Seconds = 0.0
    repeated: Line = ""
    times: Amount = 0


class Kept(Struct, frozen=True, kw_only=True):
    """The database in which a failed test was repeated, how to open it, and whether the test passed there."""

    database: Line
    url: Line
    command: Line
    passed: bool


class TestResult(Struct, frozen=True, kw_only=True):
    """What became of one test, or of one file that could not be collected.

    `started` counts from the first test's start; `load` is the machine's average of a minute when the test was over.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    nodeid: Line
    outcome: Outcome
    duration: Seconds = 0.0
    worker: Line = "main"
    phase_errors: Annotated[tuple[PhaseError, ...], Meta(max_length=1_000)] = ()
    started: Seconds | None = None
    phases: dict[TimedPhase, Seconds] = {}
    isolation: Word | None = None
    load: Annotated[float, Meta(ge=0)] | None = None
    queries: Queries | None = None
    kept: Kept | None = None


class Culprit(Struct, frozen=True, kw_only=True):
    """The line to change."""

    path: Line
    line: LineNumber | None = None
    name: Line = ""


class Finding(Struct, frozen=True, kw_only=True):
    """Why tests broke or may break: one cause, the line to change, and the way out."""

    code: Annotated[str, Meta(pattern=r"^SP[1-9][0-9]{2}$(?!\n)")]
    cause: Slug
    tests: Annotated[tuple[Line, ...], Meta(max_length=100_000)]
    culprit: Culprit | None
    explanation: Text
    fix: Text
    confidence: Annotated[float, Meta(ge=0, le=1)]
    evidence: Annotated[tuple[Text, ...], Meta(max_length=1_000)] = ()

    def of_tests(self, tests: tuple[str, ...]) -> Finding:
        """The same finding, about these tests."""
        return msgspec.structs.replace(self, tests=tests)


class Verdict(Struct, frozen=True, kw_only=True):
    """What reruns of one test proved.

    `interval` holds its rate of failure in percent. It fails after `polluter`, or without `setter`. `command` shows it
    again, and was seen to do so when it is `reproduced`.
    """

    nodeid: Line
    verdict: Word
    runs: Amount
    failures: Amount
    polluter: Line | None = None
    setter: Line | None = None
    interval: tuple[Percent, Percent] | None = None
    explanation: Text = ""
    command: Line = ""
    reproduced: bool = False


class Quarantined(Struct, frozen=True, kw_only=True):
    """A test that ran and whose failure does not count until a date (ISO 8601, the last day included)."""

    nodeid: Line
    reason: Line
    owner: Line
    expires: Line
    failed: bool


class Silenced(Struct, frozen=True, kw_only=True):
    """A finding that the project does not want to see, and why."""

    finding: Finding
    reason: Line


class TestHistory(Struct, frozen=True, kw_only=True):
    """What earlier runs of the base branch say about one test; `recent` has a letter per run, the newest last."""

    __test__ = False

    nodeid: Line
    runs: Amount
    failures: Amount
    standing: Standing | None = None
    recent: Annotated[str, Meta(pattern=r"^[.Fs]{0,50}$(?!\n)")] = ""


class History(Struct, frozen=True, kw_only=True):
    """What is known from earlier runs: how many, the merge base and its total coverage, and the tests worth a word."""

    runs: Amount
    base: Line = ""
    coverage: Percent | None = None
    tests: Annotated[tuple[TestHistory, ...], Meta(max_length=200_000)] = ()


class LineTests(Struct, frozen=True, kw_only=True):
    """The tests that ran a stretch of lines, as places in `Coverage.tests`; `total` also counts those not listed."""

    first: LineNumber
    last: LineNumber
    tests: Annotated[tuple[Amount, ...], Meta(max_length=100)]
    total: Amount


class FileCoverage(Struct, frozen=True, kw_only=True):
    """One measured file: its number of statements, what did not run, and its percentage with branches.

    `touched` is there when coverage.py was asked for contexts.
    """

    path: Line
    lines: Amount
    missing: Ranges
    percent: Percent
    touched: Annotated[tuple[LineTests, ...], Meta(max_length=100_000)] = ()


class FileLines(Struct, frozen=True, kw_only=True):
    """Some lines of one file."""

    path: Line
    ranges: Ranges


class FilePatch(Struct, frozen=True, kw_only=True):
    """The changed lines of one file that did not run."""

    path: Line
    uncovered: Ranges


class PatchCoverage(Struct, frozen=True, kw_only=True):
    """Coverage of the pull request's changed lines; `percent` is 100 when none of them can run."""

    percent: Percent
    covered: Amount
    changed: Amount
    files: Annotated[tuple[FilePatch, ...], Meta(max_length=20_000)] = ()


class Coverage(Struct, frozen=True, kw_only=True):
    """Percentages of lines, of branches (null when they were not measured) and of both together.

    `tests` are the node ids that `touched` of a file means; `only_flaky` are lines that no steady test ran.
    """

    lines: Percent
    branches: Percent | None
    total: Percent
    files: Annotated[tuple[FileCoverage, ...], Meta(max_length=20_000)] = ()
    diff: PatchCoverage | None = None
    tests: Annotated[tuple[Line, ...], Meta(max_length=200_000)] = ()
    only_flaky: Annotated[tuple[FileLines, ...], Meta(max_length=20_000)] = ()


class Template(Struct, frozen=True, kw_only=True):
    """The migrated database that workers' databases are clones of.

    `hit` means that it was there already, `restored` that it came from a file.
    """

    fingerprint: Line
    hit: bool
    seconds: Seconds
    source: Line
    restored: bool = False


class Database(Struct, frozen=True, kw_only=True):
    """Where PostgreSQL came from and how tests were kept apart; `isolation` counts tests by kind."""

    provider: Line
    reason: Line
    version: Line
    template: Template | None
    isolation: Annotated[dict[Word, Amount], Meta(max_length=20)] = {}


class Migration(Struct, frozen=True, kw_only=True):
    """A new revision, applied to the base branch's schema; `locks` has the strongest one on each table that was there."""

    revision: Line
    path: Line
    seconds: Seconds
    locks: Annotated[dict[Line, Line], Meta(max_length=1_000)] = {}


class Gate(Struct, frozen=True, kw_only=True):
    """A limit that the run was held to; `actual` is null when there was nothing to measure."""

    name: Word
    wanted: Percent
    actual: Percent | None
    passed: bool


class Failure(Struct, frozen=True, kw_only=True):
    """A step that could not do its work, with its complete message."""

    step: Word
    message: Text


class Run(Struct, frozen=True, kw_only=True):
    """Which run this was; `started` is ISO 8601 in UTC, `seed` is that of pytest-randomly."""

    id: Line = ""
    commit: Line = ""
    ref: Line = ""
    repository: Line = ""
    python: Line = ""
    workers: Amount = 0
    started: Line = ""
    seed: Seed | None = None


class Shard(Struct, frozen=True, kw_only=True):
    """Which part of the suite this report is of; `plan` tells one cut of the suite from another."""

    name: ShardName
    attempt: Annotated[int, Meta(ge=1, le=10_000)] = 1
    plan: Line = ""


class ShardResult(Struct, frozen=True, kw_only=True):
    """What became of one shard of a merged report; one that left no report is lost, and its tests did not run."""

    name: ShardName
    result: ShardOutcome
    tests: Amount
    not_run: Amount
    seconds: Seconds = 0.0


class Allocated(Struct, frozen=True, kw_only=True):
    """A line, and by how many bytes in how many blocks its living objects grew over the suite."""

    path: Line
    line: LineNumber
    bytes: Change
    blocks: Change


class Held(Struct, frozen=True, kw_only=True):
    """What a process holds of what can grow: resident bytes, living tasks and connections.

    `cycles` counts the objects so far that referred to each other in circles, so that only the collector could free them.
    """

    bytes: Bytes = 0
    tasks: Amount = 0
    connections: Amount = 0
    cycles: Bytes = 0


class Grown(Struct, frozen=True, kw_only=True):
    """A test after which its process held more; what it gave back is negative."""

    test: Line
    bytes: Change = 0
    tasks: Change = 0
    connections: Change = 0
    cycles: Change = 0


class Growth(Struct, frozen=True, kw_only=True):
    """What one process held after its first and its last test, and the tests that added most.

    `allocated` names the lines whose living objects grew most, when the setting `memory` asked for that.
    """

    worker: Line
    first: Held
    last: Held
    tests: Annotated[tuple[Grown, ...], Meta(max_length=100)] = ()
    allocated: Annotated[tuple[Allocated, ...], Meta(max_length=100)] = ()


class Report(Struct, frozen=True, kw_only=True):
    """Everything that one run found."""

    version: Literal[1] = 1
    result: Result
    counts: dict[Count, Amount]
    run: Run
    tests: Annotated[tuple[TestResult, ...], Meta(max_length=200_000)] = ()
    findings: Annotated[tuple[Finding, ...], Meta(max_length=10_000)] = ()
    silenced: Annotated[tuple[Silenced, ...], Meta(max_length=10_000)] = ()
    verdicts: Annotated[tuple[Verdict, ...], Meta(max_length=200_000)] = ()
    quarantined: Annotated[tuple[Quarantined, ...], Meta(max_length=10_000)] = ()
    history: History | None = None
    coverage: Coverage | None = None
    database: Database | None = None
    migrations: Annotated[tuple[Migration, ...], Meta(max_length=1_000)] = ()
    timing: Annotated[dict[Word, Seconds], Meta(max_length=100)] = {}
    gates: Annotated[tuple[Gate, ...], Meta(max_length=20)] = ()
    failure: Failure | None = None
    warnings: Annotated[tuple[Text, ...], Meta(max_length=1_000)] = ()
    growth: Annotated[tuple[Growth, ...], Meta(max_length=1_000)] = ()
    shard: Shard | None = None
    shards: Annotated[tuple[ShardResult, ...], Meta(max_length=1_000)] = ()

    @property
    def exit_code(self) -> ExitCode:
        """What this result says to the shell."""
        return _EXIT_CODES[self.result]


def report_json(report: Report) -> bytes:
    """Return the report as indented UTF-8 JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def parse_report(data: bytes) -> Report:
    """Read a report.json that anybody may have written.

    :raises ReportError: when it is too large, is no JSON, or breaks the schema; the message names the place.
    """
    if len(data) > REPORT_BYTES:
        raise ReportError(f"report.json has {len(data):,} bytes; more than {REPORT_BYTES:,} are not read.")
    try:
        return msgspec.json.decode(data, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise ReportError(
            f"report.json does not follow version 1 of its schema: {fault}. It was changed, cut short, or made by "
            "another version; run the same version of Savepoint in both jobs."
        ) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of report.json."""
    schema = msgspec.json.schema(Report)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Savepoint report.json, version 1",
        **schema,
    }
