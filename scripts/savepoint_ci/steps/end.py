"""The end of a job: its server is given back, and nothing of it lives on."""

from __future__ import annotations

from dataclasses import replace

from pytest_savepoint.servers.place import kept_servers

from savepoint_ci.invocation import Invocation
from savepoint_ci.state import Provisioned, Tested
from savepoint_ci.steps.provision import let_go

__all__ = ["end", "leave"]

_STOPPED = ("system", "embedded", "sqlite", "")
"""Providers of which nothing lives on when their last user has left; empty where none was needed."""


def end(invocation: Invocation) -> None:
    """Give back what the job used; its templates stay on the stopped server, for the next job on this machine.

    A job that was cut off, that kept databases of failed tests, or that ran containers, is cleaned up after.

    :raises ServerError: when a server or Docker does not answer.
    """
    let_go(invocation)
    if not leave(invocation):
        from savepoint_ci.steps.clean import clean  # noqa: PLC0415 - slow to load

        clean(replace(invocation, kept=True))


def leave(invocation: Invocation) -> bool:
    """Remove the state of a job that came to its end and has stopped its server; whether nothing else is left."""
    tested, provisioned = invocation.state.load(Tested), invocation.state.load(Provisioned)
    came_to_its_end = tested and tested.pytest_exit is not None and not tested.interrupted
    is_local = provisioned and provisioned.provider in _STOPPED
    if not came_to_its_end or not is_local or any(kept_servers(invocation.cache)):
        return False
    invocation.state.remove()
    return True
