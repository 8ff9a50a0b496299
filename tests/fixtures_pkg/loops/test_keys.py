"""Where the keys of two rows meet is told by line and column, never by value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_savepoint.evidence import Recorder
from pytest_savepoint.loops.watch import Watch
from sqlalchemy import Engine, create_engine, text


class RefusedError(Exception):
    """What a driver raises for a row whose key is taken."""

    sqlstate = "23505"

    def __init__(self, detail: str) -> None:
        super().__init__("duplicate key value violates unique constraint")
        self.detail = detail


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch(Recorder(), Path(__file__).parent)
    watch.start()
    yield watch
    watch.stop()


@pytest.fixture
def engine(watch: Watch) -> Engine:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("create table card (id integer, pin text)"))
    return engine


def insert(engine: Engine, watch: Watch, test: str, **values: object) -> None:
    watch.recorder.test, watch.recorder.when = test, "call"
    names = ", ".join(values)
    with engine.begin() as connection:
        connection.execute(text(f"insert into card ({names}) values (:{', :'.join(values)})"), values)


def test_key_given_in_two_tests_is_told_by_its_column(watch, engine):
    secret = "7" * 8
    insert(engine, watch, "first", pin=secret)
    insert(engine, watch, "second", pin=secret)
    rivals = watch.keys.rivals("second", [RefusedError(f"Key (pin)=({secret}) already exists.")])
    assert (rivals["columns"], rivals["given"], [each["test"] for each in rivals["inserts"]]) == (
        ["pin"],
        True,
        ["first"],
    )
    assert secret not in str(rivals)
    assert str(hash(secret)) not in str(rivals)


def test_number_of_a_sequence_is_told_with_who_gave_it(watch, engine):
    insert(engine, watch, "first", id=1, pin="a")
    insert(engine, watch, "second", pin="b")
    rivals = watch.keys.rivals("second", [RefusedError("Key (id)=(1) already exists.")])
    assert (rivals["number"], rivals["given"], len(rivals["inserts"])) == ("1", False, 1)


def test_another_value_is_no_rival(watch, engine):
    insert(engine, watch, "first", id=1, pin="a")
    insert(engine, watch, "second", id=2, pin="b")
    assert watch.keys.rivals("second", [RefusedError("Key (id)=(2) already exists.")])["inserts"] == []
