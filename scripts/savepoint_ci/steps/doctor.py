"""Say what is wrong with a suite without running it, and mend what is mechanical."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from pytest_savepoint.diagnosis import Finding, shown
from pytest_savepoint.errors import ExitCode, SettingsError

from savepoint_ci.doctor import Problem, edits_beside, examine
from savepoint_ci.doctor.changes import Refusal, changes, write
from savepoint_ci.doctor.edits import Edit
from savepoint_ci.doctor.folder import Folder, read_folder
from savepoint_ci.doctor.migrate import migration
from savepoint_ci.report.annotations import finding_command
from savepoint_ci.report.headline import plural
from savepoint_ci.report.sarif import sarif
from savepoint_ci.report.text import clean_block

__all__ = ["doctor"]

_FORMATS = ("text", "json", "sarif", "github")
_EXIT_CODES = "Exit codes: 0 nothing found; 1 something found, also when --fix mended it; 2 wrong usage."


def doctor(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Examine a project and return the exit code.

    :param arguments: the command line after the verb.
    :raises SettingsError: when they are wrong.
    """
    options = _parser().parse_args(arguments)
    root, files = _places([Path(each) for each in options.paths] or [Path()])
    folder = read_folder(root)
    for line in folder.unread:
        _say(f"savepoint: {line}")
    problems = examine(folder.project, on_fault=lambda text: _say(f"savepoint: {text}"))
    if files:
        problems = [
            each for each in problems if each.finding.culprit and PurePosixPath(each.finding.culprit.path) in files
        ]
    findings = [each.finding for each in problems]
    _show(findings, options.format, folder=_in_workspace(root, environ))
    edits = [edit for each in problems for edit in each.edits]
    steps: list[str] = []
    if options.migrate:
        moved = migration(folder.project)
        edits, steps = [*moved.edits, *edits_beside(problems, moved.edits)], moved.steps
    if options.diff or options.fix or options.migrate:
        _mend(folder, edits, steps, apply=options.fix)
    elif options.format == "text":
        _summary(problems)
    return ExitCode.TESTS_FAILED if findings or steps else ExitCode.GREEN


class _Parser(argparse.ArgumentParser):
    """argparse, except that its faults are shown as ours are."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}.")


def _parser() -> _Parser:
    parser = _Parser(
        prog="savepoint doctor",
        description="Say what is wrong with a suite by its source alone, without running it.",
        epilog=_EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="the project's folder, or files of the project in this one"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--diff", action="store_true", help="show what --fix would change; change nothing")
    how.add_argument("--fix", action="store_true", help="show the changes that are mechanical and safe, and make them")
    parser.add_argument("--migrate", action="store_true", help="also move an older suite to Savepoint's fixtures")
    parser.add_argument("--format", choices=_FORMATS, default="text", help="how findings are printed. Default: text.")
    return parser


def _places(paths: list[Path]) -> tuple[Path, set[PurePosixPath]]:
    """The project's folder, and the files in it that are asked about; all of them when there are none.

    :raises SettingsError: when a path is not there, or a file lies elsewhere.
    """
    missing = [str(each) for each in paths if not each.exists()]
    if missing:
        raise SettingsError(f"{', '.join(missing)} is not there.")
    if len(paths) == 1 and paths[0].is_dir():
        return paths[0].absolute(), set()
    root = Path.cwd()
    elsewhere = [str(each) for each in paths if each.is_dir() or not each.absolute().is_relative_to(root)]
    if elsewhere:
        raise SettingsError(f"{', '.join(elsewhere)} is no file in {root}; give one folder, or files in this one.")
    return root, {PurePosixPath(os.path.relpath(each, root)) for each in paths}


def _in_workspace(root: Path, environ: Mapping[str, str]) -> str:
    return os.path.relpath(root, environ.get("GITHUB_WORKSPACE") or root)


def _show(findings: list[Finding], form: str, *, folder: str) -> None:
    if form == "json":
        print(json.dumps([each.as_dict() for each in findings], indent=1))
    elif form == "sarif":
        print(sarif(findings, category="savepoint-doctor", folder=folder).decode())
    elif form == "github":
        for each in findings:
            print(finding_command(each, project=folder))
    else:
        for each in findings:
            print(clean_block(shown(each)))


def _mend(folder: Folder, edits: list[Edit], steps: list[str], *, apply: bool) -> None:
    """Show the changes as a diff, make them if asked to, and list what is left to people."""
    made, refused = changes(folder.root, edits)
    for change in made:
        print(clean_block(change.diff), end="")
        try:
            if apply:
                write(folder.root, change)
        except (Refusal, OSError) as error:
            refused.append(str(error))
    for line in refused:
        _say(f"savepoint: {line}")
    for step in steps:
        print(f"savepoint: {step}")
    _say(f"savepoint: {plural(len(made), 'file')} {'changed' if apply else 'would change with --fix'}")


def _summary(problems: list[Problem]) -> None:
    mendable = sum(bool(each.edits) for each in problems)
    if not problems:
        print("savepoint: nothing found")
    elif mendable:
        print(
            f"savepoint: {plural(len(problems), 'finding')}; {mendable} can be mended: --diff shows how, --fix does it"
        )
    else:
        print(f"savepoint: {plural(len(problems), 'finding')}")


def _say(text: str) -> None:
    """What is not the result itself, so that it never mixes with JSON."""
    print(clean_block(text), file=sys.stderr)
