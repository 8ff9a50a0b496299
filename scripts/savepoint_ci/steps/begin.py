"""The first step of a job: check the settings before anything slow, keep them for the next steps, start PostgreSQL.

It and the step that comments are given the token, because they run nothing of the caller's.
"""

from __future__ import annotations

import sys

from savepoint_ci.github.runner_files import set_output
from savepoint_ci.invocation import Invocation
from savepoint_ci.state import Configured
from savepoint_ci.steps.history import history
from savepoint_ci.steps.provision import provision_in_background

__all__ = ["begin"]


def begin(invocation: Invocation) -> None:
    """Keep what is not a default, whose faults were told when it was read, and fetch the history while PostgreSQL starts."""
    settings = invocation.settings
    invocation.state.save(Configured(variables=settings.environment(), tool=sys.executable))
    set_output(invocation.environ, "tool", sys.executable)
    set_output(invocation.environ, "template-cache", str(settings.template_cache).lower())
    provision_in_background(invocation)
    history(invocation)
