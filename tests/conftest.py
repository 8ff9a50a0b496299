"""What holds for every test of this project."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

INSTALLED = Path(sysconfig.get_path("purelib"))


@pytest.fixture(autouse=True)
def _environment_stays_as_it_is():
    """Beside the source's plugin an installed one would be registered too, and every later test would fail for it."""
    yield
    assert not list(INSTALLED.glob("pytest_savepoint-*")), f"this test, or one that ran beside it, has installed the package into {INSTALLED}"
