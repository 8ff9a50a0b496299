"""Waits for locks, as the server told them, in words."""

from __future__ import annotations

from pytest_savepoint.diagnosis.record import Fact, Record, place

__all__ = ["told_waits", "waits_of"]


def waits_of(record: Record, failure: Fact) -> list[str]:
    """The waits for locks in a failing test."""
    return told_waits(list(record.during("lock_wait", failure)))


def told_waits(facts: list[Fact]) -> list[str]:
    """A line for each wait that was recorded, with both statements."""
    return [
        f"{_statement(fact['waiting'])} waited for {fact['mode'] or 'a lock'} on {fact['lock'] or 'something'}, held by "
        f"{_statement(fact['holding'])} ({fact['holding']['state']})"
        for fact in facts
        if fact["kind"] == "lock_wait"
    ]


def _statement(sent: Fact) -> str:
    where = place(sent["site"]) if sent["site"] else f"process {sent['process']} of the server"
    return f"{sent['sql'][:120]!r} at {where}"
