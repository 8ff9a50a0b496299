"""What a test changes for the whole process and leaves behind is recorded, with the line that did it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from pytest_savepoint.evidence import Recorder
from pytest_savepoint.loops.watch import Watch

Run = Callable[[Callable[[], object]], list[dict[str, Any]]]

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@pytest.fixture
def facts_of() -> Iterator[Run]:
    """Runs a function as a test of a watched process, and gives what was recorded."""
    watch = Watch(Recorder(), Path(__file__).parent)
    watch.start()

    def run(function: Callable[[], object]) -> list[dict[str, Any]]:
        watch.begin_test(function)
        function()
        watch.end_test("test_it", function)
        return [fact for fact in watch.recorder.take() if fact["kind"] != "growth"]

    yield run
    watch.stop()


def test_logging_level_that_stays_is_placed(facts_of):
    logger = logging.getLogger("town.siren")
    facts = facts_of(lambda: logger.setLevel("ERROR"))
    logger.setLevel(logging.NOTSET)
    assert [(fact["kind"], fact["logger"], fact["level"]) for fact in facts] == [
        ("logging_level_leaked", "town.siren", logging.ERROR)
    ]
    assert facts[0]["site"]["path"] == "test_state.py"


def test_disabling_all_logging_is_placed(facts_of):
    facts = facts_of(lambda: logging.disable(logging.ERROR))
    logging.disable(logging.NOTSET)
    assert [(fact["kind"], fact["logger"]) for fact in facts] == [("logging_level_leaked", "logging.disable")]


def test_what_a_test_puts_back_is_not_recorded(facts_of):
    def put_back() -> None:
        logging.getLogger("town").setLevel("ERROR")
        logging.getLogger("town").setLevel(logging.NOTSET)
        token = tenant.set("Ida")
        tenant.reset(token)

    assert facts_of(put_back) == []
