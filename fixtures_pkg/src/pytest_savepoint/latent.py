"""What a test left behind, with the tests that would meet it in another order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.patches import harmless
from pytest_savepoint.loops.reach import Reach
from pytest_savepoint.loops.watch import Watch

__all__ = ["note_latent"]

_LOOKED_AT = 1000
_NAMED = 20


@harmless
def note_latent(watch: Watch, items: Sequence[pytest.Item]) -> None:
    """Record each leak of this process that other tests can see.

    :param items: the tests of the session.
    """
    for leak in (*watch.state.leaks, *watch.logs.leaks):
        others = (item for item in items[:_LOOKED_AT] if item.nodeid != leak["test"])
        tests = [item.nodeid for item in others if _would_meet(watch, item, leak)]
        if tests:
            watch.recorder.note("latent", leak=dict(leak), tests=tests[:_NAMED])


def _would_meet(watch: Watch, item: pytest.Item, leak: Fact) -> bool:
    names = getattr(item, "fixturenames", ())
    fixture = leak.get("fixture")
    if fixture is not None and fixture["name"] in names:
        return False
    reach = watch.reached([getattr(item, "function", None)]) or Reach()
    if leak["kind"] == "context_leaked":
        return leak["name"] in reach.variables
    return leak["kind"] == "logging_disabled" and "caplog" in names and not reach.loggers.isdisjoint(leak["loggers"])
