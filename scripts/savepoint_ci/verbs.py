"""The verbs, and what a command line says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["BUDGET", "CALL_PYTEST", "SHARD_SECONDS", "VERBS", "Command"]

VERBS = {
    "run": "do everything: server, dependencies, template, suite, report",
    "flaky": "search the suite for tests that are not stable, and say what each depends on",
    "begin": "check the settings, keep them for the next steps of a job, start PostgreSQL, and fetch the history",
    "provision": "start PostgreSQL and leave it running for the next steps",
    "install": "install the project's dependencies and what a run needs",
    "fingerprint": "say which stored template the project needs, for the cache of a CI",
    "migrate": "build the template database",
    "history": "fetch what the default branch's runs left",
    "plan": "cut the suite into shards of equal time, and print them as JSON for a matrix",
    "test": "run the suite",
    "suite": "install and migrate, where a job has not done it yet, test, and report",
    "doctor": "say what is wrong with a suite by its source alone, and mend what is mechanical",
    "diagnose": "show what was found about the causes of failures",
    "report": "write the report of the last suite",
    "merge": "make one report of the report folders of all shards",
    "comment": "put the report on the pull request",
    "post": "put the report of a fork's run on its pull request, from a workflow that workflow_run starts",
    "verdict": "end with the exit code that the report stands for",
    "end": "give back what a job used; its template stays for the next job on the same machine",
    "clean": "remove what earlier runs left, and nothing else",
}
CALL_PYTEST = ("run", "test", "flaky", "plan")
SHARD_SECONDS = 300.0
BUDGET = 600.0


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line, understood; `function` is the step's name in the verb's module, empty where it is the verb."""

    verb: str
    function: str = ""
    project: Path = field(default_factory=Path.cwd)
    flags: Mapping[str, object] = field(default_factory=dict)
    """What was given of the settings, by name."""
    pytest_arguments: tuple[str, ...] = ()
    show_settings: bool = False
    shards: int | None = None
    shard_seconds: float = SHARD_SECONDS
    budget: float = BUDGET
    folders: Sequence[Path] = ()
    artifact: str = "savepoint"
    kept: bool = False
    form: str = ""
