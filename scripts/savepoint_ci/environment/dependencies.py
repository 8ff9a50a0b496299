"""What a project says it needs, found by its files, and the commands that install it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from savepoint_ci.environment.uv import UV, InstallError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Command", "Dependencies", "detect_dependencies"]

Command = list[str | Path]

_GROUPS = ("test", "tests", "testing", "dev")
_REQUIREMENTS = re.compile(r"(?:requirements[-_.]?(?:dev|tests?|testing)?|(?:dev|tests?|testing)[-_.]requirements)\.txt")
_IN_FOLDER = re.compile(r"(?:base|main|common|requirements|dev|tests?|testing)\.txt")
_INCLUDED = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Dependencies:
    """Where a project's dependencies are written, and how they are installed.

    `commands` gives the commands for an interpreter and a scratch folder; `files` decide what they install.
    """

    source: str
    files: tuple[Path, ...]
    commands: Callable[[Path, Path], list[Command]]


def detect_dependencies(project: Path) -> Dependencies | None:
    """Find uv.lock, poetry.lock, pdm.lock, or else requirements files and pyproject.toml; None when there is none.

    :raises InstallError: when pyproject.toml cannot be read.
    """
    pyproject = _read_pyproject(project)
    for lock, detect in (("uv.lock", _uv), ("poetry.lock", _poetry), ("pdm.lock", _pdm)):
        if (project / lock).exists():
            files = (project / lock, project / "pyproject.toml")
            return Dependencies(lock, files, detect(pyproject))
    return _requirements(project, pyproject)


def _uv(pyproject: dict[str, Any]) -> Callable[[Path, Path], list[Command]]:
    chosen = [*_flags("--group", _dependency_groups(pyproject)), *_flags("--extra", _extras(pyproject))]

    def commands(python: Path, scratch: Path) -> list[Command]:
        exported = scratch / "exported.txt"
        return [
            [UV, "export", "--frozen", "--quiet", "--format", "requirements.txt", *chosen, "-o", exported],
            [UV, "pip", "install", "--python", python, "-r", exported],
        ]

    return commands


def _poetry(pyproject: dict[str, Any]) -> Callable[[Path, Path], list[Command]]:
    groups = pyproject.get("tool", {}).get("poetry", {}).get("group", {})
    optional = [name for name in _GROUPS if groups.get(name, {}).get("optional")]
    extras = [*_extras(pyproject), *_known(pyproject.get("tool", {}).get("poetry", {}).get("extras", {}))]
    chosen = [*_flags("--with", optional), *_flags("--extras", sorted(set(extras)))]
    return lambda _python, _scratch: [
        [UV, "tool", "run", "--from", "poetry>=2,<3", "poetry", "install", "--no-interaction", *chosen]
    ]


def _pdm(pyproject: dict[str, Any]) -> Callable[[Path, Path], list[Command]]:
    chosen = _flags("--group", _extras(pyproject))
    # With `locked` pdm gets its own dependencies as it was tested with; newer ones have broken it.
    return lambda _python, _scratch: [
        [UV, "tool", "run", "--from", "pdm[locked]>=2,<3", "pdm", "install", "--frozen-lockfile", "--dev", *chosen]
    ]


def _requirements(project: Path, pyproject: dict[str, Any]) -> Dependencies | None:
    named = [path for path in sorted(project.glob("*.txt")) if _REQUIREMENTS.fullmatch(path.name)]
    named += [path for path in sorted(project.glob("requirements/*.txt")) if _IN_FOLDER.fullmatch(path.name)]
    arguments: list[str | Path] = [part for path in named for part in ("-r", path)]
    sources = [path.relative_to(project).as_posix() for path in named]
    described = [name for name in ("pyproject.toml", "setup.py", "setup.cfg") if (project / name).exists()]
    groups, extras = _dependency_groups(pyproject), _extras(pyproject)
    if "build-system" in pyproject or "setup.py" in described:
        arguments += ["-e", f".[{','.join(extras)}]" if extras else "."]
        sources += described
    elif "project" in pyproject:
        arguments += ["-r", "pyproject.toml", *_flags("--extra", extras)]
        sources += ["pyproject.toml"]
    if groups:
        arguments += [part for name in groups for part in ("--group", f"pyproject.toml:{name}")]
        sources += [f"group {name}" for name in groups]
    if not arguments:
        return None
    files = (*_with_included(named), *(project / name for name in described))
    return Dependencies(
        ", ".join(sources), files, lambda python, _scratch: [[UV, "pip", "install", "--python", python, *arguments]]
    )


def _with_included(paths: list[Path]) -> tuple[Path, ...]:
    def walk(path: Path) -> Iterator[Path]:
        if path not in seen and path.exists():
            seen.add(path)
            yield path
            for name in _INCLUDED.findall(path.read_text("utf-8", "replace")):
                yield from walk((path.parent / name).resolve())

    seen: set[Path] = set()
    return tuple(found for path in paths for found in walk(path.resolve()))


def _read_pyproject(project: Path) -> dict[str, Any]:
    try:
        with (project / "pyproject.toml").open("rb") as file:
            table: dict[str, Any] = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise InstallError(f"{project / 'pyproject.toml'} cannot be read: {error}.") from None
    return table


def _extras(pyproject: dict[str, Any]) -> list[str]:
    return _known(pyproject.get("project", {}).get("optional-dependencies", {}))


def _dependency_groups(pyproject: dict[str, Any]) -> list[str]:
    return _known(pyproject.get("dependency-groups", {}))


def _known(names: dict[str, Any]) -> list[str]:
    return [name for name in _GROUPS if name in names]


def _flags(flag: str, names: list[str]) -> list[str]:
    return [part for name in names for part in (flag, name)]
