"""Server settings for tests: nothing has to survive a crash."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["tuned_for_tests"]

_TUNING = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "30min",
    "max_connections": "200",
    # One transaction may touch every table of a large schema, and all sandboxes run at once.
    "max_locks_per_transaction": "256",
    "shared_buffers": "64MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def tuned_for_tests(overrides: Mapping[str, str]) -> dict[str, str]:
    """Our settings with the user's over them."""
    tuned = _TUNING | dict(overrides)
    # Replication needs senders; ours are zero only because wal_level minimal demands it.
    if tuned["wal_level"] != "minimal" and "max_wal_senders" not in overrides:
        del tuned["max_wal_senders"]
    return tuned
