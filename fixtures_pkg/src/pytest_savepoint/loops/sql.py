"""What a SQL text does, as far as a diagnosis asks; each text is read once, because suites send the same ones again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Sql", "read_sql", "takes_locks", "tells_the_time"]

_WRITES = re.compile(
    r"\s*(insert\s+into|update|delete\s+from|truncate(?:\s+table)?)\s+(?:only\s+)?\"?([\w.]+)", re.IGNORECASE
)
_TRANSACTION = re.compile(r"\s*(begin|start transaction|commit|rollback(?!\s+to))\b", re.IGNORECASE)
_DEFINES = re.compile(r"\s*(create|alter|drop)\s+(?!temp|database|role|user\b)", re.IGNORECASE)
_MADE = re.compile(r"\bcreate\s+(?:temp\w*\s+)?table\s+(?:if\s+not\s+exists\s+)?\"?([\w.]+)", re.IGNORECASE)
_CLOCK = re.compile(r"\b(current_date|current_timestamp|localtimestamp|now\s*\(\s*\))", re.IGNORECASE)
_ENDS_BACKENDS = re.compile(r"pg_terminate_backend|drop\s+database.*\bforce\b", re.IGNORECASE | re.DOTALL)
# What stands for one value: a placeholder of one of the drivers, a number, or a short text without quotes in it.
_STANDS_FOR_VALUE = r"(?:\$\d+|%\(\w+\)s|:\w+|\d+|'[^']{0,200}')"
_GIVES = re.compile(r"\s*insert\s+into\s+[\w.\"]+\s*\(([^()]+)\)\s*values\s*\(", re.IGNORECASE)
_SETS = re.compile(rf"(?:\bset|,)\s+\"?(\w+)\"?\s*=\s*({_STANDS_FOR_VALUE})", re.IGNORECASE)
_VALUE = re.compile(rf"\s*({_STANDS_FOR_VALUE})?[^,()]*(?:\([^()]*\)[^,()]*)*([,)])")
_ASKS = re.compile(rf"(?<!\w)\"?((?:\w+_)?(?:id|pk|no))\"?\s*=\s*({_STANDS_FOR_VALUE})", re.IGNORECASE)
_LOCKS = re.compile(r"^\s*(update|delete|insert|lock|truncate)\b|\bfor\s+(no\s+key\s+)?(update|share)\b", re.IGNORECASE)
_UPDATES = re.compile(r"\s*update\b", re.IGNORECASE)
_WHERE = re.compile(r"\bwhere\b", re.IGNORECASE)
_REMEMBERED = 20_000


@dataclass(frozen=True)
class Sql:
    """One text."""

    ends_or_begins: str
    """begin, start transaction, commit or rollback; empty when it is none of them."""
    writes: tuple[str, str] | None
    """insert, update, delete or truncate, and the table in lower case."""
    defines: bool
    dated: tuple[str, ...]
    """The tables it makes with a column that the server's clock fills."""
    ends_backends: bool
    gives: tuple[tuple[str, str], ...]
    """The columns that an insert's first row or an update sets, and what stands for their values."""
    asks: tuple[tuple[str, str], ...]
    """The columns called like a key that are compared with one value, and what stands for it."""


def read_sql(sql: str) -> Sql:
    """Tell what a text does; those of up to 20,000 characters are remembered."""
    return _remembered(sql) if len(sql) <= _REMEMBERED else _read(sql)


def tells_the_time(sql: str) -> bool:
    """Whether a text reads the server's clock."""
    return bool(_CLOCK.search(sql))


def takes_locks(sql: str) -> bool:
    """Whether a text locks rows or tables until its transaction ends."""
    return bool(_LOCKS.search(sql))


def _read(sql: str) -> Sql:
    numbered = _numbered(sql)
    transaction, changed = _TRANSACTION.match(sql), _WRITES.match(sql)
    return Sql(
        ends_or_begins=transaction[1].lower() if transaction else "",
        writes=(changed[1].split()[0].lower(), changed[2].lower()) if changed else None,
        defines=bool(_DEFINES.match(sql)),
        dated=tuple(table.lower() for table in _MADE.findall(sql)) if tells_the_time(sql) else (),
        ends_backends=bool(_ENDS_BACKENDS.search(sql)),
        gives=tuple(_gives(numbered)),
        asks=tuple((name.lower(), _bare(token)) for name, token in _ASKS.findall(_condition(numbered))),
    )


def _numbered(sql: str) -> str:
    """The text with placeholders that have no name or number as `$1`, `$2` and so on."""
    mark = "%s" if "%s" in sql else "?"
    if "$" in sql or mark not in sql:
        return sql
    first, *others = sql.split(mark)
    return first + "".join(f"${number}{text}" for number, text in enumerate(others, 1))


def _gives(sql: str) -> Iterator[tuple[str, str]]:
    found = _GIVES.match(sql)
    if found is None:
        before_condition = sql[: len(sql) - len(_condition(sql))] if _UPDATES.match(sql) else ""
        yield from ((column.lower(), _bare(token)) for column, token in _SETS.findall(before_condition))
        return
    at = found.end()
    for column in found[1].split(","):
        value = _VALUE.match(sql, at)
        if value is None:
            return
        if value[1]:
            yield column.strip().strip('"').lower(), _bare(value[1])
        at = value.end()


def _condition(sql: str) -> str:
    found = _WHERE.search(sql)
    return sql[found.end() :] if found else ""


def _bare(token: str) -> str:
    """A named placeholder as its name; the others as they are."""
    return token.removeprefix("%(").removesuffix(")s").removeprefix(":")


_remembered = lru_cache(maxsize=2048)(_read)
