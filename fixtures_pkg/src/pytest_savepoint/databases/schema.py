"""What builds the schema of a project: which source, what it depends on."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_savepoint import __version__
from pytest_savepoint.databases.audit import AUDIT
from pytest_savepoint.errors import SettingsError
from pytest_savepoint.settings import Settings

__all__ = ["Schema", "chosen_schema"]

_SKIPPED_FOLDERS = {"node_modules", "__pycache__", "site-packages", "build", "dist"}
_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "requirements*.txt", "pyproject.toml")
_COMMAND_INPUTS = (".py", ".sql", ".ini", ".toml", ".cfg", ".json", ".yaml", ".yml", ".prisma", ".xml", ".csv", ".mako")
_IMPORT = re.compile(r"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Schema:
    """The source of a schema, its one parameter, and a sentence for people."""

    source: str
    note: str
    project: Path
    parameter: str = ""
    """The Alembic configuration, relative to the project; module:attribute of the metadata; or the command."""

    def fingerprint(self, server_version: str, role: str) -> str:
        """A digest of everything that decides what the template will contain, and to whom it will belong."""
        parts = (__version__, AUDIT, server_version, role, self.source, self.parameter, "")
        digest = hashlib.sha256("\0".join(parts).encode())
        for path in sorted(set(self._inputs())):
            digest.update(f"{path.relative_to(self.project)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def migrations(self) -> Path | None:
        """The folder of the Alembic environment, when the configuration names one of this project."""
        location = _ini_value(self.project / self.parameter, "script_location")
        return _first_folder(location, self.project, (self.project / self.parameter).parent)

    def _inputs(self) -> Iterator[Path]:
        if self.source == "none":
            return
        if self.source == "alembic":
            yield self.project / self.parameter
            folder = self.migrations()
            if folder is not None:
                scripts = list(_files(folder, (".py", ".sql")))
                yield from scripts
                if not _import_the_project(scripts, self.project):
                    return
        yield from _project_sources(self.project, _COMMAND_INPUTS if self.source == "command" else (".py",))
        for pattern in _LOCKS:
            yield from self.project.glob(pattern)


def chosen_schema(settings: Settings, project: Path) -> Schema:
    """The schema source that the settings name, or that `auto` finds.

    :raises SettingsError: when alembic is wanted and its configuration is missing, or several are there.
    """
    source = settings.schema
    config = _alembic_config(settings, project) if source in ("auto", "alembic") else ""
    if config:
        return Schema("alembic", f"alembic upgrade heads with {config}", project, config)
    if source == "alembic":
        raise SettingsError(
            f"schema is alembic, but {project / settings.alembic_config} does not exist.\n"
            "Set alembic-config to the path of your alembic.ini, from the project's folder."
        )
    if settings.metadata and source in ("auto", "metadata"):
        return Schema("metadata", f"create_all of {settings.metadata}", project, settings.metadata)
    if source == "command":
        return Schema("command", "the migrate-command", project, settings.migrate_command)
    why = "schema is none" if source == "none" else f"{project} has no alembic.ini and metadata is not set"
    return Schema("none", f"nothing: {why}, so the databases are empty", project)


def _alembic_config(settings: Settings, project: Path) -> str:
    if (project / settings.alembic_config).is_file():
        return str(settings.alembic_config)
    if settings.sources["alembic_config"] != "default":
        return ""
    found = [path for path in _files(project, (".ini",), depth=3) if path.name == "alembic.ini"]
    if len(found) > 1:
        names = ", ".join(sorted(str(path.relative_to(project)) for path in found))
        raise SettingsError(
            f"There are several Alembic configurations: {names}.\nSet alembic-config to the one to use."
        )
    return str(found[0].relative_to(project)) if found else ""


def _ini_value(config: Path, name: str) -> str:
    parser = configparser.RawConfigParser()
    parser.read_string(config.read_text(encoding="utf-8"))
    value = parser.get("alembic", name, fallback="")
    return value.replace("%(here)s", str(config.parent))


def _first_folder(location: str, *starts: Path) -> Path | None:
    # package:folder names a folder inside a package.
    relative = location.replace(":", "/") if re.fullmatch(r"[\w.]+:[\w./]+", location) else location
    for start in starts:
        if relative and (start / relative).is_dir():
            return start / relative
    return None


def _import_the_project(scripts: Iterable[Path], project: Path) -> bool:
    """Whether a revision takes something from the project, so that the schema depends on more than the revisions."""
    tops = {
        name
        for path in scripts
        if path.suffix == ".py" and path.name != "env.py"
        for name in _IMPORT.findall(path.read_text(encoding="utf-8", errors="replace"))
    }
    return any(
        (start / top).is_dir() or (start / f"{top}.py").is_file()
        for start in (project, project / "src")
        for top in tops
    )


def _project_sources(project: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for path in _files(project, suffixes):
        if not (path.name.startswith("test_") or path.name.endswith("_test.py") or path.name == "conftest.py"):
            yield path


def _files(top: Path, suffixes: tuple[str, ...], *, depth: int = 32) -> Iterator[Path]:
    for folder, children, names in os.walk(top):
        level = len(Path(folder).relative_to(top).parts)
        children[:] = [
            child
            for child in children
            if level + 1 < depth
            and not child.startswith(".")
            and child not in _SKIPPED_FOLDERS
            and not (Path(folder) / child / "pyvenv.cfg").exists()
        ]
        for name in names:
            if name.endswith(suffixes):
                yield Path(folder) / name
