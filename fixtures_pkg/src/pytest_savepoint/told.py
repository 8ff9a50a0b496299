"""What a rerun is told by variables, so that the same pytest command runs in every variation."""

from __future__ import annotations

import os
from collections.abc import Mapping

__all__ = ["LOAD_VARIABLE", "ORDER_VARIABLE", "SEED_VARIABLE", "Told"]

ORDER_VARIABLE = "SAVEPOINT_ORDER"
"""Names a file with one node id a line: these tests run, in this order."""

SEED_VARIABLE = "SAVEPOINT_SEED"
"""The seed of random numbers."""

LOAD_VARIABLE = "SAVEPOINT_LOAD"
"""The number of processes that keep the processors busy while tests run."""


class Told:
    """What the variables say about this run."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.order = environ.get(ORDER_VARIABLE)
        self.seed = environ.get(SEED_VARIABLE)
        self.load = environ.get(LOAD_VARIABLE)

    def __bool__(self) -> bool:
        return bool(self.order or self.seed or self.load)
