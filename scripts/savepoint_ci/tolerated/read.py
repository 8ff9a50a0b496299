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
from pytest_savepoint.silence import Silence, read_silences

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["QUARANTINE_FILE", "Quarantine", "Tolerated", "read_tolerated"]

QUARANTINE_FILE = "savepoint-quarantine.toml"
_NEEDED = ("test", "reason", "owner", "expires")


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """A test that is known to be flaky and does not fail the job until a date.

    :param test: its node id; without parameters it stands for all of them.
    """

    test: str
    reason: str
    owner: str
    expires: date


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
    entries = tuple(_quarantine(*each, faults) for each in quarantine)
    silence: tuple[Silence, ...] = ()
    try:
        silence = read_silences(project)
    except SettingsError as error:
        faults += [fault for fault in str(error).splitlines() if fault not in faults]
    if faults:
        raise SettingsError("\n".join(faults))
    return Tolerated(entries, silence)


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
    faults += [f"{where} has no {name}." for name in _NEEDED if not entry.get(name)]
    faults += [f"{where} has {name!r}; it takes {', '.join(_NEEDED)}." for name in entry if name not in _NEEDED]
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
