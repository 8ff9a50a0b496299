"""Every setting, declared once, and the one reader of flags, environment and pyproject.toml.

`SETTINGS` is the table from which the command line, the action's inputs, the pytest options, the schema and the
docs are made or against which they are checked. A name is snake_case here, kebab-case for people, and
SAVEPOINT_UPPER_CASE in the environment. Precedence: flag > environment > pyproject.toml > default.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_savepoint.errors import SettingsError
from pytest_savepoint.secret import Secret

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["SETTINGS", "Secret", "Setting", "Settings", "parse_duration", "read_settings"]

_UNITS = {"s": 1, "m": 60, "h": 3600}
_TABLES = ("quarantine", "silence")  # arrays of tables that the tool reads; each entry is about some tests only


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_text(part) for part in value)
    if isinstance(value, str | int | float):
        return str(value).strip()
    raise ValueError("a text")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("true or false")


def _seconds(value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        raise ValueError("a number of seconds") from None
    if not 0 < number < 86_400:
        raise ValueError("a number of seconds between 0 and 86400")
    return number


def parse_duration(value: object) -> float:
    """Read a time such as 90s, 10m or 1h, a plain number being seconds.

    :raises ValueError: with what is taken instead.
    """
    text = str(value).strip()
    number, unit = (text[:-1], text[-1]) if text and text[-1] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        raise ValueError("a time such as 90s, 10m or 1h") from None
    if not 0 <= seconds <= 86_400:
        raise ValueError("a time from 0 to 24h")
    return seconds


def _bytes(value: object) -> int:
    text = str(value).strip()
    if text.isdecimal() and int(text) <= 2**40:
        return int(text)
    raise ValueError("a number of bytes, at most 2**40")


def _percent(value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(str(value))
    except ValueError:
        raise ValueError("a percentage from 0 to 100") from None
    if not 0 <= number <= 100:
        raise ValueError("a percentage from 0 to 100")
    return number


def _workers(value: object) -> str:
    text = str(value).strip()
    if text == "auto" or (text.isdigit() and int(text) <= 256):
        return text
    raise ValueError("auto, or a number of workers from 0 to 256")


def _shard(value: object) -> str:
    text = _text(value)
    number, _, count = text.partition("/")
    if text == "" or (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= 256):
        return text and f"{int(number)}/{int(count)}"
    raise ValueError("a shard such as 2/5, of at most 256")


def _version(value: object) -> str:
    text = str(value).strip()
    if text == "" or (text.isdigit() and 14 <= int(text) <= 99):
        return text
    raise ValueError("a PostgreSQL major version such as 16 (14 is the oldest)")


def _reference(value: object) -> str:
    text = _text(value)
    module, colon, attribute = text.partition(":")
    if text == "" or (colon and _dotted(module) and _dotted(attribute)):
        return text
    raise ValueError("module:attribute, such as app.main:app")


def _dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _names(value: object) -> tuple[str, ...]:
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    names = tuple(str(part).strip() for part in parts if str(part).strip())
    if all(name.isidentifier() for name in names):
        return names
    raise ValueError("names of environment variables, separated by commas")


def _paths(value: object) -> tuple[str, ...]:
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    return tuple(str(part).strip() for part in parts if str(part).strip())


def _services(value: object) -> tuple[str, ...]:
    names = _paths(value)
    if set(names) <= {"redis"}:
        return names
    raise ValueError("redis")


def _secret(value: object) -> Secret:
    return Secret(value if isinstance(value, Secret) else _text(value))


def _server_settings(value: object) -> dict[str, str]:
    if isinstance(value, dict):
        return {str(name): str(text).lower() if isinstance(text, bool) else str(text) for name, text in value.items()}
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in str(value).split(","))):
        name, equals, text = part.partition("=")
        if not equals or not name.strip():
            raise ValueError("name=value pairs separated by commas, such as fsync=on,work_mem=64MB")
        pairs[name.strip()] = text.strip()
    return pairs


def _choice(*choices: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value in choices:
            return str(value)
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"one of {', '.join(choices)}{hint}")

    parse.choices = choices  # type: ignore[attr-defined]
    return parse


@dataclass(frozen=True)
class Setting:
    """One setting: its snake_case name, how its text is read, its default, and one sentence for people."""

    name: str
    parse: Callable[[object], Any]
    default: Any
    help: str
    plugin: bool = False
    """Plain pytest knows it too, as --savepoint-NAME."""

    @property
    def kebab(self) -> str:
        return self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return f"SAVEPOINT_{self.name.upper()}"

    @property
    def choices(self) -> tuple[str, ...]:
        return getattr(self.parse, "choices", ())

    @property
    def secret(self) -> bool:
        return self.parse is _secret


SETTINGS: tuple[Setting, ...] = (
    # -- isolation ------------------------------------------------------------------------------------------------
    Setting("isolation", _choice("auto", "savepoint", "rows", "clone", "none"), "auto",
            "How a test is undone: savepoint (rolled back), rows (what it wrote is deleted), clone (a database of its "
            "own), none (observe only, your own fixtures stay in charge); auto begins with savepoint and runs a test "
            "that needs more again, one step higher.", plugin=True),
    Setting("relearn", _flag, False,
            "Forget which tests need more than a savepoint (savepoint-isolation.json), and find out anew.", plugin=True),
    Setting("sequences", _choice("keep", "reset", "random"), "keep",
            "Where sequences stand when a test begins: keep (wherever they are), reset (as the template has them), random "
            "(far from any id that a test has written down).", plugin=True),
    Setting("sandbox_timeout", _seconds, 10.0,
            "Seconds that one session may wait for another's transaction in a test before both are named.",
            plugin=True),
    Setting("keep_failed", _flag, False,
            "Repeat a test that failed once in a clone of its own and keep that database, ten of a run; how to open it is "
            "printed under the failure.", plugin=True),
    # -- server ---------------------------------------------------------------------------------------------------
    Setting("provider", _choice("auto", "url", "system", "embedded", "container", "sqlite"), "auto",
            "Where PostgreSQL comes from: a given server-url, the machine's own binaries, the embedded wheel, or a "
            "container; auto picks in that order and says why. Or sqlite: SQLite in memory, without a server.", plugin=True),
    Setting("server_url", _secret, Secret(""),
            "A PostgreSQL server on which databases may be created, as postgresql://user:password@host:port/postgres.",
            plugin=True),
    Setting("trusted_host", _text, "",
            "The exact host of server-url that may be used although it is not this machine.", plugin=True),
    Setting("postgres_version", _version, "",
            "The PostgreSQL major version that is wanted, such as 16; empty takes what is there.", plugin=True),
    Setting("postgres_image", _text, "",
            "The image of the container; empty takes postgres:<postgres-version>.", plugin=True),
    Setting("postgres_settings", _server_settings, {},
            "Server settings that override our test tuning, such as fsync=on,work_mem=64MB.", plugin=True),
    Setting("server_timeout", _seconds, 60.0, "Seconds to wait until the server answers.", plugin=True),
    # -- template -------------------------------------------------------------------------------------------------
    Setting("schema", _choice("auto", "alembic", "metadata", "command", "none"), "auto",
            "What builds the template database: alembic (an alembic.ini was found), metadata (create_all), a command, "
            "or none (an empty database); auto picks.", plugin=True),
    Setting("alembic_config", _text, "alembic.ini", "The Alembic configuration file, from the project's folder.",
            plugin=True),
    Setting("metadata", _reference, "", "The SQLAlchemy MetaData or declarative base, as module:attribute.",
            plugin=True),
    Setting("migrate_command", _text, "",
            "A command that builds the schema of the database whose URL is in its environment.", plugin=True),
    Setting("database_url_env", _names, ("DATABASE_URL",),
            "The environment variables in which the application and its migrations look for the database URL.",
            plugin=True),
    Setting("verify_template", _flag, False,
            "Build a template that was there already anew beside it, and end with exit code 3 when the two differ.",
            plugin=True),
    Setting("template_cache", _flag, False,
            "Store the template in the cache folder, and restore it from there on a server that has none, when its "
            "fingerprint is the same.", plugin=True),
    # -- migrations as tests --------------------------------------------------------------------------------------
    Setting("migration_tests", _flag, False,
            "Test the migrations: one head, each revision up, down and up again, models against migrations, and what "
            "new revisions do to the base branch's schema.", plugin=True),
    Setting("new_revisions", _paths, (),
            "The files of the revisions that a change adds, for migration-tests; empty takes those that git knows to be "
            "added since the base (scripts/savepoint), or none (plain pytest).", plugin=True),
    Setting("migration_seed", _text, "",
            "A command that puts data into the base branch's schema before new revisions are applied to it; the database's "
            "URL is in its environment.", plugin=True),
    # -- application ----------------------------------------------------------------------------------------------
    Setting("app", _reference, "", "The ASGI application for the client fixture, as module:attribute.", plugin=True),
    Setting("get_db", _reference, "",
            "The dependency that gives a session to routes, as module:attribute; overridden while client is used.",
            plugin=True),
    Setting("services", _services, (),
            "Further services that the run provides: redis. Each worker has a database of its own in it, emptied after "
            "each test, whose URL is in REDIS_URL.", plugin=True),
    Setting("redis_url", _secret, Secret(""),
            "A Redis server whose empty databases may be used, as redis://user:password@host:port/0; empty starts the "
            "machine's own redis-server, or a container.", plugin=True),
    Setting("redis_image", _text, "",
            "The image of a Redis container; empty takes the machine's own redis-server, or redis:8 where there is none.",
            plugin=True),
    Setting("outgoing_http", _choice("allow", "refuse"), "allow",
            "What becomes of calls that leave this machine while a test runs; refuse ends them with an error that names "
            "the call.", plugin=True),
    Setting("worker_start", _choice("auto", "spawn"), "auto",
            "How xdist's workers start: auto (on Linux, forked from one process that has imported the libraries), spawn "
            "(each imports them itself).", plugin=True),
    Setting("memory", _flag, False,
            "Trace allocations and name the lines whose objects stay in memory over the suite; tests are 5 to 12 times "
            "slower.", plugin=True),
    # -- suite ----------------------------------------------------------------------------------------------------
    Setting("workers", _workers, "auto", "Number of xdist workers; 0 runs in one process."),
    Setting("python", _text, "",
            "The interpreter of your environment; empty takes the active environment, else makes one."),
    Setting("install", _text, "",
            "The command that installs your dependencies; empty detects uv.lock, poetry.lock, pdm.lock, requirements "
            "files and pyproject.toml; none installs nothing."),
    Setting("pytest_args", _text, "", "Further arguments for pytest, as in a shell."),
    Setting("shard", _shard, "", "Which part of the suite to run, such as 2/5; empty runs all of it."),
    Setting("plan", _text, "",
            "The file that savepoint plan wrote, for shards on several machines; empty cuts the suite anew."),
    Setting("rerun_budget", parse_duration, 60.0,
            "Time in which what failed, and what a pull request changed, is run again to say what it depends on; 0 "
            "runs nothing again."),
    Setting("stall_timeout", parse_duration, 600.0,
            "Time without any sign of life of a test after which the stuck tests are named and pytest is ended; 0 "
            "waits for ever."),
    # -- coverage -------------------------------------------------------------------------------------------------
    Setting("coverage", _flag, True, "Measure coverage with branches."),
    Setting("coverage_fail_under", _percent, None, "Fail with exit code 4 when total coverage is below this percentage."),
    Setting("patch_coverage_fail_under", _percent, None,
            "Fail with exit code 4 when coverage of the changed lines is below this percentage."),
    Setting("compare_to", _text, "",
            "The branch or commit that changed lines are counted from; empty takes the pull request's base."),
    # -- report ---------------------------------------------------------------------------------------------------
    Setting("report", _text, ".savepoint", "The folder for report.json, comment.md, junit.xml and coverage.xml."),
    Setting("dump_kept", _bytes, 0,
            "Put a dump of each database that keep-failed kept into the report folder when it has at most this many bytes; "
            "0 makes none."),
    Setting("comment", _flag, True, "Post or update the one comment on the pull request."),
    Setting("comment_key", _text, "",
            "Tells this job's comment apart from those of other jobs and matrix cells; empty takes workflow and job."),
    Setting("history", _flag, True,
            "Use what the default branch's runs left (outcomes, durations, coverage), and write it on that branch."),
    Setting("check_run", _flag, False,
            "Put a check run with the verdict on the commit; the token needs checks: write."),
    Setting("code_scanning", _flag, False,
            "Hand the findings to GitHub's code scanning; the token needs security-events: write."),
    Setting("github_token", _secret, Secret(""), "The token that posts the comment."),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True)
class Settings:
    """The values in force for one run, and where each came from; read them as attributes."""

    values: Mapping[str, Any]
    sources: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    def environment(self) -> dict[str, str]:
        """The values that are not defaults, as variables for a child process; none is given the token."""
        return {
            setting.variable: _as_text(self.values[setting.name])
            for setting in SETTINGS
            if self.sources[setting.name] != "default" and setting.name != "github_token"
        }


def _as_text(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, dict):
        return ",".join(f"{name}={text}" for name, text in value.items())
    return "" if value is None else str(value)


def read_settings(
    project: Path, *, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read every setting from flags, environment and the project's pyproject.toml.

    :param project: the folder that holds pyproject.toml.
    :param flags: values by snake_case name; a missing name or None is not set.
    :param environ: defaults to `os.environ`.
    :raises SettingsError: with all faults at once.
    """
    environ = os.environ if environ is None else environ
    flags = flags or {}
    table, faults = _pyproject_table(project)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        raw, source = _first_given(setting, flags, environ, table)
        sources[setting.name] = source
        try:
            values[setting.name] = setting.default if source == "default" else setting.parse(raw)
        except ValueError as wanted:
            shown = "***" if setting.secret else repr(raw)
            faults.append(f"{setting.kebab} is {shown} (from {source}); it takes {wanted}.")
    faults += _faults_between(values)
    if faults:
        raise SettingsError("\n".join(faults))
    return Settings(values, sources)


def _first_given(
    setting: Setting, flags: Mapping[str, object], environ: Mapping[str, str], table: Mapping[str, object]
) -> tuple[object, str]:
    if flags.get(setting.name) is not None:
        return flags[setting.name], f"--{setting.kebab}"
    # A composite action maps every input, so an input that was not given arrives as an empty variable.
    if environ.get(setting.variable):
        return environ[setting.variable], setting.variable
    if setting.kebab in table:
        return table[setting.kebab], "pyproject.toml"
    return None, "default"


def _pyproject_table(project: Path) -> tuple[dict[str, object], list[str]]:
    try:
        with (project / "pyproject.toml").open("rb") as file:
            table = tomllib.load(file).get("tool", {}).get("savepoint", {})
    except FileNotFoundError:
        return {}, []
    except tomllib.TOMLDecodeError as error:
        return {}, [f"{project / 'pyproject.toml'} cannot be read: {error}."]
    known = {setting.kebab for setting in SETTINGS if not setting.secret or setting.name in ("server_url", "redis_url")}
    faults = []
    for name in table:
        if name not in known and name not in _TABLES:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            faults.append(f"[tool.savepoint] has no setting {name!r}{hint}")
    return {name: value for name, value in table.items() if name in known}, faults


def _faults_between(values: Mapping[str, Any]) -> list[str]:
    faults = []
    if values.get("provider") == "url" and not values.get("server_url"):
        faults.append("provider is url, but server-url is empty; set SAVEPOINT_SERVER_URL.")
    if values.get("schema") == "metadata" and not values.get("metadata"):
        faults.append("schema is metadata, but metadata is empty; set it to module:attribute.")
    if values.get("schema") == "command" and not values.get("migrate_command"):
        faults.append("schema is command, but migrate-command is empty.")
    if values.get("provider") == "sqlite":
        faults += [f"{name} needs PostgreSQL, but provider is sqlite; set provider to auto." for name in _of_postgresql(values)]
    if values.get("dump_kept") and not values.get("keep_failed"):
        faults.append(f"dump-kept is {values['dump_kept']}, but no database is kept; set keep-failed to true.")
    return faults


def _of_postgresql(values: Mapping[str, Any]) -> list[str]:
    """The settings in force that SQLite in memory cannot serve."""
    wanted = {
        "isolation clone": values.get("isolation") == "clone",
        "sequences random": values.get("sequences") == "random",
        "migration-tests": values.get("migration_tests"),
        "keep-failed": values.get("keep_failed"),
        "verify-template": values.get("verify_template"),
        "template-cache": values.get("template_cache"),
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]
