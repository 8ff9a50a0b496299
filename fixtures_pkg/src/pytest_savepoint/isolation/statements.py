"""What a SQL text does to the sandbox, told from its words; in doubt it is a write."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

__all__ = ["Statement", "as_described", "classify"]

_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\1\$", re.DOTALL)
_FIRST_WORDS = re.compile(r"\s*\(*\s*(\w+)(?:\s+(\w+))?")
_CALL = re.compile(r"\b([a-z_][\w.]*)\s*\(")
_WRITE_WORD = re.compile(r"\b(insert|update|delete|merge|into|share|call)\b")
# Words and functions of a reading SELECT that may stand before a parenthesis. A function that is not here might write.
_PURE = frozenset({
    "abs", "all", "and", "any", "array", "array_agg", "as", "avg", "between", "bool_and", "bool_or", "by", "cast",
    "ceil", "char", "char_length", "coalesce", "concat", "count", "current_schema", "current_setting", "date_part",
    "date_trunc", "dense_rank", "else", "except", "exists", "extract", "filter", "floor", "from", "generate_series",
    "greatest", "group", "having", "in", "intersect", "interval", "join", "json_agg", "json_build_object",
    "jsonb_agg", "jsonb_build_object", "lag", "lateral", "lead", "least", "left", "length", "limit", "lower", "max",
    "min", "not", "now", "nullif", "numeric", "offset", "on", "or", "order", "over", "partition", "pg_backend_pid",
    "pg_catalog.version", "position", "rank", "replace", "right", "round", "row", "row_number", "row_to_json",
    "select", "similarity", "some", "string_agg", "substring", "sum", "then", "timestamp", "to_char", "to_json",
    "to_jsonb", "to_tsquery", "to_tsvector", "trim", "union", "unnest", "upper", "using", "values", "varchar",
    "version", "when", "where", "with",
})  # fmt: skip
_READERS = frozenset({"select", "with", "values", "table", "show"})
_ENDINGS = frozenset({"commit", "end", "abort", "begin", "start"})
_SESSION_STATE = re.compile(r"advisory_lock|\blisten\b|with\s+hold", re.IGNORECASE)
_CACHED_TEXT = 20_000


@dataclass(frozen=True)
class Statement:
    """One SQL text as the sandbox sees it."""

    writes: bool
    """It may change something that a rollback would undo."""
    ends_transaction: bool
    """It is raw transaction control, which would end the transaction that isolates the test."""
    defines: bool
    """It is DDL or DEALLOCATE: what was prepared or looked up before may be out of date or gone."""
    outlives_transaction: bool
    """It sets session state that a rollback does not undo, such as an advisory lock."""
    listens: bool
    """It is LISTEN, whose notifications come at a real COMMIT only."""
    rolls_back_to: bool
    """It is ROLLBACK TO SAVEPOINT, which heals a failed transaction."""


def classify(sql: str) -> Statement:
    """Tell what a statement does; texts up to 20,000 characters are remembered."""
    return _classify_cached(sql) if len(sql) <= _CACHED_TEXT else _classify(sql)


@lru_cache(maxsize=64)
def as_described(statement: Statement) -> Statement:
    """The statement where the server is only asked for its columns, which changes nothing."""
    return replace(statement, writes=False, defines=False, outlives_transaction=False)


def _classify(sql: str) -> Statement:
    plain = _LITERAL.sub("''", _COMMENT.sub(" ", sql)).lower()
    match = _FIRST_WORDS.match(plain)
    first, second = (match.group(1), match.group(2) or "") if match else ("", "")
    reads = first in _READERS and not _WRITE_WORD.search(plain) and _PURE.issuperset(_CALL.findall(plain))
    rolls_back_to = first == "rollback" and second in ("to", "work", "transaction") and " to " in plain
    ends = first in _ENDINGS or (first == "rollback" and not rolls_back_to) or (first, second) == ("prepare", "transaction")
    return Statement(
        writes=not reads,
        ends_transaction=ends,
        defines=first in ("create", "alter", "drop", "do", "deallocate"),
        outlives_transaction=bool(_SESSION_STATE.search(plain)),
        listens=first == "listen",
        rolls_back_to=rolls_back_to,
    )


_classify_cached = lru_cache(maxsize=2048)(_classify)
