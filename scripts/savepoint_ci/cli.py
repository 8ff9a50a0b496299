"""From a command line to a step: which verb, with which settings, and where its state is."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from pytest_savepoint.cache import cache_directory
from pytest_savepoint.errors import ExitCode, SettingsError
from pytest_savepoint.settings import SETTINGS, Settings, read_settings

from savepoint_ci.invocation import Invocation, attempt
from savepoint_ci.progress import choose_display
from savepoint_ci.state import Configured, State
from savepoint_ci.verbs import VERBS, Command

__all__ = ["main"]

_ALONE = ("run", "flaky")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one verb and return the exit code.

    :param arguments: the command line without the program's name.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cancelled job still reports
    try:
        if arguments[:1] == ["doctor"]:
            # It reads sources and nothing else: no setting of a run has a meaning for it.
            return import_module("savepoint_ci.steps.doctor").doctor(arguments[1:], environ)  # type: ignore[no-any-return]
        command, settings = _read(arguments, environ)
    except SettingsError as error:
        print(f"savepoint: {error}\nsavepoint --help lists every verb and option.", file=sys.stderr)
        return ExitCode.USAGE
    if command.show_settings:
        _show(settings)
        return ExitCode.GREEN
    cache = cache_directory(environ)
    if command.verb in _ALONE:
        state = State.of_one_run(environ=environ, cache=cache)
    else:
        state = State.of_project(command.project, environ=environ, cache=cache)
    invocation = Invocation(
        project=command.project,
        settings=settings,
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
    step = getattr(import_module(f"savepoint_ci.steps.{command.verb}"), command.function or command.verb)
    return attempt(command.verb, step, invocation)


def _read(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[Command, Settings]:
    """Read the command line and the settings.

    :raises SettingsError: with all faults of both at once.
    """
    command, faults = _command(arguments)
    if not command.project.is_dir():
        faults.append(f"{command.project} is not a folder; give the folder of the project.")
    settings = None
    try:
        settings = _settings(command, environ)
    except SettingsError as error:
        faults.append(str(error))
    if faults or settings is None:
        raise SettingsError("\n  ".join("\n".join(faults).splitlines()))
    return command, settings


def _command(arguments: Sequence[str]) -> tuple[Command, list[str]]:
    """The command line as far as it can be understood, and its faults."""
    # A job calls its steps so; loading and building the parser takes longer than some of them take to run.
    match arguments:
        case [verb] if verb in VERBS and verb != "merge":
            return Command(verb=verb), []
        case ["provision", "--hold"]:
            return Command(verb="provision", function="provision_and_hold"), []
    from savepoint_ci.command_line import read_command  # noqa: PLC0415

    return read_command(arguments)


def _settings(command: Command, environ: Mapping[str, str]) -> Settings:
    """The settings in force; in a job they are those that its first step was given, where nothing else is said."""
    alone = command.verb in (*_ALONE, "begin") or not command.project.is_dir()
    configured = None if alone else _configured(command.project, environ)
    if configured:
        return read_settings(command.project, flags=command.flags, environ={**configured.variables, **environ})
    from savepoint_ci.tolerated.read import read_tolerated  # noqa: PLC0415 - only once in a job

    read_tolerated(command.project)  # its faults are said before anything runs
    return read_settings(command.project, flags=command.flags, environ=environ)


def _configured(project: Path, environ: Mapping[str, str]) -> Configured | None:
    """What the first step of this job was given."""
    return State.of_project(project, environ=environ, cache=cache_directory(environ)).load(Configured)


def _show(settings: Settings) -> None:
    from savepoint_ci.command_line import shown  # noqa: PLC0415 - not needed to run a step

    for setting in SETTINGS:
        value = settings.values[setting.name]
        print(f"{setting.kebab:<27} {shown(value) or '(empty)':<30} {settings.sources[setting.name]}")
