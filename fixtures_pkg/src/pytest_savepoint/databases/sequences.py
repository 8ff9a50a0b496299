"""Where the sequences of a database stand when a test begins: PostgreSQL's own rollback leaves them where they are."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_savepoint.databases.names import quoted_text
from pytest_savepoint.databases.session import Connection

__all__ = ["SequenceState", "as_at_first", "read_sequences", "setting_sequences"]

_HIGH = 1_000_000
_ROOM = 1_000

_SEQUENCES = """
select format('%I.%I', schemaname, sequencename) as name, start_value, max_value, increment_by, last_value
from pg_sequences where schemaname not like 'pg\\_%'
"""


@dataclass(frozen=True)
class SequenceState:
    """One sequence as the template has it."""

    name: str
    start: int
    next: int
    maximum: int
    ascends: bool


def as_at_first(sequences: Sequence[SequenceState], template: Sequence[SequenceState]) -> list[SequenceState]:
    """Sequences that tests have moved, as they were before: as the template has them, or at their start if it has not."""
    known = {each.name: each for each in template}
    return [known.get(each.name, replace(each, next=each.start)) for each in sequences]


async def read_sequences(connection: Connection) -> tuple[SequenceState, ...]:
    """Read the sequences of a fresh clone."""
    return tuple(
        SequenceState(
            row["name"],
            row["start_value"],
            row["start_value"] if row["last_value"] is None else row["last_value"] + row["increment_by"],
            row["max_value"],
            row["increment_by"] > 0,
        )
        for row in await connection.fetch(_SEQUENCES)
    )


def setting_sequences(sequences: Sequence[SequenceState], how: str, seed: str) -> str:
    """The SQL that sets the sequences for one test, '' where they are to be kept.

    :param how: `reset` as the template has them; `random` far from any id that a test may have written down; `keep`.
    :param seed: the nodeid of the test, so that the same test gets the same values.
    """
    if how == "keep" or not sequences:
        return ""
    # A text as seed gives the same numbers in every process; nothing here is a secret.
    chance = random.Random(seed)  # noqa: S311
    calls = [f"setval({quoted_text(each.name)}, {_value(each, how, chance)}, false)" for each in sequences]
    return f"SELECT {', '.join(calls)}"


def _value(sequence: SequenceState, how: str, chance: random.Random) -> int:
    if how == "reset" or not sequence.ascends:
        return sequence.next
    top = min(sequence.maximum - _ROOM, 1_000 * _HIGH)
    low = min(_HIGH, top // 2)
    return chance.randrange(low, top) if top > max(sequence.next, low) else sequence.next
