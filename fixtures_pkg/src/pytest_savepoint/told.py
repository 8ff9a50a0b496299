"""What a rerun is told by variables, so that the same pytest command runs in every variation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

__all__ = ["CLOCK_VARIABLE", "LOAD_VARIABLE", "ORDER_VARIABLE", "PUT_BACK_VARIABLE", "SEED_VARIABLE", "Told"]

ORDER_VARIABLE = "SAVEPOINT_ORDER"
"""Names a file with one node id a line: these tests run, in this order."""

SEED_VARIABLE = "SAVEPOINT_SEED"
"""The seed of random numbers."""

LOAD_VARIABLE = "SAVEPOINT_LOAD"
"""The number of processes that keep the processors busy while tests run."""

CLOCK_VARIABLE = "SAVEPOINT_CLOCK"
"""A local time, ISO 8601: each test passes it while it looks at the clock."""

PUT_BACK_VARIABLE = "SAVEPOINT_PUT_BACK"
"""Pairs in JSON: what earlier tests left, which has its former value again before the last test; none to look only."""


class Told:
    """What the variables say about this run."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.order = environ.get(ORDER_VARIABLE)
        self.seed = environ.get(SEED_VARIABLE)
        self.load = environ.get(LOAD_VARIABLE)
        self.clock = environ.get(CLOCK_VARIABLE)
        self.put_back = None
        if PUT_BACK_VARIABLE in environ:
            self.put_back = {(what, name) for what, name in json.loads(environ[PUT_BACK_VARIABLE])}

    def __bool__(self) -> bool:
        return bool(self.order or self.seed or self.load or self.clock or self.put_back is not None)
