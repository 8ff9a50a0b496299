"""Puts the two observers on a pytest process.

A `Witness` sits in each process that runs tests and attaches what it recorded to pytest's own reports, so the facts of
a test travel with its outcome. A `Scribe` sits in the process that talks to the user; it writes the evidence file, asks
for the diagnosis and shows the findings.
"""

from __future__ import annotations

from typing import Any

import pytest

from pytest_savepoint.scribe import HANDED_OVER, Scribe
from pytest_savepoint.witness import Witness

__all__ = ["observe"]


def observe(config: pytest.Config, isolation: str) -> None:
    """Watch this pytest process.

    :param isolation: how tests are undone, as it stands in the evidence.
    """
    if hasattr(config, "workerinput"):
        output: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined] # xdist's
        witness = Witness(
            config, config.workerinput["workerid"], isolation, lambda facts: output.update({HANDED_OVER: facts})
        )
    else:
        scribe = Scribe(config, isolation)
        config.pluginmanager.register(scribe, "savepoint-scribe")
        witness = Witness(config, "main", isolation, scribe.add)
    config.pluginmanager.register(witness, "savepoint-witness")
