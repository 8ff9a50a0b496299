"""What a test changes for the whole process and leaves behind is recorded, with the line that did it."""

from __future__ import annotations

import functools
import logging
import os
import random
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from pytest_savepoint.diagnosis.left import left_key
from pytest_savepoint.evidence import Recorder
from pytest_savepoint.loops.modules import Modules
from pytest_savepoint.loops.watch import Watch

Run = Callable[[Callable[[], object]], list[dict[str, Any]]]

streets: list[str] = []
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch(Recorder(), Path(__file__).parent)
    watch.start()
    yield watch
    watch.stop()


@pytest.fixture
def facts_of(watch: Watch) -> Run:
    """Runs a function as a test of a watched process, and gives what was recorded."""

    def run(function: Callable[[], object]) -> list[dict[str, Any]]:
        watch.left.reachable = lambda: [function]
        watch.begin_test(function)
        function()
        watch.end_test()
        return [fact for fact in watch.recorder.take() if fact["kind"] != "growth"]

    return run


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
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOWN_HALL", "closed")
            patch.chdir("/")
        state = random.getstate()
        random.seed(7)
        random.setstate(state)

    assert facts_of(put_back) == []


def test_environment_directory_and_seed_that_stay_are_placed_and_can_be_put_back(facts_of, watch, monkeypatch, tmp_path):
    monkeypatch.setenv("TOWN_HALL", "open")
    monkeypatch.chdir(tmp_path.parent)
    state, secret = random.getstate(), uuid.uuid4().hex

    def leave() -> None:
        os.environ["TOWN_HALL"] = secret
        os.environ.setdefault("TOWN_CLOCK", "slow")
        os.chdir(tmp_path)
        random.seed(7)

    facts = facts_of(leave)
    assert [(fact["kind"], fact["what"], fact["name"], fact["how"]) for fact in facts] == [
        ("left", "environment", "TOWN_HALL", "changed"),
        ("left", "environment", "TOWN_CLOCK", "set"),
        ("left", "directory", "", "changed"),
        ("left", "random", "", "changed"),
    ]
    assert {fact["site"]["name"] for fact in facts} == {"leave"}
    assert secret not in str(facts)
    watch.left.put_back({left_key(fact) for fact in facts})
    assert (os.environ["TOWN_HALL"], os.environ.get("TOWN_CLOCK")) == ("open", None)
    assert (Path.cwd(), random.getstate()) == (tmp_path.parent, state)


def test_handler_that_stays_at_the_root_is_placed_in_what_the_test_calls(facts_of, watch):
    handler = logging.NullHandler()

    def listen() -> None:
        logging.root.addHandler(handler)

    (fact,) = facts_of(listen)
    assert (fact["what"], fact["site"]["name"]) == ("handlers", "listen")
    watch.left.put_back({left_key(fact)})
    assert handler not in logging.root.handlers


@functools.cache
def timetable() -> list[str]:
    return ["six"]


def test_what_modules_keep_is_placed_and_can_be_put_back_where_a_rerun_asks_for_it(facts_of, watch):
    watch.left.modules = Modules(watch.caller)
    streets.clear()

    def fill() -> None:
        timetable()
        streets.append("High Street")

    facts = {fact["name"].rpartition(".")[2]: fact for fact in facts_of(fill)}
    assert {name: (fact["how"], fact["site"]["name"]) for name, fact in facts.items()} == {
        "timetable": ("filled", "timetable"), "streets": ("changed", "fill"),
    }  # fmt: skip
    watch.left.put_back(map(left_key, facts.values()))
    assert (timetable.cache_info().currsize, streets) == (0, [])


def test_what_a_later_test_puts_back_is_left_no_more(facts_of, watch, monkeypatch):
    monkeypatch.setenv("TOWN_HALL", "open")
    facts_of(lambda: os.environ.update(TOWN_HALL="closed"))
    assert watch.left.living
    assert facts_of(lambda: os.environ.update(TOWN_HALL="open")) == []
    assert not watch.left.living
