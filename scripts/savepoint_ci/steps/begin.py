"""The first step of a job: check the settings before anything slow, keep them for the next steps, start PostgreSQL."""

from __future__ import annotations

import sys

from savepoint_ci.github.runner_files import set_output
from savepoint_ci.invocation import Invocation
from savepoint_ci.state import Configured
from savepoint_ci.steps.provision import provision_in_background

__all__ = ["begin"]


def begin(invocation: Invocation) -> None:
    """Keep what is not a default, whose faults were told when it was read, and let the server start meanwhile."""
    invocation.state.save(Configured(variables=invocation.settings.environment(), tool=sys.executable))
    set_output(invocation.environ, "tool", sys.executable)
    set_output(invocation.environ, "template-cache", str(invocation.settings.template_cache).lower())
    provision_in_background(invocation)
