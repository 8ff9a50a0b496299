"""Every ORM session by number: who made it, which connection it speaks on, and which tasks have it in hand."""

from __future__ import annotations

import inspect
import itertools
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller, code_of
from pytest_savepoint.loops.patches import Patches, harmless
from pytest_savepoint.loops.tasks import Tasks, suspended

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["Sessions"]


class Sessions:
    """Knows sessions by number; holds none of them alive."""

    def __init__(self, recorder: Recorder, caller: Caller, tasks: Tasks) -> None:
        self._recorder = recorder
        self._caller = caller
        self._tasks = tasks
        self._made: weakref.WeakKeyDictionary[Session, Fact] = weakref.WeakKeyDictionary()
        self._speaking: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # by SQLAlchemy's connection
        self._numbers = itertools.count(1)

    def watch_sqlalchemy(self, patches: Patches) -> None:
        from sqlalchemy.orm import Session

        patches.wrap(Session, "__init__", self._watch)
        patches.listen(Session, "after_begin", self._began)

    def on(self, connection: Any) -> int | None:
        """The session that has begun a transaction on one of SQLAlchemy's connections."""
        return self._speaking.get(connection)

    def involved(self, frames: Iterable[Any]) -> Fact | None:
        """The session in the innermost frame of a failure that has one, with the tasks of the caller that have it too."""
        for frame in reversed(list(frames)):
            for session in _sessions_in(frame):
                made = self._made.get(session)
                if made is not None:
                    return {**made, "in_hand_of": [each["task"] for each in self._in_hand(session)]}
        return None

    def given_by(self, number: int, applications: Iterable[Any]) -> Fact | None:
        """The function that gives every request of an application one and the same session, in place of a dependency.

        :param number: the session's.
        """
        for application in applications:
            for override in list((getattr(application, "dependency_overrides", None) or {}).values()):
                code = code_of(override)
                if code is None or not self._caller.owns(code.co_filename):
                    continue
                given = inspect.getclosurevars(inspect.unwrap(override)).nonlocals.values()
                if any(self._made.get(each, {}).get("session") == number for each in _sessions_among(given)):
                    return self._caller.function(code)
        return None

    def _in_hand(self, session: Session) -> Iterator[Fact]:
        for task, made in self._tasks.unfinished():
            if any(each is session for frame in suspended(task) for each in _sessions_in(frame)):
                yield made

    def _watch(self, original: Callable[..., None]) -> Callable[..., None]:
        def __init__(session: Session, *args: Any, **kwargs: Any) -> None:  # noqa: N807 # stands in for it
            original(session, *args, **kwargs)
            self._remember(session, sys._getframe(1))  # noqa: SLF001 # the line that makes it

        return __init__

    @harmless
    def _remember(self, session: Session, frame: Any) -> None:
        sites, fixture = self._caller.look(frame, 1)
        self._made[session] = {
            "session": next(self._numbers),
            "site": sites[0] if sites else None,
            "fixture": fixture,
            "test": self._recorder.test,
        }

    @harmless
    def _began(self, session: Session, _transaction: Any, connection: Any) -> None:
        made = self._made.get(session)
        if made is not None:
            self._speaking[connection] = made["session"]


def _sessions_in(frame: Any) -> Iterator[Session]:
    yield from _sessions_among(list(frame.f_locals.values()))


def _sessions_among(values: Iterable[Any]) -> Iterator[Session]:
    orm = sys.modules.get("sqlalchemy.orm")
    if orm is None:
        return
    for value in values:
        session = getattr(value, "sync_session", value) if type(value).__module__.startswith("sqlalchemy.") else value
        if isinstance(session, orm.Session):
            yield session
