"""A pytest plugin that leaves Savepoint's evidence out, so that what it costs can be measured."""

from __future__ import annotations

import pytest_savepoint.plugin


def _nothing(*_arguments: object, **_settings: object) -> None:
    pass


pytest_savepoint.plugin.start_watching = _nothing
pytest_savepoint.plugin.observe = _nothing
