"""The command line: verbs, the project's folder, and a flag for every setting."""

from __future__ import annotations

import argparse
import difflib
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from pytest_savepoint.cache import cache_directory
from pytest_savepoint.errors import ExitCode, SettingsError
from pytest_savepoint.settings import SETTINGS, Setting, Settings, parse_duration, read_settings

from savepoint_ci.invocation import Invocation, attempt
from savepoint_ci.progress import choose_display
from savepoint_ci.shards.plan import MOST_SHARDS
from savepoint_ci.state import Configured, State
from savepoint_ci.tolerated.read import read_tolerated

__all__ = ["FORMATS", "main"]

VERBS = {
    "run": "do everything: server, dependencies, template, suite, report",
    "flaky": "search the suite for tests that are not stable, and say what each depends on",
    "configure": "check the settings and keep them for the next steps of a job",
    "provision": "start PostgreSQL and leave it running for the next steps",
    "install": "install the project's dependencies and what a run needs",
    "fingerprint": "say which stored template the project needs, for the cache of a CI",
    "migrate": "build the template database",
    "history": "fetch what the default branch's runs left",
    "plan": "cut the suite into shards of equal time, and print them as JSON for a matrix",
    "test": "run the suite",
    "doctor": "say what is wrong with a suite by its source alone, and mend what is mechanical",
    "diagnose": "show what was found about the causes of failures",
    "report": "write the report of the last suite",
    "merge": "make one report of the report folders of all shards",
    "comment": "put the report on the pull request",
    "post": "put the report of a fork's run on its pull request, from a workflow that workflow_run starts",
    "verdict": "end with the exit code that the report stands for",
    "clean": "remove what earlier runs left, and nothing else",
}

FORMATS = ("text", "json", "markdown", "github", "gitlab")
"""What `report --format` knows; here by name, because each verb loads only what it needs."""
_ALONE = ("run", "flaky")
_CALL_PYTEST = ("run", "test", "flaky", "plan")
_SHARD_SECONDS = 300.0
_BUDGET = 600.0
_SWITCHES = ("--help", "--show-settings", "--background", "--hold", "--kept")
_OPTIONS = (*_SWITCHES, "--shards", "--shard-time", "--budget", "--artifact", "--format", *(f"--{setting.kebab}" for setting in SETTINGS))


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one verb and return the exit code.

    :param arguments: the command line without the program's name.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cancelled job still reports
    try:
        if arguments[:1] == ["doctor"]:
            # It reads sources and nothing else: no setting of a run has a meaning for it.
            return import_module("savepoint_ci.steps.doctor").doctor(arguments[1:], environ)  # type: ignore[no-any-return]
        command = _read(arguments, environ)
    except SettingsError as error:
        print(f"savepoint: {error}\nsavepoint --help lists every verb and option.", file=sys.stderr)
        return ExitCode.USAGE
    if command.show_settings:
        _show(command.settings)
        return ExitCode.GREEN
    cache = cache_directory(environ)
    if command.verb in _ALONE:
        state = State.of_one_run(environ=environ, cache=cache)
    else:
        state = State.of_project(command.project, environ=environ, cache=cache)
    invocation = Invocation(
        project=command.project,
        settings=command.settings,
        environ=environ,
        cache=cache,
        state=state,
        display=choose_display(),
        pytest_arguments=command.pytest_arguments,
        shards=command.shards,
        shard_seconds=command.shard_seconds,
        budget=command.budget,
        folders=command.folders,
        artifact=command.artifact,
        kept=command.kept,
        form=command.form,
    )
    # Only this verb's module is loaded: most steps need a fraction of what all of them together import.
    step = getattr(import_module(f"savepoint_ci.steps.{command.verb}"), command.function)
    return attempt(command.verb, step, invocation)


@dataclass(frozen=True)
class _Command:
    """The command line, understood; `function` is the step's name in its module."""

    verb: str
    function: str
    project: Path
    settings: Settings
    pytest_arguments: tuple[str, ...]
    show_settings: bool
    shards: int | None
    shard_seconds: float
    budget: float
    folders: tuple[Path, ...]
    artifact: str
    kept: bool
    form: str


def _read(arguments: Sequence[str], environ: Mapping[str, str]) -> _Command:
    """Read the command line and the settings.

    :raises SettingsError: with all faults of both at once.
    """
    own, pytest_arguments = _split(arguments)
    own, faults = _without_unknown(own)
    options, surplus = _parser(own).parse_known_args(own)
    faults += [f"{each!r} is one argument too many; the project's folder is the only one." for each in surplus]
    project = Path(options.project).absolute()
    if not project.is_dir():
        faults.append(f"{project} is not a folder; give the folder of the project.")
    if pytest_arguments and options.verb not in _CALL_PYTEST:
        faults.append(f"arguments for pytest (after --) go to {', '.join(_CALL_PYTEST)}, not to {options.verb}.")
    try:
        read_tolerated(project)  # its faults are said before anything runs
        flags = {setting.name: getattr(options, setting.name) for setting in SETTINGS}
        settings = read_settings(project, flags=flags, environ=_configured(options.verb, project, environ))
    except SettingsError as error:
        faults.append(str(error))
    if faults:
        raise SettingsError("\n  ".join("\n".join(faults).splitlines()))
    return _Command(
        verb=options.verb,
        function=options.function,
        project=project,
        settings=settings,
        pytest_arguments=pytest_arguments,
        show_settings=options.show_settings,
        shards=options.shards,
        shard_seconds=options.shard_time,
        budget=options.budget,
        folders=tuple(options.folders),
        artifact=options.artifact,
        kept=options.kept,
        form=options.format,
    )


def _configured(verb: str, project: Path, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The variables, with those that the configure step of this job was given."""
    if verb in (*_ALONE, "configure") or not project.is_dir():
        return environ
    configured = State.of_project(project, environ=environ, cache=cache_directory(environ)).load(Configured)
    return {**configured.variables, **environ} if configured else environ


def _split(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    own = list(arguments)
    if "--" not in own:
        return own, ()
    at = own.index("--")
    return own[:at], tuple(own[at + 1 :])


class _Parser(argparse.ArgumentParser):
    """argparse, except that its faults are shown as ours are."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}.")


def _parser(arguments: Sequence[str]) -> _Parser:
    """The parser of a command line; a verb that is not in it has only its summary, because options are many."""
    parser = _Parser(prog="savepoint", description="Test async Python on real PostgreSQL.", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, summary in VERBS.items():
        of_verb = verbs.add_parser(verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False)
        if verb not in arguments:
            continue
        of_verb.set_defaults(project=".", folders=(), shards=None, shard_time=_SHARD_SECONDS, budget=_BUDGET, artifact="", kept=False, format="")
        if verb == "merge":
            of_verb.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="the report folder of a shard")
        else:
            of_verb.add_argument("project", nargs="?", default=".", metavar="PATH", help="the project's folder")
        of_verb.add_argument("--show-settings", action="store_true", help="show every setting and its source; do nothing")
        of_verb.set_defaults(function=verb)
        _add_own_options(verb, of_verb)
        if verb in _CALL_PYTEST:
            of_verb.usage = f"savepoint {verb} [PATH] [OPTIONS] [-- PYTEST ARGUMENTS]"
        for setting in SETTINGS:
            metavar = "|".join(setting.choices) or "VALUE"
            of_verb.add_argument(f"--{setting.kebab}", dest=setting.name, metavar=metavar, help=_help(setting))
    return parser


def _add_own_options(verb: str, of_verb: argparse.ArgumentParser) -> None:
    """The options that only this verb has."""
    if verb == "provision":
        how = partial(of_verb.add_argument, dest="function", action="store_const")
        how("--background", const="provision_in_background", help="do not wait until it answers; later steps do")
        how("--hold", const="provision_and_hold", help=argparse.SUPPRESS)
    if verb == "plan":
        add = of_verb.add_argument
        add("--shards", type=_shards, metavar="N|auto", help="how many; auto asks the history. Default: auto.")
        time_help = f"with auto, the seconds of testing that a shard may take. Default: {_SHARD_SECONDS:.0f}."
        add("--shard-time", type=_shard_time, metavar="SECONDS", help=time_help)
    if verb == "post":
        artifact_help = "the name under which the tested run kept its report folder. Default: savepoint."
        of_verb.add_argument("--artifact", default="savepoint", metavar="NAME", help=artifact_help)
    if verb == "clean":
        of_verb.add_argument("--kept", action="store_true", help="also the databases that keep-failed kept")
    if verb == "report":
        format_help = "print the last report in this form, and make no new one."
        of_verb.add_argument("--format", choices=FORMATS, help=format_help)
    if verb == "flaky":
        budget_help = f"the time that all runs together may take, such as 10m. Default: {_BUDGET:.0f}s."
        of_verb.add_argument("--budget", type=_budget, metavar="TIME", help=budget_help)


def _shards(text: str) -> int | None:
    if text == "auto":
        return None
    if text.isdecimal() and 1 <= int(text) <= MOST_SHARDS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not auto or a number of shards from 1 to {MOST_SHARDS}")


def _budget(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as wanted:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None


def _shard_time(text: str) -> float:
    if text.isdecimal() and 1 <= int(text) <= 86_400:
        return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 86400")


def _help(setting: Setting) -> str:
    default = "" if setting.default in ("", None) else f" Default: {_text(setting.default)}."
    return (setting.help + default).replace("%", "%%")


def _without_unknown(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without options that do not exist and their values, and what is to be said of each."""
    kept: list[str] = []
    faults: list[str] = []
    waiting = deque(arguments)
    while waiting:
        words = [waiting.popleft()]
        name, equals, _ = words[0].partition("=")
        is_option = name.startswith("--")
        if is_option and not equals and name not in _SWITCHES and waiting and not waiting[0].startswith("--"):
            words.append(waiting.popleft())
        if not is_option or name in _OPTIONS:
            kept += words
        else:
            near = difflib.get_close_matches(name, _OPTIONS, n=1)
            faults.append(f"there is no option {name}" + (f"; did you mean {near[0]}?" if near else "."))
    return kept, faults


def _show(settings: Settings) -> None:
    for setting in SETTINGS:
        value = settings.values[setting.name]
        print(f"{setting.kebab:<27} {_text(value) or '(empty)':<30} {settings.sources[setting.name]}")


def _text(value: object) -> str:
    """A setting's value as a person would write it; a secret shows as stars."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(value)
        case dict():
            return ",".join(f"{name}={text}" for name, text in value.items())
        case _:
            return f"{value}"
