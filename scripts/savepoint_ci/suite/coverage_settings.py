"""The coverage configuration of a run: the caller's own, with what makes it right for async SQLAlchemy. Pure.

docs/coverage.md has the measurements behind the choice of core and concurrency.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CallerCoverage", "OwnArguments", "default_sources", "merge", "own_arguments"]

_DEFAULT_OMIT = ("tests/*", "test/*", "test_*.py", "*_test.py", "conftest.py")
_NO_SOURCE = re.compile(r"[._].*|tests?|testing|docs?|examples?|bench.*|build|dist|node_modules|venv|env|site-packages")
_NO_MODULE = re.compile(r"test_.*|.*_test|conftest|setup|noxfile|tasks|dodo")
_GREENLETS = {"greenlet", "gevent", "eventlet"}


@dataclass(frozen=True, kw_only=True)
class OwnArguments:
    """What the caller's own pytest arguments say about coverage."""

    sources: tuple[str, ...] = ()
    config_file: str | None = None
    fail_under: float | None = None

    @property
    def measures(self) -> bool:
        """The caller measures coverage without us, too."""
        return bool(self.sources or self.config_file or self.fail_under)


def own_arguments(words: Sequence[str]) -> OwnArguments:
    """Read pytest-cov's options out of pytest arguments; the last one wins, as in pytest."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--cov", nargs="?", action="append", default=[])
    parser.add_argument("--cov-config")
    parser.add_argument("--cov-fail-under", type=float)
    try:
        found, _ = parser.parse_known_args(list(words))
    except argparse.ArgumentError:
        return OwnArguments()  # pytest itself says what is wrong with them
    return OwnArguments(
        sources=tuple(source for source in found.cov if source),
        config_file=found.cov_config,
        fail_under=found.cov_fail_under,
    )


@dataclass(frozen=True, kw_only=True)
class CallerCoverage:
    """The caller's coverage.py: its version, the options that their configuration sets, and what it could use."""

    version: str
    has_greenlet: bool
    has_sqlalchemy: bool
    has_c_tracer: bool
    known: frozenset[str]
    options: Mapping[str, Any]
    paths: Mapping[str, list[str]]
    plugins: Mapping[str, Mapping[str, Any]]
    config_file: str | None


def merge(
    caller: CallerCoverage, own: OwnArguments, *, project: Path, data_file: Path, core_variable: str = ""
) -> tuple[str, list[str]]:
    """The configuration file's text in TOML, and a warning for each way in which the caller's own gives wrong figures.

    :param project: the folder in which pytest runs.
    :param data_file: where the measured data goes.
    :param core_variable: the caller's COVERAGE_CORE.
    """
    options = dict(caller.options)
    where = Path(caller.config_file).name if caller.config_file else "the coverage configuration"
    warnings = [
        *_follow_greenlets(options, caller, measures=bool(caller.options or own.measures), where=where),
        *_choose_core(options, caller, core_variable=core_variable, where=where),
        *_without_contexts(options, where=where),
    ]
    if own.sources:
        options["run:source"] = list(own.sources)
    if not any(options.get(f"run:{name}") for name in ("source", "source_pkgs", "source_dirs", "include")):
        options["run:source"] = default_sources(project)
        # The project itself may stand in a folder called tests.
        options.setdefault("run:omit", [f"{project.absolute()}/**/{pattern}" for pattern in _DEFAULT_OMIT])
    for name in ("run:omit", "run:include"):
        # A subprocess in another folder would take them for patterns of that folder.
        options[name] = [_absolute(pattern, project) for pattern in options.get(name) or ()]
    if own.fail_under is not None:
        options["report:fail_under"] = own.fail_under
    options |= {
        "run:branch": True,
        "run:data_file": str(data_file),
        "run:parallel": True,
        # Shards run in other folders and on other machines.
        "run:relative_files": True,
        "run:sigterm": True,
        "run:patch": sorted({*options.get("run:patch", ()), "subprocess"}),
    }
    known = {name: value for name, value in options.items() if name in caller.known and value not in ([], None)}
    return _toml(known, caller), warnings


def _follow_greenlets(options: dict[str, Any], caller: CallerCoverage, *, measures: bool, where: str) -> list[str]:
    """Make it see lines after an awaited SQLAlchemy call (they run in a greenlet), and lines in threads."""
    configured = list(options.get("run:concurrency") or ())
    if not caller.has_c_tracer:
        # The other cores refuse the setting, and would measure nothing.
        options["run:concurrency"] = [name for name in configured if name not in _GREENLETS]
        if not (caller.has_greenlet and caller.has_sqlalchemy):
            return []
        text = (
            f"coverage.py {caller.version} has no C extension here, and its other cores lose the lines after an "
            "awaited SQLAlchemy call: coverage is too low. Install a coverage.py wheel for this platform."
        )
        return [text]
    wanted = list(configured)
    if caller.has_greenlet and not _GREENLETS.intersection(wanted):
        wanted.append("greenlet")
    if "thread" not in wanted:
        wanted.append("thread")
    options["run:concurrency"] = wanted
    if not (measures and caller.has_greenlet and caller.has_sqlalchemy) or wanted == configured:
        return []
    lost = "lines in threads" if "greenlet" in configured else "lines after an awaited SQLAlchemy call"
    text = (
        f"With your own coverage configuration {lost} would count as missed, because [run] concurrency in {where} "
        f"is {', '.join(configured) or 'not set'}. This run used {', '.join(wanted)}; for the same figures "
        f"elsewhere set concurrency = {json.dumps(wanted)}."
    )
    return [text]


def _choose_core(options: dict[str, Any], caller: CallerCoverage, *, core_variable: str, where: str) -> list[str]:
    core = "pytrace" if options.pop("run:timid", False) else core_variable or options.get("run:core")
    if not caller.has_c_tracer:
        return []
    options["run:core"] = "ctrace"
    if core in (None, "ctrace"):
        return []
    text = (
        f"coverage.py does not follow greenlets with the core {core}, so this run used ctrace. Remove core and timid "
        f"from {where}, and the variable COVERAGE_CORE."
    )
    return [text]


def _without_contexts(options: dict[str, Any], *, where: str) -> list[str]:
    if not options.pop("run:dynamic_context", None):
        return []
    options.pop("report:contexts", None)
    text = (
        f"[run] dynamic_context in {where} was left out: pytest-cov refuses it with several workers. Use its "
        "--cov-context=test."
    )
    return [text]


def _absolute(pattern: str, project: Path) -> str:
    return pattern if pattern.startswith(("*", "?")) else str(project.absolute() / pattern)


def default_sources(project: Path) -> list[str]:
    """The packages and modules of a project, without its tests and migrations; the whole project when there are none."""
    root = project / "src" if (project / "src").is_dir() and not (project / "src" / "__init__.py").exists() else project
    folders = [
        folder
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not _NO_SOURCE.fullmatch(folder.name) and not _is_migrations(folder)
    ]
    packages = [folder for folder in folders if (folder / "__init__.py").exists()]
    # A folder of modules without __init__.py is a package, too.
    packages = packages or [folder for folder in folders if any(folder.glob("*.py"))]
    modules = [path.stem for path in sorted(root.glob("*.py")) if not _NO_MODULE.fullmatch(path.stem)]
    return [folder.relative_to(project).as_posix() for folder in packages] + modules or ["."]


def _is_migrations(folder: Path) -> bool:
    return (folder / "env.py").exists() and (folder / "versions").is_dir()


def _toml(options: Mapping[str, Any], caller: CallerCoverage) -> str:
    sections: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        section, _, key = name.partition(":")
        sections.setdefault(section, {})[key] = _escaped(value)
    sections["paths"] = _escaped(dict(caller.paths))
    # coverage.py replaces $NAME in all options but those of plugins.
    sections |= {name: dict(values) for name, values in caller.plugins.items() if values}
    lines = []
    for section, values in sections.items():
        lines.append(f"[tool.coverage.{section}]")
        lines += [f"{_value(key)} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return value.replace("$", "$$")
        case list() | tuple():
            return [_escaped(part) for part in value]
        case dict():
            return {key: _escaped(part) for key, part in value.items()}
    return value


def _value(value: Any) -> str:
    match value:
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{_value(key)} = {_value(part)}" for key, part in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
