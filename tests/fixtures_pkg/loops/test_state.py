"""What a test changes for the whole process and leaves behind is recorded, by name and never by value."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
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


def test_variable_of_the_environment_that_stays_is_named_without_its_value(facts_of, monkeypatch):
    monkeypatch.setenv("SIREN", "loud")
    value = "q" * 40
    facts = facts_of(lambda: os.environ.update(SIREN=value))
    assert [(fact["kind"], fact["name"]) for fact in facts] == [("environment_leaked", "SIREN")]
    assert value not in str(facts)


def test_removed_variable_of_the_environment_is_named(facts_of, monkeypatch):
    monkeypatch.setenv("SIREN", "loud")
    facts = facts_of(lambda: os.environ.pop("SIREN"))
    assert [fact["name"] for fact in facts] == ["SIREN"]


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


def test_handler_of_the_root_logger_that_stays_is_named(facts_of):
    handler = logging.NullHandler()
    facts = facts_of(lambda: logging.root.addHandler(handler))
    logging.root.removeHandler(handler)
    assert [(fact["kind"], fact["added"]) for fact in facts] == [("root_handlers_leaked", ["NullHandler"])]


def test_seeding_for_everybody_is_placed(facts_of):
    state = random.getstate()
    facts = facts_of(lambda: random.seed(7))
    random.setstate(state)
    assert [(fact["kind"], fact["site"]["path"]) for fact in facts] == [("random_seeded", "test_state.py")]


def test_what_a_test_puts_back_is_not_recorded(facts_of, monkeypatch):
    monkeypatch.delenv("SIREN", raising=False)

    def put_back() -> None:
        logging.getLogger("town").setLevel("ERROR")
        logging.getLogger("town").setLevel(logging.NOTSET)
        os.environ["SIREN"] = "loud"
        del os.environ["SIREN"]
        token = tenant.set("Ida")
        tenant.reset(token)
        random.Random(7).random()

    assert facts_of(put_back) == []


def test_lock_that_a_module_keeps_from_now_on_is_named_once(facts_of, tmp_path, monkeypatch):
    (tmp_path / "lighthouse.py").write_text("import asyncio\nlamp = None\nstair = asyncio.Lock()\n")
    monkeypatch.syspath_prepend(tmp_path)
    import lighthouse

    facts = [
        *facts_of(lambda: None),
        *facts_of(lambda: setattr(lighthouse, "lamp", asyncio.Event())),
        *facts_of(lambda: None),
    ]
    sys.modules.pop("lighthouse")
    assert [(fact["kind"], fact["name"]) for fact in facts] == [
        ("module_keeps", "lighthouse.stair"),
        ("module_keeps", "lighthouse.lamp"),
    ]
