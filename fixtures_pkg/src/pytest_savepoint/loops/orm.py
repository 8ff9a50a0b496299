"""What an ORM object of a failure had not loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import InstanceState
from sqlalchemy.sql.functions import FunctionElement

from pytest_savepoint.evidence import Fact

__all__ = ["loaded_in", "stamped_by_database", "unloaded"]


def unloaded(thing: Any) -> Fact | None:
    """The attributes of an ORM object, or of the first in a list, that need the database; None for anything else."""
    if isinstance(thing, list | tuple) and thing:
        thing = thing[0]
    try:
        state = inspect(thing)
    except NoInspectionAvailable:
        return None
    if not isinstance(state, InstanceState):
        return None
    missing = set(state.unloaded)
    relationships = set(state.mapper.relationships.keys())
    return {
        "class": state.class_.__name__,
        "table": str(getattr(state.mapper.local_table, "name", "")),
        "detached": state.detached,
        "expired": sorted(state.expired_attributes),
        "relationships": sorted(missing & relationships),
    }


def stamped_by_database(things: Iterable[Any]) -> Iterator[tuple[type, str, Fact]]:
    """The classes of ORM objects, with the attributes that a function of the database fills when their row changes."""
    for kind in {type(thing): None for thing in things if hasattr(type(thing), "__mapper__")}:
        for name, attribute in kind.__mapper__.column_attrs.items():
            column = attribute.columns[0]
            if isinstance(getattr(column.onupdate, "arg", None), FunctionElement):
                yield (
                    kind,
                    name,
                    {"table": str(getattr(kind.__mapper__.local_table, "name", "")), "column": column.name},
                )


def loaded_in(
    things: Iterable[Any], compared: tuple[Any, ...], is_updated: Callable[[str, str, object], bool]
) -> list[Fact]:
    """The ORM objects among things, with those of their loaded attributes that a failing assertion compared.

    :param is_updated: tells whether the test updated a table's column to a value, which is then not an old one.
    """
    found = []
    for thing in things:
        state = getattr(type(thing), "__mapper__", None) and inspect(thing, raiseerr=False)
        if isinstance(state, InstanceState) and state.key is not None:
            values = {name: state.dict[name] for name, _ in state.mapper.column_attrs.items() if name in state.dict}
            table = str(getattr(state.mapper.local_table, "name", ""))
            named = [name for name, value in values.items() if any(value is each or value == each for each in compared)]
            found.append(
                {
                    "class": state.class_.__name__,
                    "table": table,
                    "compared": [name for name in named if not is_updated(table, name, values[name])],
                }
            )
    return found
