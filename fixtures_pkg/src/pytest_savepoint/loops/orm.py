"""What an ORM object of a failure had not loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pytest_savepoint.evidence import Fact

if TYPE_CHECKING:
    from sqlalchemy.orm import InstanceState

__all__ = ["loaded_in", "stamped_by_database", "unloaded"]


def unloaded(thing: Any) -> Fact | None:
    """The attributes of an ORM object, or of the first in a list, that need the database; None for anything else."""
    if isinstance(thing, list | tuple) and thing:
        thing = thing[0]
    state = _state(thing)
    if state is None:
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
    functions = sys.modules.get("sqlalchemy.sql.functions")
    for kind in {type(thing): None for thing in things if hasattr(type(thing), "__mapper__")}:
        for name, attribute in kind.__mapper__.column_attrs.items():
            column = attribute.columns[0]
            if functions and isinstance(getattr(column.onupdate, "arg", None), functions.FunctionElement):
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
        state = _state(thing) if hasattr(type(thing), "__mapper__") else None
        if state is not None and state.key is not None:
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


def _state(thing: Any) -> InstanceState[Any] | None:
    """What the ORM knows of one of its objects; nothing is one where nobody has imported it."""
    if "sqlalchemy.orm" not in sys.modules:
        return None
    from sqlalchemy import inspect
    from sqlalchemy.exc import NoInspectionAvailable
    from sqlalchemy.orm import InstanceState

    try:
        state = inspect(thing)
    except NoInspectionAvailable:
        return None
    return state if isinstance(state, InstanceState) else None
