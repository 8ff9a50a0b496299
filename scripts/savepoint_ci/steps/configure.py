"""Check the settings before anything slow, and keep them for the next steps of the job."""

from __future__ import annotations

import sys

from savepoint_ci.github.runner_files import set_output
from savepoint_ci.invocation import Invocation
from savepoint_ci.state import Configured

__all__ = ["configure"]


def configure(invocation: Invocation) -> None:
    """Keep what is not a default; that all of it is right was checked when it was read."""
    invocation.state.save(Configured(variables=invocation.settings.environment()))
    set_output(invocation.environ, "tool", sys.executable)
    set_output(invocation.environ, "template-cache", str(invocation.settings.template_cache).lower())
