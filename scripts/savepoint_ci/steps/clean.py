"""Remove what runs have left: this job's server, and whatever carries our mark and has no living owner."""

from __future__ import annotations

from pytest_savepoint.databases.clean import clean as clean_databases

from savepoint_ci.invocation import Invocation
from savepoint_ci.state import remove_abandoned
from savepoint_ci.steps.provision import let_go

__all__ = ["clean"]


def clean(invocation: Invocation) -> None:
    """Give back this job's server, and remove what no living run uses, and what is kept when that is asked for.

    :raises ServerError: when a server or Docker does not answer.
    """
    let_go(invocation)
    invocation.state.remove()
    removed = clean_databases(invocation.settings, cache=invocation.cache, kept=invocation.kept)
    removed += [f"state {name}" for name in remove_abandoned(invocation.cache)]
    for each in removed or ["nothing"]:
        invocation.display.say(f"savepoint: removed {each}")
