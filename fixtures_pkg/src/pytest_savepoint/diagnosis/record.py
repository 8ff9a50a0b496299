"""The recorded facts of a run, as the rules read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pytest_savepoint.diagnosis.finding import Culprit

__all__ = ["Fact", "Record", "at_site", "innermost", "raised"]

Fact = dict[str, Any]


class Record:
    """Facts by kind, in the order in which each process recorded them."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.facts = list(facts)
        self._by_kind: dict[str, list[Fact]] = {}
        for fact in self.facts:
            self._by_kind.setdefault(fact["kind"], []).append(fact)

    def of(self, kind: str) -> list[Fact]:
        return self._by_kind.get(kind, [])

    @property
    def failures(self) -> list[Fact]:
        return self.of("failure")

    def during(self, kind: str, test: Fact) -> Iterator[Fact]:
        """Facts of a kind that were recorded in the same test and process as another fact, before it."""
        for fact in self.of(kind):
            if fact["test"] == test["test"] and fact["worker"] == test["worker"] and fact["at"] < test["at"]:
                yield fact

    def configuration(self) -> Fact:
        """How the suite is set up; the same in every process."""
        return next(iter(self.of("configuration")), {"settings": {}, "event_loop": None, "versions": {}})

    def setting(self, name: str) -> str | None:
        value: str | None = self.configuration()["settings"].get(name)
        return value

    def asyncio_version(self) -> str:
        return str(self.configuration()["versions"].get("pytest-asyncio", "0"))

    def event_loop_override(self) -> Fact | None:
        """The caller's own event_loop fixture, where the installed pytest-asyncio ignores it."""
        override: Fact | None = self.configuration()["event_loop"]
        return override if int(self.asyncio_version().partition(".")[0]) >= 1 else None


def at_site(site: Fact | None) -> Culprit | None:
    """A recorded line as a culprit."""
    return None if site is None or site.get("line") is None else Culprit(site["path"], site["line"], site["name"])


def innermost(failure: Fact) -> Fact | None:
    """The caller's line that was closest to where the failure was raised."""
    for error in failure["exceptions"]:
        if error["sites"]:
            site: Fact = error["sites"][-1]
            return site
    return None


def raised(failure: Fact, path: str, name: str) -> Fact | None:
    """The exception of a failure that was raised in this function of this library file."""
    for error in failure["exceptions"]:
        place = error["raised_in"]
        if place is not None and place["path"].endswith(path) and place["name"] == name:
            found: Fact = error
            return found
    return None
