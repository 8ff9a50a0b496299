"""What a command line may say: the project's folder, a flag for every setting, and each verb's own options."""

from __future__ import annotations

import argparse
import difflib
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pytest_savepoint.errors import SettingsError
from pytest_savepoint.settings import SETTINGS, Setting, parse_duration

from savepoint_ci.verbs import BUDGET, CALL_PYTEST, SHARD_SECONDS, VERBS, Command

__all__ = ["FORMATS", "read_command", "shown"]

FORMATS = ("text", "json", "markdown", "github", "gitlab")
"""What `report --format` knows; here by name, because each verb loads only what it needs."""
_SWITCHES = ("--help", "--show-settings", "--kept")
_OPTIONS = (*_SWITCHES, "--shards", "--shard-time", "--budget", "--artifact", "--format", *(f"--{setting.kebab}" for setting in SETTINGS))


def read_command(arguments: Sequence[str]) -> tuple[Command, list[str]]:
    """What the arguments say, and what is wrong with them.

    :raises SettingsError: when they cannot be understood at all.
    """
    own, pytest_arguments = _split(arguments)
    own, faults = _without_unknown(own)
    options, surplus = _parser(own).parse_known_args(own)
    said = vars(options)
    faults += [f"{each!r} is one argument too many; the project's folder is the only one." for each in surplus]
    if pytest_arguments and options.verb not in CALL_PYTEST:
        faults.append(f"arguments for pytest (after --) go to {', '.join(CALL_PYTEST)}, not to {options.verb}.")
    flags = {setting.name: said.pop(setting.name) for setting in SETTINGS if setting.name in said}
    if "project" in said:  # not by `type`, which argparse also applies to the mark of what is not said
        said["project"] = Path(said["project"]).absolute()
    command = Command(flags=flags, pytest_arguments=pytest_arguments, **said)
    return command, faults


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
        description = f"{summary[0].upper()}{summary[1:]}."
        # What is not said stays away: `Command` has the defaults.
        of_verb = verbs.add_parser(
            verb, help=summary, description=description, allow_abbrev=False, argument_default=argparse.SUPPRESS
        )
        if verb not in arguments:
            continue
        if verb == "merge":
            of_verb.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="the report folder of a shard")
        else:
            of_verb.add_argument("project", nargs="?", metavar="PATH", help="the project's folder")
        of_verb.add_argument("--show-settings", action="store_true", help="show every setting and its source; do nothing")
        _add_own_options(verb, of_verb)
        if verb in CALL_PYTEST:
            of_verb.usage = f"savepoint {verb} [PATH] [OPTIONS] [-- PYTEST ARGUMENTS]"
        for setting in SETTINGS:
            metavar = "|".join(setting.choices) or "VALUE"
            of_verb.add_argument(f"--{setting.kebab}", dest=setting.name, metavar=metavar, help=_help(setting))
    return parser


def _add_own_options(verb: str, of_verb: argparse.ArgumentParser) -> None:
    """The options that only this verb has."""
    if verb == "plan":
        add = of_verb.add_argument
        add("--shards", type=_shards, metavar="N|auto", help="how many; auto asks the history. Default: auto.")
        time_help = f"with auto, the seconds of testing that a shard may take. Default: {SHARD_SECONDS:.0f}."
        add("--shard-time", dest="shard_seconds", type=_shard_time, metavar="SECONDS", help=time_help)
    if verb == "post":
        artifact_help = "the name under which the tested run kept its report folder. Default: savepoint."
        of_verb.add_argument("--artifact", metavar="NAME", help=artifact_help)
    if verb == "clean":
        of_verb.add_argument("--kept", action="store_true", help="also the databases that keep-failed kept")
    if verb == "report":
        format_help = "print the last report in this form, and make no new one."
        of_verb.add_argument("--format", dest="form", choices=FORMATS, help=format_help)
    if verb == "flaky":
        budget_help = f"the time that all runs together may take, such as 10m. Default: {BUDGET:.0f}s."
        of_verb.add_argument("--budget", type=_budget, metavar="TIME", help=budget_help)


def _shards(text: str) -> int | None:
    from savepoint_ci.shards.plan import MOST_SHARDS  # noqa: PLC0415 - only for this option, and slow to load

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
    default = "" if setting.default in ("", None) else f" Default: {shown(setting.default)}."
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


def shown(value: object) -> str:
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
