"""The marker `savepoint_silence`: read in each process that collects tests; what it says travels as facts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.silence import Silence

__all__ = ["DECLARED", "SilenceMarkers", "marked_silences"]

_NAME = "savepoint_silence"
DECLARED = (
    f'{_NAME}("SP507", reason="..."): findings of this code (of any, without one) are not shown for this test, but '
    "listed with the reason."
)


class SilenceMarkers:
    """Records what the markers of the collected tests say.

    :param recorder: of this process.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        marked = [(item, mark) for item in session.items for mark in item.iter_markers(_NAME)]
        wrong = {item.nodeid for item, mark in marked if not _is_right(mark)}
        for item, mark in marked:
            for code in (mark.args or ("",)) if item.nodeid not in wrong else ():
                self._recorder.note("silence", silenced=item.nodeid, code=code, reason=mark.kwargs["reason"])
        if wrong:
            session.config.pluginmanager.register(_Wrong(wrong), "savepoint-wrong-silence")


def _is_right(mark: pytest.Mark) -> bool:
    reason = mark.kwargs.get("reason")
    texts = [*mark.args, reason]
    return set(mark.kwargs) == {"reason"} and bool(reason) and all(isinstance(text, str) for text in texts)


class _Wrong:
    """Fails the tests whose marker gives no reason: an error at collection would end an xdist worker without a word."""

    def __init__(self, tests: set[str]) -> None:
        self._tests = tests

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if item.nodeid in self._tests:
            pytest.fail(f'{_NAME} takes a reason, as in @pytest.mark.{_NAME}("SP507", reason="...").', pytrace=False)


def marked_silences(facts: Iterable[Fact]) -> list[Silence]:
    """What the markers of all processes said, once each."""
    said = ((fact["silenced"], fact["code"], fact["reason"]) for fact in facts if fact["kind"] == "silence")
    return [Silence(test=test, code=code, reason=reason) for test, code, reason in dict.fromkeys(said)]
