"""Reads what a project tolerates: savepoint-quarantine.toml, and two tables of pyproject.toml."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pytest_savepoint.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["QUARANTINE_FILE", "Quarantine", "Silence", "Tolerated", "read_tolerated"]

QUARANTINE_FILE = "savepoint-quarantine.toml"


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """A test that is known to be flaky and does not fail the job until a date.

    :param test: its node id; without parameters it stands for all of them.
    """

    test: str
    reason: str
    owner: str
    expires: date


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Findings that are not shown as such; those that agree with everything that is given.

    :param code: a code such as SP507, or a cause such as state.rows_leaked.
    :param test: a node id.
    :param file: a path from the project's folder, of the culprit or of all its tests.
    """

    reason: str
    code: str = ""
    test: str = ""
    file: str = ""


@dataclass(frozen=True)
class Tolerated:
    """Both kinds."""

    quarantine: tuple[Quarantine, ...] = ()
    silence: tuple[Silence, ...] = ()


def read_tolerated(project: Path) -> Tolerated:
    """Read what the project has committed.

    :raises SettingsError: with all faults at once.
    """
    faults: list[str] = []
    own = _table(project / QUARANTINE_FILE, faults)
    ours = _table(project / "pyproject.toml", faults).get("tool", {}).get("savepoint", {})
    quarantine = [
        *_entries(own, "quarantine", f"{QUARANTINE_FILE}: [[quarantine]]", faults),
        *_entries(ours, "quarantine", "[[tool.savepoint.quarantine]]", faults),
    ]
    silence = _entries(ours, "silence", "[[tool.savepoint.silence]]", faults)
    found = Tolerated(
        tuple(_quarantine(*each, faults) for each in quarantine), tuple(_silence(*each, faults) for each in silence)
    )
    if faults:
        raise SettingsError("\n".join(faults))
    return found


def _table(file: Path, faults: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{file} cannot be read: {error}.")
        return {}


def _entries(
    table: Mapping[str, Any], name: str, where: str, faults: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = table.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        faults.append(f"{where} must be an array of tables.")
        return
    yield from ((f"{where} no. {number}", entry) for number, entry in enumerate(entries, 1))


def _quarantine(where: str, entry: dict[str, Any], faults: list[str]) -> Quarantine:
    _check(where, entry, needed=("test", "reason", "owner", "expires"), allowed=(), faults=faults)
    expires = entry.get("expires")
    if isinstance(expires, str):
        with suppress(ValueError):
            expires = date.fromisoformat(expires)
    if isinstance(expires, datetime) or not isinstance(expires, date):
        if expires is not None:
            faults.append(f"{where}: expires is {expires!r}; it takes a date such as 2030-12-31.")
        expires = date.min
    return Quarantine(
        test=str(entry.get("test", "")), reason=str(entry.get("reason", "")), owner=str(entry.get("owner", "")),
        expires=expires,
    )  # fmt: skip


def _silence(where: str, entry: dict[str, Any], faults: list[str]) -> Silence:
    chosen = ("code", "test", "file")
    _check(where, entry, needed=("reason",), allowed=chosen, faults=faults)
    if not any(entry.get(name) for name in chosen):
        faults.append(f"{where} says nothing of what it silences; give code, test or file.")
    return Silence(**{name: str(entry.get(name, "")) for name in ("reason", *chosen)})


def _check(
    where: str, entry: dict[str, Any], *, needed: tuple[str, ...], allowed: tuple[str, ...], faults: list[str]
) -> None:
    faults += [f"{where} has no {name}." for name in needed if not entry.get(name)]
    known = (*needed, *allowed)
    faults += [f"{where} has {name!r}; it takes {', '.join(known)}." for name in entry if name not in known]
