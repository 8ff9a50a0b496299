"""Findings that a project or a test does not want to see again, each for a reason: they are told apart, never lost."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pytest_savepoint.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Silence", "read_silences", "told_apart"]

_CHOSEN = ("code", "test", "file")


@dataclass(frozen=True, kw_only=True)
class Silence:
    """What is silenced, which is what agrees with everything that is given.

    :param code: a code such as SP507, or a cause such as state.rows_leaked.
    :param test: a node id; without parameters it stands for all of them.
    :param file: a path from the project's folder, of the culprit or of all tests.
    """

    reason: str
    code: str = ""
    test: str = ""
    file: str = ""


class _Culprit(Protocol):
    @property
    def path(self) -> str: ...


class _Finding(Protocol):
    @property
    def code(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def tests(self) -> tuple[str, ...]: ...
    @property
    def culprit(self) -> _Culprit | None: ...
    def of_tests(self, tests: tuple[str, ...], /) -> Self: ...


_Any = TypeVar("_Any", bound=_Finding)


def told_apart(findings: Iterable[_Any], silences: Sequence[Silence]) -> tuple[list[_Any], list[tuple[_Any, str]]]:
    """The findings that are left, and those that are silenced, each with the reason.

    A finding of several tests, some of which are silenced, is both: each time with the tests that it is about.
    """
    left: list[_Any] = []
    silenced: list[tuple[_Any, str]] = []
    for finding in findings:
        about = [silence for silence in silences if _is_about(silence, finding)]
        if not about:
            left.append(finding)
            continue
        reasons = {test: _reason(about, test) for test in finding.tests or ("",)}
        for reason in dict.fromkeys(reasons.values()):
            tests = tuple(test for test in finding.tests if reasons[test] == reason)
            part = finding.of_tests(tests)
            if reason is None:
                left.append(part)
            else:
                silenced.append((part, reason))
    return left, silenced


def _is_about(silence: Silence, finding: _Finding) -> bool:
    if silence.code and silence.code not in (finding.code, finding.cause):
        return False
    files = {nodeid.partition("::")[0] for nodeid in finding.tests}
    return not silence.file or files == {silence.file} or bool(finding.culprit and finding.culprit.path == silence.file)


def _reason(silences: Sequence[Silence], test: str) -> str | None:
    names = ("", test, test.partition("[")[0])
    return next((silence.reason for silence in silences if silence.test in names), None)


def read_silences(project: Path) -> tuple[Silence, ...]:
    """Read the tables `[[tool.savepoint.silence]]` of a project's pyproject.toml.

    :raises SettingsError: with all faults at once.
    """
    file = project / "pyproject.toml"
    try:
        entries = tomllib.loads(file.read_text("utf-8")).get("tool", {}).get("savepoint", {}).get("silence", [])
    except FileNotFoundError:
        return ()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}.") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SettingsError("[[tool.savepoint.silence]] must be an array of tables.")
    faults = [fault for number, entry in enumerate(entries, 1) for fault in _faults(number, entry)]
    if faults:
        raise SettingsError("\n".join(faults))
    return tuple(Silence(**{name: str(text) for name, text in entry.items()}) for entry in entries)


def _faults(number: int, entry: Mapping[str, Any]) -> Iterable[str]:
    where = f"[[tool.savepoint.silence]] no. {number}"
    known = ("reason", *_CHOSEN)
    if not entry.get("reason"):
        yield f"{where} has no reason."
    yield from (f"{where} has {name!r}; it takes {', '.join(known)}." for name in entry if name not in known)
    if not any(entry.get(name) for name in _CHOSEN):
        yield f"{where} says nothing of what it silences; give code, test or file."
